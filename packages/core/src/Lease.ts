/**
 * One use of one key. The in-flight count, the concurrency permit, the credit hold and the probe are opened together,
 * in the same step as the pick, and settled together, exactly once.
 */
import type * as Effect from "effect/Effect"
import type { Candidate, PickContext } from "./Candidate.ts"
import type { Key } from "./Key.ts"
import type { Attempt } from "./Errors.ts"
import type { Faulted, Ignored, Outcome } from "./Outcome.ts"

/**
 * What an answer took, in tokens; `undefined` where it is not known.
 */
export interface Usage {
  readonly inputTokens: number | undefined
  readonly outputTokens: number | undefined
  /** Those of the input that were read from a cache. */
  readonly cachedTokens: number | undefined
  /** Those of the output that were spent on reasoning. */
  readonly reasoningTokens: number | undefined
}

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
   * Completes when the permit that the use began with has lapsed and is another's, or may be: the use should end. `undefined`
   * where permits cannot lapse, which is always so without a strict mode. `Balancer.use` heeds it; who holds a lease beyond
   * a use, as the body of a stream does, has to do so itself.
   */
  readonly lost: Effect.Effect<void> | undefined
  /** The trail of the request, up to this use and with what became of it now: for the error of a use that fails. */
  readonly attempted: (outcome: Faulted | Ignored) => ReadonlyArray<Attempt>
  /**
   * The answer begins to come: with the first content of a stream. Its time is the latency that strategies see; the key
   * stays in use until the lease settles. Only the first call counts, and without one the whole use is the latency.
   */
  readonly answeredUnsafe: () => void
  /**
   * Says what the answer took, before the lease settles. It is there only while somebody listens to the balancer, so that
   * `lease.usedUnsafe?.(read(answer))` reads nothing where nobody does.
   */
  readonly usedUnsafe?: ((usage: Usage) => void) | undefined
  /**
   * Ends the use with what it taught. The first call counts and answers `true`; later ones change nothing and answer
   * `false`. The balancer settles what the user has not.
   */
  readonly settle: (outcome: Outcome) => Effect.Effect<boolean>
  /** `settle` for callbacks that are not effects. */
  readonly settleUnsafe: (outcome: Outcome) => boolean
}
