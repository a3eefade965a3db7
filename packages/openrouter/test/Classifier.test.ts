import { Classifier } from "@evenkeel/openrouter"
import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { readFileSync } from "node:fs"

/** A Saturday, noon: the day ends at midnight, the week on Sunday, the month in nine days. */
const now = Date.parse("2026-11-21T12:00:00Z")
const at = (iso: string): number => Date.parse(iso)
const tomorrow = at("2026-11-22T00:00:00Z")
const monday = at("2026-11-23T00:00:00Z")
const december = at("2026-12-01T00:00:00Z")
const hour = 3_600_000

type Expected = Omit<Classifier.Classification, "facts">

interface Case {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: unknown
  readonly is: Expected
}

const verdict = (
  name: string,
  scope: Expected["scope"],
  reason: Expected["reason"],
  retryable: Expected["retryable"],
  confidence: Expected["confidence"],
  until?: number,
  more: Partial<Expected> = {}
): Expected => ({
  class: name,
  scope,
  reason,
  retryable,
  until,
  within: undefined,
  billed: "no",
  confidence,
  ...more
})

// What each class says, except for the time.
const byokRejected = verdict("byok-rejected", "account", "rejected", "rotate", "inferred", now + 300_000, {
  within: "upstream"
})
const keyRejected = verdict("key-rejected", "key", "rejected", "rotate", "stated")
const inFlightBudget = verdict("in-flight-budget", "account", "throttled", "rotate", "stated", now + 2000)
const overKeyHeadroom = verdict("over-key-headroom", "key", "insufficient", "rotate", "stated")
const keyCapSpent = verdict("key-cap-spent", "key", "exhausted", "rotate", "stated")
const overBalance = verdict("over-account-balance", "account", "insufficient", "rotate", "stated")
const accountExhausted = verdict("account-exhausted", "account", "exhausted", "rotate", "stated")
const byokExhausted = verdict("byok-exhausted", "account", "exhausted", "rotate", "inferred", undefined, {
  within: "upstream"
})
const paymentRequired = verdict("payment-required", "account", "exhausted", "rotate", "guessed")
const guardrail = (scope: Expected["scope"], until: number) =>
  verdict("guardrail-budget-spent", scope, "exhausted", "rotate", "stated", until)
const workspaceSpent = verdict("workspace-budget-spent", "workspace", "exhausted", "rotate", "stated")
const moderated = verdict("moderated", "request", "rejected", "never", "stated")
const routingRefused = verdict("routing-refused", "request", "rejected", "never", "stated")
const keyMisused = verdict("key-misused", "key", "rejected", "rotate", "inferred")
const edgeBlocked = verdict("edge-blocked", "host", "unavailable", "backoff", "inferred", now + 5000)
const forbidden = verdict("forbidden", "key", "unavailable", "rotate", "guessed")
const timedOut = verdict("timed-out", "upstream", "unavailable", "backoff", "inferred", undefined, {
  billed: "maybe"
})
const freeTierSpent = verdict("free-tier-spent", "account", "throttled", "rotate", "stated", undefined, {
  within: ":free"
})
const byokThrottled = verdict("byok-throttled", "account", "throttled", "rotate", "stated", now + 5000, {
  within: "upstream"
})
const accountThrottled = verdict("account-throttled", "account", "throttled", "rotate", "inferred")
const upstreamThrottled = verdict("upstream-throttled", "upstream", "throttled", "backoff", "stated")
const edgeThrottled = verdict("edge-throttled", "host", "throttled", "backoff", "inferred", now + 5000)
const throttled = verdict("throttled", "upstream", "throttled", "backoff", "guessed")
const ofRequest = (name: string, confidence: Expected["confidence"] = "stated") =>
  verdict(name, "request", "rejected", "never", confidence)
const modelDeprecated = ofRequest("model-deprecated")
const privacyRestricted = ofRequest("privacy-restricted", "inferred")
const noEndpoints = ofRequest("no-endpoints")
const notFound = ofRequest("not-found")
const modelNotFound = ofRequest("model-not-found")
const tooLong = ofRequest("too-long")
const badRequest = verdict("bad-request", "request", "rejected", "never", "stated")
const upstreamUnavailable = verdict("upstream-unavailable", "upstream", "unavailable", "backoff", "stated")
const edgeUnavailable = verdict("edge-unavailable", "host", "unavailable", "backoff", "inferred")
const edgeTimedOut: Expected = { ...edgeUnavailable, class: "edge-timed-out", billed: "maybe" }
const unavailable = verdict("unavailable", "upstream", "unavailable", "backoff", "guessed")
const unknown = verdict("unknown", "request", "rejected", "never", "guessed")

const cloudflare = undefined
const html = { "content-type": "text/html; charset=UTF-8", server: "cloudflare" }

const cannotAfford =
  "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 1024."
const promptLimit = "Prompt tokens limit exceeded: 230799 > 91442."
const keyTail =
  "To increase, visit https://openrouter.ai/settings/keys and create a key with a higher monthly limit"
const accountTail = "To increase, visit https://openrouter.ai/settings/credits and add more credits"

const said = (code: number, message: string, metadata?: object) => ({
  status: code,
  body: { error: { message, code, ...(metadata === undefined ? {} : { metadata }) } }
})

const cases: Readonly<Record<string, Case>> = {
  // 401
  "401 of a missing header": {
    status: 401,
    body: { error: { code: 401, message: "Missing Authentication header" } },
    is: keyRejected
  },
  "401 without credentials": { ...said(401, "No auth credentials found"), is: keyRejected },
  "401 without cookie": { ...said(401, "No cookie auth credentials found"), is: keyRejected },
  "401 of a revoked key": { ...said(401, "User not found."), is: keyRejected },
  "401 of invalid credentials": { ...said(401, "Invalid credentials"), is: keyRejected },
  "401 of a page": { status: 401, headers: html, body: cloudflare, is: edgeBlocked },
  "401 of a provider that refuses OpenRouter's own key there": {
    ...said(401, "Provider returned error", { provider_name: "OpenAI", raw: "Unauthorized", is_byok: false }),
    is: { ...upstreamUnavailable, confidence: "inferred" }
  },
  "401 of the account's own provider key": {
    status: 401,
    body: {
      error: {
        message: "Provider returned error",
        code: 401,
        metadata: { raw: '{"error":{"message":"Incorrect API key"}}', provider_name: "OpenAI", is_byok: true }
      }
    },
    is: byokRejected
  },
  "401 with no more of a provider than its name set to null": {
    ...said(401, "User not found.", { provider_name: null }),
    is: keyRejected
  },

  // 402
  "402 of the in-flight budget, with the time to wait": {
    status: 402,
    headers: { "retry-after": "7" },
    body: {
      error: {
        code: 402,
        message: "Too much in flight",
        metadata: { limit_source: "openrouter_in_flight_budget", reason: "in_flight_budget_exhausted" }
      }
    },
    is: { ...inFlightBudget, until: now + 7000 }
  },
  "402 of the in-flight budget, by its message alone": {
    ...said(
      402,
      "This request would exceed your available credits given your current in-flight requests. Retry after in-flight requests settle, or add credits."
    ),
    is: inFlightBudget
  },
  "402 of a request larger than what the key has left, by the source": {
    ...said(402, cannotAfford, { limit_source: "openrouter_key_limit" }),
    is: overKeyHeadroom
  },
  "402 of a request larger than what the key has left, by its message alone": {
    ...said(402, `${cannotAfford} ${keyTail}`),
    is: overKeyHeadroom
  },
  "402 of a prompt larger than what the key has left": {
    ...said(402, `${promptLimit} ${keyTail}`),
    is: overKeyHeadroom
  },
  "402 of a key's cap, by the source": {
    ...said(402, "Payment required", { limit_source: "openrouter_key_limit" }),
    is: keyCapSpent
  },
  "402 of a key's cap, with the time of its reset": {
    ...said(402, "Payment required", {
      limit_source: "openrouter_key_limit",
      resets_at: "2026-11-30T00:00:00Z"
    }),
    is: { ...keyCapSpent, until: at("2026-11-30T00:00:00Z") }
  },
  "402 of a key's monthly cap, by its message alone": {
    ...said(402, keyTail),
    is: { ...keyCapSpent, until: december }
  },
  "402 of a key's daily cap, with the key's hash in the address": {
    ...said(
      402,
      "To increase, visit https://openrouter.ai/settings/keys/0a1b2c and create a key with a higher daily limit"
    ),
    is: { ...keyCapSpent, until: tomorrow }
  },
  "402 of a key's weekly cap": {
    ...said(
      402,
      "To increase, visit https://openrouter.ai/settings/keys and create a key with a higher weekly limit"
    ),
    is: { ...keyCapSpent, until: monday }
  },
  "402 of a key's total cap": {
    ...said(
      402,
      "To increase, visit https://openrouter.ai/settings/keys and create a key with a higher total limit"
    ),
    is: keyCapSpent
  },
  "402 of a request larger than the account's balance": {
    ...said(402, `${cannotAfford} ${accountTail}`),
    is: overBalance
  },
  "402 of a prompt larger than the account's balance": {
    ...said(402, `${promptLimit} ${accountTail}`, { limit_source: "openrouter_credits" }),
    is: overBalance
  },
  "402 of a request too large for the in-flight budget": {
    ...said(402, `Too large. ${accountTail}`, {
      limit_source: "openrouter_credits",
      reason: "weight_exceeds_budget"
    }),
    is: overBalance
  },
  "402 of an empty account, by the source": {
    status: 402,
    body: {
      error: { code: 402, message: "No", metadata: { limit_source: "openrouter_credits" } },
      user_id: "org_1"
    },
    is: accountExhausted
  },
  "402 of an empty account": {
    ...said(402, "Insufficient credits. Add more using https://openrouter.ai/credits"),
    is: accountExhausted
  },
  "402 of an account that never paid": {
    ...said(
      402,
      "Insufficient credits. This account never purchased credits. Make sure your key is on the correct account or org"
    ),
    is: accountExhausted
  },
  "402 of an account, by the address": {
    ...said(402, "Please visit https://openrouter.ai/settings/credits and upgrade to a paid account"),
    is: accountExhausted
  },
  "402 of the account's own purse at a provider": {
    ...said(402, "Provider returned error", {
      provider_name: "DeepSeek",
      raw: '{"error":{"message":"Insufficient Balance"}}',
      is_byok: true
    }),
    is: byokExhausted
  },
  "402 of OpenRouter's purse at a provider": {
    ...said(402, "Provider returned error", { provider_name: "DeepSeek", raw: "Insufficient Balance" }),
    is: { ...upstreamUnavailable, confidence: "inferred" }
  },
  "402 of a page": { status: 402, headers: html, body: cloudflare, is: edgeBlocked },
  "402 that says no more": {
    ...said(402, "Payment Required", { provider_name: null, raw: null }),
    is: paymentRequired
  },

  // 403
  "403 of a key's cap, by the source": {
    ...said(403, "Forbidden", {
      limit_source: "openrouter_key_limit",
      resets_at: "2026-11-22T00:00:00.000Z"
    }),
    is: { ...keyCapSpent, until: tomorrow }
  },
  "403 of a key's total cap": {
    ...said(403, "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys"),
    is: keyCapSpent
  },
  "403 of a key's daily cap": {
    ...said(403, "Key limit exceeded (daily limit). Manage it using https://openrouter.ai/settings/keys"),
    is: { ...keyCapSpent, until: tomorrow }
  },
  "403 of a key's weekly cap": {
    ...said(403, "Key limit exceeded (weekly limit). Manage it using https://openrouter.ai/settings/keys"),
    is: { ...keyCapSpent, until: monday }
  },
  "403 of a key's monthly cap": {
    ...said(403, "Key limit exceeded (monthly limit). Manage it using https://openrouter.ai/settings/keys"),
    is: { ...keyCapSpent, until: december }
  },
  "403 of a guardrail's budget for a key": {
    ...said(403, "Guardrail budget exceeded", {
      limit_source: "openrouter_guardrail_budget",
      scope: "api_key",
      limit_usd: 10,
      spend_usd: 10.4,
      resets_at: "2026-12-01T00:00:00Z"
    }),
    is: guardrail("key", december)
  },
  "403 of a guardrail's budget for any key of the workspace": {
    ...said(403, "Guardrail budget exceeded", {
      limit_source: "openrouter_guardrail_budget",
      scope: "workspace_default_key",
      resets_at: null
    }),
    is: guardrail("key", now + 15 * 60_000)
  },
  "403 of a guardrail's budget for a member": {
    ...said(403, "Guardrail budget exceeded", {
      limit_source: "openrouter_guardrail_budget",
      scope: "member"
    }),
    is: guardrail("account", now + 15 * 60_000)
  },
  "403 of a guardrail's budget for any member": {
    ...said(403, "Guardrail budget exceeded", {
      limit_source: "openrouter_guardrail_budget",
      scope: "workspace_default_member"
    }),
    is: guardrail("account", now + 15 * 60_000)
  },
  "403 of a guardrail's budget for a workspace": {
    ...said(403, "Guardrail budget exceeded", {
      limit_source: "openrouter_guardrail_budget",
      scope: "workspace"
    }),
    is: guardrail("workspace", now + 15 * 60_000)
  },
  "403 of a workspace's budget, by the source": {
    ...said(403, "Forbidden", {
      limit_source: "openrouter_workspace_budget",
      resets_at: "2026-12-01T00:00:00Z"
    }),
    is: { ...workspaceSpent, until: december }
  },
  "403 of a workspace's budget, by its message alone": {
    ...said(403, "Workspace monthly budget of $500.00 exceeded. Contact your org admin."),
    is: { ...workspaceSpent, until: december }
  },
  "403 of a guardrail that found patterns": {
    status: 403,
    body: JSON.parse(
      '{"error":{"code":403,"message":"Request blocked: prompt injection patterns detected","metadata":{"patterns":["ignore all previous instructions"]}}}'
    ),
    is: moderated
  },
  "403 of a provider's moderation": {
    ...said(
      403,
      'openai/gpt-4o-mini requires moderation on OpenAI. Your input was flagged for "violence". No credits were charged.',
      {
        reasons: ["violence"],
        flagged_input: "…",
        provider_name: "OpenAI",
        model_slug: "openai/gpt-4o-mini"
      }
    ),
    is: moderated
  },
  "403 of a content policy": {
    ...said(403, "Refused", { error_type: "content_policy_violation" }),
    is: moderated
  },
  "403 of a refusal, with the type beside the message": {
    status: 403,
    body: { error: { message: "I cannot help with that", error_type: "refusal", http_status: 403 } },
    is: moderated
  },
  "403 of the terms of service": {
    ...said(403, "The request is prohibited due to a violation of provider Terms Of Service."),
    is: moderated
  },
  "403 of a routing step": {
    ...said(403, "Not allowed", { failed_routing_step: "Gate Free Endpoints by Agentic Harness" }),
    is: routingRefused
  },
  "403 of a banned author": { ...said(403, "Author someone is banned"), is: routingRefused },
  "403 of a region": {
    ...said(403, "This model is not available in your region"),
    is: routingRefused
  },
  "403 of a region, by the availability alone": {
    status: 403,
    body: {
      error: {
        message: "No",
        error_type: "permission_denied",
        http_status: 403,
        availability: { code: "region_restricted", retryable: false }
      }
    },
    is: routingRefused
  },
  "403 of a provider": {
    ...said(403, "Provider returned error", { provider_name: "Azure", raw: "denied" }),
    is: { ...routingRefused, confidence: "inferred" }
  },
  "403 of an endpoint for management keys": {
    ...said(403, "Only management keys can perform this operation"),
    is: keyMisused
  },
  "403 of the edge": { status: 403, headers: html, body: cloudflare, is: edgeBlocked },
  "403 of the edge, with the time to wait": {
    status: 403,
    headers: { ...html, "retry-after": "60" },
    body: cloudflare,
    is: { ...edgeBlocked, until: now + 60_000 }
  },
  "403 that says no more": { ...said(403, "Forbidden"), is: forbidden },

  // 408
  "408 whoever answers": {
    ...said(408, "Request Timeout"),
    is: { ...timedOut, confidence: "guessed" }
  },
  "408 of a page": {
    status: 408,
    headers: html,
    body: cloudflare,
    is: { ...timedOut, confidence: "guessed" }
  },

  // 429
  "429 of the free tier's day": {
    status: 429,
    headers: {
      "x-ratelimit-limit": "50",
      "x-ratelimit-remaining": "0",
      "x-ratelimit-reset": "1795305600000"
    },
    body: JSON.parse(
      '{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795305600000"},"limit_source":"openrouter_free_tier_daily"}},"user_id":"user_1"}'
    ),
    is: { ...freeTierSpent, until: tomorrow }
  },
  "429 of the free tier's minute, with the reset in the body alone": {
    ...said(429, "Rate limit exceeded: free-models-per-min", {
      headers: { "X-RateLimit-Reset": String(now + 30_000) }
    }),
    is: { ...freeTierSpent, until: now + 30_000 }
  },
  "429 of the free tier's minute, without a reset": {
    ...said(429, "Rate limit exceeded: free-models-per-min"),
    is: { ...freeTierSpent, until: now + 60_000 }
  },
  "429 of the free tier of an account that paid": {
    ...said(429, "Rate limit exceeded: free-models-per-day-high-balance", {
      headers: { "X-RateLimit-Reset": String(tomorrow) }
    }),
    is: { ...freeTierSpent, until: tomorrow }
  },
  "429 of the free tier's day, without a reset": {
    ...said(
      429,
      "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
    ),
    is: { ...freeTierSpent, until: tomorrow }
  },
  "429 of the account's own limit at a provider, by the source": {
    ...said(429, "Provider returned error", { limit_source: "upstream_provider_byok" }),
    is: byokThrottled
  },
  "429 of the account's own limit at a provider, with the time to wait": {
    status: 429,
    headers: { "retry-after": "20" },
    body: {
      error: {
        code: 429,
        message: "Provider returned error",
        metadata: {
          provider_name: "OpenAI",
          raw: "Rate limit reached for gpt-4o in organization",
          is_byok: true
        }
      }
    },
    is: { ...byokThrottled, until: now + 20_000 }
  },
  "429 of the pool at a provider that repeats a reset": {
    status: 429,
    headers: { "x-ratelimit-reset": String(now + 20_000) },
    body: {
      error: { code: 429, message: "Busy", metadata: { limit_source: "upstream_provider_shared_pool" } }
    },
    is: upstreamThrottled
  },
  "429 of the free tier, by the source": {
    ...said(429, "Slow down", { limit_source: "openrouter_free_tier_per_minute" }),
    is: { ...freeTierSpent, until: now + 60_000 }
  },
  "429 of the account, by its reset": {
    status: 429,
    headers: { "x-ratelimit-reset": String(now + 20_000) },
    body: { error: { message: "Rate limit exceeded", code: 429 } },
    is: { ...accountThrottled, until: now + 20_000 }
  },
  "429 of the pool at a provider": {
    status: 429,
    body: JSON.parse(
      '{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"deepseek/deepseek-v4-flash is temporarily rate-limited upstream. Please retry shortly, or add your own key to accumulate your rate limits: https://openrouter.ai/settings/integrations","provider_name":"DigitalOcean","is_byok":false,"limit_source":"upstream_provider_shared_pool","remedy_hint":"…"}}}'
    ),
    is: upstreamThrottled
  },
  "429 of a provider, by its code": {
    status: 429,
    body: JSON.parse(
      '{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded","provider_code":"rate_limited"}}}'
    ),
    is: upstreamThrottled
  },
  "429 of capacity, in the shape with http_status and availability": {
    status: 429,
    body: JSON.parse(
      '{"error":{"message":"All providers for anthropic/claude-sonnet-4.5 are at capacity. Retry after 40 seconds.","error_type":"rate_limit_exceeded","http_status":429,"availability":{"code":"capacity_exhausted","retryable":true,"retry_after":40,"requested_models":["anthropic/claude-sonnet-4.5"],"docs_url":"…"},"metadata":{"previous_errors":[{"provider":"anthropic","code":"capacity_exhausted","status":429}]}}}'
    ),
    is: { ...upstreamThrottled, until: now + 40_000 }
  },
  "429 of the edge": { status: 429, headers: html, body: cloudflare, is: edgeThrottled },
  "429 that says no more": { ...said(429, "Rate limit exceeded"), is: throttled },

  // The request
  "400 of an unknown model": { ...said(400, "x is not a valid model ID"), is: modelNotFound },
  "400 of an unknown model, by the availability alone": {
    status: 400,
    body: {
      error: { message: "No", http_status: 400, availability: { code: "model_not_found", retryable: false } }
    },
    is: modelNotFound
  },
  "400 of a model that speaks another skin": {
    status: 400,
    body: {
      error: { message: "No", http_status: 400, availability: { code: "wrong_endpoint", retryable: false } }
    },
    is: badRequest
  },
  "400 of a budget of tokens": {
    ...said(400, "Too many tokens", { error_type: "token_limit_exceeded" }),
    is: tooLong
  },
  "400 of a context that is too short": {
    ...said(
      400,
      "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens."
    ),
    is: tooLong
  },
  "400 of a content policy": {
    ...said(400, "Refused", { error_type: "content_policy_violation" }),
    is: moderated
  },
  "400 that says no more": { ...said(400, "Bad Request"), is: badRequest },
  "404 without endpoints": { ...said(404, "No endpoints found for a/b:free."), is: noEndpoints },
  "404 without endpoints, by the availability alone": {
    status: 404,
    body: {
      error: { message: "No", http_status: 404, availability: { code: "no_endpoints", retryable: false } }
    },
    is: noEndpoints
  },
  "404 of a constraint that nothing meets": {
    status: 404,
    body: {
      error: {
        message: "No",
        http_status: 404,
        availability: {
          code: "constraint_filtered",
          retryable: false,
          constraint: { field: "max_price", detail: "1" }
        }
      }
    },
    is: noEndpoints
  },
  "404 of a model that is no more": {
    status: 404,
    body: {
      error: {
        message: "Gone",
        http_status: 404,
        availability: { code: "model_deprecated", fallback_models: ["a/c"] }
      }
    },
    is: modelDeprecated
  },
  "404 of a free variant that is no more": {
    status: 404,
    body: { error: { message: "Gone", http_status: 404, availability: { code: "free_variant_ended" } } },
    is: modelDeprecated
  },
  "404 of privacy": {
    status: 404,
    body: {
      error: {
        message: "No",
        http_status: 404,
        availability: { code: "privacy_restricted", excluded_by: "zdr" }
      }
    },
    is: privacyRestricted
  },
  "404 of a data policy": {
    ...said(
      404,
      "No endpoints found matching your data policy. Configure: https://openrouter.ai/settings/privacy"
    ),
    is: privacyRestricted
  },
  "404 of a guardrail that filters": {
    ...said(404, "No allowed providers are available for the selected model", {
      failed_routing_step: "Filter by Guardrails"
    }),
    is: privacyRestricted
  },
  "404 of providers that are not allowed": {
    ...said(404, "No allowed providers are available for the selected model", {
      requested_providers: ["x"],
      available_providers: ["y"]
    }),
    is: noEndpoints
  },
  "404 of a provider's trouble that will pass": {
    status: 404,
    body: {
      error: {
        message: "Not now",
        http_status: 404,
        availability: { code: "model_unavailable_upstream", retryable: true, retry_after: 3 }
      }
    },
    is: verdict("model-unavailable", "upstream", "unavailable", "backoff", "stated", now + 3000)
  },
  "404 of a provider's trouble that will not pass": {
    status: 404,
    body: {
      error: {
        message: "No",
        http_status: 404,
        availability: { code: "model_unavailable_upstream", retryable: false }
      }
    },
    is: notFound
  },
  "404 of a provider": {
    ...said(404, "Provider returned error", { provider_name: "OpenAI", raw: "no such deployment" }),
    is: notFound
  },
  "404 of a page": { status: 404, headers: html, body: cloudflare, is: notFound },
  "405 of a method": { ...said(405, "Method Not Allowed"), is: badRequest },
  "409 of a conflict": { ...said(409, "Conflict"), is: badRequest },
  "412 of a condition": { ...said(412, "No", { error_type: "precondition_failed" }), is: badRequest },
  "413 of the edge": { status: 413, headers: html, body: cloudflare, is: badRequest },
  "422 of a parameter": { ...said(422, "Unprocessable"), is: badRequest },

  // 5xx
  "500 of OpenRouter": {
    ...said(500, "Internal Server Error", { error_type: "server" }),
    is: unavailable
  },
  "502 of a provider": {
    ...said(502, "Provider returned error", { provider_name: "OpenAI", raw: "reset before headers" }),
    is: upstreamUnavailable
  },
  "503 of overload, with the time to wait": {
    status: 503,
    headers: { "retry-after": "3" },
    body: {
      error: { code: 503, message: "No available provider", metadata: { error_type: "provider_overloaded" } }
    },
    is: { ...upstreamUnavailable, until: now + 3000 }
  },
  "529 in the words of the other skin": {
    status: 529,
    body: { type: "error", error: { type: "overloaded_error", message: "Overloaded" }, request_id: null },
    is: upstreamUnavailable
  },
  "502 of the edge": { status: 502, headers: html, body: cloudflare, is: edgeUnavailable },
  "503 of the edge, with the time to wait": {
    status: 503,
    headers: { ...html, "retry-after": "120" },
    body: cloudflare,
    is: { ...edgeUnavailable, until: now + 120_000 }
  },
  "503 of a trouble that will not pass": {
    status: 503,
    body: {
      error: {
        message: "No",
        http_status: 503,
        availability: { code: "temporarily_unavailable", retryable: false }
      }
    },
    is: { ...upstreamUnavailable, retryable: "never" }
  },
  "529 that says no more": {
    ...said(529, "Overloaded"),
    is: { ...upstreamUnavailable, confidence: "inferred" }
  },
  "504 of the edge": { status: 504, headers: html, body: cloudflare, is: edgeTimedOut },
  "524 of the edge": { status: 524, headers: html, body: cloudflare, is: edgeTimedOut },
  "504 that says no more": { ...said(504, "Gateway Timeout"), is: timedOut },
  "504 of a provider": {
    ...said(504, "Provider returned error", { provider_name: "OpenAI", error_type: "timeout" }),
    is: timedOut
  },
  "524 of OpenRouter": { ...said(524, "A timeout occurred"), is: timedOut },
  ...Object.fromEntries(
    [520, 521, 522, 523, 525, 526, 527].flatMap((status) => [
      [`${status} of the edge`, { status, headers: html, body: cloudflare, is: edgeUnavailable }],
      [
        `${status} in JSON`,
        { ...said(status, "Cloudflare"), is: { ...edgeUnavailable, confidence: "guessed" } }
      ]
    ])
  ),

  // 200 with an error in it
  "200 with an error of a provider for a body": {
    status: 200,
    body: {
      id: "gen-1",
      error: { code: 502, message: "Provider returned error", metadata: { provider_name: "OpenAI" } }
    },
    is: upstreamUnavailable
  },
  "200 with an error of a key for a body": {
    status: 200,
    body: {
      id: "gen-1",
      error: {
        code: 403,
        message: "Key limit exceeded (daily limit). Manage it using https://openrouter.ai/settings/keys"
      }
    },
    is: { ...keyCapSpent, until: tomorrow }
  },
  "200 with moderation for a body": {
    status: 200,
    body: {
      id: "gen-1",
      error: { code: 403, message: "No", metadata: { reasons: ["x"], flagged_input: "y" } }
    },
    is: moderated
  },
  "200 with an error in a choice": {
    status: 200,
    body: {
      id: "gen-1",
      choices: [
        { index: 0, message: { content: "fine" } },
        {
          index: 1,
          finish_reason: "error",
          message: { content: "half" },
          error: { code: 429, message: "Rate limit exceeded" }
        }
      ]
    },
    is: { ...throttled, billed: "maybe" }
  },
  "200 with a code in words": {
    status: 200,
    body: {
      id: "gen-1",
      error: { code: "server_error", message: "Provider disconnected unexpectedly" },
      choices: [{ index: 0, delta: { content: "" }, finish_reason: "error" }]
    },
    is: unavailable
  },
  "200 with a code that is a number in a string": {
    status: 200,
    body: { error: { code: "401", message: "User not found." } },
    is: keyRejected
  },
  "200 with http_status in place of a code": {
    status: 200,
    body: {
      error: {
        http_status: 429,
        message: "At capacity",
        availability: { code: "capacity_exhausted", retry_after: 12 }
      }
    },
    is: { ...upstreamThrottled, until: now + 12_000 }
  },
  "200 with a code out of range": {
    status: 200,
    body: { error: { code: 200, message: "?" } },
    is: unavailable
  },
  "200 that is no JSON": {
    status: 200,
    body: undefined,
    // A provider had accepted the request: it may have been an answer.
    is: { ...edgeUnavailable, billed: "maybe" }
  },
  "200 with a string for an error": { status: 200, body: { error: "Something went wrong" }, is: unavailable },
  "200 with an error that is no more than a message": {
    status: 200,
    body: { error: { message: "Something went wrong" } },
    is: unavailable
  },
  "200 with an error that is true": {
    status: 200,
    body: { error: true, code: 429, message: "Too many requests" },
    is: throttled
  },
  "403 with a string for an error": {
    status: 403,
    body: { error: "Key limit exceeded (daily limit)" },
    is: { ...keyCapSpent, until: tomorrow }
  },
  "200 with a string for an error in a choice": {
    status: 200,
    body: { choices: [{ message: { content: "half" }, error: "Provider gone" }] },
    is: { ...unavailable, billed: "maybe" }
  },
  "200 that ended in an error and does not say which": {
    status: 200,
    body: { choices: [{ message: { content: "half" }, finish_reason: "error" }] },
    is: { ...unavailable, billed: "maybe" }
  },
  "200 with moderation for a word": {
    status: 200,
    body: { error: { code: "content_policy_violation", message: "No" } },
    is: moderated
  },
  "200 with a word of which nothing is known, and a type": {
    status: 200,
    body: { error: { code: "E_WEIRD", message: "No", metadata: { error_type: "rate_limit_exceeded" } } },
    is: throttled
  },

  // The other skins.
  "200 of a response that failed": {
    status: 200,
    body: {
      id: "gen-1",
      object: "response",
      status: "failed",
      error: { code: "rate_limit_exceeded", message: "Rate limit exceeded" },
      error_type: "rate_limit_exceeded",
      output: []
    },
    is: throttled
  },
  "200 of a response that failed after it began": {
    status: 200,
    body: {
      object: "response",
      status: "failed",
      error: { code: "server_error", message: "Provider disconnected" },
      error_type: "provider_unavailable",
      output: [{ type: "message" }]
    },
    is: { ...upstreamUnavailable, billed: "maybe" }
  },
  "200 of a response that failed without a word": {
    status: 200,
    body: { object: "response", status: "failed", error: null, output: [] },
    is: unavailable
  },
  "401 of the messages skin": {
    status: 401,
    body: {
      type: "error",
      error: { type: "authentication_error", message: "User not found.", error_type: "authentication" },
      request_id: null
    },
    is: keyRejected
  },
  "402 of the messages skin": {
    status: 402,
    body: {
      type: "error",
      error: { type: "billing_error", message: "Insufficient credits", error_type: "payment_required" }
    },
    is: accountExhausted
  },

  // Where the status of HTTP and the code differ before an answer began, HTTP is right.
  "400 with another code in the body": {
    status: 400,
    body: { error: { code: 500, message: "Provider returned error", metadata: { provider_name: "OpenAI" } } },
    is: badRequest
  },
  "418 that nobody has seen": { ...said(418, "teapot"), is: badRequest },
  "302 that was not followed": { status: 302, headers: html, body: undefined, is: unknown }
}

const classify = (answer: Omit<Case, "is">, table?: ReadonlyArray<Classifier.Row>, time = now) => {
  const found = Classifier.classify(
    { status: answer.status, headers: answer.headers ?? {}, body: answer.body },
    time,
    table
  )
  if (found === undefined) throw new Error("This is no failure")
  return found
}

const without = (found: Classifier.Classification): Expected => {
  const { facts, ...rest } = found
  assert.isObject(facts)
  return rest
}

describe("the table", () => {
  for (const [name, one] of Object.entries(cases)) {
    it(`of ${name}`, () => {
      assert.deepStrictEqual(without(classify(one)), one.is)
    })
  }

  it("has a case for every row", () => {
    const met = new Set(
      Object.values(cases).map((one) => {
        const { facts } = classify(one)
        return Classifier.rows.findIndex((row) => row.status(facts.status) && (row.when?.(facts) ?? true))
      })
    )
    const missed = Classifier.rows.flatMap((row, index) => (met.has(index) ? [] : [`${index} ${row.class}`]))
    assert.deepStrictEqual(missed, [])
  })

  it("reads the user's rows before its own, and its own where none of them matches", () => {
    const mine: Classifier.Row = {
      class: "mine",
      status: (status) => status === 402,
      when: (facts) => facts.message.includes("credits"),
      scope: (facts) => (facts.account === "org_1" ? "account" : "host"),
      reason: "throttled",
      retryable: "never",
      until: (facts) => facts.now + 1,
      confidence: "guessed"
    }
    const empty = { ...said(402, "Insufficient credits"), is: accountExhausted }
    assert.deepStrictEqual(
      without(classify(empty, [mine])),
      verdict("mine", "host", "throttled", "never", "guessed", now + 1)
    )
    const org = { ...empty, body: { ...empty.body, user_id: "org_1" } }
    assert.strictEqual(classify(org, [mine]).scope, "account")
    assert.deepStrictEqual(without(classify(said(402, keyTail), [mine])), { ...keyCapSpent, until: december })
    assert.deepStrictEqual(without(classify(empty, [])), accountExhausted)
  })

  it("goes by what the answer says where a row of the user's has no time of its own", () => {
    const mine: Classifier.Row = {
      class: "mine",
      status: () => true,
      scope: "key",
      reason: "throttled",
      retryable: "rotate",
      confidence: "stated",
      until: () => undefined
    }
    assert.strictEqual(
      classify({ ...said(418, "teapot"), headers: { "retry-after": "9" } }, [mine]).until,
      now + 9000
    )
  })
})

describe("what is no failure", () => {
  for (const [name, status, body] of [
    ["an answer", 200, { choices: [{ message: { content: "hello" } }] }],
    [
      "an answer whose error is null, as the responses skin sends it",
      200,
      { status: "completed", error: null }
    ],
    ["a list", 200, []],
    ["an empty answer", 201, {}],
    ["JSON null", 200, null]
  ] as const) {
    it(`is ${name}`, () => {
      assert.isUndefined(Classifier.classify({ status, headers: {}, body }, now))
    })
  }
})

describe("order", () => {
  it("an affordability of the key's is not its cap, and that of the account's is not its balance", () => {
    assert.strictEqual(classify(said(402, `${cannotAfford} ${keyTail}`)).reason, "insufficient")
    assert.strictEqual(classify(said(402, keyTail)).reason, "exhausted")
    assert.strictEqual(classify(said(402, `${cannotAfford} ${accountTail}`)).reason, "insufficient")
    assert.strictEqual(classify(said(402, accountTail)).reason, "exhausted")
  })

  it("the in-flight budget comes before everything else that a 402 may mean", () => {
    const message = `in-flight requests. ${cannotAfford} ${keyTail}`
    assert.strictEqual(classify(said(402, message)).class, "in-flight-budget")
    const told = { limit_source: "openrouter_in_flight_budget", reason: "weight_exceeds_budget" }
    assert.strictEqual(classify(said(402, cannotAfford, told)).class, "in-flight-budget")
  })

  it("a limit that names itself is no other, whatever the message says", () => {
    const of = (status: number, message: string, limit_source: string) =>
      classify(said(status, message, { limit_source })).class
    assert.strictEqual(of(402, keyTail, "openrouter_credits"), "account-exhausted")
    assert.strictEqual(of(402, `${cannotAfford} ${keyTail}`, "openrouter_credits"), "over-account-balance")
    assert.strictEqual(of(402, "Insufficient credits", "openrouter_key_limit"), "key-cap-spent")
    assert.strictEqual(
      of(402, `in-flight requests ${accountTail}`, "openrouter_credits"),
      "account-exhausted"
    )
    assert.strictEqual(of(429, "free-models-per-day", "upstream_provider_shared_pool"), "upstream-throttled")
    // A name of tomorrow tells nothing yet: the message still does.
    assert.strictEqual(of(402, keyTail, "openrouter_tomorrow"), "key-cap-spent")
  })

  it("a limit of OpenRouter's own goes before the signs of a provider", () => {
    const metadata = { limit_source: "openrouter_free_tier_daily", provider_name: "Together", raw: "x" }
    assert.strictEqual(classify(said(429, "Provider returned error", metadata)).class, "free-tier-spent")
  })

  it("a provider's 429 that repeats a reset of the account's is the account's", () => {
    const metadata = { provider_name: "Together", headers: { "X-RateLimit-Reset": String(now + 1000) } }
    assert.strictEqual(classify(said(429, "Rate limit exceeded", metadata)).class, "account-throttled")
  })

  it("moderation goes before the name of the provider that moderates", () => {
    const metadata = { provider_name: "OpenAI", reasons: ["violence"] }
    assert.strictEqual(classify(said(403, "Provider returned error", metadata)).class, "moderated")
  })
})

describe("Retry-After", () => {
  const until = (retryAfter: string) =>
    classify({ ...said(503, "Unavailable"), headers: { "retry-after": retryAfter } }).until

  it("is a number of seconds, or a date", () => {
    assert.strictEqual(until("30"), now + 30_000)
    assert.strictEqual(until(" 30 "), now + 30_000)
    assert.strictEqual(until("0"), now)
    assert.strictEqual(until("Sat, 21 Nov 2026 12:05:00 GMT"), now + 300_000)
  })

  it("that has passed means now", () => {
    assert.strictEqual(until("Sat, 21 Nov 2026 11:00:00 GMT"), now)
    assert.strictEqual(until("Thu, 01 Jan 1970 00:00:00 GMT"), now)
  })

  for (const garbage of ["", "soon", "-5", "1e3", "NaN", "Infinity", "30s", "{}", "2026-11-21T12:05:00Z"]) {
    it(`of ${JSON.stringify(garbage)} says nothing`, () => {
      assert.isUndefined(until(garbage))
    })
  }

  for (const huge of ["3601", "86400", "999999999999999999999999", "Fri, 01 Jan 2100 00:00:00 GMT"]) {
    it(`of ${JSON.stringify(huge)} is cut to an hour`, () => {
      assert.strictEqual(until(huge), now + hour)
    })
  }

  it("is cut to an hour also where a row has a default of its own", () => {
    const headers = { "retry-after": "90000" }
    assert.strictEqual(classify({ ...said(402, "current in-flight requests"), headers }).until, now + hour)
    assert.strictEqual(
      classify({ ...said(429, "Rate limit exceeded: free-models-per-min"), headers }).until,
      now + hour
    )
    assert.strictEqual(classify({ status: 429, headers, body: undefined }).until, now + hour)
  })

  it("of the body counts where there is no header, in seconds, if it is a number", () => {
    const told = (retry_after: unknown, headers = {}) =>
      classify({
        status: 429,
        headers,
        body: {
          error: { message: "", http_status: 429, availability: { code: "capacity_exhausted", retry_after } }
        }
      }).until
    assert.strictEqual(told(40), now + 40_000)
    assert.strictEqual(told(0.5), now + 500)
    assert.strictEqual(told(40, { "retry-after": "2" }), now + 2000)
    assert.strictEqual(told(40, { "retry-after": "garbage" }), now + 40_000)
    assert.strictEqual(told(1e9), now + hour)
    for (const value of [null, "40", -1, NaN, Infinity, {}, undefined]) assert.isUndefined(told(value))
  })
})

describe("X-RateLimit-Reset", () => {
  const reset = (value: string, message = "Rate limit exceeded") =>
    classify({ ...said(429, message), headers: { "x-ratelimit-reset": value } })

  it("is milliseconds since the epoch, and not cut to an hour", () => {
    assert.strictEqual(reset(String(tomorrow)).until, tomorrow)
    assert.strictEqual(reset(String(tomorrow)).class, "account-throttled")
  })

  it("in seconds, or no number, tells nothing", () => {
    for (const value of ["1795305600", "soon", "", "-1", "0", "1e99", "NaN"]) {
      assert.deepStrictEqual(without(reset(value)), throttled, value)
      assert.strictEqual(reset(value, "free-models-per-min").until, now + 60_000, value)
    }
  })

  it("that has passed already leaves the account to its usual cooldown", () => {
    const past = String(now - 1000)
    assert.strictEqual(reset(past).class, "account-throttled")
    assert.isUndefined(reset(past).until)
    assert.strictEqual(reset(past, "free-models-per-min").until, now + 60_000)
  })

  it("may be a number in the body", () => {
    const body = said(429, "Rate limit exceeded", { headers: { "X-RateLimit-Reset": now + 5000 } })
    assert.strictEqual(classify(body).until, now + 5000)
  })
})

describe("resets of caps", () => {
  const boundary = (period: string, time: string) =>
    new Date(classify(said(403, `Key limit exceeded (${period} limit).`), [], at(time)).until!).toISOString()

  for (const [period, time, expected] of [
    ["daily", "2026-11-21T00:00:00.000Z", "2026-11-22T00:00:00.000Z"],
    ["daily", "2026-11-21T23:59:59.999Z", "2026-11-22T00:00:00.000Z"],
    ["daily", "2026-12-31T12:00:00.000Z", "2027-01-01T00:00:00.000Z"],
    ["daily", "2027-02-28T12:00:00.000Z", "2027-03-01T00:00:00.000Z"],
    ["daily", "2028-02-28T12:00:00.000Z", "2028-02-29T00:00:00.000Z"],
    ["daily", "2028-02-29T12:00:00.000Z", "2028-03-01T00:00:00.000Z"],
    ["weekly", "2026-11-22T23:59:59.999Z", "2026-11-23T00:00:00.000Z"],
    ["weekly", "2026-11-23T00:00:00.000Z", "2026-11-30T00:00:00.000Z"],
    ["weekly", "2026-11-25T08:00:00.000Z", "2026-11-30T00:00:00.000Z"],
    ["weekly", "2026-11-28T08:00:00.000Z", "2026-11-30T00:00:00.000Z"],
    ["weekly", "2026-12-31T12:00:00.000Z", "2027-01-04T00:00:00.000Z"],
    ["weekly", "2028-02-29T12:00:00.000Z", "2028-03-06T00:00:00.000Z"],
    ["monthly", "2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"],
    ["monthly", "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"],
    ["monthly", "2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00.000Z"],
    ["monthly", "2027-01-31T12:00:00.000Z", "2027-02-01T00:00:00.000Z"],
    ["monthly", "2028-02-29T12:00:00.000Z", "2028-03-01T00:00:00.000Z"]
  ] as const) {
    it(`a ${period} cap, spent at ${time}, is filled up at ${expected}`, () => {
      assert.strictEqual(boundary(period, time), expected)
    })
  }

  it("are as the answer says rather than as the period would have it, and may be far", () => {
    const told = (resets_at: unknown) =>
      classify(said(403, "Key limit exceeded (daily limit).", { resets_at })).until
    assert.strictEqual(told("2026-12-24T00:00:00Z"), at("2026-12-24T00:00:00Z"))
    for (const value of [null, "", "soon", 5, {}]) assert.strictEqual(told(value), tomorrow)
  })

  it("that have passed already do not put the key back into use", () => {
    const past = { resets_at: "2026-11-21T00:00:00Z" }
    assert.strictEqual(classify(said(403, "Key limit exceeded (daily limit).", past)).until, tomorrow)
    assert.isUndefined(classify(said(403, "Key limit exceeded (total limit).", past)).until)
    const guardrailPast = { ...past, limit_source: "openrouter_guardrail_budget" }
    assert.strictEqual(classify(said(403, "", guardrailPast)).until, now + 15 * 60_000)
  })
})

describe("facts", () => {
  it("name the account, and nothing where the body does not", () => {
    assert.strictEqual(
      classify({ ...said(402, ""), body: { error: {}, user_id: "org_1" } }).facts.account,
      "org_1"
    )
    assert.isUndefined(classify({ ...said(402, ""), body: { error: {}, user_id: null } }).facts.account)
  })

  it("show a provider by any of its signs, and by none of their lookalikes", () => {
    const provider = (metadata: object, message = "") => classify(said(500, message, metadata)).facts.provider
    for (const metadata of [
      { provider_name: "X" },
      { raw: "" },
      { provider_code: "x" },
      { provider_error_code: 1 },
      { limit_source: "upstream_provider_byok" }
    ]) {
      assert.isTrue(provider(metadata), JSON.stringify(metadata))
    }
    for (const metadata of [
      { provider_name: "" },
      { provider_name: null },
      { limit_source: "openrouter_credits" }
    ]) {
      assert.isFalse(provider(metadata), JSON.stringify(metadata))
    }
    assert.isTrue(provider({}, "Provider returned error"))
    for (const code of ["capacity_exhausted", "temporarily_unavailable", "model_unavailable_upstream"]) {
      const body = { error: { message: "", http_status: 503, availability: { code } } }
      assert.isTrue(classify({ status: 503, body }).facts.provider, code)
    }
  })
})

describe("the outcome", () => {
  const outcome = (one: Omit<Case, "is">) => Classifier.toOutcome(classify(one))

  it("of the caller's own fault is Ignored, and cost nothing", () => {
    const ignored = { _tag: "Ignored" as const, cost: 0 }
    assert.deepInclude(outcome(said(400, "bad")), { ...ignored, status: 400, class: "bad-request" })
    assert.deepInclude(outcome(said(403, "flagged")), { ...ignored, status: 403, class: "moderated" })
  })

  it("of anybody else's is Faulted, with the time from now on", () => {
    assert.deepInclude(outcome({ ...said(503, "Unavailable"), headers: { "retry-after": "4" } }), {
      _tag: "Faulted",
      scope: "upstream",
      reason: "unavailable",
      retryAfter: Duration.seconds(4),
      retryable: "backoff",
      cost: 0,
      status: 503,
      class: "unavailable"
    })
    assert.deepInclude(outcome(said(401, "User not found.")), {
      scope: "key",
      retryAfter: undefined,
      retryable: "rotate",
      status: 401
    })
  })

  it("of a 200 with an error carries the code, not the 200", () => {
    assert.deepInclude(outcome({ status: 200, body: { error: { code: 429, message: "" } } }), { status: 429 })
  })

  it("of a broken connection is the host's fault, and may have been billed", () => {
    assert.deepInclude(Classifier.transport, {
      _tag: "Faulted",
      scope: "host",
      retryable: "backoff",
      cost: undefined
    })
  })
})

describe("the outcome of a fault within the request's own model", () => {
  const byok = said(429, "Provider returned error", {
    provider_name: "OpenAI",
    raw: "slow down",
    is_byok: true
  })

  it("names the model of the lease", () => {
    assert.deepInclude(Classifier.toOutcome(classify(byok), { upstream: "openai/gpt-4o-mini" }), {
      scope: "account",
      within: "openai/gpt-4o-mini",
      retryAfter: Duration.seconds(5)
    })
  })

  it("benches nobody where the model has no name: least of all the account for all models", () => {
    assert.deepInclude(Classifier.toOutcome(classify(byok)), {
      scope: "account",
      within: undefined,
      retryAfter: Duration.zero,
      retryable: "rotate"
    })
  })

  it("leaves other ends of a model's id as they are", () => {
    const free = classify(said(429, "Rate limit exceeded: free-models-per-min"))
    assert.deepInclude(Classifier.toOutcome(free, { upstream: "a/b:free" }), { within: ":free" })
  })
})

describe("the bill of a failure", () => {
  const cost = (one: Omit<Case, "is">) => Classifier.toOutcome(classify(one)).cost

  it("is nothing for what was refused", () => {
    for (const status of [400, 401, 402, 403, 404, 413, 429, 500, 502, 503, 520, 529]) {
      assert.strictEqual(cost(said(status, "No")), 0, String(status))
    }
  })

  it("is not known for what may have run: the hold stays", () => {
    for (const status of [408, 504, 524]) assert.isUndefined(cost(said(status, "Too late")), String(status))
    assert.isUndefined(cost({ status: 524, headers: html, body: cloudflare }))
    assert.isUndefined(cost({ status: 200, body: undefined }))
    assert.isUndefined(
      cost({ status: 200, body: { choices: [{ message: {}, error: { code: 403, message: "" } }] } })
    )
  })

  it("is what the answer says, where it says it", () => {
    const half = { message: { content: "half" }, error: { code: 502, message: "Gone" } }
    assert.strictEqual(cost({ status: 200, body: { choices: [half], usage: { cost: 0.25 } } }), 0.25)
    assert.strictEqual(cost({ status: 504, body: { error: { message: "Late" }, usage: { cost: 0 } } }), 0)
    for (const odd of [-1, NaN, Infinity, "1", null]) {
      assert.isUndefined(cost({ status: 504, body: { error: { message: "Late" }, usage: { cost: odd } } }))
    }
  })
})

describe("names of headers", () => {
  for (const change of [
    (name: string) => name,
    (name: string) => name.toUpperCase(),
    (name: string) => name.toLowerCase()
  ]) {
    it(`may be ${change("Retry-After")} and ${change("X-RateLimit-Reset")}`, () => {
      const retry = { ...said(503, "Unavailable"), headers: { [change("Retry-After")]: "30" } }
      assert.strictEqual(classify(retry).until, now + 30_000)
      const reset = { [change("X-RateLimit-Reset")]: String(now + 7000) }
      assert.strictEqual(classify({ ...said(429, "Rate limit exceeded"), headers: reset }).until, now + 7000)
      assert.strictEqual(classify(said(429, "Rate limit exceeded", { headers: reset })).until, now + 7000)
    })
  }
})

describe("times that are far off", () => {
  const day = 24 * hour

  it("are cut to the longest period of a cap, and of a limit of requests", () => {
    const cap = (resets_at: string) =>
      classify(said(403, "Key limit exceeded (total limit)", { resets_at })).until
    assert.strictEqual(cap("2026-12-21T12:00:00Z"), at("2026-12-21T12:00:00Z"))
    assert.strictEqual(cap("2099-01-01T00:00:00Z"), now + 33 * day)
    const budget = { limit_source: "openrouter_guardrail_budget", resets_at: "+275760-09-13T00:00:00.000Z" }
    assert.strictEqual(classify(said(403, "", budget)).until, now + 33 * day)

    const rate = (reset: number, message: string) =>
      classify({ ...said(429, message), headers: { "x-ratelimit-reset": String(reset) } }).until
    for (const message of ["Rate limit exceeded", "Rate limit exceeded: free-models-per-day"]) {
      assert.strictEqual(rate(now + 25 * hour, message), now + 25 * hour)
      assert.strictEqual(rate(now + 26 * hour, message), now + 25 * hour)
      assert.strictEqual(rate(9e13, message), now + 25 * hour)
    }
  })

  it("are those of the module", () => {
    assert.deepStrictEqual(
      [Classifier.maxRetryAfter, Classifier.maxRateLimitReset, Classifier.maxCapReset],
      [hour, 25 * hour, 33 * day]
    )
  })
})

describe("what OpenRouter tried before", () => {
  it("is kept, as far as it can be read", () => {
    const tried = (previous_errors: unknown) =>
      classify(said(429, "", { previous_errors })).facts.previousErrors
    assert.deepStrictEqual(tried([{ provider: "anthropic", code: "capacity_exhausted", status: 429 }]), [
      { provider: "anthropic", code: "capacity_exhausted", status: 429 }
    ])
    assert.deepStrictEqual(tried([null, 5, {}, { provider: "x" }, { provider: "y", code: 1, status: "2" }]), [
      { provider: "x", code: "", status: undefined },
      { provider: "y", code: "", status: undefined }
    ])
    for (const odd of [undefined, null, {}, "x"]) assert.deepStrictEqual(tried(odd), [])
  })
})

describe("the names of the classes", () => {
  it("are those of the rows, each once", () => {
    assert.deepStrictEqual(new Set(Classifier.known), new Set(Classifier.rows.map((row) => row.class)))
    assert.strictEqual(new Set(Classifier.known).size, Classifier.known.length)
  })

  it("are a type to switch over", () => {
    const other: Classifier.Known = "key-rejected"
    // @ts-expect-error: no row has this class.
    const wrong: Classifier.Known = "key-rejectd"
    assert.notStrictEqual<string>(other, wrong)
  })

  it("the rows can be changed one by one, and given back as a table", () => {
    const mine = Classifier.rows.map((row): Classifier.Row =>
      row.class === "forbidden" ? { ...row, scope: "request", retryable: "never" } : row
    )
    assert.strictEqual(classify(said(403, "Forbidden"), mine).scope, "request")
    assert.strictEqual(classify(said(401, "User not found."), mine).class, "key-rejected")
  })

  it("a row of the user's may say more: where, and whether it is billed", () => {
    const mine: Classifier.Row = {
      class: "mine",
      status: (status) => status === 418,
      scope: "account",
      reason: "throttled",
      retryable: "rotate",
      confidence: "stated",
      within: "upstream",
      billed: "maybe"
    }
    const found = classify(said(418, "teapot"), [mine])
    assert.deepInclude(Classifier.toOutcome(found, { upstream: "a/b" }), {
      within: "a/b",
      cost: undefined,
      retryable: "rotate"
    })
  })
})

describe("an event of a stream", () => {
  const event = (body: unknown) => Classifier.classifyEvent(body, now)?.class
  const response = (error: unknown, more: object = {}) => ({
    type: "response.failed",
    response: { id: "gen-1", object: "response", status: "failed", error, output: [], ...more },
    sequence_number: 7
  })

  it("that is no failure is none", () => {
    for (const body of [
      undefined,
      null,
      5,
      "error",
      [],
      {},
      { choices: [] },
      { choices: [{ index: 0, delta: { content: "error" }, finish_reason: null }] },
      { choices: [{ delta: {}, finish_reason: "stop" }], usage: { cost: 0.1 }, error: null },
      { type: "response.created", response: { object: "response", status: "in_progress", error: null } },
      { type: "response.output_text.delta", delta: "error" },
      { type: "response.incomplete", response: { object: "response", status: "incomplete", error: null } },
      { type: "message_start", message: { role: "assistant" } },
      { type: "ping" }
    ]) {
      assert.isUndefined(Classifier.classifyEvent(body, now), JSON.stringify(body))
    }
  })

  for (const [name, body, expected] of [
    [
      "a number",
      JSON.parse(
        '{"id":"gen-abc123","object":"chat.completion.chunk","created":1234567890,"model":"openai/gpt-4o","provider":"OpenAI","error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded"}},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}'
      ),
      "throttled"
    ],
    [
      "a word",
      JSON.parse(
        '{"id":"gen-abc123","object":"chat.completion.chunk","provider":"openai","error":{"code":"server_error","message":"Provider disconnected unexpectedly"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}'
      ),
      "unavailable"
    ],
    [
      "a number in a string",
      { error: { code: "402", message: "Insufficient credits" } },
      "account-exhausted"
    ],
    ["no code", { choices: [{ delta: {}, finish_reason: "error" }] }, "unavailable"],
    ["a cap", { error: { code: 403, message: "Key limit exceeded (daily limit)." } }, "key-cap-spent"],
    ["moderation", { error: { code: 403, message: "No", metadata: { reasons: ["x"] } } }, "moderated"],
    ["`response.failed`, throttled", response({ code: "rate_limit_exceeded", message: "" }), "throttled"],
    ["`response.failed`, broken", response({ code: "server_error", message: "" }), "unavailable"],
    [
      "`response.failed`, with a type",
      response({ code: "server_error", message: "" }, { error_type: "provider_overloaded" }),
      "upstream-unavailable"
    ],
    ["`response.failed`, without a word", response(null), "unavailable"],
    ["`response.failed`, without a response", { type: "response.failed" }, "unavailable"],
    ["`response.error`", { type: "response.error", code: 502, message: "Gone" }, "unavailable"],
    [
      "`error`, flat",
      { type: "error", code: "insufficient_quota", message: "", param: null },
      "payment-required"
    ],
    ["`error`, with nothing in it", { type: "error" }, "unavailable"]
  ] as const) {
    it(`with ${name} is ${expected}`, () => {
      assert.strictEqual(event(body), expected)
    })
  }

  for (const [word, expected] of [
    ["invalid_request_error", "bad-request"],
    ["authentication_error", "key-rejected"],
    ["billing_error", "payment-required"],
    ["permission_error", "forbidden"],
    ["not_found_error", "not-found"],
    ["request_too_large", "bad-request"],
    ["rate_limit_error", "throttled"],
    ["api_error", "unavailable"],
    ["timeout_error", "timed-out"],
    ["overloaded_error", "upstream-unavailable"],
    ["content_policy_violation", "moderated"],
    ["refusal", "moderated"],
    ["context_length_exceeded", "too-long"],
    ["an_error_of_tomorrow", "unavailable"]
  ] as const) {
    it(`with the word ${word} is ${expected}, as a type and as a code`, () => {
      assert.strictEqual(
        event({ type: "error", error: { type: word, message: "" }, request_id: null }),
        expected
      )
      assert.strictEqual(event({ error: { code: word, message: "" } }), expected)
    })
  }

  it("reads the user's rows first", () => {
    const mine: Classifier.Row = {
      ...Classifier.rows[0]!,
      status: () => true,
      when: undefined,
      class: "mine"
    }
    assert.strictEqual(Classifier.classifyEvent({ error: "x" }, now, [mine])?.class, "mine")
  })

  it("costs nothing before its stream has said anything", () => {
    const failed = Classifier.classifyEvent({ error: { code: 502, message: "" } }, now)!
    assert.strictEqual(Classifier.toOutcome(failed).cost, 0)
  })
})

describe("docs/failure-domains.md", () => {
  const page = readFileSync(new URL("../../../docs/failure-domains.md", import.meta.url), "utf8")
  // status | what it says | `class` | scope | reason | retry | until | confidence
  const lines = Array.from(
    page.matchAll(/^\|.*?\| `([a-z-]+)` \| ([^|]+) \| (\w+) \| (\w+) \| [^|]+ \| (\w+) \|$/gm),
    ([, ...cells]) => cells
  )

  it("has the table, row by row", () => {
    assert.deepStrictEqual(
      lines,
      Classifier.rows.map(({ class: name, confidence, reason, retryable, scope }) => [
        name,
        typeof scope === "function" ? "`key`, `workspace` or `account`" : `\`${scope}\``,
        reason,
        retryable,
        confidence
      ])
    )
  })
})
