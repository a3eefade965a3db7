/**
 * What a simulated model answers: by default an echo, a forced tool call, or an instance of the schema asked for.
 */
import { isRecord, list, number, record, string, text } from "./json.ts"
import { instance } from "./jsonSchema.ts"

/** What the completion function of the options sees. */
export interface CompletionRequest {
  /** The id of the model that answers. */
  readonly model: string
  /** The endpoint, such as `/chat/completions`. */
  readonly path: string
  /** The request as it came. */
  readonly body: unknown
  /** The text of the last user message. */
  readonly lastUserMessage: string
  readonly stream: boolean
}

/** One call of a tool. `arguments` is serialised if it is not a string. */
export interface ToolCall {
  readonly name: string
  readonly arguments: unknown
}

/** An answer with more than text. */
export interface CompletionResult {
  readonly text?: string | undefined
  readonly toolCalls?: ReadonlyArray<ToolCall> | undefined
  /**
   * Further fields of the message: `reasoning`, `reasoning_details`, `images`, `annotations`, `refusal`. A stream sends them
   * in one chunk before the text. They are not billed, and `/chat/completions` alone has them.
   */
  readonly fields?: Readonly<Record<string, unknown>> | undefined
  /** `stop` by default, `tool_calls` with tool calls, `length` when `max_tokens` cuts the text. */
  readonly finishReason?: string | undefined
}

/** An answer in its final form. */
export interface Answer {
  readonly text: string
  readonly toolCalls: ReadonlyArray<{ readonly name: string; readonly arguments: string }>
  readonly fields: Readonly<Record<string, unknown>>
  readonly finishReason: string
}

/** Tokens are taken to be four characters long, the usual rule of thumb; that makes every cost predictable. */
export const tokens = (characters: number): number => Math.ceil(characters / 4)

/** The characters of an answer that are billed as completion. */
export const billedLength = (answer: Answer): number =>
  answer.text.length +
  answer.toolCalls.reduce((sum, call) => sum + call.name.length + call.arguments.length, 0)

/** All text of a list of messages, for the prompt's token count. */
export const promptText = (messages: ReadonlyArray<unknown>): string =>
  messages.map((message) => text(record(message)["content"])).join("")

/** The text of the last message of the user, which the default answer echoes. */
export const lastUserMessage = (messages: ReadonlyArray<unknown>): string =>
  text(record(messages.findLast((message) => record(message)["role"] === "user"))["content"])

// The function tool that the request forces, by name or by `required`.
const forcedTool = (body: unknown): ToolCall | undefined => {
  const tools = list(record(body)["tools"])
  const choice = record(body)["tool_choice"]
  const named = string(record(record(choice)["function"])["name"]) ?? string(record(choice)["name"])
  const forced = choice === "required" || record(choice)["type"] === "any" || named !== undefined
  if (!forced) return undefined
  // Chat nests the function, `/responses` and `/messages` do not.
  const functions = tools.map((tool) =>
    isRecord(record(tool)["function"]) ? record(record(tool)["function"]) : record(tool)
  )
  const tool = named === undefined ? functions[0] : functions.find((candidate) => candidate["name"] === named)
  const name = string(tool?.["name"])
  return name === undefined
    ? undefined
    : { name, arguments: instance(tool?.["parameters"] ?? tool?.["input_schema"] ?? { type: "object" }) }
}

const structured = (body: unknown, echo: string): string | undefined => {
  const format = isRecord(record(body)["response_format"])
    ? record(record(body)["response_format"])
    : record(record(record(body)["text"])["format"])
  switch (format["type"]) {
    case "json_schema":
      return JSON.stringify(instance(record(format["json_schema"])["schema"] ?? format["schema"]))
    case "json_object":
      return JSON.stringify({ answer: echo })
    default:
      return undefined
  }
}

/** The default answer. Equal requests get equal answers. */
export const echo = (request: CompletionRequest): CompletionResult => {
  const forced = forcedTool(request.body)
  if (forced !== undefined) return { toolCalls: [forced] }
  const reply = `You said: ${request.lastUserMessage}`
  return { text: structured(request.body, reply) ?? reply }
}

/** Completes a result and applies `max_tokens`. */
export const finish = (result: string | CompletionResult, maxTokens: number): Answer => {
  const full: CompletionResult = typeof result === "string" ? { text: result } : result
  const calls = (full.toolCalls ?? []).map((call) => ({
    name: call.name,
    arguments: typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments)
  }))
  const whole = full.text ?? ""
  const kept = whole.slice(0, maxTokens * 4)
  const natural = kept.length < whole.length ? "length" : calls.length > 0 ? "tool_calls" : "stop"
  return {
    text: kept,
    toolCalls: calls,
    fields: full.fields ?? {},
    finishReason: full.finishReason ?? natural
  }
}

/** `max_tokens` under any of its names; absent when the request sets none. */
export const maxTokensOf = (body: unknown): number | undefined => {
  const fields = record(body)
  const value =
    number(fields["max_completion_tokens"]) ??
    number(fields["max_tokens"]) ??
    number(fields["max_output_tokens"])
  return value === undefined || value < 1 ? undefined : Math.floor(value)
}
