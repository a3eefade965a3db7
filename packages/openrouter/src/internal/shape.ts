/**
 * Whether a body has the shape that its schema asks for, said in a tenth of the time that decoding takes.
 *
 * The schemas of answers change nothing: they check what has come, and copy it. So a body that passes its guard is handed on
 * as it is, and only one that does not is decoded, for the error that says why. That guards and schemas agree is tested.
 */
type Guard = (value: unknown) => boolean

const missing: Guard = (value) => value === undefined || value === null

const text: Guard = (value) => typeof value === "string" || missing(value)
const amount: Guard = (value) => Number.isFinite(value) || missing(value)
const flag: Guard = (value) => typeof value === "boolean" || missing(value)
const object = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
const unknowns: Guard = (value) => object(value) || missing(value)

/** A list; a field of the kind may be missing too. */
const list =
  (item: Guard): Guard =>
  (value) =>
    Array.isArray(value) ? value.every(item) : missing(value)

const usage: Guard = (value) =>
  object(value)
    ? amount(value["prompt_tokens"]) &&
      amount(value["completion_tokens"]) &&
      amount(value["total_tokens"]) &&
      amount(value["cost"]) &&
      flag(value["is_byok"]) &&
      unknowns(value["prompt_tokens_details"]) &&
      unknowns(value["completion_tokens_details"]) &&
      unknowns(value["cost_details"])
    : missing(value)

const called: Guard = (value) =>
  object(value) ? text(value["name"]) && text(value["arguments"]) : missing(value)

const toolCalls = list(
  (value) => object(value) && text(value["id"]) && text(value["type"]) && called(value["function"])
)

const parts = list(object)

const message: Guard = (value) =>
  object(value)
    ? (text(value["content"]) || parts(value["content"])) &&
      text(value["role"]) &&
      text(value["reasoning"]) &&
      text(value["refusal"]) &&
      toolCalls(value["tool_calls"])
    : missing(value)

const choices = list(
  (value) =>
    object(value) &&
    amount(value["index"]) &&
    text(value["finish_reason"]) &&
    text(value["native_finish_reason"]) &&
    message(value["message"])
)

const delta: Guard = (value) =>
  object(value)
    ? text(value["role"]) &&
      text(value["content"]) &&
      text(value["reasoning"]) &&
      text(value["refusal"]) &&
      toolCalls(value["tool_calls"])
    : missing(value)

const additions = list(
  (value) => object(value) && amount(value["index"]) && text(value["finish_reason"]) && delta(value["delta"])
)

/** What answers and chunks have in common. */
const head = (value: Readonly<Record<string, unknown>>): boolean =>
  text(value["id"]) &&
  text(value["model"]) &&
  text(value["provider"]) &&
  amount(value["created"]) &&
  usage(value["usage"])

/** Of `ChatResponse`. */
export const isChatResponse: Guard = (value) =>
  object(value) && Array.isArray(value["choices"]) && choices(value["choices"]) && head(value)

/** Of `ChatChunk`. */
export const isChatChunk: Guard = (value) => object(value) && additions(value["choices"]) && head(value)
