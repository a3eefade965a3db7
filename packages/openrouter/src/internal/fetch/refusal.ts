/**
 * "No key can serve" as a response in OpenRouter's shape, so that every SDK tells its caller what it would tell of the
 * real one.
 */
import type { Errors, Filter } from "@evenkeel/core"
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
  saturated: throttled,
  probing: throttled,
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
  const metadata = { error_type: type, evenkeel: { keys, retry_at: iso(error.retryAt) } }
  const body = { error: { code: status, message: error.message, metadata } }
  return Response.json(body, { status, headers: { ...final, ...retryAfter } })
}

/** `null` if not known, or never. */
const iso = (millis: number | undefined): string | null =>
  millis === undefined || Math.abs(millis) > 8.64e15 ? null : new Date(millis).toISOString()
