/**
 * Selectors are *preferences*: they choose one of the keys that can serve, and never refuse.
 *
 * The seam is cut at a synchronous, total pick over a non-empty set, so that filtering, picking and counting happen in
 * one step that no other fiber can enter. Herding on one key between the choice and the count, check-then-act races and
 * overrun caps cannot be written. Making a picker may be effectful (a cursor, a subscription); picking is not.
 *
 * Combinators (`prefer`, `tiered`, `affinity`, …) make selectors of selectors: total as these are, they compose without limit.
 * What may be overlooked is a preference, and so `unlessFewerThan`, although about a filter, is one of them.
 */
import type * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Candidate, PickContext } from "./Candidate.ts"
import type { Filter } from "./Filter.ts"
import type { Outcome } from "./Outcome.ts"

export { affinity, type AffinityOptions } from "./selector/affinity.ts"
export { prefer } from "./selector/prefer.ts"
export { shadow, type Comparison } from "./selector/shadow.ts"
export { slowStart } from "./selector/slowStart.ts"
export { split, type Arm } from "./selector/split.ts"
export { sticky } from "./selector/sticky.ts"
export { switchable, type Switchable } from "./selector/switchable.ts"
export { tiered, type TieredOptions } from "./selector/tiered.ts"
export { unlessFewerThan, type Enough } from "./selector/unlessFewerThan.ts"
export { weightedBy } from "./selector/weightedBy.ts"

/**
 * When a use settled and how long it took, in milliseconds.
 */
export interface Timing {
  readonly nowMillis: number
  readonly elapsedMillis: number
  /** Milliseconds to the answer: of a stream to its first content, and else all of it. */
  readonly answerMillis: number
}

/**
 * The working part of a selector.
 */
export interface Picker {
  /**
   * Chooses one of `candidates`. Total and synchronous; it must return one of the objects it was given.
   */
  readonly pick: (candidates: Arr.NonEmptyReadonlyArray<Candidate>, context: PickContext) => Candidate
  /**
   * How many of the keys that can serve are enough to choose from: a whole number, at least 2. A pool with more keys than that
   * looks for so many, each time from one key further on, and offers these; so what a request costs does not grow with the
   * pool. Default: all. Combinators are always offered all, for what they look for may be anywhere.
   */
  readonly enough?: number
  /**
   * The candidates in the order in which it would prefer them now, for `explain`. It changes nothing and draws no random
   * number; strategies without an order leave it out, or give an empty one.
   */
  readonly rank?: (
    candidates: Arr.NonEmptyReadonlyArray<Candidate>,
    context: PickContext
  ) => ReadonlyArray<Candidate>
  /**
   * Told once for each pick how the use ended. The counts of the pool are already settled by then.
   *
   * `context` is the very object that the pick was given, so that pickers which share a balancer can tell whose it was.
   */
  readonly settled?: (candidate: Candidate, outcome: Outcome, timing: Timing, context: PickContext) => void
  /**
   * Told that a key has left the pool, so that state kept by key id stays bounded.
   */
  readonly forget?: (id: string) => void
}

/**
 * A strategy: a name, facts of its own if it has any, and how to make its picker.
 */
export interface Selector {
  readonly name: string
  /** Facts of this strategy's own, such as the floor of `threshold`. They join the pool's filters. */
  readonly eligible?: Filter
  /** Makes the picker once, for the scope of the balancer. */
  readonly make: Effect.Effect<Picker, never, Scope.Scope>
}

/**
 * The selector that the balancer uses. Provide it with a layer: `RoundRobin.layer()`, or `Selector.layer(mine)`.
 */
export const Selector: Context.Service<Selector, Selector> = Context.Service<Selector, Selector>(
  "@evenkeel/core/Selector"
)

/**
 * Makes a selector from a stateless pick function.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 *
 * const first = Selector.make("first", (candidates) => candidates[0])
 * first.name // => "first"
 * ```
 */
export const make = (
  name: string,
  pick: Picker["pick"],
  rank?: Picker["rank"],
  enough?: number
): Selector => ({
  name,
  make: Effect.succeed({
    pick,
    ...(rank === undefined ? {} : { rank }),
    ...(enough === undefined ? {} : { enough })
  })
})

/**
 * Ranks candidates by a metric, the least first; equals keep their order.
 */
export const rankBy =
  (metric: (candidate: Candidate, context: PickContext) => number): NonNullable<Picker["rank"]> =>
  (candidates, context) => {
    const values = new Map(candidates.map((one) => [one, orGreatest(metric(one, context))] as const))
    // Equal infinities have no difference.
    return candidates.toSorted((a, b) => {
      const [x, y] = [values.get(a)!, values.get(b)!]
      return x === y ? 0 : x - y
    })
  }

/**
 * The layer of a selector. Swapping a strategy is swapping this line.
 */
export const layer = (selector: Selector): Layer.Layer<Selector> => Layer.succeed(Selector, selector)

/**
 * The least of all by `metric`; ties are broken evenly by reservoir sampling, so no key gains from its position.
 *
 * **When to use**
 *
 * Up to about a hundred keys owned by one process: a full scan of exact counts is better than sampling, and cheaper
 * than the random numbers that sampling needs up to about 16 keys.
 *
 * **Gotchas**
 *
 * A `NaN` metric counts as the greatest.
 */
export const leastBy = (
  metric: (candidate: Candidate, context: PickContext) => number,
  name = "leastBy"
): Selector => {
  const pick: Picker["pick"] = (candidates, context) => {
    let best: Candidate = candidates[0]
    let least = orGreatest(metric(best, context))
    let ties = 1
    for (let i = 1; i < candidates.length; i++) {
      const candidate = candidates[i]!
      const value = orGreatest(metric(candidate, context))
      if (value < least) {
        best = candidate
        least = value
        ties = 1
      } else if (value === least && context.random() * ++ties < 1) {
        best = candidate
      }
    }
    return best
  }
  return make(name, pick, rankBy(metric))
}

/**
 * The lesser of two distinct candidates drawn at random (Mitzenmacher, "The Power of Two Choices in Randomized Load
 * Balancing", IEEE TPDS 2001).
 *
 * **When to use**
 *
 * When the metric is stale or shared between processes, where the least of all draws a herd, and for pools of hundreds
 * of keys: its cost does not grow with their number.
 */
export const powerOfTwo = (
  metric: (candidate: Candidate, context: PickContext) => number,
  name = "powerOfTwo"
): Selector => {
  const pick: Picker["pick"] = (candidates, context) => {
    const size = candidates.length
    if (size === 1) return candidates[0]
    const i = Math.floor(context.random() * size)
    let j = Math.floor(context.random() * (size - 1))
    if (j >= i) j++
    const a = candidates[i]!
    const b = candidates[j]!
    return orGreatest(metric(b, context)) < orGreatest(metric(a, context)) ? b : a
  }
  // Two are drawn from so many, and the next request has others before it.
  return make(name, pick, rankBy(metric), 64)
}

/**
 * At random, each in proportion to its weight.
 *
 * **Details**
 *
 * A weight of `undefined` means unknown and counts as the mean of the known ones. Weights below 0, `NaN` and infinite
 * ones count as 0. When no weight is left, all are equally likely: a selector never refuses.
 */
export const proportional = (
  weight: (candidate: Candidate, context: PickContext) => number | undefined,
  name = "proportional"
): Selector => {
  const pick: Picker["pick"] = (candidates, context) => {
    const size = candidates.length
    if (size === 1) return candidates[0]
    const weights: Array<number> = []
    let total = 0
    let unknown = 0
    for (const candidate of candidates) {
      const value = weight(candidate, context)
      if (value === undefined) {
        unknown++
        weights.push(-1)
      } else {
        const usable = value > 0 && value < Infinity ? value : 0
        total += usable
        weights.push(usable)
      }
    }
    const mean = unknown === size ? 1 : total / (size - unknown)
    let left = context.random() * (total + unknown * mean)
    let chosen: Candidate | undefined
    for (let i = 0; i < size; i++) {
      const value = weights[i]! < 0 ? mean : weights[i]!
      if (value === 0) continue
      // Kept as the answer when rounding leaves a rest behind the last one.
      chosen = candidates[i]!
      if (left < value) return chosen
      left -= value
    }
    return chosen ?? candidates[Math.floor(context.random() * size)]!
  }
  // What is not known counts as the mean, and so stands in the middle; the likeliest comes first.
  const rank: NonNullable<Picker["rank"]> = (candidates, context) => {
    const weights = candidates.map((one) => weight(one, context))
    const known = weights.flatMap((value) => (value === undefined ? [] : [value > 0 ? value : 0]))
    const mean = known.length === 0 ? 1 : known.reduce((sum, value) => sum + value, 0) / known.length
    return rankBy((candidate) => -(weight(candidate, context) ?? mean))(candidates, context)
  }
  return make(name, pick, rank)
}

/**
 * At random, all equally likely.
 */
export const random: Selector = make(
  "random",
  (candidates, context) => candidates[Math.floor(context.random() * candidates.length)]!,
  undefined,
  64
)

// A metric that is not a number must not win every comparison by making them all false.
const orGreatest = (value: number): number => (Number.isNaN(value) ? Infinity : value)
