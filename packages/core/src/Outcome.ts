/**
 * What one use of a key taught.
 *
 * A load balancer for servers asks "did it work?". Keys share one upstream and often one account, so the question here
 * is "whose fault was it?": the scope of a fault decides what is benched and whether another key can help at all.
 * An outcome that is nobody's fault is `Ignored`: the counts go down and nothing is learnt.
 */
import type * as Duration from "effect/Duration"

/**
 * Whose fault it was. A fault benches exactly its scope.
 *
 * - `key`: this key alone (revoked, expired, its cap is spent)
 * - `workspace`: every key of the workspace (its budget is spent)
 * - `account`: every key of the account (its balance is spent, its rate limit is reached)
 * - `upstream`: a model at its providers; every key sees the same, another key does not help
 * - `host`: the service as a whole, or the way to it; every key sees the same
 */
export type FaultScope = "key" | "workspace" | "account" | "upstream" | "host"

/**
 * What kind of fault it was.
 *
 * - `throttled`: too many requests for now (429); passes by itself
 * - `exhausted`: no credit left (a cap, a budget, a balance)
 * - `rejected`: the credential is refused (401)
 * - `unavailable`: a failure behind the key (5xx, a broken connection)
 * - `insufficient`: not enough credit for this one request, while smaller ones may still pass
 */
export type FaultReason = "throttled" | "exhausted" | "rejected" | "unavailable" | "insufficient"

/**
 * What a retry may do about a fault: nothing, try another key at once, or wait and try the same upstream again.
 */
export type Retryable = "never" | "rotate" | "backoff"

/**
 * The use succeeded. `cost` is in USD; `undefined` means unknown, and then the estimate held for the use stays debited
 * until the next reading of the key's credit.
 */
export interface Success {
  readonly _tag: "Success"
  readonly cost: number | undefined
}

/**
 * The use taught nothing about the key: the caller's own fault (a malformed request, moderation), or an interruption.
 * `cost` as in `Success`: 0 where the request is known not to have been billed, `undefined` where it may have been.
 */
export interface Ignored {
  readonly _tag: "Ignored"
  readonly cost: number | undefined
  /** The HTTP status behind it, and what a classifier calls it, for the attempt trail. */
  readonly status?: number | undefined
  readonly class?: string | undefined
}

/**
 * The use failed, and it was the fault of `scope`.
 */
export interface Faulted {
  readonly _tag: "Faulted"
  readonly scope: FaultScope
  readonly reason: FaultReason
  /** How long the scope asked to be left alone; `undefined` if it did not say. */
  readonly retryAfter: Duration.Duration | undefined
  readonly retryable: Retryable
  /**
   * Set where the fault holds only for some upstreams: those whose id ends so, such as `:free` for a limit on free models,
   * or a whole model id.
   */
  readonly within: string | undefined
  /** USD, as in `Success`. A fault before any answer costs 0. */
  readonly cost: number | undefined
  /** The account that the answer named: a key whose account was not known is taken for one of its keys from now on. */
  readonly account: string | undefined
  /** The HTTP status behind it, for the attempt trail. The core gives it no meaning. */
  readonly status: number | undefined
  /** What a classifier calls it, for the attempt trail. The core gives it no meaning. */
  readonly class?: string | undefined
}

/**
 * The end of one use of a key: a success, a fault with a scope, or neither.
 */
export type Outcome = Success | Ignored | Faulted

/** Builds a `Success`; `cost` in USD, unknown by default. */
export const success = (cost?: number | undefined): Success => ({ _tag: "Success", cost })

/** Builds an `Ignored`; `cost` in USD, unknown by default (an interrupted request may have been billed). */
export const ignored = (cost?: number | undefined): Ignored => ({ _tag: "Ignored", cost })

/** What a retry may do by default: faults of a key or its owner are cured by another key, the rest only by time. */
export const retryableOf = (scope: FaultScope): Retryable =>
  scope === "upstream" || scope === "host" ? "backoff" : "rotate"

/**
 * Builds a `Faulted`.
 *
 * **Details**
 *
 * `retryable` follows from the scope unless given: `rotate` for key, workspace and account, `backoff` for upstream and
 * host. `cost` is 0 by default, because a fault usually comes instead of an answer.
 *
 * **Example**
 *
 * ```ts
 * import { Duration } from "effect"
 * import { Outcome } from "@evenkeel/core"
 *
 * const throttled = Outcome.faulted({ scope: "account", reason: "throttled", retryAfter: Duration.seconds(10) })
 * throttled.retryable // => "rotate"
 * ```
 */
export const faulted = (options: {
  readonly scope: FaultScope
  readonly reason: FaultReason
  readonly retryAfter?: Duration.Duration | undefined
  readonly retryable?: Retryable | undefined
  readonly within?: string | undefined
  readonly cost?: number | undefined
  readonly account?: string | undefined
  readonly status?: number | undefined
  readonly class?: string | undefined
}): Faulted => ({
  _tag: "Faulted",
  scope: options.scope,
  reason: options.reason,
  retryAfter: options.retryAfter,
  retryable: options.retryable ?? retryableOf(options.scope),
  within: options.within,
  cost: "cost" in options ? options.cost : 0,
  account: options.account,
  status: options.status,
  class: options.class
})
