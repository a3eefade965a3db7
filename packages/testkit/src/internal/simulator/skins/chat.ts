/**
 * `/chat/completions`, and the legacy `/completions`, which words the same things with `text`.
 */
import type { InnerError } from "../actions.ts"
import type { Bill } from "../call.ts"
import { list, record } from "../json.ts"
import {
  data,
  doneMarker,
  type Generation,
  innerError,
  type Skin,
  type SkinStream,
  textPieces,
  toolPiece,
  usage
} from "./skin.ts"

const head = (generation: Generation, object: string) => ({
  id: generation.id,
  provider: generation.provider,
  model: generation.model.id,
  object,
  created: generation.created
})

const toolCalls = (generation: Generation) =>
  generation.answer.toolCalls.map((call, index) => ({
    id: `call_${generation.id.slice(-20)}${index}`,
    type: "function",
    function: { name: call.name, arguments: call.arguments }
  }))

const message = (generation: Generation, error: InnerError | undefined) => ({
  role: "assistant",
  content:
    generation.answer.toolCalls.length > 0 && generation.answer.text === "" ? null : generation.answer.text,
  refusal: null,
  reasoning: null,
  ...generation.answer.fields,
  ...(generation.answer.toolCalls.length > 0 && error === undefined
    ? { tool_calls: toolCalls(generation) }
    : {})
})

const ending = (generation: Generation, error: InnerError | undefined) => {
  const reason = error === undefined ? generation.answer.finishReason : "error"
  return {
    logprobs: null,
    finish_reason: reason,
    native_finish_reason: reason,
    index: 0,
    ...(error === undefined ? {} : { error: innerError(error) })
  }
}

type Body = (delta: { readonly content: string }) => unknown

// The events of a stream of chunks; `part` words the content of one.
const chunks = (
  generation: Generation,
  object: string,
  part: Body,
  extra: SkinStream["pieces"]
): SkinStream => {
  const chunk = (
    content: unknown,
    finish: string | null,
    more: { readonly usage?: unknown; readonly choices?: ReadonlyArray<never> } = {}
  ) =>
    data({
      ...head(generation, object),
      choices: [
        { index: 0, ...record(content), finish_reason: finish, native_finish_reason: finish, logprobs: null }
      ],
      ...more
    })
  const reason = generation.answer.finishReason
  const empty = part({ content: "" })
  return {
    open: [],
    pieces: [...textPieces(generation.answer, (content) => chunk(part({ content }), null)), ...extra],
    close: (bill: Bill) => {
      const counted = { usage: usage(generation.model, bill) }
      return [
        chunk(empty, reason),
        generation.emptyUsageChoices
          ? chunk(empty, reason, { ...counted, choices: [] })
          : chunk(empty, reason, counted)
      ]
    },
    error: (error) => [
      data({
        ...head(generation, object),
        error: innerError(error),
        // The observed delta of an error has no role, unlike all others.
        choices: [
          {
            index: 0,
            ...(object === "text_completion" ? { text: "" } : { delta: { content: "" } }),
            finish_reason: "error"
          }
        ]
      })
    ],
    done: [doneMarker]
  }
}

const messagesOf = (body: unknown): ReadonlyArray<unknown> | undefined => {
  const messages = list(record(body)["messages"])
  if (messages.length > 0) return messages
  const prompt = record(body)["prompt"]
  return typeof prompt === "string" || Array.isArray(prompt)
    ? [{ role: "user", content: Array.isArray(prompt) ? prompt.join("") : prompt }]
    : undefined
}

const failed = (generation: Generation, error: InnerError) => ({
  id: generation.id,
  error: innerError(error)
})

const choice: Body = ({ content }) => ({ delta: { role: "assistant", content } })

/** What the message has besides its text and its calls. */
const fieldsChunk = (generation: Generation): ReadonlyArray<string> => {
  const { fields } = generation.answer
  if (Object.keys(fields).length === 0) return []
  const delta = { role: "assistant", content: "", ...fields }
  const choices = [{ index: 0, delta, finish_reason: null, native_finish_reason: null, logprobs: null }]
  return [data({ ...head(generation, "chat.completion.chunk"), choices })]
}

/** `/chat/completions`. */
export const chat: Skin = {
  path: "/chat/completions",
  generates: true,
  messages: messagesOf,
  failed,
  result: (generation, bill, error) => ({
    ...head(generation, "chat.completion"),
    choices: [{ ...ending(generation, error), message: message(generation, error) }],
    system_fingerprint: null,
    usage: usage(generation.model, bill)
  }),
  stream: (generation) => {
    const indexed = toolCalls(generation).map((call, index) => ({ index, ...call }))
    const calls = { delta: { role: "assistant", content: null, tool_calls: indexed } }
    const tool = data({
      ...head(generation, "chat.completion.chunk"),
      choices: [{ index: 0, ...calls, finish_reason: null, native_finish_reason: null, logprobs: null }]
    })
    const written = chunks(generation, "chat.completion.chunk", choice, toolPiece(generation.answer, tool))
    return { ...written, open: fieldsChunk(generation) }
  }
}

/** `/completions`. */
export const completions: Skin = {
  path: "/completions",
  generates: true,
  messages: messagesOf,
  failed,
  result: (generation, bill, error) => ({
    ...head(generation, "text_completion"),
    choices: [{ ...ending(generation, error), text: generation.answer.text }],
    system_fingerprint: null,
    usage: usage(generation.model, bill)
  }),
  stream: (generation) => chunks(generation, "text_completion", ({ content }) => ({ text: content }), [])
}
