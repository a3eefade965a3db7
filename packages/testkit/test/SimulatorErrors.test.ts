import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { against, hello, post } from "./support.ts"

const errors = Simulator.errors
const resetAt = 1_779_408_000_000

const rateHeaders = (limit: string) => ({
  "X-RateLimit-Limit": limit,
  "X-RateLimit-Remaining": "0",
  "X-RateLimit-Reset": "1779408000000"
})

interface Case {
  readonly wire: Simulator.WireError
  readonly status: number
  readonly error: object
  /** Headers that must come with it, in lower case. */
  readonly headers?: Readonly<Record<string, string>>
  /** Whether the body names the account. */
  readonly user: boolean
}

const cases: Readonly<Record<string, Case>> = {
  revoked: {
    wire: errors.revoked(),
    status: 401,
    user: false,
    error: { message: "User not found.", code: 401 }
  },
  byok401: {
    wire: errors.byok401({ provider: "Groq" }),
    status: 401,
    user: false,
    error: {
      message: "Provider returned error",
      code: 401,
      metadata: {
        raw: '{"error":{"message":"Incorrect API key provided","type":"invalid_request_error"}}',
        provider_name: "Groq",
        is_byok: true
      }
    }
  },
  keyLimit403: {
    wire: errors.keyLimit403({ reset: "weekly", resetsAt: "2026-11-23T00:00:00.000Z" }),
    status: 403,
    user: true,
    error: {
      message: "Key limit exceeded (weekly limit). Manage it using https://openrouter.ai/settings/keys",
      code: 403,
      metadata: { limit_source: "openrouter_key_limit", resets_at: "2026-11-23T00:00:00.000Z" }
    }
  },
  keyLimit402: {
    wire: errors.keyLimit402(),
    status: 402,
    user: true,
    error: {
      message:
        "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 1024. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher total limit",
      code: 402,
      metadata: { limit_source: "openrouter_key_limit" }
    }
  },
  accountCredits402: {
    wire: errors.accountCredits402(),
    status: 402,
    user: true,
    error: {
      message: "Insufficient credits. Add more using https://openrouter.ai/credits",
      code: 402,
      metadata: { limit_source: "openrouter_credits" }
    }
  },
  weightExceedsBudget402: {
    wire: errors.weightExceedsBudget402({ requested: 5, affordable: 4 }),
    status: 402,
    user: true,
    error: {
      message:
        "This request requires more credits, or fewer max_tokens. You requested up to 5 tokens, but can only afford 4. To increase, visit https://openrouter.ai/settings/credits and add more credits",
      code: 402,
      metadata: { limit_source: "openrouter_credits", reason: "weight_exceeds_budget" }
    }
  },
  inFlightBudget402: {
    wire: errors.inFlightBudget402({ retryAfter: 4 }),
    status: 402,
    user: true,
    headers: { "retry-after": "4" },
    error: {
      message:
        "This request would exceed your available credits given your current in-flight requests. Retry after in-flight requests settle, or add credits.",
      code: 402,
      metadata: { limit_source: "openrouter_in_flight_budget", reason: "in_flight_budget_exhausted" }
    }
  },
  guardrailBudget403: {
    wire: errors.guardrailBudget403({ scope: "member", limitUsd: 5, resetsAt: "2026-12-01T00:00:00Z" }),
    status: 403,
    user: true,
    error: {
      message: "Guardrail budget exceeded. Contact your org admin.",
      code: 403,
      metadata: {
        limit_source: "openrouter_guardrail_budget",
        scope: "member",
        limit_usd: 5,
        spend_usd: 5,
        resets_at: "2026-12-01T00:00:00Z"
      }
    }
  },
  workspaceBudget403: {
    wire: errors.workspaceBudget403(),
    status: 403,
    user: true,
    error: {
      message: "Workspace monthly budget of $500.00 exceeded. Contact your org admin.",
      code: 403,
      metadata: {
        limit_source: "openrouter_workspace_budget",
        scope: "workspace",
        limit_usd: 500,
        spend_usd: 500,
        resets_at: null
      }
    }
  },
  freeMinute429: {
    wire: errors.freeMinute429({ resetAt }),
    status: 429,
    user: true,
    headers: { "x-ratelimit-limit": "20", "x-ratelimit-reset": "1779408000000" },
    error: {
      message: "Rate limit exceeded: free-models-per-min",
      code: 429,
      metadata: { headers: rateHeaders("20"), limit_source: "openrouter_free_tier_per_minute" }
    }
  },
  freeDaily429: {
    wire: errors.freeDaily429({ resetAt }),
    status: 429,
    user: true,
    headers: {
      "x-ratelimit-limit": "50",
      "x-ratelimit-remaining": "0",
      "x-ratelimit-reset": "1779408000000"
    },
    error: {
      message:
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
      code: 429,
      metadata: { headers: rateHeaders("50"), limit_source: "openrouter_free_tier_daily" }
    }
  },
  upstream429: {
    wire: errors.upstream429({
      provider: "DigitalOcean",
      model: "deepseek/deepseek-v4-flash",
      retryAfter: 7
    }),
    status: 429,
    user: true,
    headers: { "retry-after": "7" },
    error: {
      message: "Provider returned error",
      code: 429,
      metadata: {
        raw: "deepseek/deepseek-v4-flash is temporarily rate-limited upstream. Please retry shortly, or add your own key to accumulate your rate limits: https://openrouter.ai/settings/integrations",
        provider_name: "DigitalOcean",
        is_byok: false,
        limit_source: "upstream_provider_shared_pool",
        remedy_hint: "Retry later, or use another model or provider."
      }
    }
  },
  capacity429: {
    wire: errors.capacity429(),
    status: 429,
    user: true,
    headers: { "retry-after": "40" },
    error: {
      message: "All providers for anthropic/claude-sonnet-4.5 are at capacity. Retry after 40 seconds.",
      error_type: "rate_limit_exceeded",
      http_status: 429,
      availability: {
        code: "capacity_exhausted",
        retryable: true,
        retry_after: 40,
        requested_models: ["anthropic/claude-sonnet-4.5"],
        docs_url: "https://openrouter.ai/docs/errors"
      },
      metadata: { previous_errors: [{ provider: "anthropic", code: "capacity_exhausted", status: 429 }] }
    }
  },
  moderation403: {
    wire: errors.moderation403({ model: "openai/gpt-4o", reasons: ["violence"] }),
    status: 403,
    user: true,
    error: {
      message:
        'openai/gpt-4o requires moderation on OpenAI. Your input was flagged for "violence". No credits were charged.',
      code: 403,
      metadata: {
        reasons: ["violence"],
        flagged_input: "…",
        provider_name: "OpenAI",
        model_slug: "openai/gpt-4o"
      }
    }
  },
  guardrail403: {
    wire: errors.guardrail403(),
    status: 403,
    user: true,
    error: {
      message: "Request blocked: prompt injection patterns detected",
      code: 403,
      metadata: { patterns: ["ignore all previous instructions"] }
    }
  },
  internal500: {
    wire: errors.internal500(),
    status: 500,
    user: false,
    error: { message: "Internal Server Error", code: 500, metadata: { error_type: "server" } }
  },
  badGateway502: {
    wire: errors.badGateway502(),
    status: 502,
    user: false,
    error: {
      message: "Provider returned error",
      code: 502,
      metadata: {
        raw: "upstream connect error or disconnect/reset before headers",
        provider_name: "OpenAI",
        error_type: "provider_unavailable"
      }
    }
  },
  unavailable503: {
    wire: errors.unavailable503({ retryAfter: 3 }),
    status: 503,
    user: false,
    headers: { "retry-after": "3" },
    error: {
      message: "There is no available model provider that meets your routing requirements",
      code: 503,
      metadata: { error_type: "provider_overloaded" }
    }
  },
  overloaded529: {
    wire: errors.overloaded529(),
    status: 529,
    user: false,
    error: {
      message: "Provider returned error",
      code: 529,
      metadata: {
        raw: '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        provider_name: "Anthropic",
        error_type: "provider_overloaded"
      }
    }
  }
}

const options = { accounts: [{ name: "x", organizationId: "org_1" }], keys: [{ name: "a" }] }

describe("scripted errors", () => {
  it.live.each(Object.entries(cases))("%s", ([, expected]) =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: expected.wire, times: 1 })
      const { headers, json, status } = yield* post("a")
      assert.strictEqual(status, expected.status)
      assert.deepStrictEqual(json, { error: expected.error, ...(expected.user ? { user_id: "org_1" } : {}) })
      assert.isString(headers["x-generation-id"])
      assert.deepInclude(headers, expected.headers ?? {})
      assert.strictEqual((yield* post("a")).status, 200)
    }).pipe(against(options))
  )

  it.live("edgeHtml is HTML without JSON", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: errors.edgeHtml(502, { retryAfter: 9 }) })
      const { headers, json, status, text } = yield* post("a")
      assert.strictEqual(status, 502)
      assert.strictEqual(headers["content-type"], "text/html; charset=UTF-8")
      assert.strictEqual(headers["retry-after"], "9")
      assert.isTrue(text.startsWith("<!DOCTYPE html>"))
      assert.isUndefined(json)
    }).pipe(against(options))
  )

  it.live("a literal status is sent as it is given", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      const body = { error: { message: "teapot", code: 418 } }
      yield* simulator.fault({ times: 1, action: Simulator.actions.status(418, body, { "x-tea": "green" }) })
      yield* simulator.fault({ action: Simulator.actions.status(500, "plain") })
      const first = yield* post("a")
      assert.strictEqual(first.status, 418)
      assert.deepStrictEqual(first.json, body)
      assert.strictEqual(first.headers["x-tea"], "green")
      assert.strictEqual((yield* post("a")).text, "plain")
    }).pipe(against(options))
  )
})

describe("errors of the request itself", () => {
  it.live.each([
    ["no model", { messages: hello.messages }, "No models provided"],
    ["no messages", { model: hello.model }, 'Input required: specify "prompt" or "messages"'],
    ["an unknown model", { ...hello, model: "no/such" }, "no/such is not a valid model ID"]
  ] as ReadonlyArray<readonly [string, object, string]>)("400 for %s", ([, body, message]) =>
    Effect.gen(function* () {
      const { json, status } = yield* post("a", body)
      assert.strictEqual(status, 400)
      assert.strictEqual(json.error.message, message)
      assert.strictEqual(json.error.code, 400)
      assert.strictEqual(json.user_id, "org_1")
    }).pipe(against(options))
  )

  it.live("404 for a variant without endpoints", () =>
    Effect.gen(function* () {
      const { json, status } = yield* post("a", { ...hello, model: "openai/gpt-4o-mini:free" })
      assert.strictEqual(status, 404)
      assert.strictEqual(json.error.message, "No endpoints found for openai/gpt-4o-mini:free.")
    }).pipe(against(options))
  )
})
