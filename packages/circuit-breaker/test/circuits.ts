import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Outcome, type Candidate, type Filter } from "@evenkeel/core"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"

export const candidateOf = (id: string): Candidate.Candidate => ({
  id,
  account: undefined,
  workspace: undefined,
  weight: 1,
  tier: 0,
  labels: {},
  inFlight: 0,
  maxInFlight: Infinity,
  credit: undefined,
  latency: undefined
})

export const contextAt = (nowMillis: number): Candidate.PickContext => ({
  attempt: 0,
  nowMillis,
  random: () => 0,
  affinity: undefined,
  upstream: undefined,
  estimate: undefined,
  tokens: undefined
})

export const success = Outcome.success()
export const ignored = Outcome.ignored()
export const failure = (retryAfter?: Duration.Input): Outcome.Faulted =>
  Outcome.faulted({
    scope: "key",
    reason: "unavailable",
    retryAfter: retryAfter === undefined ? undefined : Duration.fromInputUnsafe(retryAfter)
  })

/** A breaker whose time is set by hand, as the pool would use it. */
export const circuitsOf = (options?: CircuitBreaker.Options) => {
  const circuits = CircuitBreaker.make(options)
  const { breaker } = circuits
  const filter = (now: number, id = "a"): Filter.Ineligible | undefined =>
    breaker.filter(candidateOf(id), contextAt(now))
  /** Opens a use, as the pool does for a key that passes the filter; `undefined` if it does not pass. */
  const open = (now: number, id = "a") => {
    if (filter(now, id) !== undefined) return undefined
    const admission = breaker.admit(candidateOf(id), contextAt(now))
    return {
      probe: admission < 0,
      settle: (outcome: Outcome.Outcome, at: number) =>
        breaker.record(candidateOf(id), contextAt(now), admission, outcome, at)
    }
  }
  const use = (outcome: Outcome.Outcome, now: number, id = "a"): boolean => {
    const lease = open(now, id)
    lease?.settle(outcome, now)
    return lease !== undefined
  }
  const stateAt = (now: number, id = "a") => Effect.andThen(TestClock.setTime(now), circuits.state(id))
  return { circuits, filter, open, use, stateAt }
}
