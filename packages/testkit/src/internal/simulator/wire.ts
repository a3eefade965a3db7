/**
 * An answer with an error status, as it goes over the wire, and the words of OpenRouter's limits.
 */
import { isRecord } from "./json.ts"
import type { LimitReset } from "./period.ts"

/** A literal answer. The helpers in `errors` build the ones that OpenRouter sends. */
export interface WireError {
  readonly _tag: "Status"
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** An object is sent as JSON; a string as it is, with the content type of `headers`, else as HTML. */
  readonly body: unknown
  /** The server adds `user_id`, the account, to the body, as OpenRouter does on most errors. */
  readonly addUserId: boolean
}

/** An error with OpenRouter's body: `{ error: { message, code, metadata } }`, where the code repeats the status. */
export const wireError = (
  status: number,
  message: string,
  metadata?: Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>> = {}
): WireError => ({
  _tag: "Status",
  status,
  headers,
  body: { error: { message, code: status, ...(metadata === undefined ? {} : { metadata }) } },
  // A 401 does not know the account, and a 5xx or the unknown path never looked it up.
  addUserId: [400, 402, 403, 404, 429].includes(status)
})

/** "monthly limit", or "total limit" for a cap that never resets. */
export const limitName = (reset: LimitReset | null): string => `${reset ?? "total"} limit`

/** The tail of a 402 that says whose money is short: the key's cap or the account's balance. */
export const remedy = (source: "key" | "account", reset: LimitReset | null): string =>
  source === "key"
    ? `To increase, visit https://openrouter.ai/settings/keys and create a key with a higher ${limitName(reset)}`
    : "To increase, visit https://openrouter.ai/settings/credits and add more credits"

/** The rate limit headers; the wire repeats them in `metadata.headers`. `resetAt` is in epoch milliseconds. */
export const rateLimitHeaders = (limit: number, resetAt: number): Readonly<Record<string, string>> => ({
  "X-RateLimit-Limit": String(limit),
  "X-RateLimit-Remaining": "0",
  "X-RateLimit-Reset": String(resetAt)
})

/** Whether a value is an error and not what was asked for. */
export const isWireError = (value: unknown): value is WireError =>
  isRecord(value) && value["_tag"] === "Status"
