import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Random } from "effect"
import { TestClock } from "effect/testing"
import { admit } from "../src/internal/simulator/admission.ts"
import * as Ledger from "../src/internal/simulator/ledger.ts"
import type { SimulatorOptions } from "../src/internal/simulator/options.ts"
import { endOf, iso, type LimitReset, startOf } from "../src/internal/simulator/period.ts"
import * as Settings from "../src/internal/simulator/settings.ts"
import * as State from "../src/internal/simulator/state.ts"
import { instance } from "../src/internal/simulator/jsonSchema.ts"

const at = (time: string): number => new Date(time).getTime()

describe("periods", () => {
  it.each([
    // A Wednesday.
    ["daily", "2026-11-18T13:00:00Z", "2026-11-18T00:00:00.000Z", "2026-11-19T00:00:00.000Z"],
    ["weekly", "2026-11-18T13:00:00Z", "2026-11-16T00:00:00.000Z", "2026-11-23T00:00:00.000Z"],
    ["monthly", "2026-11-18T13:00:00Z", "2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"],
    // The boundary itself belongs to the new period; a Monday begins a week, a Sunday ends one.
    ["daily", "2026-11-19T00:00:00Z", "2026-11-19T00:00:00.000Z", "2026-11-20T00:00:00.000Z"],
    ["weekly", "2026-11-16T00:00:00Z", "2026-11-16T00:00:00.000Z", "2026-11-23T00:00:00.000Z"],
    ["weekly", "2026-11-15T23:59:59Z", "2026-11-09T00:00:00.000Z", "2026-11-16T00:00:00.000Z"],
    ["monthly", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"],
    // The epoch was a Thursday.
    ["weekly", "1970-01-01T00:00:00Z", "1969-12-29T00:00:00.000Z", "1970-01-05T00:00:00.000Z"]
  ] satisfies ReadonlyArray<readonly [LimitReset, string, string, string]>)(
    "%s of %s runs from %s to %s",
    (period, time, start, end) => {
      assert.strictEqual(iso(startOf(period, at(time))), start)
      assert.strictEqual(iso(endOf(period, at(time))), end)
    }
  )
})

describe("ledger", () => {
  it("empties each period at its own boundary and keeps the total", () => {
    const ledger = Ledger.make(1, at("2026-11-18T10:00:00Z"))
    Ledger.add(ledger, at("2026-11-18T23:00:00Z"), 0.5)
    const seen = (time: string) => {
      Ledger.roll(ledger, at(time))
      return [ledger.total, ledger.daily, ledger.weekly, ledger.monthly]
    }
    assert.deepStrictEqual(seen("2026-11-18T23:59:59Z"), [1.5, 1.5, 1.5, 1.5])
    assert.deepStrictEqual(seen("2026-11-19T00:00:00Z"), [1.5, 0, 1.5, 1.5])
    assert.deepStrictEqual(seen("2026-11-23T00:00:00Z"), [1.5, 0, 0, 1.5])
    assert.deepStrictEqual(seen("2026-12-01T00:00:00Z"), [1.5, 0, 0, 0])
  })

  it("sums without the dust of binary fractions", () => {
    const ledger = Ledger.make(0, 0)
    Ledger.add(ledger, 0, 0.1)
    Ledger.add(ledger, 0, 0.2)
    assert.strictEqual(ledger.total, 0.3)
  })
})

const model = {
  id: "a/paid",
  promptPrice: 0.001,
  completionPrice: 0.01,
  contextLength: 1000,
  maxCompletionTokens: 100
}
const free = { ...model, id: "a/gratis:free", promptPrice: 0, completionPrice: 0 }

const world = (options: SimulatorOptions) =>
  Effect.gen(function* () {
    const settings = Settings.make({ models: [model, free], ...options })
    const state = State.make(settings, yield* Clock.Clock, yield* Random.Random)
    const key = state.keys.values().next().value
    assert.isDefined(key)
    const ask = (promptTokens: number, maxTokens: number | undefined, of = model) => {
      const result = admit(state, key, of, { promptTokens, maxTokens })
      return typeof result === "number"
        ? result
        : { status: result.status, headers: result.headers, ...(result.body as { readonly error: unknown }) }
    }
    return { ask, key, state }
  })

const spentCap = (name: string, resets_at: string | null) => ({
  status: 403,
  headers: {},
  error: {
    message: `Key limit exceeded (${name}). Manage it using https://openrouter.ai/settings/keys`,
    code: 403,
    metadata: { limit_source: "openrouter_key_limit", resets_at }
  }
})

const message = (answer: unknown): unknown =>
  (answer as { readonly error: { readonly message: string } }).error.message

describe("admission", () => {
  it.effect("estimates prompt and max_tokens, or the longest completion without max_tokens", () =>
    Effect.gen(function* () {
      const { ask } = yield* world({ keys: [{ name: "a" }] })
      assert.strictEqual(ask(10, 5), 0.06)
      assert.strictEqual(ask(10, undefined), 1.01)
    })
  )

  it.effect("lets smaller requests through where a large one meets the key's cap", () =>
    Effect.gen(function* () {
      const { ask } = yield* world({ keys: [{ name: "a", limit: 0.5, limitReset: "monthly" }] })
      assert.deepStrictEqual(ask(100, 41), {
        status: 402,
        headers: {},
        error: {
          message:
            "This request requires more credits, or fewer max_tokens. You requested up to 41 tokens, but can only afford 40. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher monthly limit",
          code: 402,
          metadata: { limit_source: "openrouter_key_limit" }
        }
      })
      assert.strictEqual(ask(100, 40), 0.5)
      assert.strictEqual(
        message(ask(600, 1)),
        "Prompt tokens limit exceeded: 600 > 500. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher monthly limit"
      )
    })
  )

  it.effect("opens a spent cap again at its boundary, and never without one", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(at("2026-11-18T13:00:00Z"))
      const { ask, key, state } = yield* world({
        keys: [{ name: "a", limit: 1, limitReset: "daily", usage: 1 }]
      })
      assert.deepStrictEqual(ask(1, 1), spentCap("daily limit", "2026-11-19T00:00:00.000Z"))
      yield* TestClock.setTime(at("2026-11-18T23:59:59.999Z"))
      assert.deepStrictEqual(ask(1, 1), spentCap("daily limit", "2026-11-19T00:00:00.000Z"))
      yield* TestClock.setTime(at("2026-11-19T00:00:00Z"))
      assert.strictEqual(ask(1, 1), 0.011)
      State.charge(state, key, 1)
      key.limitReset = null
      yield* TestClock.setTime(at("2030-01-01T00:00:00Z"))
      assert.deepStrictEqual(ask(1, 1), spentCap("total limit", null))
    })
  )

  it.effect("answers a spent cap with 402 when asked to", () =>
    Effect.gen(function* () {
      const { ask } = yield* world({ keys: [{ name: "a", limit: 0 }], spentKeyStatus: 402 })
      assert.strictEqual(
        message(ask(7, 1)),
        "Prompt tokens limit exceeded: 7 > 0. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher total limit"
      )
    })
  )

  it.effect("tells an empty account from a balance that is too small", () =>
    Effect.gen(function* () {
      const { ask, key } = yield* world({ accounts: [{ name: "x", balance: 0.5 }], keys: [{ name: "a" }] })
      assert.deepStrictEqual(ask(100, 41), {
        status: 402,
        headers: {},
        error: {
          message:
            "This request requires more credits, or fewer max_tokens. You requested up to 41 tokens, but can only afford 40. To increase, visit https://openrouter.ai/settings/credits and add more credits",
          code: 402,
          metadata: { limit_source: "openrouter_credits" }
        }
      })
      assert.strictEqual(ask(100, 40), 0.5)
      const empty = {
        status: 402,
        headers: {},
        error: {
          message: "Insufficient credits. Add more using https://openrouter.ai/credits",
          code: 402,
          metadata: { limit_source: "openrouter_credits" }
        }
      }
      key.account.balance = 0
      assert.deepStrictEqual(ask(1, 1), empty)
      assert.strictEqual(ask(1, 1, free), 0)
      // A negative balance stops even free models.
      key.account.balance = -0.01
      assert.deepStrictEqual(ask(1, 1, free), empty)
    })
  )

  it.effect("holds estimates against the in-flight budget", () =>
    Effect.gen(function* () {
      const { ask, key } = yield* world({
        accounts: [{ name: "x", inFlightBudget: 0.1 }],
        keys: [{ name: "a" }],
        inFlightRetryAfter: 3
      })
      key.account.held = 0.06
      assert.deepStrictEqual(ask(10, 4), {
        status: 402,
        headers: { "Retry-After": "3" },
        error: {
          message:
            "This request would exceed your available credits given your current in-flight requests. Retry after in-flight requests settle, or add credits.",
          code: 402,
          metadata: { limit_source: "openrouter_in_flight_budget", reason: "in_flight_budget_exhausted" }
        }
      })
      key.account.held = 0.05
      assert.strictEqual(ask(10, 4), 0.05)
      // Waiting would not help this one: it is larger than the whole budget.
      key.account.held = 0
      assert.deepStrictEqual(ask(10, 10), {
        status: 402,
        headers: {},
        error: {
          message:
            "This request requires more credits, or fewer max_tokens. You requested up to 10 tokens, but can only afford 9. To increase, visit https://openrouter.ai/settings/credits and add more credits",
          code: 402,
          metadata: { limit_source: "openrouter_credits", reason: "weight_exceeds_budget" }
        }
      })
      key.account.held = 1
      assert.strictEqual(ask(10, 10, free), 0)
    })
  )

  it.effect("limits requests in a minute, for the account and for free models", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(at("2026-11-18T13:00:30Z"))
      const { ask, key } = yield* world({
        accounts: [{ name: "x", requestsPerMinute: 2, freeRequestsPerMinute: 1 }],
        keys: [{ name: "a" }]
      })
      const reset = String(at("2026-11-18T13:01:00Z"))
      const headers = (limit: string) => ({
        "X-RateLimit-Limit": limit,
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": reset
      })
      assert.strictEqual(ask(1, 1, free), 0)
      assert.deepStrictEqual(ask(1, 1, free), {
        status: 429,
        headers: headers("1"),
        error: {
          message: "Rate limit exceeded: free-models-per-min",
          code: 429,
          metadata: { headers: headers("1"), limit_source: "openrouter_free_tier_per_minute" }
        }
      })
      // The refused request was not counted, so one of two is left.
      assert.strictEqual(ask(1, 1), 0.011)
      assert.deepStrictEqual(ask(1, 1), {
        status: 429,
        headers: headers("2"),
        error: {
          message: "Rate limit exceeded",
          code: 429,
          metadata: { headers: headers("2"), error_type: "rate_limit_exceeded" }
        }
      })
      assert.strictEqual(key.account.throttled, 2)
      yield* TestClock.setTime(at("2026-11-18T13:01:00Z"))
      assert.strictEqual(ask(1, 1, free), 0)
    })
  )

  it.effect("limits free models in a UTC day, less for accounts that never paid", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(at("2026-11-18T23:59:30Z"))
      const { ask, key } = yield* world({ accounts: [{ name: "x", freeTier: true }], keys: [{ name: "a" }] })
      key.account.freeDay.start = startOf("daily", at("2026-11-18T23:59:30Z"))
      key.account.freeDay.count = 49
      assert.strictEqual(ask(1, 1, free), 0)
      const headers = {
        "X-RateLimit-Limit": "50",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": String(at("2026-11-19T00:00:00Z"))
      }
      assert.deepStrictEqual(ask(1, 1, free), {
        status: 429,
        headers,
        error: {
          message:
            "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
          code: 429,
          metadata: { headers, limit_source: "openrouter_free_tier_daily" }
        }
      })
      assert.strictEqual(ask(1, 1), 0.011)
      key.account.freeTier = false
      key.account.freeDay.count = 1000
      assert.strictEqual(message(ask(1, 1, free)), "Rate limit exceeded: free-models-per-day-high-balance")
      yield* TestClock.setTime(at("2026-11-19T00:00:00Z"))
      assert.strictEqual(ask(1, 1, free), 0)
    })
  )

  it.effect("refuses what does not fit into the context", () =>
    Effect.gen(function* () {
      const { ask } = yield* world({ keys: [{ name: "a" }] })
      assert.strictEqual(
        message(ask(950, 51)),
        "This endpoint's maximum context length is 1000 tokens. However, you requested about 1001 tokens (950 of text input, 51 in the output). Please reduce the length of either one."
      )
      assert.isNumber(ask(950, 50))
      assert.isNumber(ask(1000, undefined))
    })
  )
})

describe("JSON schema instances", () => {
  it.each([
    [{ const: 7 }, 7],
    [{ enum: ["x", "y"] }, "x"],
    [{ type: "string", minLength: 6 }, "textxx"],
    [{ type: "string", format: "email" }, "user@example.com"],
    [{ type: "integer", minimum: 3 }, 3],
    [{ type: "integer", exclusiveMinimum: 3 }, 4],
    [{ type: "number", maximum: -2 }, -2],
    [{ type: "integer", minimum: 4, multipleOf: 5 }, 5],
    [{ type: ["boolean", "null"] }, true],
    [{ type: "array", items: { type: "null" }, minItems: 2 }, [null, null]],
    [{ anyOf: [{ type: "integer" }, { type: "string" }] }, 0],
    [
      {
        type: "object",
        properties: { a: { $ref: "#/$defs/A" }, b: { type: "string" } },
        required: ["a"],
        $defs: { A: { type: "string" } }
      },
      { a: "text" }
    ],
    [
      {
        allOf: [{ type: "object", properties: { a: { type: "integer" } }, required: ["a"] }],
        properties: { b: { type: "boolean" } },
        required: ["b"]
      },
      { a: 0, b: true }
    ]
  ] as ReadonlyArray<readonly [object, unknown]>)("%o gives %o", (schema, expected) => {
    assert.deepStrictEqual(instance(schema), expected)
  })

  it("ends on a recursive schema", () => {
    const schema = { type: "object", properties: { next: { $ref: "#" } }, required: ["next"] }
    assert.include(JSON.stringify(instance(schema)), '{"next":null}')
  })
})
