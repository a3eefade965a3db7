import { dual } from "effect/Function"
import type { Filter } from "../Filter.ts"
import type { Selector } from "../Selector.ts"
import { narrow, narrowing } from "../internal/selectors/around.ts"

/**
 * How many keys are enough: a whole number from 1 up, or a part of those that are offered, above 0 and up to 1.
 */
export type Enough =
  | { readonly count: number; readonly fraction?: never }
  | { readonly fraction: number; readonly count?: never }

/**
 * Keeps off the keys that a filter speaks against, unless fewer than enough would be left: then it is overlooked (Envoy's
 * panic threshold, which is a fraction of 0.5 there).
 *
 * **When to use**
 *
 * For filters that tell a suspicion, such as "slow of late": when they suspect nearly all keys, the few that are left would
 * be overrun, and the suspicion is likelier to be wrong than the keys.
 *
 * **Details**
 *
 * It is a combinator of selectors because a filter that may be overlooked is a preference, and because a filter is asked of
 * one key at a time and cannot know how many others it leaves. To overlook it only when no key at all would be left,
 * `Filter.soft` is the shorter way. The fraction is of the keys that can serve by all other filters.
 *
 * Throws a `RangeError` that names the field when a number is out of its range.
 *
 * **Gotchas**
 *
 * Not for hard facts: a key that is revoked, or has no credit, fails the request however few others there are.
 *
 * **Example**
 *
 * ```ts
 * import { Filter, Selector } from "@evenkeel/core"
 * import { pipe } from "effect"
 *
 * const slow: Filter.Ineligible = { reason: "slow", scope: "key", since: undefined, until: undefined }
 * const quick: Filter.Filter = ({ latency }) => (latency !== undefined && latency > 5_000 ? slow : undefined)
 *
 * const selector = pipe(Selector.random, Selector.unlessFewerThan({ fraction: 0.5 }, quick))
 * selector.name // => "unlessFewerThan(random)"
 * ```
 */
export const unlessFewerThan: {
  (enough: Enough, filter: Filter): (inner: Selector) => Selector
  (inner: Selector, enough: Enough, filter: Filter): Selector
} = dual(3, (inner: Selector, enough: Enough, filter: Filter): Selector => {
  const { count, fraction } = enough
  if (count !== undefined && !(Number.isInteger(count) && count >= 1)) {
    throw new RangeError(
      `Selector.unlessFewerThan: count must be a whole number from 1 up, and is ${String(count)}`
    )
  }
  if (fraction !== undefined && !(fraction > 0 && fraction <= 1)) {
    throw new RangeError(
      `Selector.unlessFewerThan: fraction must be above 0 and up to 1, and is ${String(fraction)}`
    )
  }
  return narrowing(inner, "unlessFewerThan", (candidates, context) => {
    const left = narrow(candidates, context, (candidate) => filter(candidate, context) === undefined)
    return left.length < (count ?? fraction! * candidates.length) ? candidates : left
  })
})
