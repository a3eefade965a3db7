/**
 * What became of a request that failed, as an error in OpenAI's shape.
 *
 * Whose fault it was decides: what the caller has done wrong comes back as OpenRouter said it; what is wrong with a key, its
 * workspace or its account is none of the caller's doing, and must not look like it: a 401 of OpenRouter's is not about the
 * caller's token.
 */
import { Classifier, Refusal, type BalancedHttpClient } from "@evenkeel/openrouter"
import { record, text } from "./json.ts"
import type { ErrorType, Failure } from "./failure.ts"

/** Says to `openai` that all that can be tried has been: its own retries would come on top. */
const final = { "x-should-retry": "false" }

/** What it means for the caller that no key can serve. */
const kinds: Readonly<Record<Refusal.Kind, Pick<Failure, "status" | "type" | "code">>> = {
  throttled: { status: 429, type: "rate_limit_error", code: "rate_limit_exceeded" },
  // As OpenAI tells of an account without money: clients know this one.
  exhausted: { status: 429, type: "insufficient_quota", code: "insufficient_quota" },
  rejected: { status: 503, type: "server_error", code: "keys_rejected" },
  unavailable: { status: 503, type: "server_error", code: "no_key_available" }
}

export const failureOf = (
  error: BalancedHttpClient.Failed | BalancedHttpClient.Lost | BalancedHttpClient.Refused,
  nowMillis: number
): Failure => {
  const evenkeel = { attempts: error.attempts.map(Refusal.attempt) }
  switch (error._tag) {
    case "NoEligibleKey": {
      const { keys, message, retryAt } = error
      return {
        ...kinds[Refusal.kindOf(error)],
        message,
        metadata: {
          evenkeel: { keys: keys.map(Refusal.verdict), retry_at: Refusal.iso(retryAt), ...evenkeel }
        },
        // With a time to come back at, the caller's own retry is no haste.
        headers: retryAt === undefined ? final : retryAfter(retryAt, nowMillis)
      }
    }
    case "DeadlineExceeded": {
      const { inFlight, keys, message, retryAt, timeoutMillis } = error
      const verdicts = { keys: keys.map(Refusal.verdict), retry_at: Refusal.iso(retryAt) }
      return {
        status: 504,
        type: "timeout_error",
        code: "deadline_exceeded",
        message,
        metadata: {
          evenkeel: { timeout_ms: timeoutMillis, in_flight: inFlight ?? null, ...verdicts, ...evenkeel }
        },
        headers: { ...final, ...retryAfter(retryAt, nowMillis) }
      }
    }
    case "PermitLost":
      return {
        status: 503,
        type: "server_error",
        code: "permit_lost",
        message: error.message,
        metadata: { evenkeel: { in_flight: error.keyId, ...evenkeel } },
        headers: final
      }
    case "Lost":
      return {
        status: 502,
        type: "server_error",
        code: "upstream_unreachable",
        message: "The connection to OpenRouter failed, or broke before the answer was there",
        metadata: { evenkeel },
        headers: final
      }
    case "Failed":
      return answered(error, nowMillis, evenkeel)
  }
}

const answered = (
  { body, classification, keyId }: BalancedHttpClient.Failed,
  nowMillis: number,
  evenkeel: object
): Failure => {
  const { class: code, facts, reason, scope, until } = classification
  const headers = { ...final, ...retryAfter(until, nowMillis) }
  if (scope === "key" || scope === "workspace" || scope === "account") {
    const message = `No key can serve: ${keyId} ${reason} (${code}), and no other was left to try`
    const kind = reason === "insufficient" ? "exhausted" : reason
    return { ...kinds[kind], message, metadata: { evenkeel }, headers }
  }
  const { message, metadata, status } = facts
  return {
    status: status >= 400 && status <= 599 ? status : 502,
    type: typeOf(status),
    code,
    message: message === "" ? `OpenRouter answered ${status} (${code})` : message,
    param: text(record(record(body)?.["error"])?.["param"]),
    metadata: { ...metadata, evenkeel },
    headers
  }
}

const typeOf = (status: number): ErrorType => {
  if (status === 429) return "rate_limit_error"
  if (status === 408 || status === 504 || status === 524) return "timeout_error"
  return status >= 400 && status < 500 ? "invalid_request_error" : "server_error"
}

/** Whole seconds, at least one and at most an hour: no client should sleep for days. */
const retryAfter = (at: number | undefined, nowMillis: number): Readonly<Record<string, string>> => {
  if (at === undefined) return {}
  const wait = Math.min(at - nowMillis, Classifier.maxRetryAfter)
  return { "retry-after": `${Math.max(1, Math.ceil(wait / 1000))}` }
}
