import { Balancer, Errors, KeyPool, Selector } from "@evenkeel/core"
import { BalancedHttpClient } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Schedule, Stream } from "effect"
import { HttpClient, HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import {
  benched,
  type Body,
  chat,
  eventually,
  first,
  idle,
  impatient,
  inFlight,
  keys,
  met,
  post,
  running,
  secretOf,
  serve,
  type Setup,
  sse,
  stateOf,
  using,
  watchedPolicy,
  type World
} from "./utils.ts"

const { actions, errors } = Simulator

/** Sends and reads to the end. */
const ask = (client: World["client"], request = chat()) =>
  Effect.flatMap(client.execute(request), (response) =>
    Effect.map(response.text, (text) => ({ status: response.status, headers: response.headers, text }))
  )

/** A world whose OpenRouter is a server of the test's own. */
const withServer = (
  answer: Parameters<typeof serve>[0],
  body: (world: World & { readonly server: Effect.Success<ReturnType<typeof serve>> }) => Body<void>,
  setup: Setup = {}
) =>
  Effect.gen(function* () {
    const server = yield* serve(answer)
    yield* using({ ...setup, options: { baseUrl: `${server.origin}/api/v1`, ...setup.options } }, (world) =>
      body({ ...world, server })
    )
  })

describe("the request", () => {
  it.live("carries the key that was picked, whatever authorization it had before", () =>
    withServer(undefined, function* ({ client, server, pool }) {
      const mine = chat().pipe(
        HttpClientRequest.setHeader("Authorization", "Bearer mine"),
        HttpClientRequest.setHeader("X-API-Key", "mine"),
        HttpClientRequest.setHeader("X-Other", "kept")
      )
      yield* client.execute(mine)
      yield* pool.remove("a")
      yield* client.execute(mine)
      assert.deepStrictEqual(
        server.seen.map(({ headers }) => [
          headers["authorization"],
          headers["x-api-key"],
          headers["x-other"]
        ]),
        [
          [`Bearer ${secretOf("a")}`, undefined, "kept"],
          [`Bearer ${secretOf("b")}`, undefined, "kept"]
        ]
      )
    })
  )

  it.live("to a path goes to the base URL, and to a URL of the same origin as it is", () =>
    withServer(undefined, function* ({ client, server }) {
      yield* client.execute(chat())
      yield* client.execute(HttpClientRequest.get(`${server.origin}/api/v1/models?x=1`))
      assert.deepStrictEqual(
        server.seen.map(({ method, url }) => `${method} ${url}`),
        ["POST /api/v1/chat/completions", "GET /api/v1/models?x=1"]
      )
      assert.deepStrictEqual(JSON.parse(server.seen[0]!.body), {
        model: "openai/gpt-4o-mini",
        max_tokens: 100,
        messages: [{ role: "user", content: "hello" }]
      })
    })
  )

  it.live("to another origin gets no key, takes none, and is not otherwise touched", () =>
    withServer(undefined, function* ({ client, pool, server }) {
      const other = yield* serve()
      for (const url of [
        `${other.origin}/api/v1/chat/completions`,
        server.origin.replace("127.0.0.1", "localhost")
      ]) {
        yield* Effect.ignore(
          client.execute(post(url).pipe(HttpClientRequest.setHeader("x-api-key", "theirs")))
        )
      }
      assert.strictEqual(other.seen.length, 1)
      assert.isUndefined(other.seen[0]!.headers["authorization"])
      assert.strictEqual(other.seen[0]!.headers["x-api-key"], "theirs")
      for (const { headers } of server.seen) assert.isUndefined(headers["authorization"])
      assert.strictEqual((yield* stateOf(pool, "a")).leased, 0)
    })
  )

  it.live("tells nothing of the caller's traces to OpenRouter", () =>
    withServer(undefined, function* ({ client, plain, server }) {
      const traced = (one: Pick<World["client"], "execute">) =>
        Effect.withSpan(one.execute(post(`${server.origin}/api/v1/x`)), "caller")
      yield* traced(plain)
      yield* traced(client)
      const [before, after] = server.seen
      // What the client does by itself, so that its absence below means something.
      assert.isString(before!.headers["traceparent"])
      for (const name of ["traceparent", "tracestate", "b3", "baggage"])
        assert.isUndefined(after!.headers[name])
    })
  )

  it.live("belongs to the model that it names, if it is JSON", () =>
    using({}, function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: errors.upstream429({ retryAfter: 60 }) })
      const text = HttpClientRequest.post("/chat/completions").pipe(
        HttpClientRequest.bodyText(JSON.stringify({ model: "a/b" }), "text/plain")
      )
      yield* client.execute(text)
      assert.deepStrictEqual((yield* pool.snapshot).benches, [])
      yield* client.execute(chat({ model: undefined, models: ["a/b", "c/d"] }))
      assert.deepStrictEqual(
        (yield* pool.snapshot).benches.map(({ id }) => id),
        ["a/b"]
      )
    })
  )

  it.live("is the same on each of its attempts", () =>
    withServer(
      (response, request) => {
        const refused = request.headers.authorization === `Bearer ${secretOf("a")}`
        response.writeHead(refused ? 401 : 200, { "content-type": "application/json" }).end('{"error":null}')
      },
      function* ({ client, server }) {
        assert.strictEqual((yield* client.execute(chat({ seed: 5 }))).status, 200)
        assert.strictEqual(server.seen.length, 2)
        assert.strictEqual(server.seen[0]!.body, server.seen[1]!.body)
      },
      { retry: impatient() }
    )
  )
})

describe("a fault of a key or its account", () => {
  const reset = Date.now() + 3_600_000
  for (const [name, action, reason] of [
    ["a 401", errors.revoked(), "rejected"],
    ["a 403 of a spent cap", errors.keyLimit403({ reset: "daily" }), "exhausted"],
    ["a 402 of the account", errors.accountCredits402(), "exhausted"],
    ["a 402 of the in-flight budget", errors.inFlightBudget402({ retryAfter: 60 }), "throttled"],
    ["a 429 of the account", errors.accountRate429({ limit: 1, resetAt: reset }), "throttled"],
    ["a workspace's budget", errors.workspaceBudget403(), "exhausted"],
    ["a guardrail's budget", errors.guardrailBudget403(), "exhausted"],
    ["a management key", errors.managementInference403(), "rejected"],
    [
      "a 200 with the error of a key",
      actions.okWithErrorBody({ code: 401, message: "User not found." }),
      "rejected"
    ]
  ] as const) {
    it.live(`${name} sends the request to another key at once, and the key to the bench`, () =>
      using({ retry: impatient() }, function* ({ client, pool, simulator }) {
        yield* simulator.fault({ match: { key: "a" }, action })
        const answer = yield* ask(client)
        assert.strictEqual(answer.status, 200)
        assert.include(answer.text, "You said: hello")
        assert.deepStrictEqual(yield* benched(pool), [`a ${reason}`])
        assert.deepStrictEqual(yield* met(simulator), [1, 1])
        // The next one does not even try it.
        yield* ask(client)
        assert.deepStrictEqual(yield* met(simulator), [1, 2])
      })
    )
  }

  it.live("a 429 of the free tier benches the account for free models alone", () =>
    using({ retry: impatient() }, function* ({ client, simulator }) {
      const free = { model: "meta-llama/llama-3.3-70b-instruct:free" }
      yield* simulator.fault({
        match: { key: "a", model: free.model },
        action: errors.freeDaily429({ resetAt: reset })
      })
      assert.strictEqual((yield* ask(client, chat(free))).status, 200)
      assert.deepStrictEqual(yield* met(simulator), [1, 1])
      yield* ask(client, chat(free))
      assert.deepStrictEqual(yield* met(simulator), [1, 2])
      // Paid models go on with both keys.
      yield* ask(client)
      assert.deepStrictEqual(yield* met(simulator), [2, 2])
    })
  )

  it.live("a request too dear for a key goes to another, and smaller ones stay", () =>
    using({ retry: impatient() }, function* ({ client, pool, simulator }) {
      yield* simulator.fault({ match: { key: "a" }, times: 1, action: errors.keyLimit402() })
      assert.strictEqual((yield* ask(client)).status, 200)
      assert.deepStrictEqual(yield* benched(pool), [])
      assert.deepStrictEqual(yield* met(simulator), [1, 1])
      yield* ask(client)
      assert.deepStrictEqual(yield* met(simulator), [2, 1])
    })
  )

  it.live("takes all keys of the account out, and no other", () =>
    using(
      {
        retry: impatient(),
        simulator: {
          accounts: [{ name: "one", balance: 0 }, { name: "two" }],
          keys: [...keys("a b c", { account: "one" }), ...keys("d", { account: "two" })]
        },
        traits: { a: { account: "one" }, b: { account: "one" }, c: { account: "one" }, d: { account: "two" } }
      },
      function* ({ client, pool, simulator }) {
        assert.strictEqual((yield* ask(client)).status, 200)
        assert.deepStrictEqual(yield* met(simulator), [1, 0, 0, 1])
        assert.deepStrictEqual(yield* benched(pool), ["a exhausted", "b exhausted", "c exhausted"])
      }
    )
  )

  it.live("without a retry policy comes back as it is", () =>
    using({}, function* ({ client, simulator }) {
      yield* simulator.fault({ match: { key: "a" }, action: errors.revoked() })
      assert.strictEqual((yield* ask(client)).status, 401)
      assert.deepStrictEqual(yield* met(simulator), [1, 0])
      assert.strictEqual((yield* ask(client)).status, 200)
    })
  )

  it.live("on the last of the keys comes back as NoEligibleKey, with the trail", () =>
    using({ retry: impatient({ times: 0 }) }, function* ({ client, simulator }) {
      yield* simulator.fault({ action: errors.revoked() })
      const error = yield* Effect.flip(client.execute(chat()))
      assert.instanceOf(error, Errors.NoEligibleKey)
      assert.deepStrictEqual(
        (error as Errors.NoEligibleKey).attempts.map(({ keyId, outcome }) => [keyId, outcome.status]),
        [
          ["a", 401],
          ["b", 401]
        ]
      )
      assert.deepStrictEqual(yield* met(simulator), [1, 1])
    })
  )
})

describe("the request's own fault", () => {
  for (const [name, action, status] of [
    ["moderation", errors.moderation403(), 403],
    ["a guardrail's patterns", errors.guardrail403(), 403],
    ["terms of service", errors.termsOfService403(), 403],
    ["an unknown model", errors.invalidModel400("x"), 400],
    ["no endpoints", errors.noEndpoints404("x"), 404]
  ] as const) {
    it.live(`${name} is not tried again, and benches nobody`, () =>
      using({ retry: impatient() }, function* ({ client, pool, simulator }) {
        yield* simulator.fault({ action })
        for (let n = 0; n < 3; n++) assert.strictEqual((yield* ask(client)).status, status)
        assert.deepStrictEqual(yield* benched(pool), [])
        assert.deepStrictEqual(yield* met(simulator), [3, 0])
        const { faulted, ignored } = yield* stateOf(pool, "a")
        assert.deepStrictEqual({ faulted, ignored }, { faulted: 0, ignored: 3 })
      })
    )
  }
})

describe("a fault behind the keys", () => {
  for (const [name, action, scope] of [
    ["a provider's 429", errors.upstream429(), "upstream"],
    ["a provider's 502", errors.badGateway502(), "upstream"],
    ["a 503", errors.unavailable503(), "upstream"],
    ["a 529", errors.overloaded529(), "upstream"],
    ["a 500", errors.internal500(), "upstream"],
    ["a page of the edge", errors.edgeHtml(502), "host"],
    ["a reset connection", actions.reset, "host"],
    ["garbage with a 200", actions.garbage, "host"],
    ["a 200 with a provider's error", actions.okWithErrorBody(), "upstream"],
    ["an error in a choice", actions.choiceError(), "upstream"],
    ["a code in words", actions.okWithErrorBody({ code: "server_error", message: "Gone" }), "upstream"],
    ["JSON that breaks off", actions.cut(), "host"]
  ] as const) {
    it.live(`${name} is tried again on the policy's terms, and benches no key`, () => {
      const { failures, policy } = watchedPolicy(impatient({ times: 2, billed: 2 }))
      return using({ retry: policy }, function* ({ client, pool, simulator }) {
        yield* simulator.fault({ times: 2, action })
        const answer = yield* ask(client)
        assert.strictEqual(answer.status, 200)
        assert.include(answer.text, "You said: hello")
        assert.deepStrictEqual(
          failures.map((failure) => failure.outcome.scope),
          [scope, scope]
        )
        assert.deepStrictEqual(yield* benched(pool), [])
        // The first one again: after a wait every key is as good as before.
        assert.deepStrictEqual(yield* met(simulator), [3, 0])
      })
    })
  }

  it.live("goes to the caller once the policy has had enough", () =>
    using({ retry: impatient({ times: 2 }) }, function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: errors.upstream429() })
      assert.strictEqual((yield* ask(client)).status, 429)
      assert.deepStrictEqual(yield* met(simulator), [3, 0])
      assert.deepStrictEqual(yield* benched(pool), [])
    })
  )

  it.live("that names a time takes the model out until then, and no other model", () =>
    using({}, function* ({ client, pool, simulator }) {
      yield* simulator.fault({
        match: { model: "openai/gpt-4o-mini" },
        action: errors.upstream429({ retryAfter: 60 })
      })
      assert.strictEqual((yield* ask(client)).status, 429)
      const refused = yield* Effect.flip(client.execute(chat()))
      assert.strictEqual((refused as Errors.NoEligibleKey)._tag, "NoEligibleKey")
      assert.deepStrictEqual(
        (yield* pool.snapshot).benches.map(({ scope, id }) => [scope, id]),
        [["upstream", "openai/gpt-4o-mini"]]
      )
      assert.strictEqual((yield* ask(client, chat({ model: "deepseek/deepseek-chat" }))).status, 200)
    })
  )

  it.live("of the edge that blocks takes the host out, not the keys", () =>
    using({}, function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: errors.edgeHtml(403) })
      assert.strictEqual((yield* ask(client)).status, 403)
      const { benches, keys } = yield* pool.snapshot
      assert.deepStrictEqual(
        benches.map(({ scope, reason }) => [scope, reason]),
        [["host", "unavailable"]]
      )
      assert.deepStrictEqual(
        keys.map((key) => key.ineligible?.scope),
        ["host", "host"]
      )
    })
  )

  it.live("that is a broken connection fails typed once the policy has had enough", () =>
    using({ retry: impatient({ times: 1 }) }, function* ({ client, simulator }) {
      yield* simulator.fault({ action: actions.reset })
      const error = yield* Effect.flip(client.execute(chat()))
      assert.isTrue(HttpClientError.isHttpClientError(error))
      assert.deepStrictEqual(yield* met(simulator), [2, 0])
    })
  )
})

describe("in flight", () => {
  /** The body runs, and at its end nothing is in flight on either side, nor has been forgotten. */
  const settles = (
    name: string,
    setup: Setup,
    body: (world: World) => Body<void>,
    expected?: { readonly succeeded?: number; readonly faulted?: number; readonly ignored?: number }
  ) =>
    it.live(`is 0 after ${name}`, () =>
      using(setup, function* (world) {
        yield* running(() => body(world))
        yield* idle(world)
        const { faulted, ignored, leased, succeeded } = yield* stateOf(world.pool, "a")
        if (expected !== undefined) {
          assert.deepStrictEqual(
            { succeeded, faulted, ignored },
            { succeeded: 0, faulted: 0, ignored: 0, ...expected }
          )
        }
        assert.strictEqual(leased, succeeded + faulted + ignored)
      })
    )

  const events = (client: World["client"], request = sse()) =>
    Stream.unwrap(Effect.map(client.execute(request), (response) => response.stream)).pipe(
      Stream.decodeText()
    )

  settles(
    "a success",
    {},
    function* ({ client, pool }) {
      yield* client.execute(chat())
      // JSON is read before the response is handed out.
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    },
    { succeeded: 1 }
  )

  settles(
    "a failure",
    {},
    function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: errors.internal500() })
      yield* client.execute(chat())
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    },
    { faulted: 1 }
  )

  settles(
    "a reset connection",
    {},
    function* ({ client, simulator }) {
      yield* simulator.fault({ action: actions.reset })
      yield* Effect.flip(client.execute(chat()))
    },
    { faulted: 1 }
  )

  settles("a request that cannot be sent", {}, function* ({ client }) {
    const broken = HttpClientRequest.post("/chat/completions").pipe(
      HttpClientRequest.bodyStream(Stream.fail(new Error("no body")))
    )
    assert.isTrue(Exit.isFailure(yield* Effect.exit(client.execute(broken))))
  })

  settles(
    "an interruption before the headers",
    {},
    function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: actions.stall() })
      const fiber = yield* Effect.forkChild(client.execute(chat()))
      yield* simulator.waitUntil((snapshot) => snapshot.inFlight === 1)
      assert.deepStrictEqual(yield* inFlight(pool), [1, 0])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    },
    { ignored: 1 }
  )

  settles(
    "an interruption while it waits to try again",
    {
      retry: impatient({ schedule: Schedule.spaced("20 seconds") })
    },
    function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: errors.internal500() })
      const fiber = yield* Effect.forkChild(client.execute(chat()))
      yield* eventually(stateOf(pool, "a"), (key) => key.faulted === 1)
      yield* Fiber.interrupt(fiber)
    },
    { faulted: 1 }
  )

  settles(
    "a timeout of the caller's",
    {},
    function* ({ client, simulator }) {
      yield* simulator.fault({ action: actions.stall() })
      yield* Effect.flip(Effect.timeout(client.execute(chat()), "20 millis"))
    },
    { ignored: 1 }
  )

  settles(
    "a stream that was read to its end",
    {},
    function* ({ client, pool }) {
      const response = yield* client.execute(sse())
      assert.deepStrictEqual(yield* inFlight(pool), [1, 0])
      const text = yield* response.stream.pipe(Stream.decodeText(), Stream.mkString)
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
      assert.include(text, "[DONE]")
      assert.include(text, ": OPENROUTER PROCESSING")
    },
    { succeeded: 1 }
  )

  settles(
    "a stream that was read as text",
    {},
    function* ({ client, pool }) {
      const response = yield* client.execute(sse())
      assert.include(yield* response.text, "[DONE]")
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    },
    { succeeded: 1 }
  )

  settles(
    "a stream that its consumer cut",
    {},
    function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: actions.hang() })
      yield* events(client).pipe(
        Stream.takeUntil((text) => text.includes("data:")),
        Stream.runDrain
      )
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    },
    { ignored: 1 }
  )

  settles(
    "a stream whose reader was interrupted",
    {},
    function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: actions.hang() })
      let read = ""
      const fiber = yield* Effect.forkChild(
        events(client).pipe(Stream.runForEach((text) => Effect.sync(() => void (read += text))))
      )
      yield* eventually(
        Effect.sync(() => read),
        (text) => text.includes("data:")
      )
      assert.deepStrictEqual(yield* inFlight(pool), [1, 0])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    },
    { ignored: 1 }
  )

  settles(
    "a stream whose reader failed",
    {},
    function* ({ client, simulator }) {
      yield* simulator.fault({ action: actions.hang() })
      yield* Effect.flip(events(client).pipe(Stream.runForEach(() => Effect.fail("full"))))
    },
    { ignored: 1 }
  )

  settles(
    "a stream that nobody read, once its fiber was interrupted",
    {},
    function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: actions.hang() })
      let got = false
      const fiber = yield* Effect.forkChild(
        Effect.andThen(
          Effect.tap(client.execute(sse()), () => Effect.sync(() => (got = true))),
          Effect.never
        )
      )
      yield* eventually(
        Effect.sync(() => got),
        (value) => value
      )
      assert.deepStrictEqual(yield* inFlight(pool), [1, 0])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    },
    { ignored: 1 }
  )

  settles(
    "a stream that nobody read, once its fiber failed",
    {},
    function* ({ client, simulator }) {
      yield* simulator.fault({ action: actions.hang() })
      const exit = yield* Effect.forkChild(Effect.andThen(client.execute(sse()), Effect.fail("oops"))).pipe(
        Effect.flatMap(Fiber.await)
      )
      assert.isTrue(Exit.isFailure(exit))
    },
    { ignored: 1 }
  )

  settles(
    "a stream that broke off",
    {},
    function* ({ client, simulator }) {
      yield* simulator.fault({ action: actions.cut() })
      const exit = yield* Effect.exit(Stream.runDrain(events(client)))
      assert.isTrue(Exit.isFailure(exit))
    },
    { faulted: 1 }
  )

  it.live("is 0 after a stream that was handed to another fiber and read there", () =>
    using({}, function* (world) {
      const response = yield* Effect.flatMap(Effect.forkChild(world.client.execute(sse())), Fiber.join)
      assert.deepStrictEqual(yield* inFlight(world.pool), [1, 0])
      assert.include(yield* response.text, "[DONE]")
      yield* idle(world)
      assert.strictEqual((yield* stateOf(world.pool, "a")).succeeded, 1)
    })
  )

  it.live("is 0 after a stream that nobody read, once it was collected as garbage", () =>
    using({}, function* ({ client, pool, simulator }) {
      yield* simulator.fault({ action: actions.hang() })
      setFlagsFromString("--expose-gc")
      const collect = runInNewContext("gc") as () => void
      yield* Effect.flatMap(Effect.forkChild(Effect.asVoid(client.execute(sse()))), Fiber.join)
      yield* eventually(Effect.andThen(Effect.sync(collect), inFlight(pool)), (counts) =>
        counts.every((count) => count === 0)
      )
      assert.strictEqual((yield* stateOf(pool, "a")).ignored, 1)
    })
  )

  it.live("is 0 after an interruption in the middle of a JSON body, and the connection is closed", () =>
    withServer(
      (response) => response.writeHead(200, { "content-type": "application/json" }).write('{"choices":['),
      function* ({ client, pool, server }) {
        const fiber = yield* Effect.forkChild(client.execute(chat()))
        yield* eventually(Effect.sync(server.open), (open) => open === 1)
        assert.deepStrictEqual(yield* inFlight(pool), [1, 0])
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
        yield* eventually(Effect.sync(server.open), (open) => open === 0)
        assert.strictEqual((yield* stateOf(pool, "a")).ignored, 1)
      }
    )
  )

  it.live("counts a stream until its end, so the next request goes elsewhere", () =>
    using(
      { selector: Selector.leastBy((candidate) => candidate.inFlight) },
      function* ({ client, pool, simulator }) {
        yield* simulator.fault({ times: 2, action: actions.hang() })
        yield* client.execute(sse())
        yield* client.execute(sse())
        assert.deepStrictEqual(yield* inFlight(pool), [1, 1])
      }
    )
  )
})

describe("the last failure", () => {
  const wire = errors.upstream429({ retryAfter: 1 })

  it.live("is the upstream's response, unchanged, to be read in any way and again", () =>
    using({ retry: impatient({ times: 0 }) }, function* ({ client, simulator }) {
      yield* simulator.fault({ action: wire })
      const response = yield* client.execute(chat())
      assert.strictEqual(response.status, 429)
      assert.strictEqual(response.headers["retry-after"], "1")
      assert.match(response.headers["content-type"]!, /^application\/json/)
      assert.match(response.headers["x-generation-id"]!, /^gen-/)
      const expected = { ...(wire as { body: object }).body, user_id: "user_simulated_default" }
      for (let n = 0; n < 2; n++) {
        assert.deepStrictEqual(yield* response.json, expected)
        assert.deepStrictEqual(JSON.parse(yield* response.text), expected)
        assert.deepStrictEqual(
          JSON.parse(yield* response.stream.pipe(Stream.decodeText(), Stream.mkString)),
          expected
        )
        assert.deepStrictEqual(JSON.parse(new TextDecoder().decode(yield* response.arrayBuffer)), expected)
      }
      assert.strictEqual(response.request.method, "POST")
    })
  )

  it.live("can be read in any way and again whatever client it came from", () =>
    using({}, function* ({ balancer, simulator }) {
      // Its responses forget what was read.
      const forgetful = HttpClient.make((request) =>
        Effect.sync(() => {
          let reads = 0
          const body = () => (reads++ === 0 ? '{"error":{"code":404,"message":"é"}}' : "")
          const response = HttpClientResponse.fromWeb(request, new Response(null, { status: 404 }))
          return Object.create(response, {
            text: { get: () => Effect.sync(body) },
            json: { get: () => Effect.sync(() => JSON.parse(body()) as unknown) },
            arrayBuffer: { get: () => Effect.sync(() => new TextEncoder().encode(body()).buffer) },
            stream: { get: () => Stream.sync(() => new TextEncoder().encode(body())) }
          }) as HttpClientResponse.HttpClientResponse
        })
      )
      const client = BalancedHttpClient.make(forgetful, balancer, { baseUrl: simulator.baseUrl })
      const response = yield* client.execute(chat())
      const text = '{"error":{"code":404,"message":"é"}}'
      for (let n = 0; n < 2; n++) {
        assert.strictEqual(yield* response.text, text)
        assert.deepStrictEqual(yield* response.json, JSON.parse(text))
        assert.strictEqual(new TextDecoder().decode(yield* response.arrayBuffer), text)
        assert.strictEqual(yield* response.stream.pipe(Stream.decodeText(), Stream.mkString), text)
      }
    })
  )

  it.live("may be a page, byte for byte", () =>
    using({}, function* ({ client, simulator }) {
      yield* simulator.fault({ action: actions.status(503, "<html>Bad – Gateway ✗</html>") })
      const response = yield* client.execute(chat())
      assert.strictEqual(yield* response.text, "<html>Bad – Gateway ✗</html>")
      assert.strictEqual(
        yield* response.stream.pipe(Stream.decodeText(), Stream.mkString),
        "<html>Bad – Gateway ✗</html>"
      )
      const error = yield* Effect.flip(response.json)
      assert.strictEqual(error.reason._tag, "DecodeError")
    })
  )

  it.live("of a 200 with an error in it stays a 200", () =>
    using({}, function* ({ client, simulator }) {
      yield* simulator.fault({ action: actions.okWithErrorBody() })
      const response = yield* client.execute(chat())
      assert.strictEqual(response.status, 200)
      const body = (yield* response.json) as { error: { code: number } }
      assert.strictEqual(body.error.code, 502)
    })
  )
})

describe("an answer", () => {
  it.live("in JSON can be read in any way and again, and its cost is the key's", () =>
    using({}, function* ({ client, pool }) {
      const response = yield* client.execute(chat())
      const body = (yield* response.json) as { usage: { cost: number } }
      assert.strictEqual(yield* response.text, JSON.stringify(body))
      assert.deepStrictEqual(yield* response.json, body)
      assert.isAbove(body.usage.cost, 0)
      assert.strictEqual((yield* stateOf(pool, "a")).spent, body.usage.cost)
    })
  )

  it.live("that the user's row calls a failure is one", () =>
    using(
      {
        retry: impatient(),
        options: {
          classifier: [
            {
              class: "odd",
              status: (status) => status === 404,
              scope: "key",
              reason: "rejected",
              retryable: "rotate",
              confidence: "stated"
            }
          ]
        }
      },
      function* ({ client, pool, simulator }) {
        yield* simulator.fault({ match: { key: "a" }, action: errors.noEndpoints404("x") })
        assert.strictEqual((yield* ask(client)).status, 200)
        assert.deepStrictEqual(yield* benched(pool), ["a rejected"])
      }
    )
  )
})

describe("the layer", () => {
  it.live("is the HttpClient that any Effect code asks for", () =>
    using({}, function* ({ balancer, plain, simulator }) {
      const layer = BalancedHttpClient.layer({ baseUrl: simulator.baseUrl }).pipe(
        Layer.provide([
          Layer.succeed(HttpClient.HttpClient, plain),
          Layer.succeed(Balancer.Balancer, balancer)
        ])
      )
      const response = yield* Effect.provide(HttpClient.execute(chat()), layer)
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual(yield* met(simulator), [1, 0])
    })
  )

  it.live("tells that no key can serve as the cause of a TransportError", () =>
    using({}, function* ({ balancer, plain, pool, simulator }) {
      for (const id of ["a", "b"]) {
        yield* pool.bench({ scope: "key", id, reason: "exhausted", for: "1 hour" })
      }
      const layer = BalancedHttpClient.layer({ baseUrl: simulator.baseUrl }).pipe(
        Layer.provide([
          Layer.succeed(HttpClient.HttpClient, plain),
          Layer.succeed(Balancer.Balancer, balancer)
        ])
      )
      const error = yield* Effect.flip(Effect.provide(HttpClient.execute(chat()), layer))
      assert.strictEqual(error.reason._tag, "TransportError")
      const { cause } = error.reason as HttpClientError.TransportError
      assert.instanceOf(cause, Errors.NoEligibleKey)
      assert.deepStrictEqual(
        (cause as Errors.NoEligibleKey).keys.map(({ keyId, reason }) => [keyId, reason]),
        [
          ["a", "exhausted"],
          ["b", "exhausted"]
        ]
      )
      assert.include(error.message, "exhausted")
      assert.deepStrictEqual(yield* met(simulator), [0, 0])
    })
  )

  it.live("goes to OpenRouter itself unless told otherwise", () =>
    Effect.gen(function* () {
      const urls: Array<string> = []
      const plain = HttpClient.make((request, url) => {
        urls.push(`${url.toString()} ${request.headers["authorization"] ?? "no key"}`)
        return Effect.fail(
          new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request }) })
        )
      })
      const context = yield* Layer.build(
        BalancedHttpClient.layer().pipe(
          Layer.provide([
            Layer.succeed(HttpClient.HttpClient, plain),
            Balancer.layer.pipe(
              Layer.provide([
                Selector.layer(first),
                KeyPool.layer({ keys: [{ id: "a", secret: secretOf("a") }] })
              ])
            )
          ])
        )
      )
      const client = Context.get(context, HttpClient.HttpClient)
      yield* Effect.ignore(client.execute(chat()))
      yield* Effect.ignore(client.execute(post("https://openrouter.ai.example.com/api/v1/chat/completions")))
      yield* Effect.ignore(client.execute(post("http://openrouter.ai/api/v1/chat/completions")))
      assert.deepStrictEqual(urls, [
        `https://openrouter.ai/api/v1/chat/completions Bearer ${secretOf("a")}`,
        "https://openrouter.ai.example.com/api/v1/chat/completions no key",
        "http://openrouter.ai/api/v1/chat/completions no key"
      ])
    })
  )
})
