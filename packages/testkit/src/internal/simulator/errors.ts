/**
 * OpenRouter's errors, word for word where a real body is known. Each is a {@link WireError}, and so an action of a
 * fault rule; the simulator's own checks answer with the same ones.
 */
import { type LimitReset } from "./period.ts"
import { limitName, rateLimitHeaders, remedy, type WireError, wireError } from "./wire.ts"

/** 401: no `Authorization` and no `x-api-key` header. */
export const missingAuth = (): WireError => wireError(401, "Missing Authentication header")

/** 401: an `Authorization` header that is not a bearer token. */
export const invalidCredentials = (): WireError => wireError(401, "Invalid credentials")

/** 401: the key is unknown, revoked, disabled or expired. */
export const revoked = (): WireError => wireError(401, "User not found.")

/** 401 of the account's own key at a provider: the OpenRouter key is fine. */
export const byok401 = (options: { readonly provider?: string } = {}): WireError =>
  wireError(401, "Provider returned error", {
    raw: '{"error":{"message":"Incorrect API key provided","type":"invalid_request_error"}}',
    provider_name: options.provider ?? "OpenAI",
    is_byok: true
  })

/** 403: the key's cap is spent. `resetsAt` is ISO 8601, `null` for a cap that never resets. */
export const keyLimit403 = (
  options: { readonly reset?: LimitReset | null; readonly resetsAt?: string | null } = {}
): WireError =>
  wireError(
    403,
    `Key limit exceeded (${limitName(options.reset ?? null)}). Manage it using https://openrouter.ai/settings/keys`,
    { limit_source: "openrouter_key_limit", resets_at: options.resetsAt ?? null }
  )

const affordability = (requested: number, affordable: number) =>
  `This request requires more credits, or fewer max_tokens. You requested up to ${requested} tokens, but can only afford ${affordable}.`

/** 402: the key's cap leaves less than prompt and `max_tokens` may cost. Smaller requests still pass. */
export const keyLimit402 = (
  options: {
    readonly requested?: number
    readonly affordable?: number
    readonly reset?: LimitReset | null
  } = {}
): WireError =>
  wireError(
    402,
    `${affordability(options.requested ?? 65_536, options.affordable ?? 1_024)} ${remedy("key", options.reset ?? null)}`,
    { limit_source: "openrouter_key_limit" }
  )

/** 402: not even the prompt fits into what the key's cap, or the account's balance, leaves. */
export const promptTokens402 = (options: {
  readonly source: "key" | "account"
  readonly promptTokens: number
  readonly affordable: number
  readonly reset?: LimitReset | null
}): WireError =>
  wireError(
    402,
    `Prompt tokens limit exceeded: ${options.promptTokens} > ${options.affordable}. ${remedy(options.source, options.reset ?? null)}`,
    { limit_source: options.source === "key" ? "openrouter_key_limit" : "openrouter_credits" }
  )

/** 402: the account has no credits. */
export const accountCredits402 = (): WireError =>
  wireError(402, "Insufficient credits. Add more using https://openrouter.ai/credits", {
    limit_source: "openrouter_credits"
  })

/** 402: the account's balance is less than prompt and `max_tokens` may cost. */
export const accountAffordability402 = (
  options: { readonly requested?: number; readonly affordable?: number } = {}
): WireError =>
  wireError(
    402,
    `${affordability(options.requested ?? 65_536, options.affordable ?? 1_024)} ${remedy("account", null)}`,
    { limit_source: "openrouter_credits" }
  )

/** 402: this one request is too expensive for the account's in-flight budget. Waiting does not help. */
export const weightExceedsBudget402 = (
  options: { readonly requested?: number; readonly affordable?: number } = {}
): WireError =>
  wireError(
    402,
    `${affordability(options.requested ?? 65_536, options.affordable ?? 1_024)} ${remedy("account", null)}`,
    { limit_source: "openrouter_credits", reason: "weight_exceeds_budget" }
  )

/** 402: the account's requests in flight hold its budget. `retryAfter` is in seconds, 2 by default. */
export const inFlightBudget402 = (options: { readonly retryAfter?: number } = {}): WireError =>
  wireError(
    402,
    "This request would exceed your available credits given your current in-flight requests. Retry after in-flight requests settle, or add credits.",
    { limit_source: "openrouter_in_flight_budget", reason: "in_flight_budget_exhausted" },
    { "Retry-After": String(options.retryAfter ?? 2) }
  )

/** 403: a guardrail's budget is spent; `scope` says whose. */
export const guardrailBudget403 = (
  options: {
    readonly scope?: "api_key" | "workspace_default_key" | "member" | "workspace_default_member" | "workspace"
    readonly limitUsd?: number
    readonly spendUsd?: number
    readonly resetsAt?: string | null
  } = {}
): WireError =>
  wireError(403, "Guardrail budget exceeded. Contact your org admin.", {
    limit_source: "openrouter_guardrail_budget",
    scope: options.scope ?? "api_key",
    limit_usd: options.limitUsd ?? 10,
    spend_usd: options.spendUsd ?? options.limitUsd ?? 10,
    resets_at: options.resetsAt ?? null
  })

/** 403: the workspace's budget is spent. */
export const workspaceBudget403 = (
  options: { readonly limitUsd?: number; readonly resetsAt?: string | null } = {}
): WireError => {
  const limit = options.limitUsd ?? 500
  return wireError(
    403,
    `Workspace monthly budget of $${limit.toFixed(2)} exceeded. Contact your org admin.`,
    {
      limit_source: "openrouter_workspace_budget",
      scope: "workspace",
      limit_usd: limit,
      spend_usd: limit,
      resets_at: options.resetsAt ?? null
    }
  )
}

/** 429 of an account's requests in a minute. `resetAt` is in epoch milliseconds. */
export const accountRate429 = (options: { readonly limit: number; readonly resetAt: number }): WireError => {
  const headers = rateLimitHeaders(options.limit, options.resetAt)
  return wireError(429, "Rate limit exceeded", { headers, error_type: "rate_limit_exceeded" }, headers)
}

/** 429 of the account's requests to free models in a minute, 20. `resetAt` is in epoch milliseconds. */
export const freeMinute429 = (options: { readonly limit?: number; readonly resetAt: number }): WireError => {
  const headers = rateLimitHeaders(options.limit ?? 20, options.resetAt)
  const metadata = { headers, limit_source: "openrouter_free_tier_per_minute" }
  return wireError(429, "Rate limit exceeded: free-models-per-min", metadata, headers)
}

/** 429 of the account's requests to free models in a day, 50 or 1000. `resetAt` is in epoch milliseconds. */
export const freeDaily429 = (options: { readonly limit?: number; readonly resetAt: number }): WireError => {
  const limit = options.limit ?? 50
  const headers = rateLimitHeaders(limit, options.resetAt)
  const message =
    limit < 1000
      ? "free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
      : "free-models-per-day-high-balance"
  const metadata = { headers, limit_source: "openrouter_free_tier_daily" }
  return wireError(429, `Rate limit exceeded: ${message}`, metadata, headers)
}
