/**
 * What an answer says about its failure, picked out of status, headers and body. It decodes leniently and never throws:
 * bodies come from OpenRouter, from providers, from the edge in front of both, and from whatever sits in between.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { Headers } from "effect/http"

export interface Facts {
  /** What the rows go by: the HTTP status, or the code in the body where the HTTP status says 200. */
  readonly status: number
  /** The body is a JSON object: OpenRouter speaks, not the edge. */
  readonly json: boolean
  readonly message: string
  readonly metadata: Readonly<Record<string, unknown>>
  readonly limitSource: string
  readonly errorType: string
  /** `availability.code`, or "". */
  readonly availability: string
  /** The failure comes from a provider behind OpenRouter. */
  readonly provider: boolean
  /** The account as the body names it (`user_…` or `org_…`). */
  readonly account: string | undefined
  /** Milliseconds asked for by Retry-After or `availability.retry_after`. */
  readonly retryAfter: number | undefined
  /** Milliseconds since the epoch: X-RateLimit-Reset. */
  readonly rateLimitReset: number | undefined
  /** Milliseconds since the epoch: `metadata.resets_at`. */
  readonly resetsAt: number | undefined
  readonly now: number
}

/** One answer, as far as classification needs it. */
export interface Answer {
  readonly status: number
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
  return {
    status: statusOf(answer.status, error),
    json: body !== undefined,
    message,
    metadata,
    limitSource,
    errorType: text(metadata["error_type"]) || text(error["error_type"]),
    availability: availabilityCode,
    provider:
      text(metadata["provider_name"]) !== "" ||
      metadata["raw"] !== undefined ||
      metadata["provider_code"] !== undefined ||
      metadata["provider_error_code"] !== undefined ||
      message === "Provider returned error" ||
      limitSource.startsWith("upstream_provider_") ||
      upstreamAvailability.has(availabilityCode),
    account: text(body?.["user_id"]) || undefined,
    retryAfter: retryAfterOf(answer.headers["retry-after"], now) ?? seconds(availability["retry_after"]),
    rateLimitReset: epochMillis(
      answer.headers["x-ratelimit-reset"] ?? record(metadata["headers"])?.["X-RateLimit-Reset"]
    ),
    resetsAt: dateMillis(metadata["resets_at"]),
    now
  }
}

/**
 * The error in a body: on top, or in a choice, where an answer that broke off keeps what was said until then.
 */
export const errorIn = (value: unknown): Readonly<Record<string, unknown>> | undefined => {
  const body = record(value)
  if (body === undefined) return undefined
  const top = record(body["error"])
  if (top !== undefined || !Array.isArray(body["choices"])) return top
  for (const choice of body["choices"]) {
    const error = record(record(choice)?.["error"])
    if (error !== undefined) return error
  }
  return undefined
}

/** Before an answer began the HTTP status is the truth; after it, only the code in the body is. */
const statusOf = (status: number, error: Readonly<Record<string, unknown>>): number => {
  if (status >= 300) return status
  const told = error["code"] ?? error["http_status"]
  // Not everything can be made a number: an object may even throw.
  const code = typeof told === "string" || typeof told === "number" ? Number(told) : NaN
  // Codes in words ("server_error") tell of a failure after the answer began: the upstream's.
  return Number.isInteger(code) && code >= 300 && code < 600 ? code : 502
}

export const retryAfterOf = (header: unknown, now: number): number | undefined => {
  if (typeof header !== "string") return undefined
  const parsed = Headers.parseRetryAfter(header)
  if (Result.isFailure(parsed)) return undefined
  return Duration.toMillis(Headers.retryAfterDelay(parsed.success, now))
}

export const record = (value: unknown): Readonly<Record<string, unknown>> | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined

const text = (value: unknown): string => (typeof value === "string" ? value : "")

const seconds = (value: unknown): number | undefined =>
  typeof value === "number" && value >= 0 && value < Infinity ? value * 1000 : undefined

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
