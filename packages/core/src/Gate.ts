/**
 * The protocol of policies that stand beside the pick: circuit breakers and limiters. A gate changes who is eligible,
 * never who is chosen.
 */
import type { Candidate, Headroom, PickContext } from "./Candidate.ts"
import type { Filter } from "./Filter.ts"
import type { Outcome } from "./Outcome.ts"

/**
 * What a gate hands out with a lease and gets back with its outcome, to know which of its states the use belongs to: a
 * generation, a probe. A number, so that nothing is allocated for it.
 */
export type Admission = number

/**
 * A gate. All of it is synchronous: it runs inside the step that filters, picks and counts.
 *
 * **Details**
 *
 * The pool pairs every `admit` with exactly one `record`, whatever happens to the request in between, so that nothing a
 * gate holds for a use can leak. Only uses of a key that has left the pool are not recorded any more: `forget` has ended
 * them, and a gate that holds something for more than the key itself must free it there.
 */
export interface Gate {
  readonly name: string
  /** Why a key cannot serve; without side effects, for `explain` calls it too. */
  readonly filter: Filter
  /** A lease of the candidate opens: what the gate gives for it (a probe's slot, a permit, tokens) is taken here. */
  readonly admit: (candidate: Candidate, context: PickContext) => Admission
  /** That lease has settled. An `Ignored` outcome gives back what was taken and teaches nothing. */
  readonly record: (
    candidate: Candidate,
    context: PickContext,
    admission: Admission,
    outcome: Outcome,
    nowMillis: number
  ) => void
  /** What is left for the key, for strategies that spread by it; without side effects. */
  readonly headroom?: ((candidate: Candidate, nowMillis: number) => Headroom | undefined) | undefined
  /**
   * Calls back whenever something frees a key that no settlement and no time tells of, such as a hand that closes a circuit or
   * raises a limit: requests that wait are then asked again. The result ends it.
   */
  readonly freed?: ((wake: () => void) => () => void) | undefined
  /** The key has left the pool. */
  readonly forget: (id: string) => void
}

/** Lets everything through. */
export const open: Gate = {
  name: "open",
  filter: () => undefined,
  admit: () => 0,
  record: () => {},
  forget: () => {}
}

/**
 * Who wants to know that a key has been freed, for gates to give as `freed` and to call.
 */
export class Wakes {
  private readonly wakes = new Set<() => void>()

  readonly freed = (wake: () => void): (() => void) => {
    // A function that is given twice is called twice, and each is ended by itself.
    const own = () => wake()
    this.wakes.add(own)
    return () => void this.wakes.delete(own)
  }

  wake(): void {
    for (const wake of this.wakes) wake()
  }
}
