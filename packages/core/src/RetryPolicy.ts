/**
 * The port of retry policies: whether a request that failed is tried again, where, and after how long.
 *
 * That a key cannot serve *yet* is no failure: waiting for it is the balancer's, and the policy only says how patient a
 * request is.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Faulted } from "./Outcome.ts"

/**
 * What went wrong: a use ended in a fault.
 */
export interface Failure {
  readonly keyId: string
  /** From 0. */
  readonly attempt: number
  readonly outcome: Faulted
  /** What the request asked for; `undefined` if it did not say. */
  readonly upstream: string | undefined
  /** Another upstream may serve in its place, and has not been tried. */
  readonly alternatives: boolean
  /** Milliseconds since the epoch. */
  readonly nowMillis: number
  /** The deadline of the call, in milliseconds since the epoch, or `Infinity`: what would begin behind it is not tried. */
  readonly deadline: number
}

/**
 * What to do about it.
 *
 * - `Stop`: give the failure to the caller
 * - `Rotate`: try elsewhere at once: on another key, or on another upstream if that was at fault; what failed is not
 *   offered to this request again
 * - `Retry`: wait, then pick anew
 */
export type Decision =
  | { readonly _tag: "Stop" }
  | { readonly _tag: "Rotate" }
  | { readonly _tag: "Retry"; readonly delay: Duration.Duration }

/** Gives the failure to the caller. */
export const stop: Decision = { _tag: "Stop" }

/** Tries elsewhere at once. */
export const rotate: Decision = { _tag: "Rotate" }

/** Waits, then picks anew. The balancer gives up at once instead if the wait would end behind the deadline. */
export const retry = (delay: Duration.Duration): Decision => ({ _tag: "Retry", delay })

/**
 * The decisions for one request, made one failure after the other.
 */
export interface Session {
  readonly decide: (failure: Failure) => Effect.Effect<Decision>
}

/**
 * A retry policy.
 */
export interface RetryPolicy {
  readonly name: string
  /** Runs at the first failure of a request, so requests that succeed cost nothing. */
  readonly start: Effect.Effect<Session>
  /** A request begins; for budgets over all requests. Synchronous; it must not throw. */
  readonly begun?: ((nowMillis: number) => void) | undefined
  /** The longest that a request waits for a key to return, unless it says so itself. Default: not at all. */
  readonly patience?: Duration.Duration | undefined
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
