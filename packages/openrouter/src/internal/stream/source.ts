/**
 * Where the bytes of a body come from: asked, not told, so that nothing is read that nobody wants.
 */
import type * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import type { HttpClientError } from "effect/http"

export type Chunks = Arr.NonEmptyReadonlyArray<Uint8Array>
export type Failed = HttpClientError.HttpClientError

/** Bytes, the end, or a failure. */
export type Arrival = Exit.Exit<Chunks, Failed | Cause.Done>

export interface Source {
  /** What is there; if nothing is yet, `undefined`, and `ready` gets it when it is. It is asked for one at a time. */
  readonly next: (ready: (arrival: Arrival) => void) => Arrival | undefined
  /** Waits no longer. */
  readonly stop: Effect.Effect<void>
}

/** Any pull, each time in a fiber of its own, since only a fiber can be stopped. Much is there without waiting. */
export class PullSource implements Source {
  private readonly pull: Pull.Pull<Chunks, Failed>
  private readonly context: Context.Context<never>
  private fiber: Fiber.Fiber<Chunks, Failed | Cause.Done> | undefined

  constructor(pull: Pull.Pull<Chunks, Failed>, context: Context.Context<never>) {
    this.pull = pull
    this.context = context
  }

  next(ready: (arrival: Arrival) => void): Arrival | undefined {
    const fiber = Effect.runForkWith(this.context)(this.pull)
    const arrival = fiber.pollUnsafe()
    if (arrival !== undefined) return arrival
    this.fiber = fiber
    fiber.addObserver(ready)
    return undefined
  }

  get stop(): Effect.Effect<void> {
    return this.fiber === undefined ? Effect.void : Fiber.interrupt(this.fiber)
  }
}
