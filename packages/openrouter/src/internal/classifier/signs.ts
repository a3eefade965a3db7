/**
 * The signs by which the table tells answers apart. A limit that names itself (`metadata.limit_source`) is the best of
 * them; messages are those that OpenRouter has been seen to send where it does not.
 */
import type { Outcome } from "@evenkeel/core"
import type { Facts } from "./facts.ts"

type Sign = (facts: Facts) => boolean

/** Whatever it says. */
export const any: Sign = () => true

export const either =
  (...signs: ReadonlyArray<Sign>): Sign =>
  (f) =>
    signs.some((sign) => sign(f))

export const both =
  (...signs: ReadonlyArray<Sign>): Sign =>
  (f) =>
    signs.every((sign) => sign(f))

const source =
  (name: string): Sign =>
  (f) =>
    f.limitSource === name

const says =
  (pattern: RegExp): Sign =>
  (f) =>
    pattern.test(f.message)

/** Limits that are known by their names: where one of them names itself, no message can make it another. */
const named = new Set([
  "openrouter_key_limit",
  "openrouter_credits",
  "openrouter_in_flight_budget",
  "upstream_provider_shared_pool",
  "upstream_provider_byok"
])

const hints =
  (pattern: RegExp): Sign =>
  (f) =>
    !named.has(f.limitSource) && pattern.test(f.message)

const has =
  (...names: ReadonlyArray<string>): Sign =>
  (f) =>
    names.some((name) => f.metadata[name] !== undefined)

const type =
  (...names: ReadonlyArray<string>): Sign =>
  (f) =>
    names.includes(f.errorType)

const available =
  (...codes: ReadonlyArray<string>): Sign =>
  (f) =>
    codes.includes(f.availability)

// Where it comes from -----------------------------------------------------------------------------------------------

/** No JSON: a page of the edge in front of OpenRouter, or of a proxy on the way. */
export const edge: Sign = (f) => !f.json
export const provider: Sign = (f) => f.provider
/** The account's own key at a provider was used. */
export const byok: Sign = (f) => f.provider && f.byok === true
/** OpenRouter's own key at a provider was used. */
export const pooled: Sign = (f) => f.provider && f.byok === false
/** A provider's pool at OpenRouter is dry, by its name. */
export const sharedPool = source("upstream_provider_shared_pool")

// Money -------------------------------------------------------------------------------------------------------------

export const inFlightBudget = either(source("openrouter_in_flight_budget"), hints(/in-flight requests/))
/** The cap of a key, as a 402 tells of it. */
export const keyCap = either(source("openrouter_key_limit"), hints(/settings\/keys/))
/** This one request does not fit into what is left; smaller ones may. */
const tooDear = says(/can only afford|Prompt tokens limit exceeded/)
export const tooDearForKey = both(keyCap, tooDear)
export const tooDearForAccount = either((f) => f.metadata["reason"] === "weight_exceeds_budget", tooDear)
export const emptyAccount = either(
  source("openrouter_credits"),
  says(/Insufficient credits|settings\/credits/)
)
export const keyCapNamed = source("openrouter_key_limit")
export const keyCapSaid = says(/Key limit exceeded/)
export const guardrailBudget = source("openrouter_guardrail_budget")
export const workspaceBudget = source("openrouter_workspace_budget")
export const workspaceBudgetSaid = says(/^Workspace .*budget/)

// What is not allowed -----------------------------------------------------------------------------------------------

/** Moderation and guardrails by what they found, whatever the words around it. */
export const flagged = either(
  has("patterns", "reasons", "flagged_input"),
  type("content_policy_violation", "refusal")
)
export const flaggedSaid = says(/Terms Of Service|flagged|moderation/i)
export const policyViolation = type("content_policy_violation", "refusal")
export const routedAway = either(
  has("failed_routing_step", "routing_funnel"),
  available("region_restricted"),
  says(/is banned|not available in your region/i)
)
export const managementKey = says(/management key/i)

// The request -------------------------------------------------------------------------------------------------------

export const modelUnknown = either(available("model_not_found"), says(/is not a valid model ID/))
export const tooLong = either(
  type("context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long"),
  says(/maximum context length/)
)
export const deprecated = available("model_deprecated", "free_variant_ended")
/** What may be allowed to a key of another workspace. */
export const policyExcluded = either(
  available("privacy_restricted"),
  (f) => f.metadata["failed_routing_step"] === "Filter by Guardrails",
  says(/data policy|guardrail/i)
)
export const noEndpoints = either(
  available("no_endpoints", "constraint_filtered"),
  says(/No endpoints found|No allowed providers are available/)
)
/** A provider's trouble in the clothes of a 404. */
export const passing: Sign = (f) => f.availability === "model_unavailable_upstream" && f.retryable === true

// Too much, or not at all -------------------------------------------------------------------------------------------

export const freeTier = either(
  (f) => f.limitSource.startsWith("openrouter_free_tier_"),
  hints(/free-models-per-/)
)
/** A limit of the free tier that ends with the day, and not with the minute. */
export const perDay = either(source("openrouter_free_tier_daily"), says(/free-models-per-day/))
/** Only limits of OpenRouter's own name their reset. */
export const resetNamed: Sign = (f) => f.rateLimitReset !== undefined
export const overloaded = either(
  provider,
  type("provider_overloaded", "provider_unavailable", "overloaded_error")
)

/** Whom a guardrail's budget covers. */
export const budgetScope = (f: Facts): Outcome.FaultScope => {
  switch (f.metadata["scope"]) {
    case "workspace":
      return "workspace"
    case "member":
    case "workspace_default_member":
      return "account"
    default:
      return "key"
  }
}
