/**
 * The port of retry policies: whether a request that failed is tried again, where, and after how long.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { NoEligibleKey } from "./Errors.ts"
import type { Faulted } from "./Outcome.ts"

/**
 * What went wrong: a use ended in a fault, or no key could serve at all.
 */
export type Failure =
  | { readonly _tag: "Faulted"; readonly keyId: string; readonly attempt: number; readonly outcome: Faulted }
  | { readonly _tag: "Refused"; readonly attempt: number; readonly error: NoEligibleKey }

/**
 * What to do about it.
 *
 * - `Stop`: give the failure to the caller
 * - `Rotate`: try another key at once; the failed one is not offered to this request again
 * - `Retry`: wait, then pick anew
 */
export type Decision =
  | { readonly _tag: "Stop" }
  | { readonly _tag: "Rotate" }
  | { readonly _tag: "Retry"; readonly delay: Duration.Duration }

/** Gives the failure to the caller. */
export const stop: Decision = { _tag: "Stop" }

/** Tries another key at once. */
export const rotate: Decision = { _tag: "Rotate" }

/** Waits, then picks anew. */
export const retry = (delay: Duration.Duration): Decision => ({ _tag: "Retry", delay })

/**
 * The decisions for one request, made one failure after the other.
 */
export interface Session {
  readonly decide: (failure: Failure) => Effect.Effect<Decision>
}

/**
 * A retry policy. `start` runs at the first failure of a request, so requests that succeed cost nothing.
 */
export interface RetryPolicy {
  readonly name: string
  readonly start: Effect.Effect<Session>
}

/** Every failure goes to the caller. */
export const never: RetryPolicy = {
  name: "never",
  start: Effect.succeed({ decide: () => Effect.succeed(stop) })
}

/**
 * The retry policy of the balancer; never retries unless a layer says otherwise.
 */
export const RetryPolicy: Context.Reference<RetryPolicy> = Context.Reference<RetryPolicy>(
  "@evenkeel/core/RetryPolicy",
  {
    defaultValue: () => never
  }
)
