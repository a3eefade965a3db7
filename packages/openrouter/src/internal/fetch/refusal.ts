/**
 * "No key can serve" and "not in time" as responses in OpenRouter's shape, so that every SDK tells its caller what it would
 * tell of the real one; and the trail of a request, for errors of all kinds.
 */
import type { Errors } from "@evenkeel/core"
import * as Refusal from "../../Refusal.ts"
import { record } from "../classifier/facts.ts"
import { final, seconds } from "./response.ts"

/** What a failure is for SDKs that go by the status. */
interface Kind {
  readonly status: number
  readonly type: string
}

const kinds: Readonly<Record<Refusal.Kind, Kind>> = {
  throttled: { status: 429, type: "rate_limit_exceeded" },
  exhausted: { status: 402, type: "payment_required" },
  rejected: { status: 401, type: "authentication" },
  unavailable: { status: 503, type: "provider_overloaded" }
}

/** The response to a request that no key could serve. */
export const refused = (error: Errors.NoEligibleKey, nowMillis: number): Response => {
  const retryAfter = error.retryAt === undefined ? {} : { "retry-after": seconds(error.retryAt - nowMillis) }
  const evenkeel = {
    keys: error.keys.map(Refusal.verdict),
    retry_at: Refusal.iso(error.retryAt),
    attempts: error.attempts.map(Refusal.attempt)
  }
  return failure(kinds[Refusal.kindOf(error)], error.message, evenkeel, retryAfter)
}

/**
 * The response to a request whose deadline has passed: an answer, because whatever a fetch rejects with `openai` would send
 * again, and here it may have been billed.
 */
export const tooLate = ({ attempts, inFlight, message, timeoutMillis }: Errors.DeadlineExceeded): Response =>
  failure({ status: 504, type: "timeout" }, message, {
    timeout_ms: timeoutMillis,
    in_flight: inFlight ?? null,
    attempts: attempts.map(Refusal.attempt)
  })

/** The response to a request that was cut off because its permit is another's; an answer too, and for the same reason. */
export const cutOff = ({ attempts, keyId, message }: Errors.PermitLost): Response =>
  failure(kinds.unavailable, message, { in_flight: keyId, attempts: attempts.map(Refusal.attempt) })

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
  const metadata = { ...record(error["metadata"]), evenkeel: { attempts: attempts.map(Refusal.attempt) } }
  return JSON.stringify({ ...outer, error: { ...error, metadata } })
}
