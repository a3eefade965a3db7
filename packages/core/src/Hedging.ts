/**
 * The port of hedging: when a request that has no answer yet is sent a second time, on another key.
 *
 * Source: J. Dean, L. A. Barroso, "The Tail at Scale", CACM 2013 (hedged requests, after a percentile of the latency).
 */
import * as Context from "effect/Context"
import type { PickContext } from "./Candidate.ts"

/**
 * A hedging policy. Synchronous; it must not throw.
 *
 * **Gotchas**
 *
 * Both copies may be billed: the loser is cancelled, and what it may have cost stays debited until the next reading of
 * its key's credit.
 */
export interface Hedging {
  readonly name: string
  /** Milliseconds after which a second copy is sent, from 0 up; `undefined`: never, as while too little is known. */
  readonly delay: (context: PickContext) => number | undefined
  /** Asked when that time has passed without an answer: whether the copy may be sent. A budget is drawn on here. */
  readonly allow: (context: PickContext) => boolean
  /** A request was answered this many milliseconds after it was sent: for a stream, with its first content. */
  readonly observe: (context: PickContext, elapsedMillis: number) => void
}

/** Sends every request once. */
export const never: Hedging = { name: "never", delay: () => undefined, allow: () => false, observe: () => {} }

/**
 * The hedging of the balancer; never unless a layer says otherwise.
 */
export const Hedging: Context.Reference<Hedging> = Context.Reference<Hedging>("@evenkeel/core/Hedging", {
  defaultValue: () => never
})
