/**
 * Where a body keeps its error. Each of OpenRouter's skins has a place of its own, and so have its streams.
 */
export type Fields = Readonly<Record<string, unknown>>

export const record = (value: unknown): Fields | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined

export const text = (value: unknown): string => (typeof value === "string" ? value : "")

/**
 * The error in a body, or in an event of a stream; `undefined` if there is none.
 *
 * - `error` on top: an object, or its message alone
 * - an event `error` that is the error itself, as `/responses` has it
 * - the response in an event `response.failed`, or one that has failed and does not say of what
 * - `error` in a choice, where an answer that broke off keeps what was said until then
 */
export const errorIn = (value: unknown): Fields | undefined => {
  const body = record(value)
  if (body === undefined) return undefined
  const { choices, error, type } = body
  const top = own(body)
  if (top !== undefined) return top
  if (type === "error" || type === "response.error" || error === true) return body
  if (type === "response.failed") return own(record(body["response"])) ?? silent
  if (body["object"] === "response" && body["status"] === "failed") return silent
  if (!Array.isArray(choices)) return undefined
  for (const choice of choices) {
    const fields = record(choice)
    const inside = own(fields)
    if (inside !== undefined) return inside
    if (fields?.["finish_reason"] === "error") return silent
  }
  return undefined
}

/** Nearly every answer: it is JSON, and says nothing of a failure. */
export const isServed = (answer: { readonly status: number; readonly body: unknown }): boolean =>
  answer.status < 400 && answer.body !== undefined && errorIn(answer.body) === undefined

const own = (fields: Fields | undefined): Fields | undefined => {
  const error = fields?.["error"]
  return typeof error === "string" && error !== "" ? { message: error } : record(error)
}

/** A failure that does not say what it is. */
const silent: Fields = {}
