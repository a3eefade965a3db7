/**
 * `/responses`, OpenAI's newer skin.
 */
import type { InnerError } from "../actions.ts"
import { type Bill, nothing } from "../call.ts"
import { list, record } from "../json.ts"
import {
  data,
  doneMarker,
  type Generation,
  type Piece,
  type Skin,
  textPieces,
  toolPiece,
  usage
} from "./skin.ts"

type Status = "completed" | "failed" | "in_progress" | "incomplete"

const messageId = (generation: Generation) => `msg_${generation.id.slice(-20)}`

const messageItem = (generation: Generation, status: Status) => ({
  type: "message",
  id: messageId(generation),
  status,
  role: "assistant",
  content: [{ type: "output_text", text: generation.answer.text, annotations: [] }]
})

const callItems = (generation: Generation) =>
  generation.answer.toolCalls.map((call, index) => ({
    type: "function_call",
    id: `fc_${generation.id.slice(-20)}${index}`,
    call_id: `call_${generation.id.slice(-20)}${index}`,
    name: call.name,
    arguments: call.arguments,
    status: "completed"
  }))

const items = (generation: Generation) =>
  generation.answer.toolCalls.length > 0 ? callItems(generation) : [messageItem(generation, "completed")]

const response = (
  generation: Generation,
  status: Status,
  options: {
    readonly output?: ReadonlyArray<unknown>
    readonly bill?: Bill
    readonly error?: InnerError
  } = {}
) => {
  const counted = usage(generation.model, options.bill ?? nothing)
  return {
    id: generation.id,
    object: "response",
    created_at: generation.created,
    model: generation.model.id,
    status,
    error: options.error === undefined ? null : { code: options.error.code, message: options.error.message },
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    output: options.output ?? [],
    usage:
      options.bill === undefined
        ? null
        : {
            input_tokens: counted.prompt_tokens,
            input_tokens_details: { cached_tokens: 0 },
            output_tokens: counted.completion_tokens,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: counted.total_tokens,
            cost: counted.cost,
            is_byok: false,
            cost_details: {
              upstream_inference_cost: null,
              upstream_inference_input_cost: counted.cost_details.upstream_inference_prompt_cost,
              upstream_inference_output_cost: counted.cost_details.upstream_inference_completions_cost
            }
          }
  }
}

const finished = (generation: Generation): Status =>
  generation.answer.finishReason === "length" ? "incomplete" : "completed"

const failedBody = (generation: Generation, error: InnerError) => ({
  ...response(generation, "failed", { error }),
  error_type: record(error.metadata)["error_type"] ?? "server"
})

/** `/responses`. */
export const responses: Skin = {
  path: "/responses",
  generates: true,
  messages: (body) => {
    const input = record(body)["input"]
    if (typeof input === "string") return [{ role: "user", content: input }]
    return list(input).length > 0 ? list(input) : undefined
  },
  failed: failedBody,
  result: (generation, bill, error) =>
    error === undefined
      ? response(generation, finished(generation), { output: items(generation), bill })
      : { ...failedBody(generation, error), output: items(generation) },
  stream: (generation) => {
    let sequence = 0
    const event = (type: string, fields: Readonly<Record<string, unknown>>) =>
      data({ type, ...fields, sequence_number: sequence++ })
    const place = { output_index: 0, item_id: messageId(generation), content_index: 0 }
    const isText = generation.answer.toolCalls.length === 0
    const open = [
      event("response.created", { response: response(generation, "in_progress") }),
      event("response.in_progress", { response: response(generation, "in_progress") }),
      ...(isText
        ? [
            event("response.output_item.added", {
              output_index: 0,
              item: { ...messageItem(generation, "in_progress"), content: [] }
            })
          ]
        : [])
    ]
    const tool = () =>
      callItems(generation)
        .map((item, index) => event("response.output_item.done", { output_index: index, item }))
        .join("")
    const pieces: ReadonlyArray<Piece> = isText
      ? textPieces(generation.answer, (delta) =>
          event("response.output_text.delta", { ...place, delta, logprobs: [] })
        )
      : toolPiece(generation.answer, tool())
    return {
      open,
      pieces,
      close: (bill) => [
        ...(isText
          ? [
              event("response.output_text.done", { ...place, text: generation.answer.text, logprobs: [] }),
              event("response.output_item.done", {
                output_index: 0,
                item: messageItem(generation, "completed")
              })
            ]
          : []),
        event(finished(generation) === "completed" ? "response.completed" : "response.incomplete", {
          response: response(generation, finished(generation), { output: items(generation), bill })
        })
      ],
      error: (error) => [event("response.failed", { response: failedBody(generation, error) })],
      done: [doneMarker]
    }
  }
}
