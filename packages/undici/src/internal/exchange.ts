/**
 * One request and its answer, as undici's handler: what has come, and who waits for more.
 *
 * Nothing of the caller's runs within undici's callbacks: its parser must not be entered again from there (undici asserts
 * that it is not, when a connection is resumed), so those that wait are woken in a microtask. That is also what makes small
 * answers cheap: head and body come in one callback after the other, so the body is there when its reader is woken.
 */
import type * as Undici from "@effect/platform-node/Undici"
import * as Effect from "effect/Effect"

type Controller = Undici.Dispatcher.DispatchController
type Handler = Undici.Dispatcher.DispatchHandler
type Head = Parameters<NonNullable<Handler["onResponseStart"]>>[2]

/** Bytes that are held for a reader that is slower than the connection; Node's streams in undici hold as many. */
const highWaterMark = 64 * 1024

/** By status and headers: whether all of a body is to be in memory before its reader is woken. */
export type IsWhole = (status: number, head: Head) => boolean

const none: ReadonlyArray<() => void> = []

export class Exchange implements Handler {
  status = 0
  head: Head = {}
  /** What has come and was not taken yet. */
  chunks: Array<Uint8Array> = []
  ended = false
  failure: { readonly cause: unknown } | undefined
  private held = 0
  private unbounded = false
  private controller: Controller | undefined
  private aborted: { readonly reason: unknown } | undefined
  private readonly signal: AbortSignal | undefined
  private readonly isWhole: IsWhole | undefined
  private answered: ((error: unknown) => void) | undefined
  private waiting: ReadonlyArray<() => void> = none
  private waking = false

  /** `answered` is called once: when the head has come, and all of a body that is to be whole, or with the error. */
  constructor(signal: AbortSignal | undefined, answered: (error: unknown) => void, isWhole?: IsWhole) {
    this.signal = signal
    this.answered = answered
    this.isWhole = isWhole
    if (signal?.aborted === true) this.handleEvent()
    else signal?.addEventListener("abort", this)
  }

  onRequestStart(controller: Controller): void {
    this.controller = controller
    if (this.aborted !== undefined) controller.abort(this.aborted.reason as Error)
  }

  onResponseStart(_: Controller, status: number, head: Head): void {
    // 103 and its like announce an answer, and are none.
    if (status < 200) return
    this.status = status
    this.head = head
    if (this.isWhole?.(status, head) === true) this.unbounded = true
    this.wake()
  }

  onResponseData(controller: Controller, chunk: Uint8Array): void {
    this.chunks.push(chunk)
    this.held += chunk.length
    if (this.held >= highWaterMark && !this.unbounded) controller.pause()
    this.wake()
  }

  onResponseEnd(): void {
    this.ended = true
    this.release()
  }

  onResponseError(_: unknown, cause: unknown): void {
    if (this.ended || this.failure !== undefined) return
    this.failure = { cause }
    this.release()
  }

  /** The signal's listener. */
  handleEvent(): void {
    this.abort(this.signal?.reason)
  }

  /** Nobody waits for the answer any more. */
  get abandon(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.answered = undefined
      this.abort(interrupted())
    })
  }

  /** All that has come, for the reader; the connection goes on. */
  take(): Array<Uint8Array> {
    const { chunks } = this
    this.chunks = []
    this.held = 0
    this.controller?.resume()
    return chunks
  }

  /** The reader wants all of the body at once, however much it is. */
  unbind(): void {
    this.unbounded = true
    this.controller?.resume()
  }

  /** Calls when something has come, or the end. */
  wait(waiter: () => void): void {
    this.waiting = [...this.waiting, waiter]
  }

  /** Until something has come, or the end. */
  get more(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const waiter = () => resume(Effect.void)
      this.wait(waiter)
      return Effect.sync(() => {
        this.waiting = this.waiting.filter((other) => other !== waiter)
        if (this.isSolitary) this.abort(interrupted())
      })
    })
  }

  /** Its only reader goes. */
  leave(): void {
    this.waiting = none
    if (!this.ended) this.abort(interrupted())
  }

  /** Nobody but its reader looks after it: there is no signal, and no watch on what is collected. */
  get isSolitary(): boolean {
    return this.signal === undefined
  }

  /** Closes the connection, unless all has come. */
  abort(reason: unknown): void {
    if (this.ended || this.aborted !== undefined) return
    this.aborted = { reason }
    this.controller?.abort(reason as Error)
    // A request that is still in undici's queue would tell only when its turn comes.
    this.onResponseError(undefined, reason)
  }

  private release(): void {
    this.signal?.removeEventListener("abort", this)
    this.wake()
  }

  private wake(): void {
    if (this.waking) return
    this.waking = true
    queueMicrotask(this.woken)
  }

  private readonly woken = (): void => {
    this.waking = false
    const { answered } = this
    if (answered !== undefined) {
      // What was asked for whole is told when it is there.
      if (this.isSolitary && this.unbounded && !this.ended && this.failure === undefined) return
      this.answered = undefined
      return answered(this.status === 0 ? this.failure?.cause : undefined)
    }
    const { waiting } = this
    if (waiting.length === 0) return
    this.waiting = none
    for (const waiter of waiting) waiter()
  }
}

const interrupted = () => new Error("The request was interrupted")
