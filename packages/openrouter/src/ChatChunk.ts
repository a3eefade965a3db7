/**
 * The pieces of a streamed chat completion, decoded leniently.
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { ToolCall, Usage } from "./ChatResponse.ts"
import { loose, Unknowns } from "./internal/lenient.ts"
import { isChatChunk } from "./internal/shape.ts"

/** What one piece adds to a choice. */
export const Delta = Schema.StructWithRest(
  Schema.Struct({
    role: loose(Schema.String),
    content: loose(Schema.String),
    reasoning: loose(Schema.String),
    refusal: loose(Schema.String),
    /** Calls come in fragments: the first of a call has its id and name, all have parts of its arguments. */
    tool_calls: loose(Schema.Array(ToolCall))
  }),
  [Unknowns]
)

/**
 * A piece of a streamed chat completion. The last one carries `usage`, with an empty delta or without choices.
 */
export const ChatChunk = Schema.StructWithRest(
  Schema.Struct({
    id: loose(Schema.String),
    model: loose(Schema.String),
    provider: loose(Schema.String),
    created: loose(Schema.Finite),
    choices: loose(
      Schema.Array(
        Schema.StructWithRest(
          Schema.Struct({
            index: loose(Schema.Finite),
            delta: loose(Delta),
            finish_reason: loose(Schema.String)
          }),
          [Unknowns]
        )
      )
    ),
    usage: loose(Usage)
  }),
  [Unknowns]
)

export type ChatChunk = typeof ChatChunk.Type

/**
 * The parsed data of an event as a piece, or why it is none: as the schema decodes it, but without a copy. It takes about a
 * twentieth of the time.
 */
export const decode = (data: unknown): Exit.Exit<ChatChunk, Schema.SchemaError> =>
  isChatChunk(data) ? Exit.succeed(data as ChatChunk) : decodeCopy(data)

const decodeCopy = Schema.decodeUnknownExit(ChatChunk)

/**
 * The text that a piece adds to the first choice; "" where it adds none.
 */
export const text = (chunk: ChatChunk): string => {
  const choice = chunk.choices?.find(({ index }) => (index ?? 0) === 0)
  return choice?.delta?.content ?? ""
}
