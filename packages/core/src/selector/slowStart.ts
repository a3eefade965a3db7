import * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import type { Selector } from "../Selector.ts"
import type { PerKey } from "../internal/selectors/perKey.ts"
import { reweighed, type Reweighed, type Weighing } from "../internal/selectors/reweighed.ts"

/**
 * Gives a key that is new or has come back a tenth of its weight at first, and more with time, up to all of it after
 * `window`: weight · max(10 %, t / window), as Envoy's slow start at an aggression of 1.
 *
 * **When to use**
 *
 * When a key that is new or back looks idle, and a strategy that goes by load would send it everything at once. It is a
 * preference: where no other key can serve, it gets all. The pool has a hard ramp besides (`KeyPool` option `slowStart`), which
 * refuses more than a few requests at a time after a bench. That protects what has just recovered whatever the strategy;
 * this one shifts the shares. They can be used together.
 *
 * **Details**
 *
 * A key is new when it is offered for the first time; those of the first pick are not, for there all are. It has come back
 * when it is offered after a fault of its own or of its owner, or at once, where the pool does not bench for the fault.
 * Faults of an upstream or the host, and of some models only, are no fault of the key.
 *
 * Throws a `RangeError` when the window is no finite duration above 0.
 *
 * **Gotchas**
 *
 * The inner selector must respect weights. Faults that other processes met are not seen here.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 * import { pipe } from "effect"
 *
 * const selector = pipe(
 *   Selector.leastBy((candidate) => (candidate.inFlight + 1) / candidate.weight, "least-load"),
 *   Selector.slowStart("30 seconds")
 * )
 * selector.name // => "slowStart(least-load)"
 * ```
 */
export const slowStart: {
  (window: Duration.Input): (inner: Selector) => Selector
  (inner: Selector, window: Duration.Input): Selector
} = dual(2, (inner: Selector, window: Duration.Input): Selector => {
  const duration = Duration.fromInput(window)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : NaN
  if (!(millis > 0 && millis < Infinity)) {
    throw new RangeError(
      `Selector.slowStart: window must be a finite duration above 0, and is ${String(window)}`
    )
  }
  return reweighed(inner, "slowStart", (views) => ramps(views, millis))
})

/** Envoy's `min_weight_percent`. */
const least = 0.1

const ramps = (views: PerKey<Reweighed>, millis: number): Weighing => {
  let begun = false
  return {
    offered: (offered, { nowMillis }) => {
      // Those of the first pick have nobody to be new beside.
      for (const view of offered) view.since ??= begun ? nowMillis : -Infinity
      begun = true
    },
    factor: ({ since }, { nowMillis }) => {
      // Not offered yet: it would begin to grow with the next pick.
      if (since === undefined) return least
      return Math.min(1, Math.max(least, (nowMillis - since) / millis))
    },
    settled: ({ account, id, workspace }, outcome) => {
      if (outcome._tag !== "Faulted" || outcome.within !== undefined) return
      const { scope } = outcome
      if (scope === "upstream" || scope === "host") return
      for (const view of views.values()) {
        const faulted =
          view.id === id ||
          (scope === "account" && account !== undefined && view.account === account) ||
          (scope === "workspace" && workspace !== undefined && view.workspace === workspace)
        if (faulted) view.since = undefined
      }
    }
  }
}
