/**
 * What a fault rule does to a request: an error status, or one of the ways in which an answer goes wrong after its 200.
 */
import type * as Duration from "effect/Duration"
import { type WireError, wireError } from "./wire.ts"

/** The error inside a 200. `code` may be a string, as in `server_error`. */
export interface InnerError {
  readonly code: number | string
  readonly message: string
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
}

/** What happens to a request that a rule matches. */
export type FaultAction =
  /** Answers with this status and body. */
  | WireError
  /** Destroys the socket before anything is answered. */
  | { readonly _tag: "Reset" }
  /** Waits before anything is answered; for ever without a duration. The request is not billed. */
  | { readonly _tag: "Stall"; readonly duration: Duration.Input | undefined }
  /** A 200 that is not JSON, and for streams an event that is not. */
  | { readonly _tag: "Garbage" }
  /** A 200 with `{ id, error }` and no choices. */
  | { readonly _tag: "OkWithErrorBody"; readonly error: InnerError }
  /** A 200 whose choice holds partial content and an error. Not for streams. */
  | { readonly _tag: "ChoiceError"; readonly error: InnerError }
  /** A stream whose first event is an error. */
  | { readonly _tag: "FirstEventError"; readonly error: InnerError }
  /** A stream with an error after some chunks of content. */
  | {
      readonly _tag: "MidStreamError"
      readonly error: InnerError
      readonly afterChunks: number
      readonly done: boolean
    }
  /** A stream that ends, in good order as far as HTTP knows, without finish reason, usage and `[DONE]`. */
  | { readonly _tag: "Truncate"; readonly afterChunks: number }
  /** Destroys the socket in the middle of the body. */
  | { readonly _tag: "Cut"; readonly afterChunks: number }
  /** Goes silent in the middle of a stream, or with comments keeps the connection alive. */
  | { readonly _tag: "Hang"; readonly afterChunks: number; readonly comments: Duration.Input | undefined }
  /** Sends the body in pieces with pauses. */
  | { readonly _tag: "SlowBody"; readonly delay: Duration.Input }
  /** A 200 without content, which is not billed. */
  | { readonly _tag: "EmptyCompletion" }

const providerGone: InnerError = { code: "server_error", message: "Provider disconnected unexpectedly" }

const rateLimited: InnerError = {
  code: 429,
  message: "Rate limit exceeded",
  metadata: { error_type: "rate_limit_exceeded" }
}

/** Answers with a literal status, body and headers. A string body is sent as it is. */
export const status = (
  code: number,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {}
): FaultAction =>
  body === undefined
    ? { ...wireError(code, `Simulated ${code}`), headers }
    : { _tag: "Status", status: code, headers, body, addUserId: false }

/** Resets the connection before anything is answered. */
export const reset: FaultAction = { _tag: "Reset" }

/** Answers late, or never if no duration is given. */
export const stall = (duration?: Duration.Input): FaultAction => ({ _tag: "Stall", duration })

/** Answers 200 with a body that cannot be parsed. */
export const garbage: FaultAction = { _tag: "Garbage" }

/** Answers 200 with an error as body; 502 by default. */
export const okWithErrorBody = (
  error: InnerError = { code: 502, message: "Provider returned error", metadata: { provider_name: "OpenAI" } }
): FaultAction => ({ _tag: "OkWithErrorBody", error })

/** Answers 200 with an error inside the choice, after half of the content; 502 by default. */
export const choiceError = (error: InnerError = { code: 502, message: "Upstream error" }): FaultAction => ({
  _tag: "ChoiceError",
  error
})

/** Answers 200 with an error as first and only event; 429 by default. */
export const firstEventError = (error: InnerError = rateLimited): FaultAction => ({
  _tag: "FirstEventError",
  error
})

/**
 * Breaks a stream with an error event after some chunks of content, 1 by default. The code is `server_error`, a string,
 * unless given. `done` adds the `[DONE]` that some observed streams send after the error.
 */
export const midStreamError = (
  options: Partial<InnerError> & { readonly afterChunks?: number; readonly done?: boolean } = {}
): FaultAction => ({
  _tag: "MidStreamError",
  error: {
    code: options.code ?? providerGone.code,
    message: options.message ?? providerGone.message,
    metadata: options.metadata
  },
  afterChunks: options.afterChunks ?? 1,
  done: options.done ?? false
})

/** Ends a stream early, after 1 chunk of content by default, without finish reason, usage and `[DONE]`. */
export const truncate = (options: { readonly afterChunks?: number } = {}): FaultAction => ({
  _tag: "Truncate",
  afterChunks: options.afterChunks ?? 1
})

/** Destroys the socket after some chunks of content, 1 by default; outside streams in the middle of the JSON. */
export const cut = (options: { readonly afterChunks?: number } = {}): FaultAction => ({
  _tag: "Cut",
  afterChunks: options.afterChunks ?? 1
})

/** Goes silent after some chunks of content, 1 by default; `comments` is the pause between SSE comments, if any. */
export const hang = (
  options: { readonly afterChunks?: number; readonly comments?: Duration.Input } = {}
): FaultAction => ({ _tag: "Hang", afterChunks: options.afterChunks ?? 1, comments: options.comments })

/** Sends the body in pieces, with a pause before each; 50 milliseconds by default. */
export const slowBody = (delay: Duration.Input = "50 millis"): FaultAction => ({ _tag: "SlowBody", delay })

/** Answers 200 with empty content and no completion tokens. */
export const emptyCompletion: FaultAction = { _tag: "EmptyCompletion" }
