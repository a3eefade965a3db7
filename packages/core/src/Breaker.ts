/**
 * The port of circuit breakers: a state beside the pick that changes eligibility, never the choice.
 */
import * as Context from "effect/Context"
import type { Candidate, PickContext } from "./Candidate.ts"
import type { Filter } from "./Filter.ts"
import type { Outcome } from "./Outcome.ts"

/**
 * What a breaker hands out with a lease and gets back with its outcome: the generation in which the use began, negative
 * for a probe. A number, so that nothing is allocated for it.
 */
export type Admission = number

/**
 * A circuit breaker. All of it is synchronous: it runs inside the step that filters, picks and counts.
 *
 * **Details**
 *
 * The pool pairs every `admit` with exactly one `record`, whatever happens to the request in between, so that a probe
 * can not leak. Only uses of a key that has left the pool are not recorded any more: `forget` has ended them.
 */
export interface Breaker {
  readonly name: string
  /** Why a key cannot serve; without side effects. An open breaker whose time is up, with no probe out, must say nothing. */
  readonly filter: Filter
  /** A lease of the candidate opens. If it is a probe, the slot is taken here. */
  readonly admit: (candidate: Candidate, context: PickContext) => Admission
  /** That lease has settled. An `Ignored` outcome frees the probe and teaches nothing. */
  readonly record: (
    candidate: Candidate,
    context: PickContext,
    admission: Admission,
    outcome: Outcome,
    nowMillis: number
  ) => void
  /** The key has left the pool. */
  readonly forget: (id: string) => void
}

/** Never opens. */
export const closed: Breaker = {
  name: "closed",
  filter: () => undefined,
  admit: () => 0,
  record: () => {},
  forget: () => {}
}

/**
 * The breaker of the balancer; always closed unless a layer says otherwise.
 */
export const Breaker: Context.Reference<Breaker> = Context.Reference<Breaker>("@evenkeel/core/Breaker", {
  defaultValue: () => closed
})
