/**
 * The events of a streamed answer as typed chunks, and its failures as typed errors.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ChatChunk from "../../ChatChunk.ts"
import * as ChatResponse from "../../ChatResponse.ts"
import { Broken, OpenRouterError, Undecodable } from "../../OpenRouterError.ts"
import { parse } from "../json.ts"
import type { Seen } from "./watch.ts"
import type { Piece, StreamedBody } from "./body.ts"

type Chunks = Arr.NonEmptyReadonlyArray<ChatChunk.ChatChunk>
type Ending = Pull.Pull<never, OpenRouterError>

/** The chunks of a body, up to its end or to what broke it. */
export const chunksOf = (
  body: StreamedBody,
  keyId: string
): Stream.Stream<ChatChunk.ChatChunk, OpenRouterError> =>
  Stream.fromPull(Effect.sync(() => new Reader(body, keyId).pull))

const decodeUsage = Schema.decodeUnknownOption(ChatResponse.Usage)

class Reader {
  private readonly body: StreamedBody
  private readonly keyId: string
  private begun = false
  /** The partial text rides on the error of a stream that breaks. */
  private said = ""
  /** With what the stream ends once the chunks before it are read. */
  private ending: Ending | undefined

  constructor(body: StreamedBody, keyId: string) {
    this.body = body
    this.keyId = keyId
    this.next = Effect.matchCauseEffect(body.next, {
      onSuccess: (pieces) => {
        const chunks = this.read(pieces)
        return Arr.isArrayNonEmpty(chunks) ? Effect.succeed(chunks) : this.pull
      },
      onFailure: (cause) => {
        const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
        if (error === undefined) this.end(Effect.failCause(cause as Cause.Cause<never>))
        else this.break("transport", error.message, error)
        return this.pull
      }
    })
    if (!body.hasEvents) this.undecodable("The answer is no stream of events", undefined)
  }

  readonly pull: Pull.Pull<Chunks, OpenRouterError> = Effect.suspend(() => this.ending ?? this.next)

  private readonly next: Pull.Pull<Chunks, OpenRouterError>

  private read(pieces: ReadonlyArray<Piece>): Array<ChatChunk.ChatChunk> {
    const chunks: Array<ChatChunk.ChatChunk> = []
    for (const { events } of pieces) {
      for (const event of events) {
        const chunk = this.decode(event)
        if (chunk !== undefined) chunks.push(chunk)
        if (this.ending !== undefined) return chunks
      }
    }
    if (pieces.length > 0) return chunks
    if (this.body.watch.finished) this.end(Cause.done())
    else this.break("truncated", "the stream ended without an ending")
    return chunks
  }

  private decode({ body, data, failure }: Seen): ChatChunk.ChatChunk | undefined {
    if (data === "[DONE]") return undefined
    if (failure !== undefined) return this.break(failure.class, failure.facts.message)
    const chunk = ChatChunk.decode(body ?? parse(data))
    if (chunk._tag === "Failure") {
      return this.undecodable((Cause.squash(chunk.cause) as Schema.SchemaError).message, data)
    }
    this.begun = true
    this.said += ChatChunk.text(chunk.value)
    return chunk.value
  }

  private undecodable(description: string, data: string | undefined): undefined {
    const reason = new Undecodable({ description, body: data })
    if (this.begun) this.break("undecodable", description, reason)
    else this.fail("undecodable", reason)
  }

  private break(kind: Broken["class"], description: string, cause?: unknown): undefined {
    const { cost, usage } = this.body.watch
    const read = decodeUsage(usage)
    this.fail(
      kind,
      new Broken({
        class: kind,
        description,
        text: this.said,
        usage: read._tag === "Some" ? read.value : undefined,
        cost,
        keyId: this.keyId,
        cause
      })
    )
  }

  private fail(kind: Broken["class"], reason: Broken | Undecodable): void {
    this.end(
      Effect.flatMap(this.body.attempts(kind), (attempts) =>
        Effect.fail(new OpenRouterError({ reason, attempts }))
      )
    )
  }

  private end(ending: Ending): void {
    this.ending = Effect.ensuring(ending, this.body.finish)
  }
}

/** An answer that came whole although a stream was asked for. */
export const chunkOf = (response: ChatResponse.ChatResponse): ChatChunk.ChatChunk => ({
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
