/**
 * Requests of chat completions. What is known is typed; everything else passes through unchanged, so that a parameter
 * that OpenRouter adds tomorrow works today.
 */
import * as Schema from "effect/Schema"
import { ProviderRouting } from "./ProviderRouting.ts"
import { Unknowns } from "./internal/lenient.ts"

/**
 * What a suffix of a model id asks for: `:nitro` the fastest providers, `:floor` the cheapest, `:exacto` those best at
 * tools, `:free` the free variant, `:extended` and `:thinking` variants of a model, `:online` web search.
 */
export type Variant = "nitro" | "floor" | "exacto" | "free" | "extended" | "thinking" | "online"

/**
 * A model id with a variant: `variant("openai/gpt-4o-mini", "floor")` is `"openai/gpt-4o-mini:floor"`.
 */
export const variant = <M extends string, V extends Variant>(model: M, variant: V): `${M}:${V}` =>
  `${model}:${variant}`

/** A message; content may be text or parts (text, images, files, audio). Unknown fields pass through. */
export const Message = Schema.StructWithRest(
  Schema.Struct({
    role: Schema.Literals(["system", "developer", "user", "assistant", "tool"]),
    content: Schema.optional(Schema.NullOr(Schema.Union([Schema.String, Schema.Array(Unknowns)]))),
    name: Schema.optional(Schema.String),
    tool_calls: Schema.optional(Schema.Array(Unknowns)),
    tool_call_id: Schema.optional(Schema.String)
  }),
  [Unknowns]
)

export type Message = typeof Message.Type

const Tokens = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))
const Penalty = Schema.Finite.check(Schema.isBetween({ minimum: -2, maximum: 2 }))

/**
 * A request of a chat completion.
 */
export const ChatRequest = Schema.StructWithRest(
  Schema.Struct({
    /** At least one. */
    messages: Schema.Array(Message).check(Schema.isMinLength(1)),
    /** A model id, with or without a variant (`:nitro`, `:floor`, …). */
    model: Schema.optional(Schema.NonEmptyString),
    /** Models that OpenRouter tries in this order when one is down or refuses. */
    models: Schema.optional(Schema.Array(Schema.NonEmptyString)),
    provider: Schema.optional(Schema.NullOr(ProviderRouting)),
    /** The most tokens of the answer; OpenRouter reserves their price beforehand, so it pays to set it. */
    max_completion_tokens: Schema.optional(Schema.NullOr(Tokens)),
    /** The older name of `max_completion_tokens`. */
    max_tokens: Schema.optional(Schema.NullOr(Tokens)),
    temperature: Schema.optional(
      Schema.NullOr(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 2 })))
    ),
    top_p: Schema.optional(Schema.NullOr(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))),
    frequency_penalty: Schema.optional(Schema.NullOr(Penalty)),
    presence_penalty: Schema.optional(Schema.NullOr(Penalty)),
    seed: Schema.optional(Schema.NullOr(Schema.Int)),
    stop: Schema.optional(Schema.NullOr(Schema.Union([Schema.String, Schema.Array(Schema.String)]))),
    reasoning: Schema.optional(Schema.NullOr(Unknowns)),
    response_format: Schema.optional(Schema.NullOr(Unknowns)),
    tools: Schema.optional(Schema.NullOr(Schema.Array(Unknowns))),
    tool_choice: Schema.optional(Schema.NullOr(Schema.Union([Schema.String, Unknowns]))),
    parallel_tool_calls: Schema.optional(Schema.NullOr(Schema.Boolean)),
    /** Your end user: OpenRouter confines blocks for abuse to it. */
    user: Schema.optional(Schema.NullOr(Schema.String)),
    /** Up to 256 characters. Requests of one session meet the same provider's prompt cache, within one account. */
    session_id: Schema.optional(Schema.NullOr(Schema.String.check(Schema.isMaxLength(256)))),
    prompt_cache_key: Schema.optional(Schema.NullOr(Schema.String)),
    metadata: Schema.optional(Schema.NullOr(Unknowns)),
    stream: Schema.optional(Schema.Boolean)
  }),
  [Unknowns]
)

export type ChatRequest = typeof ChatRequest.Type

/**
 * A request that asks one thing of one model.
 *
 * **Example**
 *
 * ```ts
 * import { ChatRequest } from "@evenkeel/openrouter"
 *
 * ChatRequest.ask("openai/gpt-4o-mini", "What is ballast?", { max_completion_tokens: 60 }).messages // => [{ role: "user", content: "What is ballast?" }]
 * ```
 */
export const ask = (
  model: string,
  prompt: string,
  options: Omit<Partial<ChatRequest>, "model" | "messages"> = {}
): ChatRequest => ({
  ...options,
  model,
  messages: [{ role: "user", content: prompt }]
})
