import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Credits, Selector } from "@evenkeel/core"
import { type BalancedHttpClient, ChatResponse, OpenRouter } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { begin, counted, done, prompt, said, streaming, withServer } from "./streams.ts"
import {
  eventually,
  first,
  hello,
  idle,
  impatient,
  inFlight,
  keys,
  poolOf,
  post,
  serve,
  stateOf,
  using
} from "./utils.ts"

const { actions, errors } = Simulator

describe("the deadline of a call", () => {
  it.live("ends a stream that says nothing, and leaves one that has begun to `idleTimeout`", () =>
    withServer(
      (response, n) => {
        const begun = begin(response)
        if (n === 0) return
        begun.write(said("Hel"))
        // The rest comes long after the deadline.
        setTimeout(() => begun.end(said("lo") + counted + done), 400)
      },
      function* ({ chatStream, pool, server }) {
        const options = { timeout: "150 millis" } as const
        const error = yield* Effect.flip(Stream.runDrain(chatStream(prompt, options)))
        assert.strictEqual(error._tag, "DeadlineExceeded")
        yield* eventually(Effect.sync(server.open), (open) => open === 0)
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
        const chunks = yield* Stream.runCollect(chatStream(prompt, options))
        assert.strictEqual(chunks.length, 3)
      }
    )
  )

  it.live("is the service's where the call does not say, and the call's where it does", () =>
    streaming({ options: { timeout: "100 millis" } }, function* ({ openrouter, simulator }) {
      yield* simulator.fault({ action: actions.stall("300 millis") })
      const error = yield* Effect.flip(openrouter.chat(hello))
      assert.deepInclude(error, { _tag: "DeadlineExceeded", timeoutMillis: 100 })
      yield* openrouter.chat(hello, { timeout: Infinity })
      const embedding = { model: "openai/text-embedding-3-small", input: "hello" }
      assert.strictEqual((yield* Effect.flip(openrouter.embeddings(embedding)))._tag, "DeadlineExceeded")
    })
  )

  it.live("is that of the balanced client too, and what was cut off stays debited", () =>
    using(
      {
        options: { timeout: "100 millis" },
        credits: { ...Credits.unknown, estimate: () => 0.25 }
      },
      function* ({ client, pool, simulator }) {
        yield* pool.credit("a", { remaining: 1 })
        yield* simulator.fault({ action: actions.stall() })
        const error = yield* Effect.flip(client.execute(post("/chat/completions")))
        assert.strictEqual(error._tag, "DeadlineExceeded")
        assert.deepInclude(yield* stateOf(pool, "a"), { inFlight: 0, credit: 0.75, ignored: 1, faulted: 0 })
        yield* simulator.waitUntil((now) => now.inFlight === 0)
      }
    )
  )

  it.live("is 10 minutes in the service's own layer, unless the balancer's options have one", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: actions.stall() })
      const timeoutOf = (options: OpenRouter.Options) =>
        OpenRouter.OpenRouter.use((openrouter) => Effect.flip(openrouter.chat(hello))).pipe(
          Effect.provide(
            OpenRouter.layerWith({ baseUrl: simulator.baseUrl, credits: false, ...options }).pipe(
              Layer.provide([Selector.layer(first), NodeHttpClient.layerUndici, poolOf(simulator)])
            )
          )
        )
      for (const options of [{ timeout: 50 }, { balancer: { timeout: 50 } }]) {
        assert.deepInclude(yield* timeoutOf(options), { _tag: "DeadlineExceeded", timeoutMillis: 50 })
      }
      const waiting = yield* Effect.forkChild(timeoutOf({}), { startImmediately: true })
      yield* simulator.waitUntil((now) => now.inFlight === 1)
      yield* Fiber.interrupt(waiting)
    }).pipe(Effect.provide(Simulator.layer({ keys: keys("a") })))
  )
})

describe("waiting", () => {
  it.live("is bounded by the call, and goes by its priority", () =>
    streaming(
      { simulator: { keys: keys("a") }, traits: { a: { maxInFlight: 1 } } },
      function* ({ openrouter, pool, simulator }) {
        const stall = yield* simulator.fault({ times: 1, action: actions.stall("150 millis") })
        const order: Array<string> = []
        const ask = (name: string, options?: OpenRouter.CallOptions) =>
          Effect.forkChild(
            Effect.andThen(
              openrouter.chat(hello, options),
              Effect.sync(() => void order.push(name))
            ),
            { startImmediately: true }
          )
        const busy = yield* ask("first")
        yield* eventually(stall.hits, (hits) => hits === 1)
        assert.strictEqual((yield* Effect.flip(openrouter.chat(hello, { maxWait: 0 })))._tag, "NoEligibleKey")
        const low = yield* ask("low")
        const high = yield* ask("high", { priority: 1 })
        assert.strictEqual((yield* pool.snapshot).waiting, 2)
        for (const fiber of [busy, low, high]) yield* Fiber.join(fiber)
        assert.deepStrictEqual(order, ["first", "high", "low"])
      }
    )
  )

  it.live("holds the call's own estimate, for what its own filter leaves", () =>
    streaming({}, function* ({ openrouter, pool, simulator }) {
      const no = { reason: "another", scope: "request", since: undefined, until: undefined } as const
      yield* pool.credit("b", { remaining: 1 })
      yield* simulator.fault({ times: 1, action: actions.status(504) })
      const options = {
        estimate: 0.5,
        filter: ({ id }: { readonly id: string }) => (id === "b" ? undefined : no)
      }
      yield* Effect.flip(openrouter.chat(hello, options))
      assert.deepInclude(yield* stateOf(pool, "b"), { credit: 0.5, faulted: 1 })
    })
  )
})

describe("fallbacks", () => {
  const mini = "openai/gpt-4o-mini"
  const other = "deepseek/deepseek-chat"
  const fallbacks = { [mini]: [other] }
  const modelsOf = (simulator: Simulator.Simulator["Service"]) =>
    Effect.map(simulator.requests, (requests) =>
      requests.map(({ key, model, status }) => `${key} ${model ?? status}`)
    )

  it.live("serve at once for a model that has just failed, and the answer tells which", () =>
    streaming(
      { retry: impatient(), options: { fallbacks } },
      function* ({ chatStream, openrouter, simulator }) {
        yield* simulator.fault({ match: { model: mini }, times: 2, action: errors.unavailable503() })
        const answer = yield* openrouter.chat(hello)
        assert.strictEqual(ChatResponse.text(answer), "You said: hello")
        assert.strictEqual(answer.model, other)
        yield* Stream.runDrain(chatStream(prompt))
        assert.deepStrictEqual(yield* modelsOf(simulator), ["a 503", `a ${other}`, "a 503", `a ${other}`])
      }
    )
  )

  it.live("serve for a model that is benched without a round trip, and the model again when it is back", () =>
    streaming({ retry: impatient(), options: { fallbacks } }, function* ({ openrouter, pool, simulator }) {
      yield* pool.bench({ scope: "upstream", id: mini, reason: "throttled", for: "1 hour" })
      yield* openrouter.chat(hello)
      yield* pool.readmit("upstream", mini)
      yield* openrouter.chat(hello)
      assert.deepStrictEqual(yield* modelsOf(simulator), [`a ${other}`, `a ${mini}`])
    })
  )

  it.live("serve for a model whose circuit is open", () => {
    const circuits = CircuitBreaker.make()
    return streaming(
      { options: { fallbacks }, breaker: circuits.breaker },
      function* ({ openrouter, simulator }) {
        yield* circuits.open({ scope: "upstream", id: mini })
        yield* openrouter.chat(hello)
        assert.deepStrictEqual(yield* modelsOf(simulator), [`a ${other}`])
      }
    )
  })

  it.live("change the body's model and nothing else, and leave all other bytes alone", () =>
    Effect.gen(function* () {
      const bodies: Array<string> = []
      const server = yield* serve((response, _, body) => {
        bodies.push(body)
        const fails = bodies.length === 1 || bodies.length === 2
        response.writeHead(fails ? 503 : 200, { "content-type": "application/json" })
        response.end(fails ? '{"error":{"code":503,"message":"Gone"}}' : '{"choices":[]}')
      })
      const options: BalancedHttpClient.Options = {
        baseUrl: `${server.origin}/api/v1`,
        fallbacks: (model) => (model === "x/one" ? ["x/two", "x/three"] : undefined)
      }
      yield* using({ retry: impatient(), options }, function* ({ client }) {
        const request = {
          messages: hello.messages,
          model: "x/one",
          models: ["x/one", "y/far"],
          unknown: { a: [1] }
        }
        yield* client.execute(post("/chat/completions", request))
        assert.deepStrictEqual(
          bodies.map((body) => JSON.parse(body)),
          ["x/one", "x/two", "x/three"].map((model) => ({ ...request, model }))
        )
        assert.strictEqual(bodies[0], JSON.stringify(request))
        // What names no model has none to fall back on.
        yield* client.execute(post("/chat/completions", { messages: hello.messages }))
      })
    })
  )

  it.live("are the call's own where it has some, or wants none", () =>
    streaming({ options: { fallbacks } }, function* ({ openrouter, pool, simulator }) {
      yield* pool.bench({ scope: "upstream", id: mini, reason: "throttled", for: "1 hour" })
      const free = "meta-llama/llama-3.3-70b-instruct:free"
      yield* openrouter.chat(hello, { fallbacks: [free] })
      assert.deepStrictEqual(yield* modelsOf(simulator), [`a ${free}`])
      const none = yield* Effect.flip(openrouter.chat(hello, { fallbacks: [], maxWait: 0 }))
      assert.strictEqual(none._tag, "NoEligibleKey")
    })
  )

  it.live("are estimated as what they are", () => {
    const estimates: Array<string | undefined> = []
    const credits: Credits.Credits = {
      ...Credits.unknown,
      estimate: ({ upstream }) => {
        estimates.push(upstream)
        return upstream === other ? 0.5 : 0.25
      }
    }
    return streaming({ retry: impatient(), credits, options: { fallbacks } }, function* (world) {
      const { openrouter, pool, simulator } = world
      yield* pool.credit("a", { remaining: 1 })
      yield* simulator.fault({ match: { model: mini }, action: errors.unavailable503() })
      yield* simulator.fault({ match: { model: other }, action: actions.status(504) })
      yield* Effect.flip(openrouter.chat(hello, { timeout: "5 seconds" }))
      assert.includeMembers(estimates as Array<string>, [mini, other])
      yield* idle(world)
      // The 503 of the one was not billed, the 504s of the other may have been.
      const { credit } = yield* stateOf(pool, "a")
      assert.strictEqual((1 - credit!) % 0.5, 0)
      assert.isBelow(credit!, 1)
    })
  })
})

describe("the types", () => {
  it("do not let a position in a list pass for options", () => {
    const chat: OpenRouter.OpenRouter["Service"]["chat"] = () => Effect.never
    // @ts-expect-error: `Array.map` gives the index as second argument.
    void [hello].map(chat)
  })
})

describe("who answered", () => {
  it.live("is told of every kind of call, with the uses before it, and not of a call that failed", () =>
    streaming({ retry: impatient() }, function* ({ openrouter, simulator }) {
      const told: Array<readonly [key: string, attempt: number]> = []
      const onAnswer: NonNullable<OpenRouter.CallOptions["onAnswer"]> = ({ context, key }) =>
        void told.push([key.id, context.attempt])
      yield* simulator.fault({ match: { key: "a" }, times: 1, action: errors.revoked() })
      yield* openrouter.chat(hello, { onAnswer })
      yield* Stream.runDrain(openrouter.chatStream(prompt, { onAnswer }))
      const embedding = { model: "openai/text-embedding-3-small", input: "hello" }
      yield* openrouter.embeddings(embedding, { onAnswer })
      assert.deepStrictEqual(told, [
        ["b", 1],
        ["b", 0],
        ["b", 0]
      ])
      yield* simulator.fault({ action: errors.moderation403() })
      yield* Effect.flip(openrouter.chat(hello, { onAnswer }))
      assert.strictEqual(told.length, 3)
    })
  )
})
