/**
 * How this process and the others hear of each other: for health checks, dashboards and the curious.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redis from "effect/persistence/Redis"
import type * as Stream from "effect/Stream"

/**
 * Whether facts are shared now. Alone, requests go on with what this process knows.
 */
export type State =
  | { readonly _tag: "Connected"; readonly since: number }
  | { readonly _tag: "Alone"; readonly since: number; readonly reason: string }

/**
 * The state of sharing at one time. Times are in milliseconds since the epoch.
 */
export interface Snapshot {
  readonly state: State
  /** How often it was alone and is not any more. */
  readonly reconnects: number
  /** Processes that share, this one among them, as last heard. */
  readonly processes: number
  /** Whether this process reads credit for all; alone, each reads for itself. */
  readonly leads: boolean
  /** Facts of this process that are yet to be told. */
  readonly waiting: number
  /** Round trips so far, and milliseconds of the last one. */
  readonly roundTrips: number
  readonly roundTripMillis: number
  /** Milliseconds since this process last heard of the others. */
  readonly lag: number
}

/**
 * What one process of the fleet has in flight.
 */
export interface Member {
  readonly process: string
  readonly inFlight: Readonly<Record<string, number>>
}

/**
 * The sharing of facts.
 */
export class Sharing extends Context.Service<
  Sharing,
  {
    /** The name of this process among the others. */
    readonly process: string
    readonly snapshot: Effect.Effect<Snapshot>
    /** Each change of the state from the subscription on. */
    readonly changes: Stream.Stream<State>
    /** All processes of the fleet, asked of Redis. */
    readonly fleet: Effect.Effect<ReadonlyArray<Member>, Redis.RedisError>
  }
>()("@evenkeel/redis/Sharing") {}
