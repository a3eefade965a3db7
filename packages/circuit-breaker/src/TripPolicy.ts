/**
 * When a circuit trips: after failures in a row, at a rate of failures, or after a number of failures within a time.
 *
 * A policy sees times and nothing else, so it can be tested with numbers, and one of your own is a record of three
 * functions. Time comes from the caller. A window that is moved by calls, one step each, still holds the failures of
 * last month after an idle night; the windows here are moved by the time itself.
 *
 * Sources: Finagle's `FailureAccrualPolicy` (consecutive; `orElse`), linkerd's `success_rate` (buckets by elapsed time),
 * Polly's advanced circuit breaker (rate, least number of calls), nginx's `max_fails` and `fail_timeout`.
 */
import type * as Duration from "effect/Duration"
import { fraction, millisOf, whole } from "./internal/ranges.ts"

/**
 * What one circuit has been taught, as its policy remembers it.
 */
export interface Trip {
  readonly success: (nowMillis: number) => void
  /** Takes a failure, and answers with the name of the policy that it trips; `undefined` if it trips none. */
  readonly failure: (nowMillis: number) => string | undefined
  /** Forgets everything: the circuit has closed. */
  readonly reset: () => void
}

/**
 * Decides when a circuit opens. Each circuit gets a memory of its own from `make`.
 *
 * **Details**
 *
 * It hears of the outcomes of a closed circuit only, from the first fault on; the probe of a half-open one decides by
 * itself.
 */
export interface TripPolicy {
  readonly name: string
  readonly make: () => Trip
}

/**
 * Trips after `failures` in a row.
 *
 * **When to use**
 *
 * For what fails always or never, and where a single success proves it well. What fails every other time is never left
 * alone.
 *
 * **Details**
 *
 * `failures` is a whole number from 1 up. The order is that of completion.
 *
 * **Example**
 *
 * ```ts
 * import { CircuitBreaker } from "@evenkeel/circuit-breaker"
 *
 * const trip = CircuitBreaker.consecutive(2).make()
 * trip.failure(0) // => undefined
 * trip.success(1)
 * trip.failure(2) // => undefined
 * trip.failure(3) // => "consecutive(2)"
 * ```
 */
export const consecutive = (failures: number): TripPolicy => {
  whole("failures", failures)
  const name = `consecutive(${failures})`
  return {
    name,
    make: () => {
      let row = 0
      return {
        success: () => void (row = 0),
        failure: () => (++row >= failures ? name : undefined),
        reset: () => void (row = 0)
      }
    }
  }
}

/**
 * Trips when the last `failures` failures fall within `window`, whatever succeeded in between.
 *
 * **When to use**
 *
 * For keys: it sees one that fails now and then, needs no least number of calls, and forgets by itself.
 *
 * **Details**
 *
 * `failures` is a whole number from 1 up; `window` is finite and greater than 0. The window is exact: a failure leaves it
 * `window` after it happened.
 *
 * **Example**
 *
 * ```ts
 * import { CircuitBreaker } from "@evenkeel/circuit-breaker"
 *
 * const trip = CircuitBreaker.withinWindow({ failures: 2, window: "1 second" }).make()
 * trip.failure(0) // => undefined
 * trip.failure(1000) // => undefined
 * trip.failure(1999) // => "withinWindow(2 in 1000 ms)"
 * ```
 */
export const withinWindow = (options: {
  readonly failures: number
  readonly window: Duration.Input
}): TripPolicy => {
  const failures = whole("failures", options.failures)
  const window = millisOf("window", options.window)
  const name = `withinWindow(${failures} in ${window} ms)`
  return {
    name,
    make: () => {
      /** The times of the last failures, a ring; what has not happened is infinitely long ago. */
      const times = Array.from({ length: failures }, () => -Infinity)
      let next = 0
      return {
        success: () => {},
        failure: (nowMillis) => {
          times[next] = nowMillis
          next = (next + 1) % failures
          // The place that comes next holds the oldest of them.
          return nowMillis - times[next]! < window ? name : undefined
        },
        reset: () => void times.fill(-Infinity)
      }
    }
  }
}

/**
 * Trips when the share of failures within the last `window` reaches `threshold`.
 *
 * **When to use**
 *
 * For what is busy: some failures are normal there, and a count would say more about the traffic than about them.
 *
 * **Details**
 *
 * - `threshold`: greater than 0, up to 1
 * - `window`: finite, greater than 0
 * - `minimumCalls`: a whole number from 1 up; below it no rate is worth believing
 * - `buckets`: a whole number from 1 up, default 10 as in Polly and linkerd. The window moves by one bucket at a time: it
 *   never holds anything older than `window`, and always all of the last `window` less one bucket
 *
 * **Gotchas**
 *
 * Only a failure trips: a success never makes things worse, even when it completes the least number of calls. And choose
 * `minimumCalls` below what it gets in one window, or it never trips. Requests that fail at once complete before those that
 * succeed slowly: a burst looks worse at first than it is.
 *
 * **Example**
 *
 * ```ts
 * import { CircuitBreaker } from "@evenkeel/circuit-breaker"
 *
 * const trip = CircuitBreaker.failureRate({ threshold: 0.5, window: "10 seconds", minimumCalls: 4 }).make()
 * trip.success(0)
 * trip.success(0)
 * trip.failure(1000) // => undefined
 * trip.failure(2000) // => "failureRate(0.5 of 4 in 10000 ms)"
 * ```
 */
export const failureRate = (options: {
  readonly threshold: number
  readonly window: Duration.Input
  readonly minimumCalls: number
  readonly buckets?: number | undefined
}): TripPolicy => {
  const threshold = fraction("threshold", options.threshold)
  const window = millisOf("window", options.window)
  const minimumCalls = whole("minimumCalls", options.minimumCalls)
  const size = whole("buckets", options.buckets ?? 10)
  const name = `failureRate(${threshold} of ${minimumCalls} in ${window} ms)`
  return {
    name,
    make: () => {
      const buckets = Array.from({ length: size }, () => ({ at: -Infinity, calls: 0, failures: 0 }))
      let now = -Infinity
      const bucket = (nowMillis: number) => {
        // A clock that was set back must not bring old buckets back.
        now = Math.max(now, Math.floor((nowMillis * size) / window))
        const current = buckets[((now % size) + size) % size]!
        // Each bucket says which time it holds, so nothing has to be turned however long nothing happened.
        if (current.at !== now) {
          current.at = now
          current.calls = 0
          current.failures = 0
        }
        current.calls++
        return current
      }
      return {
        success: (nowMillis) => void bucket(nowMillis),
        failure: (nowMillis) => {
          bucket(nowMillis).failures++
          let calls = 0
          let failures = 0
          for (const one of buckets) {
            if (one.at <= now - size) continue
            calls += one.calls
            failures += one.failures
          }
          return calls >= minimumCalls && failures / calls >= threshold ? name : undefined
        },
        reset: () => {
          for (const one of buckets) one.at = -Infinity
        }
      }
    }
  }
}

/**
 * Trips when one of the policies does; the first of them gives the name.
 *
 * **Example**
 *
 * ```ts
 * import { CircuitBreaker } from "@evenkeel/circuit-breaker"
 *
 * const policy = CircuitBreaker.any(
 *   CircuitBreaker.consecutive(5),
 *   CircuitBreaker.failureRate({ threshold: 0.2, window: "1 minute", minimumCalls: 20 })
 * )
 * policy.name // => "any(consecutive(5), failureRate(0.2 of 20 in 60000 ms))"
 * ```
 */
export const any = (...policies: readonly [TripPolicy, ...ReadonlyArray<TripPolicy>]): TripPolicy => ({
  name: `any(${policies.map((policy) => policy.name).join(", ")})`,
  make: () => {
    const trips = policies.map((policy) => policy.make())
    return {
      success: (nowMillis) => {
        for (const trip of trips) trip.success(nowMillis)
      },
      failure: (nowMillis) => {
        let tripped: string | undefined
        // All of them hear of it, also those behind one that trips.
        for (const trip of trips) {
          const name = trip.failure(nowMillis)
          tripped ??= name
        }
        return tripped
      },
      reset: () => {
        for (const trip of trips) trip.reset()
      }
    }
  }
})
