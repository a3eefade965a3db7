/**
 * What happens to the requests of a balancer, as its stream of events tells it.
 */
import type { IneligibleKey } from "./Explanation.ts"
import type { Usage } from "./Lease.ts"
import type { Faulted, Ignored, Outcome } from "./Outcome.ts"

/** One attempt of one request. */
interface OfAttempt {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly keyId: string
  readonly account: string | undefined
  readonly upstream: string | undefined
  /** From 0. */
  readonly attempt: number
}

/**
 * An event of a request. Times are in milliseconds, money is in USD. None holds a secret.
 *
 * - `Picked`: a key was chosen, and a lease opened; `delayMillis` is what the request had waited for it, in the queue and for
 *   the retry policy
 * - `Settled`: that lease ended, with what it taught. `answeredMillis` is when a stream began to say something, and `usage` the
 *   tokens of the answer; both are undefined where that was not told
 * - `Rotated`: the request goes on at once, elsewhere: `keyId` is what it leaves
 * - `Retried`: the request waits for `delayMillis` and is tried again
 * - `Hedged`: there was no answer for `delayMillis`, and a second copy is sent
 * - `Queued`: no key can serve now, and the request waits; `until` is the earliest return that is known
 * - `Refused`: no key can serve, and the request was told so: for each key why
 * - `TimedOut`: the deadline of the request has passed
 * - `Finished`: a `use` is over, with an answer (of a stream: with its beginning) or without. `outcome` is that of its last
 *   attempt where it `failed`. A request and its hedge are one
 */
export type BalancerEvent =
  | ({ readonly _tag: "Picked"; readonly inFlight: number; readonly delayMillis: number } & OfAttempt)
  | ({
      readonly _tag: "Settled"
      readonly outcome: Outcome
      readonly elapsedMillis: number
      readonly answeredMillis: number | undefined
      readonly usage: Usage | undefined
    } & OfAttempt)
  | ({ readonly _tag: "Rotated"; readonly outcome: Faulted } & OfAttempt)
  | ({ readonly _tag: "Retried"; readonly outcome: Faulted; readonly delayMillis: number } & OfAttempt)
  | {
      readonly _tag: "Hedged"
      readonly at: number
      readonly upstream: string | undefined
      readonly delayMillis: number
    }
  | {
      readonly _tag: "Queued"
      readonly at: number
      readonly upstream: string | undefined
      readonly priority: number
      readonly until: number | undefined
    }
  | {
      readonly _tag: "Refused"
      readonly at: number
      readonly upstream: string | undefined
      readonly attempts: number
      readonly keys: ReadonlyArray<IneligibleKey>
      readonly retryAt: number | undefined
    }
  | {
      readonly _tag: "TimedOut"
      readonly at: number
      readonly upstream: string | undefined
      readonly attempts: number
    }
  | {
      readonly _tag: "Finished"
      readonly at: number
      readonly upstream: string | undefined
      readonly result: Result
      readonly outcome: Faulted | Ignored | undefined
      readonly elapsedMillis: number
    }

/** How a request ended. */
export type Result = "answered" | "failed" | "refused" | "timed-out" | "interrupted"
