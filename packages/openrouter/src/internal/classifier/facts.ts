/**
 * What an answer says about its failure, picked out of status, headers and body. It decodes leniently and never throws:
 * bodies come from OpenRouter, from providers, from the edge in front of both, and from whatever sits in between.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { Headers } from "effect/http"
import { errorIn, record, text } from "./errorIn.ts"
import { statusOfWord } from "./words.ts"

export { errorIn, record } from "./errorIn.ts"

/** What the rows of the classifier see of a failure. Texts that the answer does not have are "". */
export interface Facts {
  /** What the rows go by: the HTTP status, or the code in the body where the HTTP status says 200. */
  readonly status: number
  /** The body is a JSON object: OpenRouter speaks, not the edge. */
  readonly json: boolean
  readonly message: string
  readonly metadata: Readonly<Record<string, unknown>>
  readonly limitSource: string
  /** `error_type`, or else the word that stands in its place: a `code` that is no number, or the skin's `type`. */
  readonly errorType: string
  /** `availability.code`, or "". */
  readonly availability: string
  /** `availability.retryable`, where the answer says so. */
  readonly retryable: boolean | undefined
  /** The failure comes from a provider behind OpenRouter. */
  readonly provider: boolean
  /** Whether the account's own key at a provider was used, where the answer says so. */
  readonly byok: boolean | undefined
  /** What OpenRouter tried before it gave up. */
  readonly previousErrors: ReadonlyArray<PreviousError>
  /** The account as the body names it (`user_…` or `org_…`). */
  readonly account: string | undefined
  /** The answer had begun when it failed: what it had said until then may be billed. */
  readonly began: boolean
  /** USD, where the answer says in spite of all what it cost. */
  readonly cost: number | undefined
  /** Milliseconds asked for by Retry-After or `availability.retry_after`. */
  readonly retryAfter: number | undefined
  /** Milliseconds since the epoch: X-RateLimit-Reset. */
  readonly rateLimitReset: number | undefined
  /** Milliseconds since the epoch: `metadata.resets_at`. */
  readonly resetsAt: number | undefined
  readonly now: number
}

/** One attempt of OpenRouter's own at a provider. */
export interface PreviousError {
  readonly provider: string
  readonly code: string
  readonly status: number | undefined
}

/** One answer, as far as classification needs it. */
export interface Answer {
  readonly status: number
  /** Names in any case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The parsed body, or `undefined` if it is not JSON. */
  readonly body: unknown
}

const upstreamAvailability = new Set([
  "capacity_exhausted",
  "temporarily_unavailable",
  "model_unavailable_upstream"
])

export const factsOf = (answer: Answer, now: number): Facts => {
  const body = record(answer.body)
  const error = errorIn(body) ?? {}
  const metadata = record(error["metadata"]) ?? {}
  const availability = record(error["availability"]) ?? {}
  const availabilityCode = text(availability["code"])
  const message = text(error["message"])
  const limitSource = text(metadata["limit_source"])
  // `/responses` keeps the type beside the error, its events one level further down.
  const outer = record(body?.["response"]) ?? body
  const errorType = text(metadata["error_type"]) || text(error["error_type"]) || text(outer?.["error_type"])
  const word = text(error["code"]) || text(error["type"])
  const headers = record(metadata["headers"]) ?? {}
  return {
    status: statusOf(answer.status, error, errorType),
    json: body !== undefined,
    message,
    metadata,
    limitSource,
    errorType: errorType || word,
    availability: availabilityCode,
    retryable: flag(availability["retryable"]),
    provider:
      text(metadata["provider_name"]) !== "" ||
      given(metadata["raw"]) ||
      given(metadata["provider_code"]) ||
      given(metadata["provider_error_code"]) ||
      message === "Provider returned error" ||
      limitSource.startsWith("upstream_provider_") ||
      upstreamAvailability.has(availabilityCode),
    byok: limitSource === "upstream_provider_byok" ? true : flag(metadata["is_byok"]),
    previousErrors: previousErrors(metadata["previous_errors"]),
    account: text(body?.["user_id"]) || undefined,
    began: hasBegun(answer, outer),
    cost: amount(record(outer?.["usage"])?.["cost"]),
    retryAfter:
      retryAfterOf(header(answer.headers, "retry-after"), now) ?? seconds(availability["retry_after"]),
    rateLimitReset: epochMillis(
      header(answer.headers, "x-ratelimit-reset") ?? header(headers, "x-ratelimit-reset")
    ),
    resetsAt: dateMillis(metadata["resets_at"]),
    now
  }
}

/** Before an answer began the HTTP status is the truth; after it, only the code in the body is. */
const statusOf = (status: number, error: Readonly<Record<string, unknown>>, errorType: string): number => {
  if (status >= 300) return status
  for (const told of [error["code"], error["http_status"], errorType, error["type"]]) {
    // Not everything can be made a number: an object may even throw.
    if (typeof told !== "string" && typeof told !== "number") continue
    const code = statusOfWord(told) ?? Number(told)
    if (Number.isInteger(code) && code >= 300 && code < 600) return code
  }
  // Words of which nothing is known tell of a failure after the answer began: the upstream's.
  return 502
}

/** A 200 is sent as soon as a provider accepts the request: what does not parse may have been an answer. */
const hasBegun = (
  { body, status }: Answer,
  outer: Readonly<Record<string, unknown>> | undefined
): boolean => {
  if (status >= 300) return false
  if (body === undefined) return true
  const { choices, output } = outer ?? {}
  return (
    (Array.isArray(output) && output.length > 0) ||
    (Array.isArray(choices) && choices.some((choice) => record(record(choice)?.["message"]) !== undefined))
  )
}

export const retryAfterOf = (header: unknown, now: number): number | undefined => {
  if (typeof header !== "string") return undefined
  const parsed = Headers.parseRetryAfter(header)
  if (Result.isFailure(parsed)) return undefined
  return Duration.toMillis(Headers.retryAfterDelay(parsed.success, now))
}

/** A header by its name in small letters: Effect's headers have it so, other clients' and those in bodies may not. */
const header = (headers: Readonly<Record<string, unknown>>, name: string): unknown =>
  headers[name] ?? Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1]

const previousErrors = (value: unknown): ReadonlyArray<PreviousError> =>
  (Array.isArray(value) ? value : []).flatMap((one: unknown) => {
    const { code, provider, status } = record(one) ?? {}
    if (typeof provider !== "string") return []
    return [{ provider, code: text(code), status: typeof status === "number" ? status : undefined }]
  })

const given = (value: unknown): boolean => value !== undefined && value !== null

const flag = (value: unknown): boolean | undefined => (typeof value === "boolean" ? value : undefined)

const amount = (value: unknown): number | undefined =>
  typeof value === "number" && value >= 0 && value < Infinity ? value : undefined

const seconds = (value: unknown): number | undefined => {
  const found = amount(value)
  return found === undefined ? undefined : found * 1000
}

const epochMillis = (value: unknown): number | undefined => {
  const millis =
    typeof value === "number" || (typeof value === "string" && value !== "") ? Number(value) : NaN
  // Below this it would be seconds, which the documentation does not promise: not gone by.
  return millis > 1e12 && millis < 1e14 ? millis : undefined
}

const dateMillis = (value: unknown): number | undefined => {
  const millis = typeof value === "string" ? Date.parse(value) : NaN
  return Number.isNaN(millis) ? undefined : millis
}
