/**
 * "No key can serve" and "not in time" as responses in OpenRouter's shape, so that every SDK tells its caller what it would
 * tell of the real one; and the trail of a request, for errors of all kinds.
 */
import type { Errors, Filter } from "@evenkeel/core"
import { record } from "../classifier/facts.ts"
import { final, seconds } from "./response.ts"

/** What the refusal is for SDKs that go by the status. */
interface Kind {
  readonly status: number
  readonly type: string
}

const throttled: Kind = { status: 429, type: "rate_limit_exceeded" }
const exhausted: Kind = { status: 402, type: "payment_required" }
const rejected: Kind = { status: 401, type: "authentication" }
const unavailable: Kind = { status: 503, type: "provider_overloaded" }

/** What each reason is for its key alone; reasons that are not here say nothing of the key. */
const kinds: Readonly<Record<string, Kind>> = {
  throttled,
  paced: throttled,
  saturated: throttled,
  probing: throttled,
  warming: throttled,
  exhausted,
  insufficient: exhausted,
  "below-floor": exhausted,
  rejected
}

/** The request's own reasons: another request may well be served. */
const own = new Set<Filter.Reason>(["tried", "elsewhere"])

/**
 * The kindest of what the keys say: if any of them frees up by itself (429), else if something is broken that mends
 * (503), else if money helps (402), and only if all credentials are refused, 401.
 */
const kindOf = (error: Errors.NoEligibleKey): Kind => {
  const reasons = error.keys.map(({ reason }) => reason).filter((reason) => !own.has(reason))
  const found = reasons.map((reason) => kinds[reason] ?? unavailable)
  for (const kind of [throttled, unavailable, exhausted, rejected]) if (found.includes(kind)) return kind
  return unavailable
}

/** The response to a request that no key could serve. */
export const refused = (error: Errors.NoEligibleKey, nowMillis: number): Response => {
  const { status, type } = kindOf(error)
  const retryAfter = error.retryAt === undefined ? {} : { "retry-after": seconds(error.retryAt - nowMillis) }
  const keys = error.keys.map(({ keyId, reason, scope, until }) => ({
    id: keyId,
    reason,
    scope,
    until: iso(until)
  }))
  const evenkeel = { keys, retry_at: iso(error.retryAt), attempts: error.attempts.map(plain) }
  return failure({ status, type }, error.message, evenkeel, retryAfter)
}

/**
 * The response to a request whose deadline has passed: an answer, because whatever a fetch rejects with `openai` would send
 * again, and here it may have been billed.
 */
export const tooLate = ({ attempts, inFlight, message, timeoutMillis }: Errors.DeadlineExceeded): Response =>
  failure({ status: 504, type: "timeout" }, message, {
    timeout_ms: timeoutMillis,
    in_flight: inFlight ?? null,
    attempts: attempts.map(plain)
  })

/** The response to a request that was cut off because its permit is another's; an answer too, and for the same reason. */
export const cutOff = ({ attempts, keyId, message }: Errors.PermitLost): Response =>
  failure(unavailable, message, { in_flight: keyId, attempts: attempts.map(plain) })

const failure = (
  { status, type }: Kind,
  message: string,
  evenkeel: object,
  headers: Readonly<Record<string, string>> = {}
): Response => {
  const error = { code: status, message, metadata: { error_type: type, evenkeel } }
  return Response.json({ error }, { status, headers: { ...final, ...headers } })
}

/**
 * OpenRouter's own error with the trail of the request in it. `undefined` where there is nothing to add, because the answer
 * is that of the only attempt, or no place to add it.
 */
export const withTrail = (body: unknown, attempts: ReadonlyArray<Errors.Attempt>): string | undefined => {
  const outer = record(body)
  const error = record(outer?.["error"])
  if (attempts.length < 2 || error === undefined) return undefined
  const metadata = { ...record(error["metadata"]), evenkeel: { attempts: attempts.map(plain) } }
  return JSON.stringify({ ...outer, error: { ...error, metadata } })
}

/** An attempt as plain data, in the words of OpenRouter's API. */
const plain = ({ account, delayMillis, durationMillis, keyId, outcome, upstream }: Errors.Attempt) => ({
  key: keyId,
  account: account ?? null,
  model: upstream ?? null,
  scope: outcome._tag === "Faulted" ? outcome.scope : "request",
  class: outcome.class ?? null,
  status: outcome.status ?? null,
  delay_ms: delayMillis,
  duration_ms: durationMillis
})

/** `null` if not known, or never. */
const iso = (millis: number | undefined): string | null =>
  millis === undefined || Math.abs(millis) > 8.64e15 ? null : new Date(millis).toISOString()
