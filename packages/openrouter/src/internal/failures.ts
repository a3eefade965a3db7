/**
 * What the transport met, as the typed errors that callers see.
 */
import * as Duration from "effect/Duration"
import type { HttpClientError } from "effect/http"
import { Errors } from "@evenkeel/core"
import type { Failed, Lost } from "../BalancedHttpClient.ts"
import type { Classification } from "../Classifier.ts"
import { Answered, OpenRouterError, Transport } from "../OpenRouterError.ts"

/** How a request ends that no key could serve, or not in time, or not to its end. */
export type Refused = Errors.NoEligibleKey | Errors.DeadlineExceeded | Errors.PermitLost

export const answered = (failed: {
  readonly keyId: string
  readonly body: unknown
  readonly classification: Classification
}): Answered => {
  const { body, classification, keyId } = failed
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

export const failureOf = (error: Failed | Lost | Refused): OpenRouterError | Refused =>
  error._tag === "Failed" || error._tag === "Lost"
    ? new OpenRouterError({ reason: reasonOf(error), attempts: error.attempts })
    : error

const reasonOf = (error: Failed | Lost): Answered | Transport =>
  error._tag === "Failed"
    ? answered(error)
    : new Transport({ keyId: error.keyId, description: describe(error.error), cause: error.error })

/** With what lies behind it: that the connection was refused is not in the message of the error itself. */
const describe = (error: HttpClientError.HttpClientError): string => {
  let cause: unknown = "cause" in error.reason ? error.reason.cause : undefined
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause
  return cause instanceof Error && cause.message !== "" ? `${error.message}: ${cause.message}` : error.message
}

/** A refusal remembers the last failure as callers know it, and not the response that it came with. */
export const told = (error: Refused): Refused => {
  if (!isOwn(error.lastError)) return error
  const lastError = reasonOf(error.lastError)
  if (error._tag === "NoEligibleKey") return Errors.noEligibleKey(error.keys, error.attempts, lastError)
  if (error._tag === "PermitLost") {
    const { attempts, keyId, keys, retryAt } = error
    return new Errors.PermitLost({ attempts, keyId, keys, retryAt, lastError })
  }
  const { attempts, inFlight, keys, retryAt, timeoutMillis } = error
  return new Errors.DeadlineExceeded({ attempts, inFlight, keys, retryAt, timeoutMillis, lastError })
}

const isOwn = (error: unknown): error is Failed | Lost =>
  typeof error === "object" &&
  error !== null &&
  "_tag" in error &&
  (error._tag === "Failed" || error._tag === "Lost")
