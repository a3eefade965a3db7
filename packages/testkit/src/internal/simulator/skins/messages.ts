/**
 * `/messages`, Anthropic's skin: other names for everything, and another shape of errors.
 */
import type { InnerError } from "../actions.ts"
import type { Bill } from "../call.ts"
import { list, parse, record, string } from "../json.ts"
import { type Generation, named, type Skin, textPieces, toolPiece } from "./skin.ts"

const stopReason = (generation: Generation): string => {
  switch (generation.answer.finishReason) {
    case "length":
      return "max_tokens"
    case "tool_calls":
      return "tool_use"
    default:
      return "end_turn"
  }
}

const usage = (bill: Bill) => ({
  input_tokens: bill.promptTokens,
  output_tokens: bill.completionTokens,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  cost: bill.cost,
  is_byok: false
})

const toolUses = (generation: Generation) =>
  generation.answer.toolCalls.map((call, index) => ({
    type: "tool_use",
    id: `toolu_${generation.id.slice(-20)}${index}`,
    name: call.name,
    input: parse(call.arguments) ?? {}
  }))

const content = (generation: Generation): ReadonlyArray<unknown> =>
  generation.answer.toolCalls.length > 0
    ? toolUses(generation)
    : [{ type: "text", text: generation.answer.text, citations: null }]

const message = (
  generation: Generation,
  bill: Bill,
  blocks: ReadonlyArray<unknown>,
  stop: string | null
) => ({
  id: generation.id,
  type: "message",
  role: "assistant",
  model: generation.model.id,
  provider: generation.provider,
  content: blocks,
  stop_reason: stop,
  stop_sequence: null,
  usage: usage(bill)
})

const errorTypes: Readonly<Record<string, readonly [anthropic: string, openrouter: string]>> = {
  400: ["invalid_request_error", "invalid_request"],
  401: ["authentication_error", "authentication"],
  402: ["billing_error", "payment_required"],
  403: ["permission_error", "permission_denied"],
  404: ["not_found_error", "not_found"],
  413: ["request_too_large", "payload_too_large"],
  429: ["rate_limit_error", "rate_limit_exceeded"],
  502: ["api_error", "provider_unavailable"],
  503: ["overloaded_error", "provider_overloaded"],
  504: ["timeout_error", "timeout"],
  529: ["overloaded_error", "provider_overloaded"]
}

const errorBody = (code: number | string, text: string, metadata: unknown) => {
  const [type, errorType] = errorTypes[code] ?? (["api_error", "server"] as const)
  return {
    type: "error",
    error: { type, message: text, error_type: string(record(metadata)["error_type"]) ?? errorType },
    request_id: null
  }
}

const failed = (error: InnerError) => errorBody(error.code, error.message, error.metadata)

const delta = (text: string): string =>
  named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })

/** `/messages`. */
export const messages: Skin = {
  path: "/messages",
  generates: true,
  messages: (body) => {
    const turns = list(record(body)["messages"])
    const system = record(body)["system"]
    if (turns.length === 0) return undefined
    return system === undefined ? turns : [{ role: "system", content: system }, ...turns]
  },
  failed: (_, error) => failed(error),
  result: (generation, bill, error) =>
    error === undefined
      ? message(generation, bill, content(generation), stopReason(generation))
      : failed(error),
  stream: (generation) => {
    const isText = generation.answer.toolCalls.length === 0
    const tools = toolUses(generation)
      .flatMap(({ input, ...block }, index) => [
        named({ type: "content_block_start", index, content_block: { ...block, input: {} } }),
        named({
          type: "content_block_delta",
          index,
          delta: { type: "input_json_delta", partial_json: JSON.stringify(input) }
        }),
        named({ type: "content_block_stop", index })
      ])
      .join("")
    const start = { cost: 0, promptTokens: generation.promptTokens, completionTokens: 0 }
    return {
      open: [
        named({ type: "message_start", message: message(generation, start, [], null) }),
        ...(isText
          ? [
              named({
                type: "content_block_start",
                index: 0,
                content_block: { type: "text", text: "", citations: null }
              })
            ]
          : [])
      ],
      pieces: isText ? textPieces(generation.answer, delta) : toolPiece(generation.answer, tools),
      close: (bill) => [
        ...(isText ? [named({ type: "content_block_stop", index: 0 })] : []),
        named({
          type: "message_delta",
          delta: { stop_reason: stopReason(generation), stop_sequence: null },
          usage: usage(bill)
        }),
        named({ type: "message_stop" })
      ],
      error: (error) => [named(failed(error))],
      done: []
    }
  },
  reword: (status, body) => {
    const error = record(record(body)["error"])
    return string(error["message"]) === undefined
      ? body
      : errorBody(status, String(error["message"]), error["metadata"])
  }
}
