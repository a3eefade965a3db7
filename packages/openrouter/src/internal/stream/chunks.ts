/**
 * The events of a streamed answer as typed chunks, and its failures as typed errors.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { HttpClientError } from "effect/http"
import { ChatChunk, text } from "../../ChatChunk.ts"
import * as ChatResponse from "../../ChatResponse.ts"
import { Broken, OpenRouterError, Undecodable } from "../../OpenRouterError.ts"
import { parse } from "../json.ts"
import type { Seen } from "./watch.ts"
import type { StreamedBody } from "./body.ts"

const decodeChunk = Schema.decodeUnknownEffect(ChatChunk)
const decodeUsage = Schema.decodeUnknownOption(ChatResponse.Usage)

/** The chunks of a body, up to its end or to what broke it. */
export const chunksOf = (body: StreamedBody, keyId: string): Stream.Stream<ChatChunk, OpenRouterError> => {
  // The partial text rides on the error of a stream that breaks, so it is kept while the stream runs.
  let said = ""
  let begun = false
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
  const decode = ({
    data,
    body: parsed,
    failure
  }: Seen): Effect.Effect<ChatChunk | undefined, OpenRouterError> => {
    if (data === "[DONE]") return Effect.succeed(undefined)
    if (failure !== undefined) return broken(failure.class, failure.facts.message)
    return Effect.matchEffect(decodeChunk(parsed ?? parse(data)), {
      onFailure: ({ message }) => {
        const reason = new Undecodable({ description: message, body: data })
        return begun ? broken("undecodable", message, reason) : fail("undecodable", reason)
      },
      onSuccess: (chunk) => {
        begun = true
        said += text(chunk)
        return Effect.succeed(chunk)
      }
    })
  }
  if (!body.hasEvents) {
    const reason = new Undecodable({ description: "The answer is no stream of events", body: undefined })
    return Stream.ensuring(Stream.fromEffect(fail("undecodable", reason)), body.finish)
  }
  return body.pieces.pipe(
    Stream.catch((error: HttpClientError.HttpClientError) =>
      Stream.fromEffect(broken("transport", error.message, error))
    ),
    Stream.flatMap((piece) => Stream.fromIterable(piece.events)),
    Stream.mapEffect(decode),
    Stream.filter((chunk) => chunk !== undefined),
    Stream.concat(
      Stream.unwrap(
        Effect.sync(() =>
          body.watch.finished
            ? Stream.empty
            : Stream.fromEffect(broken("truncated", "the stream ended without an ending"))
        )
      )
    ),
    Stream.ensuring(body.finish)
  )
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
