/**
 * The options of a scope, validated, with their defaults.
 */
import type { Outcome } from "@evenkeel/core"
import type * as Duration from "effect/Duration"
import { any, consecutive, failureRate, withinWindow, type TripPolicy } from "../TripPolicy.ts"
import { openMillisOf, type Cooldown, type OpenMillis } from "./cooldown.ts"
import { millisOf } from "./ranges.ts"

/**
 * Options of the circuits of one scope.
 */
export interface ScopeOptions {
  /** When a circuit opens. */
  readonly trip?: TripPolicy | undefined
  /** How long it is open before the probe. A Retry-After lengthens the opening that it causes, up to an hour. */
  readonly cooldown?: Cooldown | undefined
  /** Which faults of the scope count; the others teach nothing, as an `Ignored` does. Default: `countsDefault`. */
  readonly counts?: ((outcome: Outcome.Faulted) => boolean) | undefined
  /**
   * How long a circuit that has closed is given little at first: one request at a time, and one more with each success.
   * Finite, greater than 0; `false` for none. Default 30 seconds: half of OpenRouter's rate limit window.
   */
  readonly slowStart?: Duration.Input | false | undefined
}

/**
 * Options of the circuit breaker. `false`: faults never open a circuit of the scope; a hand still can.
 */
export interface Options {
  /** Default: 3 failures in 60 s; 1 min, doubled up to 10 min. */
  readonly key?: ScopeOptions | false | undefined
  /** Default: that of `account`. */
  readonly workspace?: ScopeOptions | false | undefined
  /** Default: 5 failures in a row, or half of at least 10 in 30 s; 5 s, doubled up to 5 min. */
  readonly account?: ScopeOptions | false | undefined
  /** Default: 10 failures in a row, or 80 % of at least 20 in 30 s; 5 s, doubled up to 30 s. */
  readonly upstream?: ScopeOptions | false | undefined
  /** Default: that of `upstream`. */
  readonly host?: ScopeOptions | false | undefined
}

/** What all circuits of a scope go by. */
export interface Settings {
  readonly trip: TripPolicy
  readonly counts: (outcome: Outcome.Faulted) => boolean
  readonly openMillis: OpenMillis
  /** Milliseconds of slow start; 0 for none. */
  readonly slowStart: number
}

/**
 * The faults that count unless `counts` says otherwise: all but those of credit, and those for some upstreams only.
 *
 * **Details**
 *
 * `exhausted` and `insufficient` are not failures but facts, with a time or a reading that ends them: the pool benches
 * for them, and a circuit would only keep the key out for longer. And an account whose free models are throttled
 * (`within: ":free"`) still serves all others.
 *
 * **Example**
 *
 * ```ts
 * import { CircuitBreaker } from "@evenkeel/circuit-breaker"
 * import { Outcome } from "@evenkeel/core"
 *
 * CircuitBreaker.countsDefault(Outcome.faulted({ scope: "key", reason: "unavailable" })) // => true
 * CircuitBreaker.countsDefault(Outcome.faulted({ scope: "key", reason: "exhausted" })) // => false
 * CircuitBreaker.countsDefault(Outcome.faulted({ scope: "account", reason: "throttled", within: ":free" })) // => false
 * ```
 */
export const countsDefault = (outcome: Outcome.Faulted): boolean =>
  outcome.reason !== "exhausted" && outcome.reason !== "insufficient" && outcome.within === undefined

interface Defaults {
  readonly trip: TripPolicy
  readonly cooldown: Cooldown
}

/**
 * A key that fails at once stays below 2 % of the traffic, and one that fails once in a while is forgiven. The minute is
 * OpenRouter's rate limit window; beyond ten a key that has been mended would be missed.
 */
const ofKey: Defaults = {
  trip: withinWindow({ failures: 3, window: "1 minute" }),
  cooldown: { base: "1 minute", max: "10 minutes" }
}

/** Finagle's failure accrual, with a milder rate: 5 in a row, 30 s of window, and equal jitter from 5 s to 300 s. */
const ofOwner: Defaults = {
  trip: any(consecutive(5), failureRate({ threshold: 0.5, window: "30 seconds", minimumCalls: 10 })),
  cooldown: { base: "5 seconds", max: "5 minutes" }
}

/**
 * What is down is noticed within 10 requests, and what fails 30 % of the time is left alone: ten in a row are then a
 * matter of 1 in 170,000, and 16 of 20 of 1 in 180,000. While it is open every key is out, so it opens for moments
 * only, as Polly's does (5 s), and an outage that has ended is noticed within half a minute.
 */
const ofAll: Defaults = {
  trip: any(consecutive(10), failureRate({ threshold: 0.8, window: "30 seconds", minimumCalls: 20 })),
  cooldown: { base: "5 seconds", max: "30 seconds" }
}

const defaults: Readonly<Record<Outcome.FaultScope, Defaults>> = {
  key: ofKey,
  workspace: ofOwner,
  account: ofOwner,
  upstream: ofAll,
  host: ofAll
}

const never: TripPolicy = {
  name: "never",
  make: () => ({ success: () => {}, failure: () => undefined, reset: () => {} })
}

/** Validates the options of a scope; errors name them by the scope. */
export const settingsOf = (scope: Outcome.FaultScope, given: Options): Settings => {
  const options = given[scope]
  const { cooldown = defaults[scope].cooldown, slowStart = "30 seconds", trip, counts } = options || {}
  return {
    trip: options === false ? never : (trip ?? defaults[scope].trip),
    counts: options === false ? () => false : (counts ?? countsDefault),
    openMillis: openMillisOf(`${scope}.cooldown`, cooldown),
    slowStart: slowStart === false ? 0 : millisOf(`${scope}.slowStart`, slowStart)
  }
}
