/**
 * Server-sent events cut out of bytes as they pass, by Effect's own parser.
 */
import { Sse } from "effect/encoding"

export class EventScanner {
  private readonly decoder = new TextDecoder()
  private found: Array<Sse.Event> = []
  /** Set by an event of more than 10 MiB: from there on nothing is read. */
  failure: Sse.SseError | undefined
  private readonly parser = Sse.makeParser((event) => {
    if (event._tag === "Event") this.found.push(event)
  })

  /** The events that these bytes complete. Comments are no events. */
  push(bytes: Uint8Array): ReadonlyArray<Sse.Event> {
    return this.feed(this.decoder.decode(bytes, { stream: true }))
  }

  /** The last event, if it was not followed by an empty line. */
  end(): ReadonlyArray<Sse.Event> {
    return this.feed(`${this.decoder.decode()}\n\n`)
  }

  private feed(text: string): ReadonlyArray<Sse.Event> {
    // Behind an event that was given up the parser would take the rest of it for fields.
    if (this.failure !== undefined) return none
    this.failure = this.parser.feed(text)
    if (this.found.length === 0) return none
    const { found } = this
    this.found = []
    return found
  }
}

const none: ReadonlyArray<Sse.Event> = []
