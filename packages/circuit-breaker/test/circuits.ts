import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Outcome, type Candidate, type Filter } from "@evenkeel/core"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"

/** The circuits on the way of a use. */
export interface Way {
  readonly id: string
  readonly account?: string | undefined
  readonly workspace?: string | undefined
  readonly upstream?: string | undefined
}

export const candidateOf = ({ account, id, workspace }: Way): Candidate.Candidate => ({
  id,
  account,
  workspace,
  weight: 1,
  tier: 0,
  labels: {},
  inFlight: 0,
  maxInFlight: Infinity,
  credit: undefined,
  latency: undefined
})

export const contextAt = (
  nowMillis: number,
  upstream?: string,
  random: () => number = () => 0
): Candidate.PickContext => ({
  attempt: 0,
  nowMillis,
  random,
  affinity: undefined,
  upstream,
  estimate: undefined,
  tokens: undefined
})

export const success = Outcome.success()
export const ignored = Outcome.ignored()
export const fault = (
  scope: Outcome.FaultScope,
  options?: Partial<Outcome.Faulted> | undefined
): Outcome.Faulted => Outcome.faulted({ scope, reason: "unavailable", ...options })
export const failure = (retryAfter?: Duration.Input): Outcome.Faulted =>
  fault("key", {
    retryAfter: retryAfter === undefined ? undefined : Duration.fromInputUnsafe(retryAfter)
  })

const wayOf = (way: string | Way): Way => (typeof way === "string" ? { id: way } : way)

/** A breaker whose time is set by hand, as the pool would use it. */
export const circuitsOf = (options?: CircuitBreaker.Options) => {
  const circuits = CircuitBreaker.make(options)
  const { breaker } = circuits
  const filter = (now: number, way: string | Way = "a"): Filter.Ineligible | undefined =>
    breaker.filter(candidateOf(wayOf(way)), contextAt(now, wayOf(way).upstream))
  /** Opens a use, whatever the filter says, as the pool does where it overlooks a guess. */
  const force = (now: number, way: string | Way = "a") => {
    const { upstream } = wayOf(way)
    const admission = breaker.admit(candidateOf(wayOf(way)), contextAt(now, upstream))
    return {
      probe: admission < 0,
      /** `as` is the way by then: an account may have been learnt meanwhile. */
      settle: (outcome: Outcome.Outcome, at: number, as: string | Way = way) =>
        breaker.record(candidateOf(wayOf(as)), contextAt(now, upstream), admission, outcome, at)
    }
  }
  /** Opens a use, as the pool does for a key that passes the filter; `undefined` if it does not pass. */
  const open = (now: number, way: string | Way = "a") =>
    filter(now, way) === undefined ? force(now, way) : undefined
  const use = (outcome: Outcome.Outcome, now: number, way: string | Way = "a"): boolean => {
    const lease = open(now, way)
    lease?.settle(outcome, now)
    return lease !== undefined
  }
  const stateAt = (now: number, target: CircuitBreaker.Target = "a") =>
    Effect.andThen(TestClock.setTime(now), circuits.state(target))
  return { circuits, filter, force, open, use, stateAt }
}

/** The circuits of keys, with no slow start and no jitter unless said otherwise. */
export const keyCircuits = (options: CircuitBreaker.ScopeOptions = {}) =>
  circuitsOf({ key: { slowStart: false, ...options } })
