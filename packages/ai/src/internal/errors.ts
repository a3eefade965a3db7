/**
 * How calls fail, in the words of `effect/ai`. The classifier has said whose fault it is; here its classes meet the reasons
 * of `AiError`, and nothing is retried: the balancer has done that already, on other keys and after waits.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { AiError } from "effect/ai"
import { HttpClientError } from "effect/http"
import { type Classifier, type OpenRouter, OpenRouterError } from "@evenkeel/openrouter"
import type { Errors, Filter } from "@evenkeel/core"
import type { Failure } from "../Metadata.ts"
import { known } from "./json.ts"

/** A reason of `AiError`, before it has its particulars. */
type Kind =
  | "throttled"
  | "spent"
  | "invalid-key"
  | "missing-key"
  | "forbidden"
  | "policy"
  | "request"
  | "model"
  | "provider"
  | "response"
  | "unknown"

const kinds: Readonly<Record<Classifier.Known, Kind>> = {
  "edge-blocked": "provider",
  "edge-throttled": "throttled",
  "edge-timed-out": "provider",
  "edge-unavailable": "provider",
  "upstream-unavailable": "provider",
  "byok-rejected": "invalid-key",
  "key-rejected": "invalid-key",
  // A hold on what is in flight: it passes in seconds, so it is no quota.
  "in-flight-budget": "throttled",
  "over-key-headroom": "spent",
  "key-cap-spent": "spent",
  "over-account-balance": "spent",
  "account-exhausted": "spent",
  "byok-exhausted": "spent",
  "payment-required": "spent",
  "guardrail-budget-spent": "spent",
  "workspace-budget-spent": "spent",
  moderated: "policy",
  "routing-refused": "request",
  "key-misused": "forbidden",
  forbidden: "forbidden",
  "model-unavailable": "provider",
  "model-deprecated": "model",
  "privacy-restricted": "request",
  "no-endpoints": "model",
  "not-found": "request",
  "timed-out": "provider",
  "free-tier-spent": "throttled",
  "upstream-throttled": "throttled",
  "byok-throttled": "throttled",
  "account-throttled": "throttled",
  throttled: "throttled",
  "model-not-found": "model",
  "too-long": "request",
  "bad-request": "request",
  unavailable: "provider",
  unknown: "unknown"
}

/** Of classes that rows of the user's own have named, only the status is known. */
const kindOfStatus = (status: number | undefined): Kind => {
  if (status === undefined) return "provider"
  if (status === 401) return "invalid-key"
  if (status === 402) return "spent"
  if (status === 403) return "forbidden"
  if (status === 429) return "throttled"
  if (status >= 500 || status === 408) return "provider"
  return status >= 400 ? "request" : "unknown"
}

const kindOf = (name: string, status: number | undefined): Kind =>
  Object.hasOwn(kinds, name) ? kinds[name as Classifier.Known] : kindOfStatus(status)

const reasonOf = (kind: Kind, failure: Failure, now: number): AiError.AiErrorReason => {
  const { message: description, retryAfterMillis: wait } = failure
  const metadata = { openrouter: failure }
  switch (kind) {
    case "throttled":
      return new AiError.RateLimitError({
        retryAfter: wait === undefined ? undefined : Duration.millis(wait),
        metadata
      })
    case "spent": {
      const resetAt = wait === undefined ? undefined : DateTime.make(now + wait)
      return new AiError.QuotaExhaustedError({
        resetAt: resetAt?._tag === "Some" ? DateTime.toUtc(resetAt.value) : undefined,
        metadata
      })
    }
    case "invalid-key":
      return new AiError.AuthenticationError({ kind: "InvalidKey", description, metadata })
    case "missing-key":
      return new AiError.AuthenticationError({ kind: "MissingKey", description, metadata })
    case "forbidden":
      return new AiError.AuthenticationError({ kind: "InsufficientPermissions", description, metadata })
    case "policy":
      return new AiError.ContentPolicyError({ description, metadata })
    case "request":
      return new AiError.InvalidRequestError({ description, metadata })
    case "model":
      return new AiError.InvalidRequestError({ parameter: "model", description, metadata })
    case "provider":
      return new AiError.InternalProviderError({ description, metadata })
    case "response":
      return new AiError.InvalidResponseError({ description, metadata })
    case "unknown":
      return new AiError.UnknownError({ description, metadata })
  }
}

const ofOpenRouter = (
  reason: OpenRouterError.OpenRouterError["reason"],
  attempts: number,
  now: number
): AiError.AiErrorReason => {
  const { message } = reason
  switch (reason._tag) {
    case "Answered": {
      const { class: name, keyId, retryAfter, status } = reason
      const retryAfterMillis = retryAfter === undefined ? undefined : Duration.toMillis(retryAfter)
      const failure = known({ class: name, message, attempts, status, keyId, retryAfterMillis })
      return reasonOf(kindOf(name, status), failure, now)
    }
    case "Broken": {
      const { class: name, cost, keyId, text } = reason
      const failure = known({ class: name, message, attempts, keyId, text, cost })
      return reasonOf(name === "undecodable" ? "response" : kindOf(name, undefined), failure, now)
    }
    case "Transport": {
      const { cause } = reason
      const request = HttpClientError.isHttpClientError(cause) ? cause.reason.request : undefined
      // Neither the cause nor the request goes along: their headers hold the key.
      return new AiError.NetworkError({
        reason: "TransportError",
        method: request?.method ?? "POST",
        url: request?.url ?? "",
        description: message
      })
    }
    case "Undecodable":
      return reasonOf("response", { class: "undecodable", message, attempts }, now)
    case "InvalidRequest":
      return new AiError.InvalidRequestError({
        parameter: reason.field,
        constraint: `must be ${reason.expected}`,
        metadata: { openrouter: { class: "invalid-request", message, attempts } }
      })
  }
}

/** What a key waits for, from the soonest to the most hopeless. */
const verdicts: ReadonlyArray<readonly [Kind, ReadonlyArray<Filter.Reason>]> = [
  ["throttled", ["throttled", "saturated", "paced", "probing", "warming", "shared"]],
  ["provider", ["unavailable", "circuit-open"]],
  ["spent", ["exhausted", "insufficient", "below-floor"]]
]

/** The key that is soonest of use decides: if one of ten waits for a permit, the rest may be spent for the month. */
const ofVerdicts = (
  { keys }: Errors.NoEligibleKey | Errors.DeadlineExceeded,
  failure: Failure,
  now: number
): AiError.AiErrorReason | undefined => {
  for (const [kind, reasons] of verdicts) {
    const waiting = keys.filter(({ reason }) => reasons.includes(reason))
    if (waiting.length === 0) continue
    const until = Math.min(...waiting.map((key) => key.until ?? Infinity))
    const retryAfterMillis = until === Infinity ? undefined : Math.max(0, until - now)
    return reasonOf(kind, known({ ...failure, retryAfterMillis }), now)
  }
  return undefined
}

const ofNoKey = (error: Errors.NoEligibleKey, now: number): AiError.AiErrorReason => {
  const { keys, lastError, message } = error
  const attempts = error.attempts.length
  const failure: Failure = { class: "no-eligible-key", message, attempts }
  if (keys.length === 0) return reasonOf("missing-key", failure, now)
  const waiting = ofVerdicts(error, failure, now)
  if (waiting !== undefined) return waiting
  // Every key was tried or refused, and the last one said why.
  if (isReason(lastError)) return ofOpenRouter(lastError, attempts, now)
  return reasonOf(keys.some(({ reason }) => reason === "rejected") ? "invalid-key" : "unknown", failure, now)
}

const ofDeadline = (error: Errors.DeadlineExceeded, now: number): AiError.AiErrorReason => {
  const failure: Failure = { class: "deadline", message: error.message, attempts: error.attempts.length }
  return ofVerdicts(error, failure, now) ?? reasonOf("provider", failure, now)
}

const ofPermit = ({ attempts, message }: Errors.PermitLost, now: number): AiError.AiErrorReason =>
  reasonOf("provider", { class: "permit-lost", message, attempts: attempts.length }, now)

const isReason = (error: unknown): error is OpenRouterError.Answered | OpenRouterError.Transport =>
  error instanceof OpenRouterError.Answered || error instanceof OpenRouterError.Transport

/** An error of this method, for this reason. */
export const failed = (module: string, method: string) => (reason: AiError.AiErrorReason) =>
  AiError.make({ module, method, reason })

/** Fails with what has gone wrong, in the words of `effect/ai`. */
export const failing =
  (module: string, method: string) =>
  (error: OpenRouter.CallError): Effect.Effect<never, AiError.AiError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      switch (error._tag) {
        case "OpenRouterError":
          return Effect.fail(failed(module, method)(ofOpenRouter(error.reason, error.attempts.length, now)))
        case "NoEligibleKey":
          return Effect.fail(failed(module, method)(ofNoKey(error, now)))
        case "DeadlineExceeded":
          return Effect.fail(failed(module, method)(ofDeadline(error, now)))
        case "PermitLost":
          return Effect.fail(failed(module, method)(ofPermit(error, now)))
      }
    })
