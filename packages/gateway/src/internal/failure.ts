/**
 * Errors as OpenAI's API has them, so that its clients make of them what they would make of OpenAI's own.
 *
 * Source: OpenAI's API reference, "Error codes", and what `openai` for JavaScript reads: `message`, `type`, `code`, `param`,
 * the status, and the headers `retry-after` and `x-should-retry`.
 */
import { HttpServerResponse } from "effect/http"

export type ErrorType =
  | "invalid_request_error"
  | "rate_limit_error"
  | "insufficient_quota"
  | "server_error"
  | "timeout_error"

export interface Failure {
  readonly status: number
  readonly type: ErrorType
  /** Stable, for `switch`. */
  readonly code: string
  readonly message: string
  /** The field of the request that is wrong. */
  readonly param?: string | undefined
  /** What else is known, as OpenRouter's errors have it. */
  readonly metadata?: object | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** A failure that lies in the request. */
export const wrong = (status: number, code: string, message: string, param?: string): Failure => ({
  status,
  type: "invalid_request_error",
  code,
  message,
  param
})

/** The body of an error. */
export const bodyOf = ({ code, message, metadata, param, type }: Failure) => ({
  error: { message, type, code, param: param ?? null, ...(metadata === undefined ? {} : { metadata }) }
})

/** The response that tells of a failure. `hide` takes out what must not be seen, whoever said it. */
export const respond = (
  failure: Failure,
  hide: (text: string) => string = (text) => text
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(hide(JSON.stringify(bodyOf(failure))), {
    status: failure.status,
    contentType: "application/json",
    headers: { "cache-control": "no-store", ...failure.headers }
  })
