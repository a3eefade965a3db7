/**
 * More requests to keys with more credit left, so that all run dry together and the pool keeps its width to the end.
 *
 * Credit is read now and then and spent all the time. Taking the richest by such readings sends everything to one key
 * until the next one (Mitzenmacher, "How Useful Is Old Information?", IEEE TPDS 2000); drawing in proportion does not,
 * not even with several processes that do not see each other's requests.
 */
import type * as Layer from "effect/Layer"
import * as Effect from "effect/Effect"
import type { Candidate } from "@evenkeel/core/Candidate"
import * as Selector from "@evenkeel/core/Selector"

/**
 * Options of the selector.
 */
export interface Options {
  /**
   * - `"proportional"`, the default: at random, each key in proportion to its credit times its weight. In a simulation
   *   that drains four keys the spent parts come out equal, with one process as with four
   * - `"richest"`: always the key with the most credit. It evens out differences soonest, and fits one process: with
   *   four of them it overran caps where `"proportional"` overran none
   * - `"expiring"`: first the keys whose cap is filled up again soonest, since what is left of it by then is lost; among
   *   those of one reset as `"proportional"`. Keys whose cap never resets, or that have none, come last
   */
  readonly mode?: "proportional" | "richest" | "expiring" | undefined
  /**
   * USD that `"proportional"` and `"expiring"` leave on each key: a key counts with what it has above that. From 0 up, finite; default
   * 0, because the pool already takes what requests in flight may cost off the credit.
   */
  readonly reserve?: number | undefined
}

/**
 * Makes the selector; throws a `RangeError` on an option out of range.
 *
 * **When to use**
 *
 * When keys have caps or balances of their own, and something reads them (`KeyPool.credit`).
 *
 * **Details**
 *
 * `Candidate.credit` is the last reading less what was spent or held since, so each pick sees the ones before it. Credit
 * 100, 60 and 40 at equal weights gives shares of 50, 30 and 20 %.
 *
 * A key whose credit is uncapped, or not known, counts as rich as the richest known key: no more, since an infinite
 * share would starve all others, and no less, since the usual cause is a key without a cap, and the capped ones are
 * to be spared. If it was a wrong guess, the first refusal benches the key. When no credit is known, weights decide.
 *
 * When no key has anything above its reserve, the richest serves.
 *
 * **Gotchas**
 *
 * The reserve is a preference. To refuse requests rather than touch it, add `Filter.creditAtLeast` to the filters of the
 * balancer.
 *
 * `"richest"` looks at neither weights nor the reserve. Keys of equal credit are equally likely.
 *
 * **Example**
 *
 * ```ts
 * import { CreditAware } from "@evenkeel/credit-aware"
 *
 * CreditAware.make({ reserve: 1 }).name // => "credit-aware"
 * ```
 */
export const make = (options: Options = {}): Selector.Selector => {
  const { mode = "proportional", reserve = 0 } = options
  if (!(Number.isFinite(reserve) && reserve >= 0)) {
    throw new RangeError(
      `CreditAware: reserve must be a finite number of USD from 0 up, and is ${String(reserve)}`
    )
  }
  switch (mode) {
    case "proportional":
      return {
        name,
        make: Effect.succeed({ pick: proportional(reserve), rank: byShare(reserve), enough: 64 })
      }
    case "richest":
      return { name, make: Effect.succeed({ pick: richest, rank: byCredit }) }
    case "expiring":
      return { name, make: Effect.succeed({ pick: expiring(reserve), rank: byReset(reserve) }) }
    default:
      throw new RangeError(
        `CreditAware: mode must be "proportional", "richest" or "expiring", and is ${String(mode)}`
      )
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
 * import { CreditAware } from "@evenkeel/credit-aware"
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provide(CreditAware.layer({ mode: "richest" })),
 *   Layer.provideMerge(
 *     KeyPool.layer({
 *       keys: [
 *         { id: "poor", secret: "sk-or-v1-111111" },
 *         { id: "rich", secret: "sk-or-v1-222222" }
 *       ]
 *     })
 *   )
 * )
 * const served = Effect.gen(function* () {
 *   const pool = yield* KeyPool.KeyPool
 *   const requestedAt = yield* Clock.currentTimeMillis
 *   yield* pool.credit("poor", { remaining: 2, requestedAt })
 *   yield* pool.credit("rich", { remaining: 50, requestedAt })
 *   const balancer = yield* Balancer.Balancer
 *   return yield* balancer.use((lease) => Effect.succeed(lease.key.id))
 * })
 *
 * await Effect.runPromise(Effect.provide(served, live)) // => "rich"
 * ```
 */
export const layer = (options?: Options): Layer.Layer<Selector.Selector> => Selector.layer(make(options))

const name = "credit-aware"

// An infinite reading says "uncapped" too, and one infinite share would make a NaN of the total.
const isKnown = (credit: number | undefined): credit is number => credit !== undefined && credit < Infinity

const proportional = (reserve: number): Selector.Picker["pick"] => {
  // A balance may be overdrawn; a negative share would take from the others.
  const headroom = (credit: number) => (credit > reserve ? credit - reserve : 0)
  return (candidates, context) => {
    let total = 0
    let most = 0
    let unknown = 0
    for (const { credit, weight } of candidates) {
      if (!isKnown(credit)) unknown += weight
      else {
        total += headroom(credit) * weight
        most = Math.max(most, headroom(credit))
      }
    }
    const asMost = most > 0 ? most : 1
    total += unknown * asMost
    if (total === 0) return richest(candidates, context)
    let left = context.random() * total
    let chosen: Candidate = candidates[0]
    for (const candidate of candidates) {
      const { credit, weight } = candidate
      const share = weight * (isKnown(credit) ? headroom(credit) : asMost)
      if (share === 0) continue
      // Kept as the answer when rounding leaves a rest behind the last one.
      chosen = candidate
      if (left < share) break
      left -= share
    }
    return chosen
  }
}

/** When what is left on the key is lost; never for one that has nothing to lose. */
const expiry = ({ credit, creditResetsAt }: Candidate, reserve: number, nowMillis: number): number =>
  isKnown(credit) && credit > reserve && creditResetsAt !== undefined && creditResetsAt > nowMillis
    ? creditResetsAt
    : Infinity

const expiring = (reserve: number): Selector.Picker["pick"] => {
  const within = proportional(reserve)
  return (candidates, context) => {
    let soonest = Infinity
    for (const candidate of candidates)
      soonest = Math.min(soonest, expiry(candidate, reserve, context.nowMillis))
    const [first, ...rest] = candidates.filter(
      (candidate) => expiry(candidate, reserve, context.nowMillis) === soonest
    )
    return first === undefined ? within(candidates, context) : within([first, ...rest], context)
  }
}

const byReset =
  (reserve: number): NonNullable<Selector.Picker["rank"]> =>
  (candidates, context) => {
    const [first, ...rest] = byShare(reserve)(candidates, context)
    const soonest = Selector.rankBy((candidate) => expiry(candidate, reserve, context.nowMillis))
    return first === undefined ? [] : soonest([first, ...rest], context)
  }

/** What is not known counts as the most that is. */
const mostKnown = (candidates: ReadonlyArray<Candidate>): number =>
  candidates.reduce((most, { credit }) => (isKnown(credit) ? Math.max(most, credit) : most), 0)

const byCredit: NonNullable<Selector.Picker["rank"]> = (candidates, context) => {
  const most = mostKnown(candidates)
  return Selector.rankBy(({ credit }) => -(isKnown(credit) ? credit : most))(candidates, context)
}

const byShare =
  (reserve: number): NonNullable<Selector.Picker["rank"]> =>
  (candidates, context) => {
    const most = mostKnown(candidates)
    const headroom = (credit: number | undefined) => Math.max(0, (isKnown(credit) ? credit : most) - reserve)
    const share = ({ credit, weight }: Candidate) => -headroom(credit) * weight
    return Selector.rankBy(share)(candidates, context)
  }

const richest: Selector.Picker["pick"] = (candidates, context) => {
  let most = -Infinity
  let unknown = false
  for (const { credit } of candidates) {
    if (!isKnown(credit)) unknown = true
    else if (credit > most) most = credit
  }
  // Where all that is known is spent, not to know is better.
  if (unknown && most <= 0) most = 1
  let chosen = candidates[0]
  let tied = 0
  for (const candidate of candidates) {
    if ((candidate.credit ?? most) >= most && context.random() * ++tied < 1) chosen = candidate
  }
  return chosen
}
