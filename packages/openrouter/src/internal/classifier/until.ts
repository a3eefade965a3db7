/**
 * Until when a fault lasts, as far as answers tell. Times that have passed tell of clocks that differ, or of a cache, and
 * times that are far off of a mistake: the former count for nothing, the latter are cut.
 */
import type { Facts } from "./facts.ts"
import { isPeriod, nextReset } from "../credit/resets.ts"
import { perDay } from "./signs.ts"

export const second = 1000
export const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/**
 * A Retry-After of hours is a mistake, or hostile: it is capped at one hour. Resets of caps and of daily quotas are not.
 */
export const maxRetryAfter: number = hour

/** The longest period is a month of 31 days; a day more for its boundary, and one for clocks that differ. */
export const maxCapReset: number = 33 * day

/** The longest period is a day; an hour for clocks that differ. */
export const maxRateLimitReset: number = day + hour

const ahead = (f: Facts, time: number | undefined, atMost: number): number | undefined =>
  time !== undefined && time > f.now ? Math.min(time, f.now + atMost) : undefined

/** What Retry-After says. */
export const told = (f: Facts): number | undefined =>
  f.retryAfter === undefined ? undefined : f.now + Math.min(f.retryAfter, maxRetryAfter)

/** What Retry-After says, or else so much later. */
export const after =
  (millis: number) =>
  (f: Facts): number =>
    told(f) ?? f.now + millis

/** When a spent cap is filled up again: as the answer says, or at the boundary of the period that its message names. */
export const capReset = (f: Facts): number | undefined => {
  const stated = ahead(f, f.resetsAt, maxCapReset)
  if (stated !== undefined) return stated
  const period = /\b(daily|weekly|monthly)\b/.exec(f.message)?.[1]
  return isPeriod(period) ? nextReset(period, f.now) : undefined
}

/** A guardrail's budget does not name its period. */
export const budgetReset = (f: Facts): number => ahead(f, f.resetsAt, maxCapReset) ?? f.now + 15 * minute

/** When OpenRouter's own limit of requests begins anew. */
export const rateReset = (f: Facts): number | undefined => ahead(f, f.rateLimitReset, maxRateLimitReset)

/** The same for free models, whose limits are one of a minute and one of a day. */
export const freeReset = (f: Facts): number | undefined =>
  rateReset(f) ?? told(f) ?? (perDay(f) ? nextReset("daily", f.now) : f.now + minute)
