/**
 * Server-sent events cut out of bytes as they pass, by Effect's own parser; the plain ones, which are nearly all, by a shorter way.
 */
import { Sse } from "effect/encoding"

export class EventScanner {
  /** Made for bytes that end within a character, which are few: a decoder with a memory is dear, and lives long as garbage. */
  private decoder: TextDecoder | undefined
  private found: Array<Sse.Event> = []
  /** The last event, if nothing at all has come behind it: what comes now is the start of another. */
  private before: Sse.Event | undefined
  /** Set by an event of more than 10 MiB: from there on nothing is read. */
  failure: Sse.SseError | undefined
  private readonly parser = Sse.makeParser((event) => {
    if (event._tag === "Event") this.found.push(event)
  })

  /** The events that these bytes complete. Comments are no events. */
  push(bytes: Uint8Array): ReadonlyArray<Sse.Event> {
    if (this.decoder === undefined) {
      if (bytes.length === 0 || bytes[bytes.length - 1]! < 0x80) return this.feed(whole.decode(bytes))
      this.decoder = new TextDecoder("utf-8", unmarked)
    }
    return this.feed(this.decoder.decode(bytes, { stream: true }))
  }

  /** The last event, if it was not followed by an empty line. */
  end(): ReadonlyArray<Sse.Event> {
    return this.feed(`${this.decoder?.decode() ?? ""}\n\n`)
  }

  private feed(text: string): ReadonlyArray<Sse.Event> {
    // Behind an event that was given up the parser would take the rest of it for fields.
    if (this.failure !== undefined || text === "") return none
    const rest = this.plain(text)
    if (rest !== "") this.parse(rest)
    if (this.found.length === 0) return none
    const { found } = this
    this.found = []
    return found
  }

  /** Takes events of one line of data each from the front, and leaves the rest to the parser. */
  private plain(text: string): string {
    const { before } = this
    if (before === undefined || text.includes("\r")) return text
    let at = 0
    while (text.startsWith(prefix, at)) {
      const end = text.indexOf("\n", at)
      if (end < 0 || text[end + 1] !== "\n") break
      const data = text.slice(at + prefix.length, end)
      this.found.push({ _tag: "Event", id: before.id, event: "message", data })
      at = end + 2
    }
    return text.slice(at)
  }

  private parse(text: string): void {
    this.before = undefined
    // The last line end is told apart: if it completes an event, the parser has kept nothing but the id.
    this.failure = this.parser.feed(text.slice(0, -1))
    const { length } = this.found
    this.failure ??= this.parser.feed(text.slice(-1))
    if (this.found.length > length && text.endsWith("\n")) this.before = this.found[length]
  }
}

// The parser takes away the mark at the beginning itself; anywhere else it is text.
const unmarked = { ignoreBOM: true }
const whole = new TextDecoder("utf-8", unmarked)
const prefix = "data: "
const none: ReadonlyArray<Sse.Event> = []
