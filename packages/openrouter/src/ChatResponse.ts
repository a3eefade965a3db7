/**
 * Answers of chat completions, decoded leniently: OpenRouter adds fields and values unannounced, so only what the
 * program needs has a shape, unknown fields stay, and a missing field is no error.
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { loose, Unknowns } from "./internal/lenient.ts"
import { isChatResponse } from "./internal/shape.ts"

/** What an answer took and cost. */
export const Usage = Schema.StructWithRest(
  Schema.Struct({
    prompt_tokens: loose(Schema.Finite),
    completion_tokens: loose(Schema.Finite),
    total_tokens: loose(Schema.Finite),
    /** USD. */
    cost: loose(Schema.Finite),
    /** Served with the account's own provider key: `cost` is then OpenRouter's fee alone. */
    is_byok: loose(Schema.Boolean),
    prompt_tokens_details: loose(Unknowns),
    completion_tokens_details: loose(Unknowns),
    cost_details: loose(Unknowns)
  }),
  [Unknowns]
)

export type Usage = typeof Usage.Type

/** A call of a tool; `arguments` is JSON as the model wrote it. */
export const ToolCall = Schema.StructWithRest(
  Schema.Struct({
    id: loose(Schema.String),
    type: loose(Schema.String),
    function: loose(
      Schema.StructWithRest(Schema.Struct({ name: loose(Schema.String), arguments: loose(Schema.String) }), [
        Unknowns
      ])
    )
  }),
  [Unknowns]
)

export type ToolCall = typeof ToolCall.Type

/** What the assistant said. */
export const AssistantMessage = Schema.StructWithRest(
  Schema.Struct({
    role: loose(Schema.String),
    content: loose(Schema.Union([Schema.String, Schema.Array(Unknowns)])),
    reasoning: loose(Schema.String),
    refusal: loose(Schema.String),
    tool_calls: loose(Schema.Array(ToolCall))
  }),
  [Unknowns]
)

/** One of the answers. */
export const Choice = Schema.StructWithRest(
  Schema.Struct({
    index: loose(Schema.Finite),
    /** "stop", "length", "tool_calls", "content_filter", "error", or a value that is new. */
    finish_reason: loose(Schema.String),
    native_finish_reason: loose(Schema.String),
    message: loose(AssistantMessage)
  }),
  [Unknowns]
)

/**
 * The answer of a chat completion.
 */
export const ChatResponse = Schema.StructWithRest(
  Schema.Struct({
    id: loose(Schema.String),
    /** The model that answered: with `models` or an alias not always the one that was asked. */
    model: loose(Schema.String),
    /** The provider that served it. */
    provider: loose(Schema.String),
    created: loose(Schema.Finite),
    choices: Schema.Array(Choice),
    usage: loose(Usage)
  }),
  [Unknowns]
)

export type ChatResponse = typeof ChatResponse.Type

/**
 * A parsed body as an answer, or why it is none: as the schema decodes it, but without a copy. It takes about a tenth of the time.
 */
export const decode = (body: unknown): Exit.Exit<ChatResponse, Schema.SchemaError> =>
  isChatResponse(body) ? Exit.succeed(body as ChatResponse) : decodeCopy(body)

const decodeCopy = Schema.decodeUnknownExit(ChatResponse)

/**
 * The text of the first choice; "" where it has none (a tool call, an empty answer).
 */
export const text = (response: ChatResponse): string => {
  const content = response.choices[0]?.message?.content
  if (typeof content === "string") return content
  return (content ?? []).map((part) => (typeof part["text"] === "string" ? part["text"] : "")).join("")
}

/**
 * What the answer cost in USD, as far as it says.
 */
export const cost = (response: ChatResponse): number | undefined => response.usage?.cost ?? undefined
