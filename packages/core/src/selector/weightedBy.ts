import { dual } from "effect/Function"
import type { Candidate, PickContext } from "../Candidate.ts"
import type { Selector } from "../Selector.ts"
import { reweighed } from "../internal/selectors/reweighed.ts"

/**
 * The inner selector sees each candidate with its weight multiplied by what the function says.
 *
 * **When to use**
 *
 * To bend any strategy that respects weights: cheaper accounts get more, keys near their cap less, some models go rather
 * here than there.
 *
 * **Details**
 *
 * The function is asked for every candidate at each pick, so it must be quick, without side effects and synchronous. A
 * factor below 1e-9, of 0, or that is no number, counts as 1e-9, and one above 1e9 as 1e9: weights stay above 0 and finite, as
 * selectors expect. A key that is to get nothing as long as others can serve is a matter for `prefer`.
 *
 * All other fields of a candidate are live, as they are without it.
 *
 * **Gotchas**
 *
 * A selector that does not look at weights is not bent (`Selector.random`, `leastBy` by a metric without weights). Smooth
 * round robin takes a change of weights as it is from that pick on, so weights that jump about make its shares uneven.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 * import { pipe } from "effect"
 *
 * // One account has a discount of 20 %, and a hundred times the requests for it.
 * const price = (account: string | undefined) => (account === "partner" ? 0.8 : 1)
 * const cheapest = pipe(
 *   Selector.proportional((candidate) => candidate.weight),
 *   Selector.weightedBy(({ account }) => price(account) ** -20)
 * )
 * cheapest.name // => "weightedBy(proportional)"
 * ```
 */
export const weightedBy: {
  (factor: (candidate: Candidate, context: PickContext) => number): (inner: Selector) => Selector
  (inner: Selector, factor: (candidate: Candidate, context: PickContext) => number): Selector
} = dual(2, (inner: Selector, factor: (candidate: Candidate, context: PickContext) => number): Selector =>
  reweighed(inner, "weightedBy", () => ({ factor: ({ of }, context) => factor(of, context) }))
)
