/**
 * Where the bytes of a body come from: asked, not told, so that nothing is read that nobody wants.
 */
import type * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import type { HttpClientError, HttpClientResponse } from "effect/http"

export type Chunks = Arr.NonEmptyReadonlyArray<Uint8Array>
export type Failed = HttpClientError.HttpClientError

/** Bytes, the end, or a failure. */
export type Arrival = Exit.Exit<Chunks, Failed | Cause.Done>

export interface Source {
  /** What is there; if nothing is yet, `undefined`, and `ready` gets it when it is. It is asked for one at a time. */
  readonly next: (ready: (arrival: Arrival) => void) => Arrival | undefined
  /** Waits no longer, and closes the connection. */
  readonly close: Effect.Effect<void>
}

/** A client that knows of it (see `transmit.ts`) lets the body be read without a stream, and so without a fiber that waits. */
const sourceSymbol = Symbol.for("@evenkeel/HttpClientResponse/source")

/** The source of the body of a response, to be closed. */
export const sourceOf = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<Source> => {
  const source = (response as { [sourceSymbol]?: () => Source | undefined })[sourceSymbol]?.()
  if (source !== undefined) return Effect.succeed(source)
  const scope = Scope.makeUnsafe()
  return Effect.flatMap(Channel.toPullScoped(response.stream.channel, scope), (pull) =>
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.succeed(new PullSource(pull, scope, context))
    )
  )
}

/** The pull of any stream, each time in a fiber of its own, since only a fiber can be stopped. */
class PullSource implements Source {
  private readonly pull: Pull.Pull<Chunks, Failed>
  private readonly scope: Scope.Closeable
  private readonly context: Context.Context<never>
  private fiber: Fiber.Fiber<Chunks, Failed | Cause.Done> | undefined

  constructor(pull: Pull.Pull<Chunks, Failed>, scope: Scope.Closeable, context: Context.Context<never>) {
    this.pull = pull
    this.scope = scope
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

  get close(): Effect.Effect<void> {
    const closed = Scope.close(this.scope, Exit.void)
    return this.fiber === undefined ? closed : Effect.andThen(Fiber.interrupt(this.fiber), closed)
  }
}
