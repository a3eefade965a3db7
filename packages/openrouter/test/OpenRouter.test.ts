import { NodeHttpClient } from "@effect/platform-node"
import { Balancer, Errors, KeyPool, RetryPolicy, Selector } from "@evenkeel/core"
import {
  ChatRequest,
  ChatResponse,
  KeyInfo,
  OpenRouter,
  OpenRouterError,
  type ProviderRouting
} from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Duration, Effect, Layer, Redacted } from "effect"
import { HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import {
  type Body,
  chat,
  first,
  hello,
  helloCost,
  impatient,
  keys,
  leaksOf,
  met,
  poolOf,
  running,
  secretOf,
  serve,
  stateOf,
  textOf,
  inFlight
} from "./utils.ts"

const { actions, errors } = Simulator

interface Setup {
  readonly simulator?: Simulator.SimulatorOptions
  readonly retry?: RetryPolicy.RetryPolicy
  readonly options?: OpenRouter.Options
}

interface World {
  readonly openrouter: OpenRouter.OpenRouter["Service"]
  readonly pool: KeyPool.KeyPool["Service"]
  readonly balancer: Balancer.Balancer["Service"]
  readonly simulator: Simulator.Simulator["Service"]
}

/** The service over a simulator, without the reading of credit. */
const using = <A>(setup: Setup, body: (world: World) => Body<A>) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator.Simulator
    const context = yield* Layer.build(
      OpenRouter.layerWith({ baseUrl: simulator.baseUrl, credits: false, ...setup.options }).pipe(
        Layer.provide([
          Selector.layer(first),
          Layer.succeed(RetryPolicy.RetryPolicy, setup.retry ?? RetryPolicy.never),
          NodeHttpClient.layerUndici
        ]),
        Layer.provideMerge(poolOf(simulator))
      )
    )
    return yield* running(() =>
      body({
        simulator,
        openrouter: Context.get(context, OpenRouter.OpenRouter),
        balancer: Context.get(context, Balancer.Balancer),
        pool: Context.get(context, KeyPool.KeyPool)
      })
    )
  }).pipe(Effect.provide(Simulator.layer({ keys: keys("a b"), ...setup.simulator })))

/** The service over a server of the test's own. */
const withServer = (
  answer: Parameters<typeof serve>[0],
  body: (world: World & { readonly server: Effect.Success<ReturnType<typeof serve>> }) => Body<void>,
  options: OpenRouter.Options = {},
  retry: RetryPolicy.RetryPolicy = RetryPolicy.never
) =>
  Effect.gen(function* () {
    const server = yield* serve(answer)
    yield* using({ retry, options: { ...options, baseUrl: `${server.origin}/api/v1` } }, (world) =>
      body({ ...world, server })
    )
  })

const answering =
  (json: unknown, status = 200) =>
  (response: import("node:http").ServerResponse) =>
    response
      .writeHead(status, { "content-type": "application/json" })
      .end(typeof json === "string" ? json : JSON.stringify(json))

const failed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    if (!(error instanceof OpenRouterError.OpenRouterError)) throw error
    return error.reason
  })

describe("chat", () => {
  it.live("answers whole, with the provider, the usage and the cost", () =>
    using({}, function* ({ openrouter, pool }) {
      const answer = yield* openrouter.chat(hello)
      assert.strictEqual(ChatResponse.text(answer), "You said: hello")
      assert.strictEqual(answer.provider, "OpenAI")
      assert.strictEqual(answer.usage?.completion_tokens, 4)
      assert.strictEqual(ChatResponse.cost(answer), helloCost)
      assert.strictEqual((yield* stateOf(pool, "a")).spent, helloCost)
    })
  )

  it.live("sends every field as it is, also those that have no type yet", () => {
    const provider: ProviderRouting.ProviderRouting = {
      order: ["Azure", "OpenAI"],
      allow_fallbacks: false,
      only: null,
      sort: { by: "throughput", partition: "none" },
      max_price: { prompt: 1, completion: 2.5 },
      preferred_max_latency: { p90: 2 },
      invented: { since: "tomorrow" }
    }
    const request: ChatRequest.ChatRequest = {
      model: ChatRequest.variant("openai/gpt-4o-mini", "floor"),
      models: ["openai/gpt-4o-mini:nitro", "deepseek/deepseek-chat"],
      messages: [
        { role: "system", content: "Be brief.", cache_control: { type: "ephemeral" } },
        {
          role: "user",
          content: [
            { type: "text", text: "é ✓ \u2028" },
            { type: "image_url", image_url: { url: "data:," } }
          ]
        }
      ],
      provider,
      reasoning: { effort: "max", exclude: true },
      session_id: "session",
      temperature: null,
      service_tier: "flex",
      plugins: [{ id: "web", max_results: 3 }],
      invented: [1, { two: null }]
    }
    return withServer(answering({ choices: [] }), function* ({ openrouter, server }) {
      yield* openrouter.chat(request)
      const [seen] = server.seen
      assert.strictEqual(`${seen!.method} ${seen!.url}`, "POST /api/v1/chat/completions")
      assert.strictEqual(seen!.headers["content-type"], "application/json")
      assert.strictEqual(seen!.headers["content-length"], String(new TextEncoder().encode(seen!.body).length))
      assert.deepStrictEqual(JSON.parse(seen!.body), JSON.parse(JSON.stringify(request)))
      assert.strictEqual(JSON.parse(seen!.body).model, "openai/gpt-4o-mini:floor")
    })
  })

  it.live("keeps what it does not know of an answer", () => {
    const answer = {
      id: "gen-1",
      model: "a/b",
      object: "chat.completion",
      invented: { at: ["top"] },
      choices: [
        {
          index: 0,
          finish_reason: "invented_reason",
          message: {
            role: "assistant",
            content: "hello",
            annotations: [{ type: "url_citation" }],
            reasoning_details: [{ type: "reasoning.encrypted", data: "…" }]
          },
          invented: 1
        }
      ],
      usage: {
        prompt_tokens: 1,
        cost: 0.5,
        invented: { x: 1 },
        cost_details: { upstream_inference_cost: null }
      }
    }
    return withServer(answering(answer), function* ({ openrouter }) {
      assert.deepStrictEqual((yield* openrouter.chat(hello)) as unknown, answer)
    })
  })

  for (const [name, body, text, cost] of [
    ["no choices", { choices: [] }, "", undefined],
    [
      "nulls all over",
      { id: null, model: null, choices: [{ message: null, finish_reason: null }], usage: null },
      "",
      undefined
    ],
    ["no message", { choices: [{}] }, "", undefined],
    ["no content", { choices: [{ message: { content: null, refusal: "no" } }] }, "", undefined],
    [
      "content in parts",
      {
        choices: [{ message: { content: [{ type: "text", text: "a" }, { type: "image" }, { text: "b" }] } }]
      },
      "ab",
      undefined
    ],
    [
      "a call of a tool",
      {
        choices: [
          {
            finish_reason: "tool_calls",
            message: {
              content: null,
              tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: "{" } }]
            }
          }
        ]
      },
      "",
      undefined
    ],
    ["a cost of null", { choices: [], usage: { cost: null } }, "", undefined],
    ["a cost of nothing", { choices: [], usage: { cost: 0, is_byok: true } }, "", 0]
  ] as const) {
    it.live(`takes an answer with ${name}`, () =>
      withServer(answering(body), function* ({ openrouter }) {
        const answer = yield* openrouter.chat(hello)
        assert.strictEqual(ChatResponse.text(answer), text)
        assert.strictEqual(ChatResponse.cost(answer), cost)
        assert.deepStrictEqual(answer as unknown, body)
      })
    )
  }

  for (const [name, body] of [
    ["null", null],
    ["a list", []],
    ["no choices at all", { id: "gen-1" }],
    ["choices that are no list", { choices: "none" }]
  ] as const) {
    it.live(`calls an answer with ${name} Undecodable, and shows it`, () =>
      withServer(answering(body), function* ({ openrouter, pool }) {
        const reason = yield* failed(openrouter.chat(hello))
        assert.strictEqual(reason._tag, "Undecodable")
        assert.deepStrictEqual((reason as OpenRouterError.Undecodable).body, body)
        // The key has done its part.
        assert.strictEqual((yield* stateOf(pool, "a")).succeeded, 1)
      })
    )
  }

  it.live("says who is calling", () =>
    withServer(
      answering({ choices: [] }),
      function* ({ openrouter, server }) {
        yield* openrouter.chat(hello)
        yield* openrouter.client.execute(chat())
        for (const { headers } of server.seen) {
          assert.strictEqual(headers["http-referer"], "https://example.com")
          assert.strictEqual(headers["x-openrouter-title"], "Example")
          assert.strictEqual(headers["x-openrouter-categories"], "cli-agent,writing")
        }
        assert.strictEqual(server.seen.length, 2)
      },
      { attribution: { url: "https://example.com", title: "Example", categories: ["cli-agent", "writing"] } }
    )
  )

  it.live("says nothing of who is calling unless told", () =>
    withServer(answering({ choices: [] }), function* ({ openrouter, server }) {
      yield* openrouter.chat(hello)
      const sent = Object.keys(server.seen[0]!.headers)
      assert.deepStrictEqual(
        sent.filter((name) => /referer|openrouter|title|traceparent|b3/.test(name)),
        []
      )
    })
  )

  it.live("asks no more of one model than it can give, and leaves the other models alone", () =>
    using({}, function* ({ openrouter, simulator }) {
      yield* simulator.fault({
        match: { model: hello.model },
        action: errors.upstream429({ retryAfter: 30 })
      })
      yield* Effect.flip(openrouter.chat(hello))
      const refused = yield* Effect.flip(openrouter.chat(hello))
      assert.instanceOf(refused, Errors.NoEligibleKey)
      assert.strictEqual((refused as Errors.NoEligibleKey).keys[0]!.scope, "upstream")
      yield* openrouter.chat({ ...hello, model: "deepseek/deepseek-chat" })
      // Where there are only fallbacks, the first of them stands for the request.
      const { model, ...rest } = hello
      assert.instanceOf(
        yield* Effect.flip(openrouter.chat({ ...rest, models: [model] })),
        Errors.NoEligibleKey
      )
    })
  )
})

describe("a failure of chat", () => {
  it.live("is Answered where OpenRouter answered, with all there is to know", () =>
    using({}, function* ({ openrouter, simulator }) {
      yield* simulator.fault({ times: 1, action: errors.upstream429({ retryAfter: 3 }) })
      const reason = yield* failed(openrouter.chat(hello))
      assert.instanceOf(reason, OpenRouterError.Answered)
      const {
        body,
        class: name,
        description,
        keyId,
        retryAfter,
        scope,
        status
      } = reason as OpenRouterError.Answered
      assert.deepStrictEqual(
        { name, status, scope, keyId, description },
        {
          name: "upstream-throttled",
          status: 429,
          scope: "upstream",
          keyId: "a",
          description: "Provider returned error"
        }
      )
      assert.deepStrictEqual(retryAfter, Duration.seconds(3))
      assert.strictEqual((body as { user_id: string }).user_id, "user_simulated_default")
      assert.strictEqual(reason.message, "429 upstream-throttled: Provider returned error")
    })
  )

  it.live("can be caught by its reason", () =>
    using({}, function* ({ openrouter, simulator }) {
      yield* simulator.fault({ action: errors.moderation403() })
      const caught = yield* openrouter
        .chat(hello)
        .pipe(Effect.catchReason("OpenRouterError", "Answered", (reason) => Effect.succeed(reason.class)))
      assert.strictEqual(caught, "moderated")
      const whole = yield* openrouter.chat(hello).pipe(
        Effect.catchReasons("OpenRouterError", {
          Transport: () => Effect.succeed("transport"),
          Answered: (reason) => Effect.succeed(reason.scope)
        })
      )
      assert.strictEqual(whole, "request")
    })
  )

  it.live("is Answered also where the status was 200", () =>
    using({}, function* ({ openrouter, simulator }) {
      yield* simulator.fault({ action: actions.choiceError() })
      const reason = (yield* failed(openrouter.chat(hello))) as OpenRouterError.Answered
      assert.strictEqual(reason._tag, "Answered")
      assert.strictEqual(reason.status, 502)
      assert.strictEqual((reason.body as ChatResponse.ChatResponse).choices[0]!.message!.content, "You sai")
    })
  )

  it.live("is Transport where the connection broke", () =>
    using({}, function* ({ openrouter, simulator }) {
      yield* simulator.fault({ action: actions.reset })
      const reason = (yield* failed(openrouter.chat(hello))) as OpenRouterError.Transport
      assert.strictEqual(reason._tag, "Transport")
      assert.isTrue(HttpClientError.isHttpClientError(reason.cause))
    })
  )

  it.live("is NoEligibleKey where no key could serve, with what was tried", () =>
    using({ retry: impatient({ times: 0 }) }, function* ({ openrouter, simulator }) {
      yield* simulator.revoke("a")
      yield* simulator.setKey("b", { limit: 1, usage: 1, limitReset: "daily" })
      const error = yield* Effect.flip(openrouter.chat(hello))
      assert.strictEqual(error._tag, "NoEligibleKey")
      const { attempts, keys: verdicts, retryAt } = error as Errors.NoEligibleKey
      assert.deepStrictEqual(
        attempts.map(({ keyId, outcome }) => `${keyId} ${outcome.status} ${outcome.class}`),
        ["a 401 key-rejected", "b 403 key-cap-spent"]
      )
      assert.deepStrictEqual(
        verdicts.map(({ keyId, reason }) => `${keyId} ${reason}`),
        ["a rejected", "b exhausted"]
      )
      // The key that was refused comes back first: after a minute, or so.
      assert.isAtMost(retryAt!, Date.now() + 60_000)
    })
  )
})

describe("a request that cannot be right", () => {
  const cycle: Record<string, unknown> = { ...hello }
  cycle["self"] = cycle
  const wrong: Readonly<Record<string, readonly [request: unknown, field: string]>> = {
    "no messages": [{ model: "a/b", messages: [] }, "messages"],
    "messages missing": [{ model: "a/b" }, "messages"],
    "messages of another kind": [{ model: "a/b", messages: "hello" }, "messages"],
    "nothing at all": [undefined, "messages"],
    null: [null, "messages"],
    "a stream": [{ ...hello, stream: true }, "stream"],
    "a bigint": [{ ...hello, seed: 1n }, "request"],
    "a cycle": [cycle, "request"],
    "a toJSON that throws": [
      {
        ...hello,
        metadata: {
          toJSON: () => {
            throw new Error("no")
          }
        }
      },
      "request"
    ]
  }
  for (const [name, [request, field]] of Object.entries(wrong)) {
    it.live(`is refused for ${name}, and takes no key`, () =>
      using({}, function* ({ openrouter, pool, simulator }) {
        const reason = yield* failed(openrouter.chat(request as ChatRequest.ChatRequest))
        assert.strictEqual(reason._tag, "InvalidRequest")
        assert.strictEqual((reason as OpenRouterError.InvalidRequest).field, field)
        assert.include(reason.message, `${field} must be`)
        assert.strictEqual((yield* stateOf(pool, "a")).leased, 0)
        assert.deepStrictEqual(yield* met(simulator), [0, 0])
      })
    )
  }

  it.live("is not one with stream: false", () =>
    using({}, function* ({ openrouter }) {
      assert.strictEqual(
        ChatResponse.text(yield* openrouter.chat({ ...hello, stream: false })),
        "You said: hello"
      )
    })
  )
})

describe("embeddings", () => {
  it.live("are vectors for each text, with what they cost", () =>
    using({}, function* ({ openrouter, pool }) {
      const request = { model: "openai/gpt-4o-mini", input: ["one", "two"] }
      const { data, usage } = yield* openrouter.embeddings(request)
      assert.deepStrictEqual(
        data.map(({ index }) => index),
        [0, 1]
      )
      assert.isAbove(data[0]!.embedding.length, 0)
      assert.isAtLeast(usage?.cost ?? -1, 0)
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    })
  )

  it.live("that cannot be encoded take no key", () =>
    using({}, function* ({ openrouter, pool }) {
      const error = yield* Effect.flip(openrouter.embeddings({ model: "a/b", input: [1n] }))
      assert.include(error.message, "request must be JSON")
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map(({ leased }) => leased),
        [0, 0]
      )
    })
  )
})

describe("generation", () => {
  it.live("is read with a key of the account that asked, whichever it is", () =>
    using({}, function* ({ openrouter }) {
      const { id } = yield* openrouter.chat({
        model: "openai/gpt-4o-mini",
        messages: [{ role: "user", content: "hello" }]
      })
      const found = yield* openrouter.generation(id!)
      assert.strictEqual(found.id, id)
      assert.isAbove(found.total_cost ?? 0, 0)
      assert.strictEqual((yield* openrouter.generation(id!, { keyId: "a" })).id, id)
    })
  )

  it.live("that nobody knows is an answer of 404, and a key that nobody knows is typed", () =>
    using({}, function* ({ openrouter, pool }) {
      const error = yield* Effect.flip(openrouter.generation("gen-nothing"))
      assert.strictEqual(
        error._tag === "OpenRouterError" && error.reason._tag === "Answered" && error.reason.status,
        404
      )
      assert.strictEqual(
        (yield* Effect.flip(openrouter.generation("gen-1", { keyId: "x" })))._tag,
        "UnknownKey"
      )
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    })
  )
})

describe("models", () => {
  it.live("are listed with their prices, and with what is not known of them", () =>
    using({}, function* ({ openrouter }) {
      const models = yield* openrouter.models
      const mini = models.find((model) => model.id === "openai/gpt-4o-mini")!
      assert.strictEqual(mini.pricing?.prompt, "0.00000015")
      assert.strictEqual(mini.context_length, 128_000)
      assert.isArray(mini["supported_parameters"])
    })
  )

  it.live("are asked for again on the policy's terms, and fail typed", () => {
    const answers = [answering("", 503), answering({ data: [{ id: "a/b" }] }), answering({ data: 5 })]
    return withServer(
      (response) => answers.shift()!(response),
      function* ({ openrouter, server }) {
        assert.deepStrictEqual(yield* openrouter.models, [{ id: "a/b" }])
        assert.deepStrictEqual(
          server.seen.map(({ headers, method, url }) => `${method} ${url} ${headers.authorization}`),
          Array.from({ length: 2 }, () => `GET /api/v1/models Bearer ${secretOf("a")}`)
        )
        assert.strictEqual((yield* failed(openrouter.models))._tag, "Undecodable")
      },
      {},
      impatient({ times: 1 })
    )
  })
})

describe("one key", () => {
  it.live("is read with its own secret, and without the balancer", () =>
    using(
      {
        simulator: {
          accounts: [{ name: "one", organizationId: "org_1", userId: "user_1" }],
          keys: [...keys("a"), ...keys("b", { limit: 10, usage: 4, limitReset: "weekly", workspace: "w" })]
        }
      },
      function* ({ openrouter, pool, simulator }) {
        const info = yield* openrouter.key("b")
        assert.deepStrictEqual(
          [info.limit, info.limit_remaining, info.limit_reset, info.workspace_id, info.usage_weekly],
          [10, 6, "weekly", "w", 4]
        )
        assert.strictEqual(KeyInfo.account(info), "org_1")
        assert.strictEqual((yield* stateOf(pool, "b")).leased, 0)
        assert.deepStrictEqual(
          (yield* simulator.requests).map(({ key, path }) => `${key} ${path}`),
          ["b /key"]
        )
      }
    )
  )

  it.live("that the pool does not know is UnknownKey", () =>
    using({}, function* ({ openrouter }) {
      const error = yield* Effect.flip(openrouter.key("nobody"))
      assert.instanceOf(error, Errors.UnknownKey)
    })
  )

  it.live("that is revoked fails with its status", () =>
    using({}, function* ({ openrouter, simulator }) {
      yield* simulator.revoke("a")
      const reason = yield* failed(openrouter.key("a"))
      assert.include(reason.message, "401")
    })
  )

  it.live("is read while no key may serve", () =>
    using({}, function* ({ openrouter, pool }) {
      for (const id of ["a", "b"]) yield* pool.bench({ scope: "key", id, reason: "exhausted", for: "1 hour" })
      assert.strictEqual((yield* openrouter.key("a")).limit, null)
    })
  )
})

describe("all keys", () => {
  it.live("come with caps, what is left, resets and health", () =>
    using(
      {
        simulator: {
          keys: [
            ...keys("a"),
            ...keys("b", { limit: 10, usage: 10.5, limitReset: "daily" }),
            ...keys("c d e"),
            ...keys("f", { limit: 5, usage: 1 })
          ]
        }
      },
      function* ({ openrouter, pool, simulator }) {
        yield* simulator.revoke("c")
        yield* simulator.fault({ match: { path: "/key", key: "d" }, action: errors.internal500() })
        yield* simulator.fault({ match: { path: "/key", key: "e" }, action: actions.reset })
        yield* pool.bench({ scope: "key", id: "f", reason: "throttled", for: "1 minute" })
        const all = yield* openrouter.keys
        assert.deepStrictEqual(
          all.map(({ id, health, info, ineligible }) => [
            id,
            health,
            info?.limit,
            info?.limit_remaining,
            info?.limit_reset,
            ineligible?.reason
          ]),
          [
            ["a", "live", null, null, null, undefined],
            ["b", "live", 10, -0.5, "daily", undefined],
            ["c", "refused", undefined, undefined, undefined, undefined],
            ["d", "unknown", undefined, undefined, undefined, undefined],
            ["e", "unknown", undefined, undefined, undefined, undefined],
            ["f", "live", 5, 4, null, "throttled"]
          ]
        )
        assert.deepStrictEqual(yield* met(simulator), [0, 0, 0, 0, 0, 0])
        for (const name of ["a", "b", "c"]) assert.deepStrictEqual(leaksOf(textOf(all), secretOf(name)), [])
      }
    )
  )
})

describe("the base URL", () => {
  const pool = KeyPool.layer({ keys: [{ id: "a", secret: secretOf("a") }] })
  const urls: Array<string> = []
  const recording = Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request, url) => {
      urls.push(url.toString())
      return Effect.succeed(HttpClientResponse.fromWeb(request, Response.json({ choices: [] })))
    })
  )
  const ask = (baseUrl: string | undefined, env: Record<string, string> = {}) =>
    Effect.gen(function* () {
      urls.length = 0
      const openrouter = yield* OpenRouter.OpenRouter
      yield* openrouter.chat(hello)
      yield* openrouter.client.execute(chat())
      return urls.slice()
    }).pipe(
      Effect.provide(
        OpenRouter.layerWith({ baseUrl, credits: false }).pipe(
          Layer.provide([Selector.layer(first), pool, recording]),
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env)))
        )
      )
    )

  it.effect("is OpenRouter's own by default", () =>
    Effect.gen(function* () {
      const url = "https://openrouter.ai/api/v1/chat/completions"
      assert.deepStrictEqual(yield* ask(undefined), [url, url])
    })
  )

  it.effect("comes from the environment, and the option goes first", () =>
    Effect.gen(function* () {
      const env = { OPENROUTER_BASE_URL: "https://eu.example.com/v1" }
      assert.deepStrictEqual((yield* ask(undefined, env))[0], "https://eu.example.com/v1/chat/completions")
      assert.deepStrictEqual(
        (yield* ask("https://us.example.com/v1", env))[0],
        "https://us.example.com/v1/chat/completions"
      )
    })
  )

  for (const [given, expected] of [
    ["https://example.com/api/v1/", "https://example.com/api/v1/chat/completions"],
    ["https://example.com/api/v1//", "https://example.com/api/v1/chat/completions"],
    [" https://example.com/api/v1 ", "https://example.com/api/v1/chat/completions"],
    ["https://example.com/api/v1?", "https://example.com/api/v1/chat/completions"],
    ["https://example.com/api/v1#", "https://example.com/api/v1/chat/completions"],
    ["https://example.com", "https://example.com/chat/completions"],
    ["http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/chat/completions"],
    ["http://localhost:8080/v1", "http://localhost:8080/v1/chat/completions"],
    ["http://[::1]:8080/v1", "http://[::1]:8080/v1/chat/completions"]
  ] as const) {
    it.effect(`may be ${JSON.stringify(given)}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* ask(given), [expected, expected])
      })
    )
  }

  it.effect("may not be empty, and an empty variable is none", () =>
    Effect.gen(function* () {
      assert.instanceOf(yield* Effect.flip(ask("")), OpenRouterError.InvalidOption)
      assert.include((yield* ask(undefined, { OPENROUTER_BASE_URL: "" }))[0], "https://openrouter.ai/")
    })
  )

  for (const given of [
    "openrouter.ai/api/v1",
    "/api/v1",
    "ftp://openrouter.ai",
    "ftp://localhost/v1",
    "http://openrouter.ai/api/v1",
    "http://localhost.example.com/v1",
    "http://127.0.0.1.example.com/v1",
    "http://128.0.0.1/v1",
    "http://0.0.0.0/v1",
    "http://192.168.0.1/v1",
    "https://user:pass@openrouter.ai/api/v1",
    "https://user@openrouter.ai/api/v1",
    "https://openrouter.ai/api/v1?key=sk-or-v1-secret",
    "https://openrouter.ai/api/v1#fragment"
  ]) {
    it.effect(`may not be ${JSON.stringify(given)}, wherever it comes from`, () =>
      Effect.gen(function* () {
        for (const error of [
          yield* Effect.flip(ask(given)),
          yield* Effect.flip(ask(undefined, { OPENROUTER_BASE_URL: given }))
        ]) {
          assert.instanceOf(error, OpenRouterError.InvalidOption)
          assert.strictEqual((error as OpenRouterError.InvalidOption).option, "baseUrl")
          assert.notInclude(textOf(error), "sk-or-v1-secret")
          assert.notInclude(textOf(error), "pass@")
        }
      })
    )
  }
})

describe("secrets", () => {
  const secret = secretOf("a")
  const clean = (value: unknown) => {
    const text = textOf(value)
    for (const name of ["a", "b"]) assert.deepStrictEqual(leaksOf(text, secretOf(name)), [])
    return text
  }

  it("would be found, if they were there", () => {
    assert.isAbove(leaksOf(textOf({ deep: { down: [secret] } }), secret).length, 50)
    assert.isAbove(leaksOf(textOf(new Error(`Bearer ${secret}`)), Redacted.make(secret)).length, 50)
    assert.isAbove(leaksOf(textOf(Object.assign(new Error("x"), { cause: { secret } })), secret).length, 50)
  })

  for (const [name, action] of [
    ["a refused key", errors.revoked()],
    ["an empty account", errors.accountCredits402()],
    ["moderation", errors.moderation403()],
    ["a provider's 429", errors.upstream429()],
    ["a page of the edge", errors.edgeHtml(502)],
    ["a broken connection", actions.reset],
    ["garbage", actions.garbage],
    ["JSON that breaks off", actions.cut()],
    ["an error in a 200", actions.okWithErrorBody()]
  ] as const) {
    for (const [how, retry] of [
      ["at once", RetryPolicy.never],
      ["after another try", impatient({ times: 1 })]
    ] as const) {
      it.live(`are in no error of ${name}, ${how}`, () =>
        using({ retry }, function* ({ openrouter, pool, simulator }) {
          yield* simulator.fault({ action })
          const text = clean(yield* Effect.flip(openrouter.chat(hello)))
          assert.isAbove(text.length, 100)
          const raw = yield* Effect.result(openrouter.client.execute(chat()))
          clean(raw._tag === "Success" ? raw.success : raw.failure)
          clean(yield* pool.snapshot)
        })
      )
    }
  }

  it.live("are in no error of the readings, and in no response", () =>
    using({}, function* ({ openrouter, simulator }) {
      for (const action of [errors.revoked(), errors.internal500(), actions.reset, actions.garbage]) {
        const fault = yield* simulator.fault({ match: { path: "/key" }, action })
        clean(yield* Effect.flip(openrouter.key("a")))
        yield* fault.remove
      }
      yield* simulator.fault({ match: { path: "/key" }, action: actions.status(200, { data: 5 }) })
      clean(yield* Effect.flip(openrouter.key("a")))
      clean(yield* openrouter.chat(hello))
      clean(yield* openrouter.client.execute(chat()))
    })
  )

  it.live("are in no error of a host that is not there", () =>
    using({ options: { baseUrl: "http://127.0.0.1:1/api/v1" } }, function* ({ openrouter }) {
      const error = yield* Effect.flip(openrouter.chat(hello))
      assert.strictEqual(error._tag, "OpenRouterError")
      clean(error)
      clean(yield* Effect.flip(openrouter.key("a")))
    })
  )
})
