// Every way in which a call can fail, in the words of effect/ai: the reason, whether it is worth another try, and when.
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { OpenRouterLanguageModel } from "@evenkeel/ai"
import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { type Classifier, OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Simulator } from "@evenkeel/testkit"
import { DateTime, Duration, Effect, Fiber, Layer, Redacted, Schedule, Stream } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import { inspect } from "node:util"
import { keys, using } from "./utils.ts"

const { actions, errors } = Simulator

const said = (code: number, message: string, metadata?: object) =>
  actions.status(code, { error: { code, message, ...(metadata === undefined ? {} : { metadata }) } })

const available = (http_status: number, code: string, more: object = {}) =>
  actions.status(http_status, {
    error: { message: "Unavailable", http_status, availability: { code, retryable: false, ...more } }
  })

const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString()

interface Case {
  readonly action: () => Simulator.FaultAction
  readonly reason: AiError.AiErrorReason["_tag"]
  /** What is particular of it. */
  readonly also?: Readonly<Record<string, unknown>>
  /** Seconds until `retryAfter` or `resetAt`; `undefined` if there is neither. */
  readonly seconds?: number
  readonly model?: string
}

const provider = "InternalProviderError"
const invalidKey = { kind: "InvalidKey" }
const permissions = { kind: "InsufficientPermissions" }
const model = { parameter: "model" }

// oxfmt-ignore
const cases: Readonly<Record<Classifier.Known, Case>> = {
  "edge-blocked": { action: () => errors.edgeHtml(403), reason: provider },
  "edge-throttled": { action: () => errors.edgeHtml(429), reason: "RateLimitError", seconds: 5 },
  "edge-timed-out": { action: () => errors.edgeHtml(524), reason: provider },
  "edge-unavailable": { action: () => errors.edgeHtml(502), reason: provider },
  "upstream-unavailable": { action: () => errors.badGateway502(), reason: provider },
  "byok-rejected": { action: () => errors.byok401(), reason: "AuthenticationError", also: invalidKey },
  "key-rejected": { action: () => errors.revoked(), reason: "AuthenticationError", also: invalidKey },
  "in-flight-budget": { action: () => errors.inFlightBudget402({ retryAfter: 30 }), reason: "RateLimitError", seconds: 30 },
  "over-key-headroom": { action: () => errors.keyLimit402(), reason: "QuotaExhaustedError" },
  "key-cap-spent": { action: () => errors.keyLimit403({ reset: "daily", resetsAt: inAnHour() }), reason: "QuotaExhaustedError", seconds: 3600 },
  "over-account-balance": { action: () => errors.accountAffordability402(), reason: "QuotaExhaustedError" },
  "account-exhausted": { action: () => errors.accountCredits402(), reason: "QuotaExhaustedError" },
  "byok-exhausted": { action: () => said(402, "Provider returned error", { provider_name: "DeepSeek", raw: "no", is_byok: true }), reason: "QuotaExhaustedError" },
  "payment-required": { action: () => said(402, "Payment Required"), reason: "QuotaExhaustedError" },
  "guardrail-budget-spent": { action: () => errors.guardrailBudget403({ scope: "api_key", resetsAt: inAnHour() }), reason: "QuotaExhaustedError", seconds: 3600 },
  "workspace-budget-spent": { action: () => errors.workspaceBudget403({ resetsAt: inAnHour() }), reason: "QuotaExhaustedError", seconds: 3600 },
  moderated: { action: () => errors.moderation403(), reason: "ContentPolicyError" },
  "routing-refused": { action: () => said(403, "No", { failed_routing_step: "Gate" }), reason: "InvalidRequestError" },
  "key-misused": { action: () => errors.managementInference403(), reason: "AuthenticationError", also: permissions },
  forbidden: { action: () => said(403, "Forbidden"), reason: "AuthenticationError", also: permissions },
  "model-unavailable": { action: () => available(404, "model_unavailable_upstream", { retryable: true, retry_after: 9 }), reason: provider },
  "model-deprecated": { action: () => available(404, "model_deprecated"), reason: "InvalidRequestError", also: model },
  "privacy-restricted": { action: () => available(404, "privacy_restricted"), reason: "InvalidRequestError" },
  "no-endpoints": { action: () => errors.noEndpoints404("x"), reason: "InvalidRequestError", also: model },
  "not-found": { action: () => errors.notFound404(), reason: "InvalidRequestError" },
  "timed-out": { action: () => said(408, "Request Timeout"), reason: provider },
  "free-tier-spent": { action: () => errors.freeMinute429({ resetAt: Date.now() + 30_000 }), reason: "RateLimitError", seconds: 30, model: "meta-llama/llama-3.3-70b-instruct:free" },
  "upstream-throttled": { action: () => errors.upstream429({ retryAfter: 8 }), reason: "RateLimitError", seconds: 8 },
  "byok-throttled": { action: () => said(429, "Provider returned error", { limit_source: "upstream_provider_byok", is_byok: true }), reason: "RateLimitError", seconds: 5 },
  "account-throttled": { action: () => errors.accountRate429({ limit: 60, resetAt: Date.now() + 20_000 }), reason: "RateLimitError", seconds: 20 },
  throttled: { action: () => said(429, "Rate limit exceeded"), reason: "RateLimitError" },
  "model-not-found": { action: () => errors.invalidModel400("x"), reason: "InvalidRequestError", also: model },
  "too-long": { action: () => errors.contextLength400({ contextLength: 8192, promptTokens: 9000, maxTokens: 100 }), reason: "InvalidRequestError" },
  "bad-request": { action: () => errors.badRequest400("messages: required"), reason: "InvalidRequestError" },
  unavailable: { action: () => errors.internal500(), reason: provider },
  unknown: { action: () => actions.status(302, "elsewhere", { "content-type": "application/json" }), reason: "UnknownError" }
}

const retryable = new Set<string>(["RateLimitError", provider, "NetworkError"])

/** What is under `openrouter` in the metadata of a reason. */
const told = (error: AiError.AiError) => {
  const { metadata } = error.reason as { readonly metadata?: AiError.RateLimitErrorMetadata }
  return metadata?.openrouter ?? assert.fail(`no metadata: ${error.message}`)
}

const secondsOf = (error: AiError.AiError, now: number): number | undefined => {
  if (error.retryAfter !== undefined) return Duration.toSeconds(error.retryAfter)
  const resetAt = error.reason._tag === "QuotaExhaustedError" ? error.reason.resetAt : undefined
  return resetAt === undefined ? undefined : (DateTime.toEpochMillis(resetAt) - now) / 1000
}

const fault = (action: Simulator.FaultAction) => Simulator.Simulator.use(({ fault }) => fault({ action }))

const ask = LanguageModel.generateText({ prompt: "hello" })
const failure = Effect.flip(ask)

const impatient = Retry.layer({ schedule: Schedule.spaced("1 millis") })

describe("an answer of each class", () => {
  for (const [name, one] of Object.entries(cases)) {
    // Answers that ask for five seconds and more ask for more than there is, so that nobody waits for them.
    const config = { call: { maxWait: 0, timeout: "4 seconds" } } as const
    const setup = { config, ...(one.model === undefined ? {} : { model: one.model }) }
    const check = (error: AiError.AiError) => {
      assert.strictEqual(error.reason._tag, one.reason, error.message)
      assert.deepInclude(error.reason, one.also ?? {})
      assert.strictEqual(error.isRetryable, retryable.has(one.reason))
      const seconds = secondsOf(error, Date.now())
      if (one.seconds !== undefined) assert.approximately(seconds ?? NaN, one.seconds, 2)
    }

    it.live(`${name} is ${one.reason}`, () =>
      using(setup, function* () {
        yield* fault(one.action())
        const error = yield* failure
        check(error)
        assert.strictEqual(error.module, "OpenRouterLanguageModel")
        assert.strictEqual(error.method, "generateText")
        assert.deepInclude(told(error), { class: name, keyId: "a", attempts: 1 })
      })
    )

    it.live(`${name} is ${one.reason} of a stream with retries too`, () =>
      using({ ...setup, policies: impatient }, function* () {
        yield* fault(one.action())
        const error = yield* Effect.flip(Stream.runDrain(LanguageModel.streamText({ prompt: "hello" })))
        check(error)
        assert.strictEqual(error.method, "streamText")
        assert.isAtLeast(told(error).attempts, 1)
      })
    )
  }

  it.live("of a row of the user's own goes by its status", () => {
    const row: Classifier.Row = {
      class: "tea",
      status: (status) => status === 418,
      scope: "request",
      reason: "rejected",
      retryable: "never",
      confidence: "stated"
    }
    return using({ openrouter: { classifier: [row] } }, function* () {
      yield* fault(said(418, "I am a teapot"))
      const error = yield* failure
      assert.strictEqual(error.reason._tag, "InvalidRequestError")
      assert.strictEqual(told(error).class, "tea")
    })
  })
})

describe("without a key that can serve", () => {
  const config = { call: { maxWait: 0 } }

  it.live("the error tells when to come back", () =>
    using({ config }, function* () {
      yield* fault(errors.accountRate429({ limit: 60, resetAt: Date.now() + 20_000 }))
      yield* failure
      const error = yield* failure
      assert.strictEqual(error.reason._tag, "RateLimitError")
      assert.approximately(Duration.toSeconds(error.retryAfter!), 20, 2)
      assert.deepInclude(told(error), { class: "no-eligible-key", attempts: 0 })
      assert.include(told(error).message, "a throttled")
    })
  )

  it.live(
    "spent keys are a quota, refused ones a matter of authentication, and those behind an outage the provider's",
    () =>
      Effect.gen(function* () {
        const twice = (action: Simulator.FaultAction) =>
          using({ config }, function* () {
            yield* fault(action)
            yield* failure
            const error = yield* failure
            assert.strictEqual(told(error).class, "no-eligible-key")
            return error
          })
        const spent = yield* twice(errors.keyLimit403({ reset: "daily", resetsAt: inAnHour() }))
        assert.strictEqual(spent.reason._tag, "QuotaExhaustedError")
        assert.approximately(secondsOf(spent, Date.now())!, 3600, 2)
        assert.isFalse(spent.isRetryable)
        const refused = yield* twice(errors.revoked())
        assert.deepInclude(refused.reason, { _tag: "AuthenticationError", kind: "InvalidKey" })
        const out = yield* twice(errors.unavailable503({ retryAfter: 60 }))
        assert.strictEqual(out.reason._tag, "InternalProviderError")
        assert.approximately(told(out).retryAfterMillis!, 60_000, 2_000)
      })
  )

  it.live("the key that is soonest of use decides", () => {
    const two = [...keys, { name: "b", secret: "sk-0000002" }]
    return using({ simulator: { keys: two }, config }, function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: errors.revoked(), match: { key: "a" } })
      yield* simulator.fault({ action: errors.upstream429({ retryAfter: 30 }), match: { key: "b" } })
      yield* failure
      yield* failure
      const error = yield* failure
      assert.strictEqual(error.reason._tag, "RateLimitError")
    })
  })

  it.live("an empty pool is a missing key", () =>
    using({ config }, function* () {
      yield* (yield* KeyPool.KeyPool).remove("a")
      const error = yield* failure
      assert.deepInclude(error.reason, { _tag: "AuthenticationError", kind: "MissingKey" })
    })
  )
})

describe("without an answer", () => {
  it.live("a connection that breaks is a network error", () =>
    using({}, function* () {
      yield* fault(actions.reset)
      const error = yield* failure
      assert.deepInclude(error.reason, { _tag: "NetworkError", reason: "TransportError", method: "POST" })
      assert.include((error.reason as AiError.NetworkError).url, "/api/v1/chat/completions")
      assert.isTrue(error.isRetryable)
    })
  )

  it.live("a deadline is the provider's failure", () =>
    using({ config: { call: { timeout: "50 millis" } } }, function* () {
      yield* fault(actions.stall())
      const error = yield* failure
      assert.strictEqual(error.reason._tag, "InternalProviderError")
      assert.strictEqual(told(error).class, "deadline")
    })
  )

  it.live("a deadline behind failures is still a deadline", () =>
    using({ config: { call: { timeout: "300 millis" } }, policies: impatient }, function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: said(429, "Rate limit exceeded"), times: 1 })
      yield* simulator.fault({ action: actions.stall() })
      const error = yield* failure
      assert.strictEqual(error.reason._tag, "InternalProviderError")
      assert.deepInclude(told(error), { class: "deadline", attempts: 1 })
    })
  )

  it.live("an interruption is no error, and ends the request", () =>
    using({}, function* () {
      const simulator = yield* Simulator.Simulator
      yield* fault(actions.stall())
      const fiber = yield* Effect.forkChild(ask)
      yield* simulator.waitUntil(({ inFlight }) => inFlight === 1)
      yield* Fiber.interrupt(fiber)
      yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
    })
  )

  it.live("an answer that is none is invalid, and so is one without a choice", () =>
    using({}, function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: actions.status(200, { choices: 3 }), times: 1 })
      const undecodable = yield* failure
      assert.strictEqual(undecodable.reason._tag, "InvalidResponseError")
      assert.strictEqual(told(undecodable).class, "undecodable")
      yield* simulator.fault({ action: actions.status(200, { choices: [] }), times: 1 })
      assert.strictEqual((yield* failure).reason._tag, "InvalidResponseError")
    })
  )

  it.live("a request that cannot be right is not sent", () =>
    using({}, function* () {
      const error = yield* Effect.flip(LanguageModel.generateText({ prompt: [] }))
      assert.deepInclude(error.reason, { _tag: "InvalidRequestError", parameter: "messages" })
      assert.isEmpty(yield* (yield* Simulator.Simulator).requests)
    })
  )
})

describe("secrets", () => {
  it.live("are in no error, however it is shown", () =>
    Effect.gen(function* () {
      const secret = "sk-0000001"
      const actionsOf = [
        actions.reset,
        actions.garbage,
        ...Object.values(cases).map(({ action }) => action()),
        said(401, "Invalid credentials")
      ]
      for (const action of actionsOf) {
        const error = yield* using({ config: { call: { maxWait: 0 } } }, function* () {
          yield* fault(action)
          return yield* failure
        })
        const shown = inspect(error, { depth: 20, showHidden: true })
        for (const text of [error.message, String(error.stack), JSON.stringify(error), shown]) {
          assert.notInclude(text, secret)
        }
      }
    })
  )

  it.live("survive a connection that is refused", () =>
    Effect.gen(function* () {
      const pool = KeyPool.layer({ keys: [{ id: "a", secret: Redacted.make("sk-0000001") }] })
      // Port 9 discards, and nobody listens there.
      const openrouter = OpenRouter.layerWith({ baseUrl: "http://127.0.0.1:9/api/v1", credits: false }).pipe(
        Layer.provide([LeastInFlight.layer(), pool, NodeHttpClient.layerUndici])
      )
      const live = OpenRouterLanguageModel.model("openai/gpt-4o-mini").pipe(Layer.provide(openrouter))
      const error = yield* Effect.flip(Effect.provide(ask, live))
      if (!AiError.isAiError(error)) return assert.fail(String(error))
      assert.strictEqual(error.reason._tag, "NetworkError")
      assert.notInclude(inspect(error, { depth: 20, showHidden: true }), "sk-0000001")
    })
  )
})
