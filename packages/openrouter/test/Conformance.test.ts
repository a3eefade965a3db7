/**
 * Every row of the classifier's table, met over real HTTP: what OpenRouter is known to send goes through the balanced
 * client, and afterwards exactly the right scope is benched, and nothing else.
 */
import { Balancer, Credits, KeyPool, RetryPolicy, type PoolEvent } from "@evenkeel/core"
import { Classifier, OpenRouter, OpenRouterError } from "@evenkeel/openrouter"
import type { Retry } from "@evenkeel/retry"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { HttpClient, type HttpClientRequest } from "effect/http"
import { chat, eventually, hello, idle, impatient, keys, post, sse, using, type World } from "./utils.ts"

const { actions, errors } = Simulator

// Two keys of one account share a workspace; a third is in another. The fourth is somebody else's.
const simulator: Simulator.SimulatorOptions = {
  accounts: [{ name: "acme" }, { name: "other" }],
  keys: [...keys("a1 a2 a3", { account: "acme" }), ...keys("b", { account: "other" })]
}
const traits = {
  a1: { account: "acme", workspace: "lab" },
  a2: { account: "acme", workspace: "lab" },
  a3: { account: "acme", workspace: "shop" },
  b: { account: "other", workspace: "theirs" }
}

const paid = "openai/gpt-4o-mini"
const free = "meta-llama/llama-3.3-70b-instruct:free"
const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString()

// Which keys are asked, one after the other, tells how the failure was taken. The first one asked is always a1.
/** The caller's own: nobody else is asked. */
const never = "a1"
/** Waited for, and then the first key is as good as any. */
const backedOff = "a1 a1"
/** The answer asks for more time than this test has: it goes to the caller. */
const tooLong = "a1"
const anotherKey = "a1 a2"
const anotherWorkspace = "a1 a3"
const anotherAccount = "a1 b"

interface Case {
  readonly class: Classifier.Known
  readonly action: () => Simulator.FaultAction
  /** Scope, id, reason, seconds, and where it holds only within some upstreams. */
  readonly benched?: string
  /** Keys that cannot afford such a request any more. */
  readonly short?: string
  readonly asked: string
  readonly model?: string
}

const page = (status: number, headers: Readonly<Record<string, string>> = {}) =>
  actions.status(status, "<!DOCTYPE html><h1>Sign in to the proxy</h1>", {
    "content-type": "text/html",
    ...headers
  })

const said = (
  code: number,
  message: string,
  metadata?: object,
  headers: Readonly<Record<string, string>> = {}
) =>
  actions.status(code, { error: { code, message, ...(metadata === undefined ? {} : { metadata }) } }, headers)

const available = (http_status: number, code: string, more: object = {}) =>
  actions.status(http_status, {
    error: { message: "Unavailable", http_status, availability: { code, retryable: false, ...more } }
  })

const cases: Readonly<Record<string, Case>> = {
  // Pages
  "401 of a proxy": {
    class: "edge-blocked",
    action: () => page(401),
    benched: "host host unavailable 5s",
    asked: tooLong
  },
  "402 of a proxy": {
    class: "edge-blocked",
    action: () => page(402),
    benched: "host host unavailable 5s",
    asked: tooLong
  },
  "403 of the edge": {
    class: "edge-blocked",
    action: () => errors.edgeHtml(403, { retryAfter: 60 }),
    benched: "host host unavailable 60s",
    asked: tooLong
  },
  "429 of the edge": {
    class: "edge-throttled",
    action: () => errors.edgeHtml(429),
    benched: "host host throttled 5s",
    asked: tooLong
  },
  "502 of the edge": { class: "edge-unavailable", action: () => errors.edgeHtml(502), asked: backedOff },
  "503 of the edge, with a time": {
    class: "edge-unavailable",
    action: () => errors.edgeHtml(503, { retryAfter: 7 }),
    benched: "host host unavailable 7s",
    asked: tooLong
  },
  "504 of the edge": { class: "edge-timed-out", action: () => errors.edgeHtml(504), asked: backedOff },
  "524 of the edge": { class: "edge-timed-out", action: () => errors.edgeHtml(524), asked: backedOff },
  "522 in JSON": {
    class: "edge-unavailable",
    action: () => said(522, "Connection timed out"),
    asked: backedOff
  },
  "a 200 that is no JSON": { class: "edge-unavailable", action: () => actions.garbage, asked: backedOff },

  // 401
  "401 of OpenRouter's own key at a provider": {
    class: "upstream-unavailable",
    action: () =>
      said(401, "Provider returned error", { provider_name: "OpenAI", raw: "no", is_byok: false }),
    asked: backedOff
  },
  "401 of the account's own key at a provider": {
    class: "byok-rejected",
    action: () => errors.byok401(),
    benched: `account acme rejected 300s within ${paid}`,
    asked: anotherAccount
  },
  "401 of a revoked key": {
    class: "key-rejected",
    action: () => errors.revoked(),
    benched: "key a1 rejected 60s",
    asked: anotherKey
  },

  // 402
  "402 of the in-flight budget": {
    class: "in-flight-budget",
    action: () => errors.inFlightBudget402({ retryAfter: 3 }),
    benched: "account acme throttled 3s",
    asked: anotherAccount
  },
  "402 of a request too dear for the key": {
    class: "over-key-headroom",
    action: () => errors.keyLimit402(),
    short: "a1",
    asked: anotherKey
  },
  "402 of a prompt too dear for the key": {
    class: "over-key-headroom",
    action: () => errors.promptTokens402({ source: "key", promptTokens: 9000, affordable: 10 }),
    short: "a1",
    asked: anotherKey
  },
  "402 of a key's cap": {
    class: "key-cap-spent",
    action: () =>
      said(402, "Payment required", { limit_source: "openrouter_key_limit", resets_at: inAnHour() }),
    benched: "key a1 exhausted 3600s",
    asked: anotherKey
  },
  "402 of a request too dear for the account": {
    class: "over-account-balance",
    action: () => errors.accountAffordability402(),
    short: "a1 a2 a3",
    asked: anotherAccount
  },
  "402 of a request too dear for the account's in-flight budget": {
    class: "over-account-balance",
    action: () => errors.weightExceedsBudget402(),
    short: "a1 a2 a3",
    asked: anotherAccount
  },
  "402 of an empty account": {
    class: "account-exhausted",
    action: () => errors.accountCredits402(),
    benched: "account acme exhausted 300s",
    asked: anotherAccount
  },
  "402 of the account's own purse at a provider": {
    class: "byok-exhausted",
    action: () =>
      said(402, "Provider returned error", { provider_name: "DeepSeek", raw: "no", is_byok: true }),
    benched: `account acme exhausted 300s within ${paid}`,
    asked: anotherAccount
  },
  "402 of OpenRouter's purse at a provider": {
    class: "upstream-unavailable",
    action: () => said(402, "Provider returned error", { provider_name: "DeepSeek", raw: "no" }),
    asked: backedOff
  },
  "402 that says no more": {
    class: "payment-required",
    action: () => said(402, "Payment Required"),
    benched: "account acme exhausted 300s",
    asked: anotherAccount
  },

  // 403
  "403 of a key's cap": {
    class: "key-cap-spent",
    action: () => errors.keyLimit403({ reset: "daily", resetsAt: inAnHour() }),
    benched: "key a1 exhausted 3600s",
    asked: anotherKey
  },
  "403 of a key's cap, in words": {
    class: "key-cap-spent",
    action: () =>
      said(403, "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys"),
    benched: "key a1 exhausted 300s",
    asked: anotherKey
  },
  "403 of a guardrail's budget for the key": {
    class: "guardrail-budget-spent",
    action: () => errors.guardrailBudget403({ scope: "api_key" }),
    benched: "key a1 exhausted 900s",
    asked: anotherKey
  },
  "403 of a guardrail's budget for the workspace": {
    class: "guardrail-budget-spent",
    action: () => errors.guardrailBudget403({ scope: "workspace", resetsAt: inAnHour() }),
    benched: "workspace lab exhausted 3600s",
    asked: anotherWorkspace
  },
  "403 of a guardrail's budget for the member": {
    class: "guardrail-budget-spent",
    action: () => errors.guardrailBudget403({ scope: "member" }),
    benched: "account acme exhausted 900s",
    asked: anotherAccount
  },
  "403 of a workspace's budget": {
    class: "workspace-budget-spent",
    action: () => errors.workspaceBudget403({ resetsAt: inAnHour() }),
    benched: "workspace lab exhausted 3600s",
    asked: anotherWorkspace
  },
  "403 of a workspace's budget, in words": {
    class: "workspace-budget-spent",
    action: () => said(403, "Workspace budget of $500.00 exceeded. Contact your org admin."),
    benched: "workspace lab exhausted 300s",
    asked: anotherWorkspace
  },
  "403 of moderation": { class: "moderated", action: () => errors.moderation403(), asked: never },
  "403 of a guardrail's patterns": { class: "moderated", action: () => errors.guardrail403(), asked: never },
  "403 of terms of service": { class: "moderated", action: () => errors.termsOfService403(), asked: never },
  "400 of a content policy": {
    class: "moderated",
    action: () => said(400, "Refused", { error_type: "content_policy_violation" }),
    asked: never
  },
  "403 of a routing step": {
    class: "routing-refused",
    action: () => said(403, "No", { failed_routing_step: "Gate Free Endpoints by Agentic Harness" }),
    asked: never
  },
  "403 of a provider": {
    class: "routing-refused",
    action: () => said(403, "Provider returned error", { provider_name: "Azure", raw: "denied" }),
    asked: never
  },
  "403 of a management key": {
    class: "key-misused",
    action: () => errors.managementInference403(),
    benched: "key a1 rejected 60s",
    asked: anotherKey
  },
  "403 that says no more": { class: "forbidden", action: () => said(403, "Forbidden"), asked: anotherKey },

  // 404, 408
  "404 of a provider's trouble that will pass": {
    class: "model-unavailable",
    action: () => available(404, "model_unavailable_upstream", { retryable: true, retry_after: 9 }),
    benched: `upstream ${paid} unavailable 9s`,
    asked: tooLong
  },
  "404 of a model that is no more": {
    class: "model-deprecated",
    action: () => available(404, "model_deprecated", { fallback_models: ["openai/gpt-5-mini"] }),
    asked: never
  },
  "404 of privacy": {
    class: "privacy-restricted",
    action: () => available(404, "privacy_restricted"),
    asked: never
  },
  "404 without endpoints": { class: "no-endpoints", action: () => errors.noEndpoints404("x"), asked: never },
  "404 that says no more": { class: "not-found", action: () => errors.notFound404(), asked: never },
  "408": { class: "timed-out", action: () => said(408, "Request Timeout"), asked: backedOff },

  // 429
  "429 of the free tier": {
    class: "free-tier-spent",
    action: () => errors.freeMinute429({ resetAt: Date.now() + 30_000 }),
    benched: "account acme throttled 30s within :free",
    asked: anotherAccount,
    model: free
  },
  "429 of the pool at a provider": {
    class: "upstream-throttled",
    action: () => errors.upstream429({ retryAfter: 8 }),
    benched: `upstream ${paid} throttled 8s`,
    asked: tooLong
  },
  "429 of the account's own limit at a provider": {
    class: "byok-throttled",
    action: () =>
      said(429, "Provider returned error", { limit_source: "upstream_provider_byok", is_byok: true }),
    benched: `account acme throttled 5s within ${paid}`,
    asked: anotherAccount
  },
  "429 of the account": {
    class: "account-throttled",
    action: () => errors.accountRate429({ limit: 60, resetAt: Date.now() + 20_000 }),
    benched: "account acme throttled 20s",
    asked: anotherAccount
  },
  "429 of capacity": {
    class: "upstream-throttled",
    action: () => errors.capacity429({ retryAfter: 40 }),
    benched: `upstream ${paid} throttled 40s`,
    asked: tooLong
  },
  "429 that says no more": {
    class: "throttled",
    action: () => said(429, "Rate limit exceeded"),
    asked: backedOff
  },

  // The request
  "400 of an unknown model": {
    class: "model-not-found",
    action: () => errors.invalidModel400("x"),
    asked: never
  },
  "400 of a prompt that is too long": {
    class: "too-long",
    action: () => errors.contextLength400({ contextLength: 8192, promptTokens: 9000, maxTokens: 100 }),
    asked: never
  },
  "400 of a request that cannot be read": {
    class: "bad-request",
    action: () => errors.badRequest400("messages: required"),
    asked: never
  },
  "413 of the edge": { class: "bad-request", action: () => page(413), asked: never },

  // 5xx
  "504 of OpenRouter": { class: "timed-out", action: () => said(504, "Gateway Timeout"), asked: backedOff },
  "502 of a provider": {
    class: "upstream-unavailable",
    action: () => errors.badGateway502(),
    asked: backedOff
  },
  "503 with a time": {
    class: "upstream-unavailable",
    action: () => errors.unavailable503({ retryAfter: 6 }),
    benched: `upstream ${paid} unavailable 6s`,
    asked: tooLong
  },
  "503 that will not pass": {
    class: "upstream-unavailable",
    action: () => available(503, "temporarily_unavailable"),
    asked: never
  },
  "529 that says no more": {
    class: "upstream-unavailable",
    action: () => said(529, "Overloaded"),
    asked: backedOff
  },
  "500 of OpenRouter": { class: "unavailable", action: () => errors.internal500(), asked: backedOff },

  // 200 with an error
  "a 200 with a provider's error": {
    class: "upstream-unavailable",
    action: () => actions.okWithErrorBody(),
    asked: backedOff
  },
  "a 200 with a key's error": {
    class: "key-cap-spent",
    action: () =>
      actions.okWithErrorBody({
        code: 403,
        message: "Key limit exceeded (daily limit).",
        metadata: { limit_source: "openrouter_key_limit", resets_at: inAnHour() }
      }),
    benched: "key a1 exhausted 3600s",
    asked: anotherKey
  },
  "a 200 with moderation": {
    class: "moderated",
    action: () => actions.okWithErrorBody({ code: 403, message: "No", metadata: { reasons: ["violence"] } }),
    asked: never
  },
  "a 200 with a string for an error": {
    class: "unavailable",
    action: () => actions.status(200, { error: "Something went wrong" }),
    asked: backedOff
  },
  "a 200 with a code in words": {
    class: "unavailable",
    action: () => actions.okWithErrorBody({ code: "server_error", message: "Gone" }),
    asked: backedOff
  },
  "a 200 with an error in its choice": {
    class: "unavailable",
    action: () => actions.choiceError(),
    asked: backedOff
  },
  "a redirect that was not followed": {
    class: "unknown",
    action: () => actions.status(302, "elsewhere", { "content-type": "application/json" }),
    asked: never
  }
}

/** Every request holds a cent, so that a request that was too dear teaches something. */
const credits: Credits.Credits = { ...Credits.unknown, estimate: () => 0.01 }

/** What the pool benches while the body runs, in the order in which it does. */
const watching = Effect.fnUntraced(function* (pool: World["pool"]) {
  const seen: Array<PoolEvent.PoolEvent> = []
  yield* Effect.forkScoped(
    Stream.runForEach(pool.changes, (event) => Effect.sync(() => seen.push(event))),
    {
      startImmediately: true
    }
  )
  const mark = (id: string) =>
    Effect.andThen(
      pool.bench({ scope: "upstream", id, reason: "throttled", for: 1 }),
      eventually(
        Effect.sync(() => seen.some((event) => event._tag === "Benched" && event.id === id)),
        (there) => there
      )
    )
  yield* mark("the beginning")
  return Effect.as(mark("the end"), seen).pipe(
    Effect.map((events) =>
      events.flatMap((event) => {
        if (event._tag !== "Benched" || event.id.startsWith("the ")) return []
        const { id, reason, scope, since, until, within } = event
        const where = within === undefined ? "" : ` within ${within}`
        return [`${scope} ${id} ${reason} ${Math.round((until - since) / 1000)}s${where}`]
      })
    )
  )
})

const textOf = (client: World["client"], request: HttpClientRequest.HttpClientRequest) =>
  Effect.flatMap(client.execute(request), (response) => response.text)

/** The keys that the simulator was asked on, in order. */
const askedOn = (world: World) =>
  Effect.map(world.simulator.requests, (requests) =>
    requests.flatMap(({ key, path }) => (path === "/key" ? [] : [key])).join(" ")
  )

/** Facts of every failure, as the first of the rows sees them. */
const spying = () => {
  const facts: Array<Classifier.Facts> = []
  const row: Classifier.Row = {
    class: "spy",
    status: () => true,
    when: (seen) => {
      facts.push(seen)
      return false
    },
    scope: "request",
    reason: "rejected",
    retryable: "never",
    confidence: "guessed"
  }
  return { facts, row }
}

const met = new Set<number>()

describe("what OpenRouter sends", () => {
  for (const [name, one] of Object.entries(cases)) {
    const setup = { simulator, traits, credits }
    const request = { ...hello, model: one.model ?? paid }

    it.live(`${name} reaches the caller as ${one.class}`, () => {
      const { facts, row } = spying()
      return using({ ...setup, retry: RetryPolicy.never, options: { classifier: [row] } }, function* (world) {
        const { plain, pool, balancer, simulator } = world
        const openrouter = yield* OpenRouter.make({ baseUrl: simulator.baseUrl, classifier: [row] }).pipe(
          Effect.provideService(HttpClient.HttpClient, plain),
          Effect.provideService(Balancer.Balancer, balancer),
          Effect.provideService(KeyPool.KeyPool, pool)
        )
        yield* simulator.fault({ times: 1, action: one.action() })
        const error = yield* Effect.flip(openrouter.chat(request))
        assert.instanceOf(error, OpenRouterError.OpenRouterError)
        const { reason } = error as OpenRouterError.OpenRouterError
        assert.strictEqual(reason._tag === "Answered" && reason.class, one.class)
        assert.strictEqual(yield* askedOn(world), "a1")
        yield* idle(world)
        for (const seen of facts) {
          met.add(Classifier.rows.findIndex((row) => row.status(seen.status) && (row.when?.(seen) ?? true)))
        }
      })
    })

    const taken =
      { [never]: "goes to the caller", [backedOff]: "is waited for" }[one.asked] ?? `goes on as ${one.asked}`
    it.live(`${name} benches ${one.benched ?? "nobody"}, and ${taken}`, () =>
      using({ ...setup, retry: impatient({ maxDelay: "20 millis" }) }, function* (world) {
        const { client, pool, simulator } = world
        const benches = yield* watching(pool)
        yield* simulator.fault({ times: 1, action: one.action() })
        const text = yield* textOf(client, chat({ model: request.model }))
        // Who asks another key, or waits, is served in the end.
        assert.strictEqual(text.includes("You said: hello"), one.asked !== never)
        assert.strictEqual(yield* askedOn(world), one.asked)
        assert.deepStrictEqual(yield* benches, one.benched === undefined ? [] : [one.benched])
        const { keys } = yield* pool.snapshot
        const short = keys.filter(({ shortage }) => shortage !== undefined).map(({ id }) => id)
        assert.strictEqual(short.join(" "), one.short ?? "")
        yield* idle(world)
      })
    )
  }

  it("is every row of the table", () => {
    assert.deepStrictEqual(
      Classifier.rows.flatMap((row, index) => (met.has(index) ? [] : [`${index} ${row.class}`])),
      []
    )
  })
})

describe("what is benched in part", () => {
  for (const [name, action] of [
    ["429", said(429, "Provider returned error", { limit_source: "upstream_provider_byok" })],
    ["401", errors.byok401()]
  ] as const) {
    it.live(
      `a ${name} of the account's own key at a provider leaves its other models, and other accounts, alone`,
      () =>
        using({ simulator, traits, retry: impatient({ maxDelay: "20 millis" }) }, function* (world) {
          yield* world.simulator.fault({ times: 1, action })
          for (const model of [paid, paid, "deepseek/deepseek-chat", free])
            yield* textOf(world.client, chat({ model }))
          assert.strictEqual(yield* askedOn(world), "a1 b b a1 a1")
          yield* idle(world)
        })
    )
  }

  it.live("a limit of free models leaves the paid ones alone", () =>
    using({ simulator, traits, retry: impatient({ maxDelay: "20 millis" }) }, function* (world) {
      yield* world.simulator.fault({
        times: 1,
        action: errors.freeDaily429({ resetAt: Date.now() + 3_600_000 })
      })
      for (const model of [free, free, paid]) yield* textOf(world.client, chat({ model }))
      assert.strictEqual(yield* askedOn(world), "a1 b b a1")
      yield* idle(world)
    })
  )
})

describe("what may have been billed", () => {
  const seen = (action: Simulator.FaultAction, times: number, retry: Retry.Options = {}) =>
    using(
      { simulator, traits, credits, retry: impatient({ maxDelay: "20 millis", ...retry }) },
      function* (world) {
        yield* world.pool.credit("a1", { remaining: 1 })
        yield* world.simulator.fault({ times, action })
        yield* textOf(world.client, chat())
        yield* idle(world)
        const { keys } = yield* world.pool.snapshot
        const asked = yield* askedOn(world)
        return { asked, debited: Number((1 - keys[0]!.credit!).toFixed(4)) }
      }
    )

  it.live("a 408 is tried again once, and what was held for it stays debited", () =>
    Effect.map(seen(said(408, "Request Timeout"), 5), (found) =>
      assert.deepStrictEqual(found, { asked: "a1 a1", debited: 0.02 })
    )
  )

  it.live("a 524 is tried again as often as the policy likes, and debited each time", () =>
    Effect.map(seen(errors.edgeHtml(524), 2, { billed: 2 }), (found) =>
      assert.deepStrictEqual(found, { asked: "a1 a1 a1", debited: 0.02 })
    )
  )

  it.live("a 503 was not billed", () =>
    Effect.map(seen(errors.unavailable503(), 2), (found) =>
      assert.deepStrictEqual(found, { asked: "a1 a1 a1", debited: 0 })
    )
  )
})

describe("what a stream says", () => {
  const cap = {
    code: 403,
    message: "Key limit exceeded (total limit).",
    metadata: { limit_source: "openrouter_key_limit" }
  }
  const empty = { code: 402, message: "Insufficient credits. Add more using https://openrouter.ai/credits" }
  const flagged = { code: 403, message: "Flagged", metadata: { reasons: ["violence"], flagged_input: "…" } }
  const responses = post("/responses", { model: paid, input: "hello", stream: true })
  const messages = post("/messages", { ...hello, stream: true })

  for (const [name, request, action, asked, benched] of [
    ["first, of a key's cap", sse(), actions.firstEventError(cap), anotherKey, "key a1 exhausted 300s"],
    [
      "first, of an empty account",
      sse(),
      actions.firstEventError(empty),
      anotherAccount,
      "account acme exhausted 300s"
    ],
    ["first, of a provider", sse(), actions.firstEventError(), backedOff, undefined],
    ["first, of moderation", sse(), actions.firstEventError(flagged), never, undefined],
    [
      "first, in /responses",
      responses,
      actions.firstEventError({ code: "rate_limit_exceeded", message: "" }),
      backedOff,
      undefined
    ],
    [
      "first, in /messages",
      messages,
      actions.firstEventError({ code: 529, message: "Overloaded" }),
      backedOff,
      undefined
    ],
    ["after content, of a key's cap", sse(), actions.midStreamError(cap), never, "key a1 exhausted 300s"],
    [
      "after content, of an empty account",
      sse(),
      actions.midStreamError(empty),
      never,
      "account acme exhausted 300s"
    ],
    ["after content, in words", sse(), actions.midStreamError(), never, undefined],
    ["after content, of moderation", sse(), actions.midStreamError(flagged), never, undefined],
    ["after content, in /responses", responses, actions.midStreamError(), never, undefined],
    ["after content, in /messages", messages, actions.midStreamError({ code: 529 }), never, undefined]
  ] as const) {
    it.live(`${name}: asked on ${asked}, benched ${benched ?? "nobody"}`, () =>
      using({ simulator, traits, retry: impatient({ maxDelay: "20 millis" }) }, function* (world) {
        const benches = yield* watching(world.pool)
        yield* world.simulator.fault({ times: 1, action })
        yield* textOf(world.client, request)
        yield* idle(world)
        assert.strictEqual(yield* askedOn(world), asked)
        assert.deepStrictEqual(yield* benches, benched === undefined ? [] : [benched])
      })
    )
  }
})
