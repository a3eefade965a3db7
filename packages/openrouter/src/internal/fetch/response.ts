/**
 * Answers as a fetch gives them.
 */
import * as Duration from "effect/Duration"
import { Cookies, Headers as EffectHeaders, type HttpClientError, type HttpClientResponse } from "effect/http"
import { maxRetryAfter } from "../../Classifier.ts"

/** Says to SDKs that read it (`openai`) that all that can be tried has been. */
export const final = { "x-should-retry": "false" }

/** Headers of the body as it was on the wire: what has been read is decoded, and in one piece. */
const ofTheWire = ["content-encoding", "content-length", "transfer-encoding"]

/** Statuses whose responses have no body, by the Fetch standard. */
const bodiless = new Set([101, 103, 204, 205, 304])

/** An answer of OpenRouter's, as it came. */
export const passedOn = (
  response: HttpClientResponse.HttpClientResponse,
  body: BodyInit | null,
  extra: Readonly<Record<string, string>> = {}
): Response => {
  const { "set-cookie": cookie, ...headers } = { ...response.headers, ...extra }
  const encoded = headers["content-encoding"] !== undefined
  for (const name of ofTheWire) if (encoded || name === "transfer-encoding") delete headers[name]
  const passed = new Response(body, { status: response.status, headers })
  if (cookie !== undefined)
    for (const one of Cookies.toSetCookieHeaders(response.cookies)) passed.headers.append("set-cookie", one)
  Object.defineProperty(passed, "url", { value: response.request.url })
  return passed
}

/** Whether there is nothing to read, whatever the connection says. */
export const isBodiless = ({ headers, request, status }: HttpClientResponse.HttpClientResponse): boolean =>
  bodiless.has(status) || request.method === "HEAD" || headers["content-length"] === "0"

/**
 * The last word on a request that failed: as it came, or written anew as a text, and so that no SDK tries all again, or
 * sleeps for days. A Retry-After beyond an hour is cut to an hour.
 */
export const failed = (
  response: HttpClientResponse.HttpClientResponse,
  body: BodyInit,
  nowMillis: number
): Response => {
  const passed = passedOn(response, isBodiless(response) ? null : body, final)
  if (typeof body === "string") passed.headers.delete("content-length")
  const asked = EffectHeaders.parseRetryAfter(passed.headers.get("retry-after") ?? "")
  if (asked._tag === "Success") {
    const millis = Duration.toMillis(EffectHeaders.retryAfterDelay(asked.success, nowMillis))
    if (millis > maxRetryAfter) passed.headers.set("retry-after", seconds(maxRetryAfter))
  }
  return passed
}

/** Whole seconds, up. */
export const seconds = (millis: number): string =>
  String(Math.ceil(Math.min(Math.max(millis, 0), maxRetryAfter) / 1000))

/**
 * A connection that failed, as a fetch tells of it. The error of the HTTP client holds the request, and with it the key:
 * what caused it is told again in words, without the secrets.
 */
export const unreachable = (
  message: string,
  error: HttpClientError.HttpClientError,
  secrets: ReadonlyArray<string>
): TypeError => {
  const { reason } = error
  const cause = "cause" in reason && reason.cause !== undefined ? reason.cause : reason.description
  return new TypeError(message, { cause: toldWithout(secrets, cause) })
}

/** How far a chain of causes is followed. */
const depth = 5

const toldWithout = (secrets: ReadonlyArray<string>, cause: unknown, left = depth): Error | undefined => {
  if (cause === undefined || left === 0) return undefined
  const hide = (text: string) =>
    secrets.reduce((hidden, secret) => hidden.replaceAll(secret, "<redacted>"), text)
  if (!(cause instanceof Error))
    return new Error(hide(typeof cause === "string" ? cause : "The connection failed"))
  const inner = toldWithout(secrets, cause.cause, left - 1)
  const told = new Error(hide(cause.message), inner === undefined ? undefined : { cause: inner })
  told.name = cause.name
  told.stack = `${told.name}: ${told.message}`
  return "code" in cause && typeof cause.code === "string" ? Object.assign(told, { code: cause.code }) : told
}
