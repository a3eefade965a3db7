/**
 * The port to whoever knows about money: what a request will cost, and what a key has left.
 *
 * Readings come in through `KeyPool.credit`; what a request costs between two readings is held and debited by the pool.
 */
import * as Context from "effect/Context"
import type { PickContext } from "./Candidate.ts"

/**
 * What the balancer asks, and tells, about credit. All of it is synchronous, must not block, and must not throw.
 */
export interface Credits {
  /** USD that the request may cost, held on its key from the pick to the settlement; `undefined` if there is no idea. */
  readonly estimate: (context: PickContext) => number | undefined
  /** A request has cost this much (USD). */
  readonly observe: (context: PickContext, cost: number) => void
  /** An answer contradicted what is known of the key's credit (a 402): a cue to read it again soon. */
  readonly doubt: (keyId: string) => void
}

/** Knows nothing: no holds, and every key's credit stays unknown. */
export const unknown: Credits = { estimate: () => undefined, observe: () => {}, doubt: () => {} }

/**
 * The credits of the balancer; unknown unless a layer says otherwise.
 */
export const Credits: Context.Reference<Credits> = Context.Reference<Credits>("@evenkeel/core/Credits", {
  defaultValue: () => unknown
})

/**
 * One reading of a key's credit.
 */
export interface Reading {
  /** USD left, may be negative; `undefined` for a key without a cap. */
  readonly remaining: number | undefined
  /** When the reading was asked for, in milliseconds since the epoch: what settled later is not in it. Default: now. */
  readonly requestedAt?: number | undefined
  /** By how many milliseconds the source may lag behind what was spent. Default 0. */
  readonly lag?: number | undefined
  /** When the cap is filled up again, in milliseconds since the epoch; `undefined` if never, or not known. */
  readonly resetsAt?: number | undefined
  /** The cap itself in USD, for reports; `undefined` for a key without one, or if not known. */
  readonly limit?: number | undefined
  /**
   * For how many milliseconds the reading counts as fresh; older, it is shown as stale and still gone by, up to the
   * pool's `creditMaxAge`. Default: for ever, because only who reads knows when the next reading is due.
   */
  readonly freshFor?: number | undefined
  /**
   * Whether requests that the owner's own provider keys pay for (BYOK) count against the cap. Default: as the last
   * reading said, or else not known.
   */
  readonly includesByok?: boolean | undefined
  /** The source has just accepted the key itself: a bench as `rejected` that is older ends. Default: it does not say. */
  readonly accepted?: boolean | undefined
}
