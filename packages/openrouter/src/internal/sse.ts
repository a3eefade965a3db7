/**
 * Server-sent events cut out of bytes as they pass, by Effect's own parser.
 */
import { Sse } from "effect/encoding"

export class EventScanner {
  private readonly decoder = new TextDecoder()
  private found: Array<Sse.Event> = []
  private readonly parser = Sse.makeParser((event) => {
    if (event._tag === "Event") this.found.push(event)
  })

  /** The events that these bytes complete. Comments are no events. Throws `SseError` on one of more than 10 MiB. */
  push(bytes: Uint8Array): ReadonlyArray<Sse.Event> {
    this.parser.feed(this.decoder.decode(bytes, { stream: true }))
    return this.take()
  }

  /** The last event, if it was not followed by an empty line. */
  end(): ReadonlyArray<Sse.Event> {
    this.parser.feed(`${this.decoder.decode()}\n\n`)
    return this.take()
  }

  private take(): ReadonlyArray<Sse.Event> {
    if (this.found.length === 0) return none
    const { found } = this
    this.found = []
    return found
  }
}

const none: ReadonlyArray<Sse.Event> = []
