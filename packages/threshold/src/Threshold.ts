/**
 * One key after the other: a key serves until its credit is below a floor, then the next takes its place. (HAProxy's
 * `balance first` does this with connections; here it is done with credit.)
 */
import type * as Layer from "effect/Layer"
import * as Effect from "effect/Effect"
import type { Candidate } from "@evenkeel/core/Candidate"
import * as Filter from "@evenkeel/core/Filter"
import * as Selector from "@evenkeel/core/Selector"

/**
 * Options of the selector.
 */
export interface Options {
  /**
   * USD below which a key is left for the next. From 0 up, finite; default 10, enough for what is in flight on one key
   * when the credit was read a minute ago.
   */
  readonly floor?: number | undefined
  /**
   * What happens when every key that could serve is below the floor.
   *
   * - `"fail"`, the default: the request fails with `NoEligibleKey`, reason `below-floor`, because a floor that gives way
   *   unasked is none
   * - `"richest"`: the key with the most credit serves, down to nothing
   */
  readonly whenAllBelow?: "fail" | "richest" | undefined
}

/**
 * Makes the selector; throws a `RangeError` on an option out of range.
 *
 * **When to use**
 *
 * To use up keys in order (the prepaid one before the company's), and to keep requests on one key, whose prompt cache
 * they share, for as long as it lasts.
 *
 * **Details**
 *
 * The next key is the first in the order of the pool, of the lowest tier, whose credit is at or above the floor. A key
 * that was left comes back when its credit is at or above the floor again, but only once the current one is below: a
 * top-up alone moves nothing. Uncapped or unknown credit counts as above the floor.
 *
 * A current key that cannot serve for another reason (saturated, benched, draining, already tried by the request) stays
 * the current one. The next key stands in for it, request by request, and the current one goes on when it can serve
 * again: it still has credit to be used up.
 *
 * **Gotchas**
 *
 * Credit already has the estimates of requests in flight taken off, so the current key may be left a little above the
 * floor; it is not taken back when they turn out cheaper, which would have it flutter about the floor.
 *
 * All load is on one key: give keys a `maxInFlight`, and the surplus flows to the next.
 *
 * **Example**
 *
 * ```ts
 * import { Threshold } from "@evenkeel/threshold"
 *
 * Threshold.make({ floor: 5 }).name // => "threshold"
 * ```
 */
export const make = (options: Options = {}): Selector.Selector => {
  const { floor = 10, whenAllBelow = "fail" } = options
  if (!(Number.isFinite(floor) && floor >= 0)) {
    throw new RangeError(`Threshold: floor must be a finite number of USD from 0 up, and is ${String(floor)}`)
  }
  if (whenAllBelow !== "fail" && whenAllBelow !== "richest") {
    throw new RangeError(
      `Threshold: whenAllBelow must be "fail" or "richest", and is ${String(whenAllBelow)}`
    )
  }
  return {
    name: "threshold",
    ...(whenAllBelow === "fail" ? { eligible: Filter.creditAtLeast(floor) } : {}),
    make: Effect.sync(() => inTurn(floor))
  }
}

/**
 * The layer of the selector. Like `make` it throws at once on an option out of range.
 *
 * **Example**
 *
 * ```ts
 * import { Clock, Effect, Layer } from "effect"
 * import { Balancer, KeyPool } from "@evenkeel/core"
 * import { Threshold } from "@evenkeel/threshold"
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provide(Threshold.layer({ floor: 10 })),
 *   Layer.provideMerge(
 *     KeyPool.layer({
 *       keys: [
 *         { id: "first", secret: "sk-or-v1-111111" },
 *         { id: "second", secret: "sk-or-v1-222222" }
 *       ]
 *     })
 *   )
 * )
 * const served = Effect.gen(function* () {
 *   const pool = yield* KeyPool.KeyPool
 *   const requestedAt = yield* Clock.currentTimeMillis
 *   const balancer = yield* Balancer.Balancer
 *   const use = balancer.use((lease) => Effect.succeed(lease.key.id))
 *   const before = yield* use
 *   yield* pool.credit("first", { remaining: 9.99, requestedAt })
 *   return [before, yield* use]
 * })
 *
 * await Effect.runPromise(Effect.provide(served, live)) // => ["first", "second"]
 * ```
 */
export const layer = (options?: Options): Layer.Layer<Selector.Selector> => Selector.layer(make(options))

const inTurn = (floor: number): Selector.Picker => {
  const isBelow = (candidate: Candidate) => candidate.credit !== undefined && candidate.credit < floor
  // The view of a key is live, so this one tells the credit of the current key also when it is not offered.
  let current: Candidate | undefined
  return {
    pick: (candidates) => {
      let next: Candidate | undefined
      let richest: Candidate = candidates[0]
      for (const candidate of candidates) {
        if (isBelow(candidate)) {
          if (candidate.credit! > (richest.credit ?? Infinity)) richest = candidate
        } else if (candidate.id === current?.id) return candidate
        else if (next === undefined || candidate.tier < next.tier) next = candidate
      }
      // The filter leaves nobody below the floor, unless `whenAllBelow` took it away.
      if (next === undefined) return richest
      if (current === undefined || isBelow(current)) current = next
      return next
    },
    rank: Selector.rankBy((candidate) => {
      // Those below the floor come last, the richest of them first.
      if (isBelow(candidate)) return Number.MAX_SAFE_INTEGER - candidate.credit!
      return candidate.id === current?.id ? -1 : candidate.tier
    }),
    forget: (id) => {
      if (current?.id === id) current = undefined
    }
  }
}
