/**
 * The events of a streamed answer as typed chunks, and its failures as typed errors.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type ChatChunk, text } from "../../ChatChunk.ts"
import * as ChatResponse from "../../ChatResponse.ts"
import { Broken, OpenRouterError, Undecodable } from "../../OpenRouterError.ts"
import { parse } from "../json.ts"
import { decodeChunk } from "./decode.ts"
import type { Seen } from "./watch.ts"
import type { StreamedBody } from "./body.ts"

const decodeUsage = Schema.decodeUnknownOption(ChatResponse.Usage)

/** The chunks of a body, up to its end or to what broke it. */
export const chunksOf = (body: StreamedBody, keyId: string): Stream.Stream<ChatChunk, OpenRouterError> => {
  // The partial text rides on the error of a stream that breaks, so it is kept while the stream runs.
  let said = ""
  let begun = false
  /** What the stream ends with, once the chunks before it are read. */
  let last: Pull.Pull<never, OpenRouterError> | undefined
  const fail = (kind: Broken["class"], reason: Broken | Undecodable) =>
    Effect.flatMap(body.attempts(kind), (attempts) => Effect.fail(new OpenRouterError({ reason, attempts })))
  const broken = (kind: Broken["class"], description: string, cause?: unknown) => {
    const usage = decodeUsage(body.watch.usage)
    return fail(
      kind,
      new Broken({
        class: kind,
        description,
        text: said,
        usage: usage._tag === "Some" ? usage.value : undefined,
        cost: body.watch.cost,
        keyId,
        cause
      })
    )
  }
  const end = (how: Pull.Pull<never, OpenRouterError>) => {
    last = Effect.ensuring(how, body.finish)
  }
  const undecodable = (description: string, data: string | undefined) => {
    const reason = new Undecodable({ description, body: data })
    end(begun ? broken("undecodable", description, reason) : fail("undecodable", reason))
  }
  const decode = ({ body: parsed, data, failure }: Seen): ChatChunk | undefined => {
    if (data === "[DONE]") return undefined
    if (failure !== undefined) return void end(broken(failure.class, failure.facts.message))
    const chunk = decodeChunk(parsed ?? parse(data))
    if (chunk._tag === "Failure") return void undecodable(chunk.failure.message, data)
    begun = true
    said += text(chunk.success)
    return chunk.success
  }
  const read = Effect.matchCauseEffect(body.next, {
    onFailure: (cause) => {
      const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
      end(
        error === undefined
          ? Effect.failCause(cause as Cause.Cause<never>)
          : broken("transport", error.message, error)
      )
      return pull
    },
    onSuccess: (pieces) => {
      if (pieces.length === 0) {
        end(body.watch.finished ? Cause.done() : broken("truncated", "the stream ended without an ending"))
        return pull
      }
      const chunks: Array<ChatChunk> = []
      for (const { events } of pieces) {
        for (const event of events) {
          const chunk = decode(event)
          if (chunk !== undefined) chunks.push(chunk)
          else if (last !== undefined) break
        }
      }
      return Arr.isArrayNonEmpty(chunks) ? Effect.succeed(chunks) : pull
    }
  })
  const pull: Pull.Pull<Arr.NonEmptyReadonlyArray<ChatChunk>, OpenRouterError> = Effect.suspend(
    () => last ?? read
  )
  body.watch.parses = true
  if (!body.hasEvents) undecodable("The answer is no stream of events", undefined)
  return Stream.fromPull(Effect.succeed(pull))
}

/** An answer that came whole although a stream was asked for. */
export const chunkOf = (response: ChatResponse.ChatResponse): ChatChunk => ({
  ...response,
  choices: response.choices.map(
    ({ message, ...choice }) =>
      ({ ...choice, delta: message && { ...message, content: plain(message.content) } }) as never
  )
})

/** Chunks have text where whole answers may have parts. */
const plain = (content: unknown): unknown =>
  Array.isArray(content)
    ? content.map((part) => (typeof part?.text === "string" ? part.text : "")).join("")
    : content
