/**
 * Why no key could serve: in a word, and as plain data in the words of OpenRouter's API, for answers to whoever asked over
 * HTTP. None of it holds a secret.
 */
import type { Errors, Filter } from "@evenkeel/core"

/**
 * What all the keys together say.
 *
 * - `throttled`: at least one of them frees up by itself
 * - `unavailable`: something is broken that mends
 * - `exhausted`: money helps
 * - `rejected`: every credential is refused
 */
export type Kind = "throttled" | "unavailable" | "exhausted" | "rejected"

/** What each reason is for its key alone; reasons that are not here say nothing of the key. */
const kinds: Readonly<Record<string, Kind>> = {
  throttled: "throttled",
  paced: "throttled",
  saturated: "throttled",
  probing: "throttled",
  warming: "throttled",
  exhausted: "exhausted",
  insufficient: "exhausted",
  "below-floor": "exhausted",
  rejected: "rejected"
}

/** The request's own reasons: another request may well be served. */
const own = new Set<Filter.Reason>(["tried", "elsewhere"])

const kindest: ReadonlyArray<Kind> = ["throttled", "unavailable", "exhausted", "rejected"]

/**
 * The kindest of what the keys say: if any of them frees up by itself that is what counts, and only if all credentials are
 * refused it is that.
 */
export const kindOf = (error: Errors.NoEligibleKey): Kind => {
  const reasons = error.keys.map(({ reason }) => reason).filter((reason) => !own.has(reason))
  const found = reasons.map((reason) => kinds[reason] ?? "unavailable")
  return kindest.find((kind) => found.includes(kind)) ?? "unavailable"
}

/** Why one key could not serve. */
export const verdict = ({ keyId, reason, scope, until }: Errors.KeyVerdict) => ({
  id: keyId,
  reason,
  scope,
  until: iso(until)
})

/** One attempt that failed. */
export const attempt = (met: Errors.Attempt) => ({
  key: met.keyId,
  account: met.account ?? null,
  model: met.upstream ?? null,
  scope: met.outcome._tag === "Faulted" ? met.outcome.scope : "request",
  class: met.outcome.class ?? null,
  status: met.outcome.status ?? null,
  delay_ms: met.delayMillis,
  duration_ms: met.durationMillis
})

/** A time, from milliseconds since the epoch; `null` if not known, or never. */
export const iso = (millis: number | undefined): string | null =>
  millis === undefined || Math.abs(millis) > 8.64e15 ? null : new Date(millis).toISOString()
