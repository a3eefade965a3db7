import { dual } from "effect/Function"
import type { Selector } from "../Selector.ts"
import { isSelector, narrow, narrowing, type Candidates } from "../internal/selectors/around.ts"

/**
 * Options of `tiered`.
 */
export interface TieredOptions {
  /**
   * When the next tier joins, although the better one can serve. Default: never.
   *
   * - `share`: at so much of the requests that its keys may have in flight (`maxInFlight`), above 0 and up to 1. Keys
   *   without a bound are never at it
   * - `perWeight`: at so many requests in flight for each unit of weight, above 0
   */
  readonly spillAt?:
    | { readonly share: number; readonly perWeight?: never }
    | { readonly perWeight: number; readonly share?: never }
    | undefined
}

/**
 * Chooses among the keys of the lowest tier that can serve.
 *
 * **When to use**
 *
 * For keys in reserve: prepaid before pay-as-you-go, the own account before a partner's.
 *
 * **Details**
 *
 * When no key of a tier can serve, the next one does: filters see to that. With `spillAt` the next tier also joins when those
 * before it are loaded so far, and then the inner selector chooses among all that have joined; the third joins when the two
 * together are, and so on. The load is that of the keys that can serve now.
 *
 * Throws a `RangeError` that names the field when a number is out of its range.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 * import { pipe } from "effect"
 *
 * const selector = pipe(Selector.random, Selector.tiered({ spillAt: { share: 0.8 } }))
 * selector.name // => "tiered(random)"
 * ```
 */
export const tiered: {
  (options?: TieredOptions): (inner: Selector) => Selector
  (inner: Selector, options?: TieredOptions): Selector
} = dual(
  ([first]) => isSelector(first),
  (inner: Selector, { spillAt }: TieredOptions = {}): Selector => {
    const isFull = spillAt === undefined ? never : fullAt(spillAt)
    return narrowing(inner, "tiered", (candidates, context) => {
      let tier = nextTier(candidates, -Infinity)
      while (isFull(candidates, tier)) tier = nextTier(candidates, tier)
      return narrow(candidates, context, (candidate) => candidate.tier <= tier)
    })
  }
)

/** The lowest tier above this one; `Infinity` if there is none. */
const nextTier = (candidates: Candidates, above: number): number => {
  let next = Infinity
  for (const { tier } of candidates) if (tier > above && tier < next) next = tier
  return next
}

/** Whether the keys up to this tier are loaded so far that others should join. */
type IsFull = (candidates: Candidates, upTo: number) => boolean

const never: IsFull = () => false

const fullAt = ({ perWeight, share }: NonNullable<TieredOptions["spillAt"]>): IsFull => {
  if (share !== undefined && !(share > 0 && share <= 1)) {
    throw new RangeError(
      `Selector.tiered: spillAt.share must be above 0 and up to 1, and is ${String(share)}`
    )
  }
  if (perWeight !== undefined && !(perWeight > 0 && perWeight < Infinity)) {
    throw new RangeError(
      `Selector.tiered: spillAt.perWeight must be finite and above 0, and is ${String(perWeight)}`
    )
  }
  return (candidates, upTo) => {
    // There is nobody left to join.
    if (upTo === Infinity) return false
    let inFlight = 0
    let room = 0
    for (const candidate of candidates) {
      if (candidate.tier > upTo) continue
      inFlight += candidate.inFlight
      room += share === undefined ? candidate.weight : candidate.maxInFlight
    }
    return inFlight / room >= (share ?? perWeight!)
  }
}
