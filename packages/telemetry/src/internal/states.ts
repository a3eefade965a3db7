/**
 * The states of a key: few, so that a series for each is no burden. The reasons themselves are in `Balancer.explain`.
 */
export const states = [
  "ready",
  "busy",
  "throttled",
  "exhausted",
  "rejected",
  "unavailable",
  "draining",
  "other"
] as const

/** One of `states`. */
export type State = (typeof states)[number]

/** What a key is in that cannot serve now, for this reason. */
export const stateOf = (reason: string): State => byReason.get(reason) ?? "other"

const byReason: ReadonlyMap<string, State> = new Map([
  // It serves, and has enough to do.
  ["saturated", "busy"],
  ["shared", "busy"],
  ["paced", "busy"],
  // It is coming back.
  ["probing", "busy"],
  ["warming", "busy"],
  ["throttled", "throttled"],
  ["exhausted", "exhausted"],
  ["insufficient", "exhausted"],
  ["below-floor", "exhausted"],
  ["rejected", "rejected"],
  ["unavailable", "unavailable"],
  ["circuit-open", "unavailable"],
  ["draining", "draining"]
])
