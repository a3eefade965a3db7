/**
 * One call of the fetch, from the request to the last byte of its answer. Whoever goes away first, the caller, the reader
 * or the fetch itself, ends it, and with it the lease and the connection.
 */
import * as Duration from "effect/Duration"
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import { idleClock } from "./clock.ts"

/** Runs an effect where the fetch lives. */
export type Run = <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, unknown>

/** The next chunks of a body. */
export type Chunks<E> = Pull.Pull<Arr.NonEmptyReadonlyArray<Uint8Array>, E>

/** How long a body may lie unread before it is taken for abandoned: the rule of `internal/stream/responses.ts`. */
const patience = Duration.minutes(1)

export class Call {
  /** Open as long as the call is. */
  readonly scope = Scope.makeUnsafe()
  private readonly run: Run
  private readonly signal: AbortSignal | undefined
  private readonly calls: Set<Call>
  private fiber: Fiber.Fiber<unknown, unknown> | undefined
  private unread: Fiber.Fiber<unknown, unknown> | undefined
  private reason: unknown
  private ended: Promise<void> | undefined
  /** Tells whoever waits why nothing more will come. It must not hold on to the response: see `abandoned`. */
  private tell: (reason: unknown) => void = () => {}

  constructor(run: Run, signal: AbortSignal | undefined, calls: Set<Call>) {
    this.run = run
    this.signal = signal
    this.calls = calls
    signal?.addEventListener("abort", this.aborted)
    calls.add(this)
  }

  private readonly aborted = () => void this.abort(this.signal?.reason)

  /** Runs the effect that answers. Without a body that is still to come, its end is the end of the call. */
  respond(effect: Effect.Effect<Response, unknown>): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.tell = reject
      this.fiber = this.run(effect)
      this.fiber.addObserver((exit) => {
        this.fiber = undefined
        if (this.ended !== undefined) return reject(this.reason)
        if (exit._tag === "Failure") return this.fail(Cause.squash(exit.cause), reject)
        if (this.unread === undefined) void this.end()
        resolve(exit.value as Response)
      })
    })
  }

  /** The body as a stream that reads only what is asked of it. */
  body<E>(next: Chunks<E>): ReadableStream<Uint8Array> {
    let controller!: WeakRef<ReadableStreamDefaultController<Uint8Array>>
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (it) => void (controller = new WeakRef(it)),
        pull: (it) => this.pull(next, it),
        cancel: () => this.end()
      },
      { highWaterMark: 0 }
    )
    this.tell = (reason) => controller.deref()?.error(reason)
    const giveUp = Effect.sync(() => {
      const cause = new Error("Nobody has read the body for a minute")
      void this.abort(new TypeError("terminated", { cause }))
    })
    this.unread = this.run(
      Effect.flatMap(idleClock, (clock) => Effect.andThen(clock.sleep(patience), giveUp))
    )
    abandoned.register(stream, this)
    return stream
  }

  private pull<E>(next: Chunks<E>, controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    this.unread?.interruptUnsafe()
    return new Promise((resolve) => {
      const fiber = this.run(filled(next))
      this.fiber = fiber
      fiber.addObserver((exit) => {
        this.fiber = undefined
        // Whoever ended the call has told the reader.
        if (this.ended !== undefined) return resolve()
        if (exit._tag === "Success") for (const bytes of exit.value) controller.enqueue(bytes)
        else if (Pull.isDoneCause(exit.cause)) {
          void this.end()
          controller.close()
        } else this.fail(Cause.squash(exit.cause), (reason) => controller.error(reason))
        resolve()
      })
    })
  }

  private fail(error: unknown, tell: (reason: unknown) => void): void {
    void this.end()
    tell(error)
  }

  /** Breaks the call off: whoever waits for it hears of the reason. */
  abort(reason: unknown): Promise<void> {
    if (this.ended !== undefined) return this.ended
    this.reason = reason
    const { tell } = this
    const ended = this.end()
    tell(reason)
    return ended
  }

  /** Gives up what the call holds; the lease is free when this returns, the connection when its promise resolves. */
  end(): Promise<void> {
    if (this.ended !== undefined) return this.ended
    this.unread?.interruptUnsafe()
    this.signal?.removeEventListener("abort", this.aborted)
    this.calls.delete(this)
    const { fiber } = this
    const stop = fiber === undefined ? Effect.void : Fiber.interrupt(fiber)
    // What is stopped here looks at it, before there is a promise to wait for.
    this.ended = Promise.resolve()
    this.ended = Effect.runPromise(Effect.andThen(stop, Scope.close(this.scope, Exit.void)))
    return this.ended
  }
}

/** A stream is not asked again for what it did not fill, so chunks without a byte are passed over here. */
const filled = <E>(next: Chunks<E>): Pull.Pull<ReadonlyArray<Uint8Array>, E> =>
  Effect.flatMap(next, (chunks) => {
    const some = chunks.filter((bytes) => bytes.length > 0)
    return some.length === 0 ? filled(next) : Effect.succeed(some)
  })

/**
 * Ends calls whose body nobody can read any more. The call must not reach its stream, or that would never be collected:
 * it holds the controller weakly, and no fiber between two reads.
 */
const abandoned = new FinalizationRegistry<Call>((call) => void call.end())
