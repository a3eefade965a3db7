/**
 * The body of an answer for those who look after it themselves: read without a stream, and so without a fiber that waits.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { HttpClientError } from "effect/http"
import type { Exchange } from "./exchange.ts"

export type Chunks = readonly [Uint8Array, ...Array<Uint8Array>]

/** Bytes, the end, or a failure. */
export type Arrival = Exit.Exit<Chunks, HttpClientError.HttpClientError | Cause.Done>

/** Where a response has it. The symbol and the shape of `Source` are all that its readers know. */
export const sourceSymbol = Symbol.for("@evenkeel/HttpClientResponse/source")

export class Source {
  private readonly exchange: Exchange
  private readonly arrived: () => Arrival | undefined
  private ready: ((arrival: Arrival) => void) | undefined

  constructor(exchange: Exchange, arrived: () => Arrival | undefined) {
    this.exchange = exchange
    this.arrived = arrived
  }

  /** What is there; if nothing is yet, `undefined`, and `ready` gets it when it is. It is to be asked for one at a time. */
  next(ready: (arrival: Arrival) => void): Arrival | undefined {
    const arrival = this.arrived()
    if (arrival !== undefined) return arrival
    this.ready = ready
    this.exchange.wait(this.woken)
    return undefined
  }

  private readonly woken = (): void => {
    const arrival = this.arrived()
    if (arrival !== undefined) return this.ready?.(arrival)
    // What woke it may be what it had taken just before.
    this.exchange.wait(this.woken)
  }

  /** Waits no longer, and closes the connection. */
  get close(): Effect.Effect<void> {
    return Effect.sync(() => this.exchange.leave())
  }
}
