/**
 * One use of one key. The in-flight count, the concurrency permit, the credit hold and the probe are opened together,
 * in the same step as the pick, and settled together, exactly once.
 */
import type * as Effect from "effect/Effect"
import type { Candidate, PickContext } from "./Candidate.ts"
import type { Key } from "./Key.ts"
import type { Outcome } from "./Outcome.ts"

/**
 * A key in use.
 */
export interface Lease {
  /** The key, with its `Redacted` secret. */
  readonly key: Key
  /** The key as strategies see it. */
  readonly candidate: Candidate
  /** The circumstances of the pick. */
  readonly context: PickContext
  readonly settled: boolean
  /**
   * Ends the use with what it taught. The first call counts and answers `true`; later ones change nothing and answer
   * `false`. The balancer settles what the user has not.
   */
  readonly settle: (outcome: Outcome) => Effect.Effect<boolean>
  /** `settle` for callbacks that are not effects. */
  readonly settleUnsafe: (outcome: Outcome) => boolean
}
