/**
 * What all requests of a balancer share.
 */
import type * as Effect from "effect/Effect"
import type { BalancerEvent } from "../BalancerEvent.ts"
import type { Hedging } from "../Hedging.ts"
import type { Permits } from "../Permits.ts"
import type { RetryPolicy } from "../RetryPolicy.ts"
import type { Strategy } from "./demand.ts"
import type { Engine } from "./engine.ts"
import type { EventHub } from "./eventHub.ts"

export interface Room {
  readonly engine: Engine
  readonly strategy: Strategy
  readonly retry: RetryPolicy
  readonly hedging: Hedging
  readonly permits: Permits
  readonly events: EventHub<BalancerEvent>
  /** The most requests that wait at a time. */
  readonly maxWaiting: number
  /** Milliseconds: the longest that a request waits; `undefined` leaves it to the retry policy's patience. */
  readonly maxWait: number | undefined
  /** Milliseconds: the retry policy's patience with a key that returns. */
  readonly patience: number
  /** Milliseconds: the deadline of a whole call. */
  readonly timeout: number
}

/** Lets an effect be interrupted as it could be outside. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
