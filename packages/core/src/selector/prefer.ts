import { dual } from "effect/Function"
import type { Candidate, PickContext } from "../Candidate.ts"
import type { Selector } from "../Selector.ts"
import { narrow, narrowing } from "../internal/selectors/around.ts"

/**
 * Chooses among the candidates of which the predicate holds, and among all if it holds of none.
 *
 * **When to use**
 *
 * For wishes: keys of a region, keys whose credit is known, the workspace of the request. What must hold is a `Filter`.
 *
 * **Details**
 *
 * It never refuses, so it can be applied again and again; the outermost wish counts most.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 * import { pipe } from "effect"
 *
 * const european = pipe(
 *   Selector.random,
 *   Selector.prefer((candidate) => candidate.labels["region"] === "eu")
 * )
 * european.name // => "prefer(random)"
 * ```
 */
export const prefer: {
  (predicate: (candidate: Candidate, context: PickContext) => boolean): (inner: Selector) => Selector
  (inner: Selector, predicate: (candidate: Candidate, context: PickContext) => boolean): Selector
} = dual(2, (inner: Selector, predicate: (candidate: Candidate, context: PickContext) => boolean): Selector =>
  narrowing(inner, "prefer", (candidates, context) => narrow(candidates, context, predicate))
)
