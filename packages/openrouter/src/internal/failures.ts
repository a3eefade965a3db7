/**
 * What the transport met, as the typed errors that callers see.
 */
import * as Duration from "effect/Duration"
import type { HttpClientError } from "effect/http"
import { Errors } from "@evenkeel/core"
import type { Classification } from "../Classifier.ts"
import { Answered, OpenRouterError, Transport } from "../OpenRouterError.ts"

/** An answer that is a failure. */
export interface FailedAnswer {
  readonly keyId: string
  readonly body: unknown
  readonly classification: Classification
}

export const answered = ({ body, classification, keyId }: FailedAnswer): Answered => {
  const { facts, scope, until } = classification
  return new Answered({
    class: classification.class,
    status: facts.status,
    description: facts.message,
    scope,
    retryAfter: until === undefined ? undefined : Duration.millis(Math.max(0, until - facts.now)),
    keyId,
    body
  })
}

type Failure =
  | (FailedAnswer & { readonly _tag: "Failed" })
  | HttpClientError.HttpClientError
  | Errors.NoEligibleKey

export const failureOf = (error: Failure): OpenRouterError | Errors.NoEligibleKey => {
  switch (error._tag) {
    case "NoEligibleKey":
      return error
    case "Failed":
      return new OpenRouterError({ reason: answered(error) })
    case "HttpClientError":
      return new OpenRouterError({
        reason: new Transport({ keyId: undefined, description: describe(error), cause: error })
      })
  }
}

/** With what lies behind it: that the connection was refused is not in the message of the error itself. */
const describe = (error: HttpClientError.HttpClientError): string => {
  let cause: unknown = "cause" in error.reason ? error.reason.cause : undefined
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause
  return cause instanceof Error && cause.message !== "" ? `${error.message}: ${cause.message}` : error.message
}

/** A refusal remembers the last failure as callers know it, and not the response that it came with. */
export const told = (error: Errors.NoEligibleKey): Errors.NoEligibleKey => {
  const { lastError } = error
  return isFailed(lastError) ? Errors.noEligibleKey(error.keys, error.attempts, answered(lastError)) : error
}

const isFailed = (error: unknown): error is FailedAnswer =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "Failed"
