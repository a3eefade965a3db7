import { Classifier } from "@evenkeel/openrouter"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { rngOf } from "./utils.ts"

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
  until?: number
): Expected => ({
  class: name,
  scope,
  reason,
  retryable,
  until,
  within: name === "free-tier-spent" ? ":free" : undefined,
  confidence
})

// What each class says, except for the time.
const byokRejected = verdict("byok-rejected", "request", "rejected", "never", "inferred")
const keyRejected = verdict("key-rejected", "key", "rejected", "rotate", "stated")
const inFlightBudget = verdict("in-flight-budget", "account", "throttled", "rotate", "stated", now + 2000)
const overKeyHeadroom = verdict("over-key-headroom", "key", "insufficient", "rotate", "stated")
const keyCapSpent = verdict("key-cap-spent", "key", "exhausted", "rotate", "stated")
const overBalance = verdict("over-account-balance", "account", "insufficient", "rotate", "stated")
const accountExhausted = verdict("account-exhausted", "account", "exhausted", "rotate", "stated")
const paymentRequired = verdict("payment-required", "account", "exhausted", "rotate", "guessed")
const guardrail = (scope: Expected["scope"], until: number) =>
  verdict("guardrail-budget-spent", scope, "exhausted", "rotate", "stated", until)
const workspaceSpent = verdict("workspace-budget-spent", "workspace", "exhausted", "rotate", "stated")
const moderated = verdict("moderated", "request", "rejected", "never", "stated")
const routingRefused = verdict("routing-refused", "request", "rejected", "never", "inferred")
const keyMisused = verdict("key-misused", "key", "rejected", "rotate", "inferred")
const edgeBlocked = verdict("edge-blocked", "host", "unavailable", "backoff", "inferred", now + 5000)
const forbidden = verdict("forbidden", "key", "unavailable", "rotate", "guessed")
const timedOut = verdict("timed-out", "upstream", "unavailable", "backoff", "guessed")
const freeTierSpent = verdict("free-tier-spent", "account", "throttled", "rotate", "stated")
const accountThrottled = verdict("account-throttled", "account", "throttled", "rotate", "inferred")
const upstreamThrottled = verdict("upstream-throttled", "upstream", "throttled", "backoff", "stated")
const edgeThrottled = verdict("edge-throttled", "host", "throttled", "backoff", "inferred", now + 5000)
const throttled = verdict("throttled", "upstream", "throttled", "backoff", "guessed")
const badRequest = verdict("bad-request", "request", "rejected", "never", "stated")
const upstreamUnavailable = verdict("upstream-unavailable", "upstream", "unavailable", "backoff", "stated")
const edgeUnavailable = verdict("edge-unavailable", "host", "unavailable", "backoff", "inferred")
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
  "401 without a body": { status: 401, body: undefined, is: keyRejected },
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
  "402 that says no more": { ...said(402, "Payment Required", { provider_name: null }), is: paymentRequired },

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
    is: routingRefused
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
  "408 whoever answers": { ...said(408, "Request Timeout"), is: timedOut },

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
  "400 of an unknown model": { ...said(400, "x is not a valid model ID"), is: badRequest },
  "400 of a budget of tokens": {
    ...said(400, "Too many tokens", { error_type: "token_limit_exceeded" }),
    is: badRequest
  },
  "404 without endpoints": { ...said(404, "No endpoints found for a/b:free."), is: badRequest },
  "404 of a data policy": {
    ...said(404, "No allowed providers are available for the selected model", {
      failed_routing_step: "Filter by Guardrails"
    }),
    is: badRequest
  },
  "404 of a provider": {
    ...said(404, "Provider returned error", { provider_name: "OpenAI", raw: "no such deployment" }),
    is: badRequest
  },
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
    is: unavailable
  },
  "502 of the edge": { status: 502, headers: html, body: cloudflare, is: edgeUnavailable },
  "503 of the edge, with the time to wait": {
    status: 503,
    headers: { ...html, "retry-after": "120" },
    body: cloudflare,
    is: { ...edgeUnavailable, until: now + 120_000 }
  },
  "524 of the edge": { status: 524, headers: html, body: cloudflare, is: edgeUnavailable },
  "504 that says no more": { ...said(504, "Gateway Timeout"), is: unavailable },

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
    is: throttled
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
  "200 that is no JSON": { status: 200, body: undefined, is: edgeUnavailable },

  // Where the status of HTTP and the code differ before an answer began, HTTP is right.
  "400 with another code in the body": {
    status: 400,
    body: { error: { code: 500, message: "Provider returned error", metadata: { provider_name: "OpenAI" } } },
    is: badRequest
  },
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
    assert.deepStrictEqual(outcome(said(400, "bad")), { _tag: "Ignored", cost: 0 })
    assert.deepStrictEqual(outcome(said(403, "flagged")), { _tag: "Ignored", cost: 0 })
  })

  it("of anybody else's is Faulted, with the time from now on", () => {
    assert.deepInclude(outcome({ ...said(503, "Unavailable"), headers: { "retry-after": "4" } }), {
      _tag: "Faulted",
      scope: "upstream",
      reason: "unavailable",
      retryAfter: Duration.seconds(4),
      retryable: "backoff",
      cost: 0,
      status: 503
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

// --- anything may come ------------------------------------------------------------------------------------------------

const names = [
  ..."error code message metadata error_type http_status availability retry_after limit_source provider_name raw".split(
    " "
  ),
  ..."user_id choices headers X-RateLimit-Reset resets_at reasons patterns flagged_input scope reason".split(
    " "
  ),
  ..."toString valueOf constructor __proto__ then length 0".split(" ")
]
const texts = [
  ..."openrouter_key_limit openrouter_credits upstream_provider_byok capacity_exhausted 429 402 server_error".split(
    " "
  ),
  ..."Insufficient credits|Key limit exceeded (daily limit)|can only afford|2026-11-21T00:00:00Z|1795305600000|".split(
    "|"
  ),
  "+275760-09-13T00:00:00.000Z",
  "\u0000"
]
const numbers = [0, -1, 1, 40, 200, 299, 300, 401, 402, 403, 429, 503, 599, 600, 1e13, 1e308, -1e308, 0.5]

/** Any JSON, made of the words that the classifier looks for. */
const jsonOf = (random: () => number, depth = 0): unknown => {
  const one = <A>(list: ReadonlyArray<A>): A => list[Math.floor(random() * list.length)]!
  const kind = Math.floor(random() * (depth > 4 ? 4 : 8))
  switch (kind) {
    case 0:
      return null
    case 1:
      return random() < 0.5
    case 2:
      return one(numbers)
    case 3:
      return one(texts)
    case 4:
      return Array.from({ length: Math.floor(random() * 4) }, () => jsonOf(random, depth + 1))
    default:
      // As JSON.parse makes it, so that "__proto__" is a field like any other.
      return JSON.parse(
        `{${Array.from({ length: Math.floor(random() * 6) }, () => `${JSON.stringify(one(names))}:${JSON.stringify(jsonOf(random, depth + 1))}`).join()}}`
      )
  }
}

const oddities = [
  undefined,
  null,
  NaN,
  Infinity,
  -1,
  12,
  true,
  {},
  [],
  ["5"],
  "",
  "5",
  "garbage",
  "1e400",
  "9".repeat(400)
]
const oddStatuses = [...numbers, NaN, Infinity, -Infinity, "429", null, undefined, {}]

const anything = (seed: number): { answer: Classifier.Answer; time: number } => {
  const random = rngOf(seed)
  const one = <A>(list: ReadonlyArray<A>): A => list[Math.floor(random() * list.length)]!
  return {
    answer: {
      status: random() < 0.8 ? 100 + Math.floor(random() * 500) : (one(oddStatuses) as number),
      headers: {
        "retry-after": one(oddities),
        "x-ratelimit-reset": one([...oddities, "1795305600000"])
      } as Record<string, string>,
      body:
        random() < 0.7
          ? { error: jsonOf(random), choices: jsonOf(random), user_id: jsonOf(random) }
          : jsonOf(random)
    },
    time: one([now, 0, 8.64e15 - 1])
  }
}

describe("whatever comes", () => {
  it.prop(
    "neither classify nor toOutcome throws, and a fault asks for a time that a clock can hold",
    [Schema.Int],
    ([seed]) => {
      const { answer, time } = anything(seed)
      const found = Classifier.classify(answer, time)
      if (found === undefined) return
      const outcome = Classifier.toOutcome(found)
      if (outcome._tag === "Faulted" && outcome.retryAfter !== undefined) {
        assert.isTrue(Duration.toMillis(outcome.retryAfter) >= 0)
      }
    },
    { arbitrary: { runs: 3000 } }
  )

  it("a code that cannot be made a number is no reason to throw", () => {
    const body = JSON.parse('{"error":{"code":{"toString":1,"valueOf":1},"message":"x"}}')
    assert.strictEqual(classify({ status: 200, body }).class, "unavailable")
  })

  it.prop(
    "moderation never becomes anybody's fault",
    [Schema.Int],
    ([seed]) => {
      const random = rngOf(seed)
      const signs = [
        { metadata: { patterns: jsonOf(random) } },
        { metadata: { reasons: jsonOf(random), provider_name: "OpenAI", raw: jsonOf(random) } },
        { metadata: { flagged_input: jsonOf(random), model_slug: "a/b" } },
        { metadata: { error_type: "content_policy_violation" } },
        { metadata: { error_type: "refusal", provider_code: jsonOf(random) } },
        { error_type: "refusal" },
        { message: "Your input was flagged" },
        { message: "a violation of provider Terms Of Service." }
      ]
      const sign = signs[Math.floor(random() * signs.length)]!
      const message = [
        "Forbidden",
        "management key",
        "Provider returned error",
        "settings/keys",
        "in-flight requests"
      ][Math.floor(random() * 5)]
      const body = {
        error: { code: 403, message, availability: jsonOf(random), ...sign },
        user_id: jsonOf(random)
      }
      const headers = { "retry-after": "5", "x-ratelimit-reset": String(tomorrow) }
      for (const status of [403, 200]) {
        assert.strictEqual(Classifier.toOutcome(classify({ status, headers, body }))._tag, "Ignored")
      }
    },
    { arbitrary: { runs: 2000 } }
  )
})
