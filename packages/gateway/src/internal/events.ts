/**
 * A stream of events on its way to the client: whole events, and an error event where the upstream breaks.
 */
import * as Stream from "effect/Stream"
import type { BalancedHttpClient } from "@evenkeel/openrouter"
import type { Endpoint } from "./endpoint.ts"
import { bodyOf, type Failure } from "./failure.ts"

type Body = NonNullable<BalancedHttpClient.Sent["stream"]>

/**
 * The bytes as they come, cut at the ends of events: half of one, followed by an error, would be one event that is neither.
 *
 * `broke` hears of a stream that did not come to its end, before its reader does.
 */
export const relayed = (
  body: Body,
  skin: Endpoint["skin"],
  broke: (failure: Failure) => void
): Stream.Stream<Uint8Array> => {
  const whole = new WholeEvents()
  const errorEvent = (failure: Failure) => {
    broke(failure)
    return Stream.succeed(encoder.encode(eventOf(failure, skin)))
  }
  const ending = Stream.suspend(() => {
    const { failure, finished } = body.watch
    if (failure !== undefined) {
      // What was wrong the upstream has said itself, and it has been passed on.
      broke({ ...truncated, code: failure.class, message: failure.facts.message })
    } else if (!finished) return errorEvent(truncated)
    const rest = whole.rest()
    return rest.length === 0 ? Stream.empty : Stream.succeed(rest)
  })
  return body.pieces.pipe(
    // Behind an error nothing follows, whatever the connection does.
    Stream.takeUntil(({ events }) => events.some(({ failure }) => failure !== undefined)),
    Stream.map(({ bytes }) => whole.push(bytes)),
    Stream.filter((bytes) => bytes.length > 0),
    Stream.concat(ending),
    Stream.catch(() => errorEvent(lost))
  )
}

const truncated: Failure = {
  status: 502,
  type: "server_error",
  code: "truncated",
  message: "The stream ended without an ending: what has come is not the whole answer"
}

const lost: Failure = {
  status: 502,
  type: "server_error",
  code: "stream_broken",
  message: "The connection to OpenRouter broke, or fell silent: what has come is not the whole answer"
}

/** An error as the endpoint's own streams tell of it. The blank line before it ends whatever was under way. */
const eventOf = (failure: Failure, skin: Endpoint["skin"]): string => {
  const { error } = bodyOf(failure)
  if (skin === "chat") return `\n\ndata: ${JSON.stringify({ error })}\n\n`
  // `/responses` has the fields of the error beside its type; `/messages` has them within, and clients read either.
  return `\n\nevent: error\ndata: ${JSON.stringify({ ...error, type: "error", error })}\n\n`
}

/** Holds back what comes behind the last blank line, until the next one. */
export class WholeEvents {
  private held: Uint8Array = nothing

  push(bytes: Uint8Array): Uint8Array {
    const all = this.held.length === 0 ? bytes : concat(this.held, bytes)
    const end = endOfEvents(all)
    this.held = end === all.length ? nothing : all.subarray(end)
    return end === all.length ? all : all.subarray(0, end)
  }

  /** What was held back, at the end. */
  rest(): Uint8Array {
    const { held } = this
    this.held = nothing
    return held
  }
}

const nothing = new Uint8Array(0)
const encoder = new TextEncoder()
const lineFeed = 10
const carriageReturn = 13

/**
 * Where the last event ends: behind two line ends in a row, each of which is LF, CRLF or CR (HTML Standard, section 9.2.6).
 */
const endOfEvents = (bytes: Uint8Array): number => {
  for (let at = bytes.length; at > 1; at--) {
    const last = bytes[at - 1]
    if (last !== lineFeed && last !== carriageReturn) continue
    // Back over one line end.
    const before = last === lineFeed && bytes[at - 2] === carriageReturn ? at - 2 : at - 1
    const previous = bytes[before - 1]
    if (previous === lineFeed || previous === carriageReturn) return at
  }
  return 0
}

const concat = (one: Uint8Array, other: Uint8Array): Uint8Array => {
  const all = new Uint8Array(one.length + other.length)
  all.set(one)
  all.set(other, one.length)
  return all
}
