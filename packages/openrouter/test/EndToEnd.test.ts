import { NodeHttpClient } from "@effect/platform-node"
import { Errors, KeyPool, type Selector } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { Batch, ChatResponse, OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { RoundRobin } from "@evenkeel/round-robin"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Result, Stream } from "effect"
import { type Body, eventually, hello, helloCost, idle, keys, met, poolOf, sse, running } from "./utils.ts"

interface World {
  readonly simulator: Simulator.Simulator["Service"]
  readonly openrouter: OpenRouter.OpenRouter["Service"]
  readonly pool: KeyPool.KeyPool["Service"]
}

/** All the real layers, over a simulator. */
const using = <A>(
  setup: {
    readonly simulator: Simulator.SimulatorOptions
    readonly selector: Layer.Layer<Selector.Selector>
    readonly options?: OpenRouter.Options
    readonly retry?: Retry.Options
  },
  body: (world: World) => Body<A>
) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator.Simulator
    const context = yield* Layer.build(
      OpenRouter.layerWith({ baseUrl: simulator.baseUrl, ...setup.options }).pipe(
        Layer.provide([setup.selector, Retry.layer(setup.retry), NodeHttpClient.layerUndici]),
        Layer.provideMerge(poolOf(simulator))
      )
    )
    const world: World = {
      simulator,
      openrouter: Context.get(context, OpenRouter.OpenRouter),
      pool: Context.get(context, KeyPool.KeyPool)
    }
    return yield* Effect.gen(function* () {
      const result = yield* running(() => body(world))
      yield* idle(world)
      const { keys: all, waiting } = yield* world.pool.snapshot
      assert.strictEqual(waiting, 0)
      for (const { faulted, ignored, leased, succeeded } of all) {
        assert.strictEqual(leased, succeeded + faulted + ignored)
      }
      return result
    })
  }).pipe(Effect.provide(Simulator.layer(setup.simulator)))

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)
const asking = (n: number) => ({ ...hello, messages: [{ role: "user", content: `hello ${n}` }] as const })

/** Asks so many times, and checks that each request got its own answer. */
const askAll = Effect.fnUntraced(function* ({ openrouter }: World, count: number, concurrency: number) {
  const texts = yield* Effect.forEach(
    numbers(count),
    (n) =>
      Effect.map(Effect.result(openrouter.chat(asking(n))), (result) =>
        Result.isSuccess(result) ? ChatResponse.text(result.success) : result.failure.message
      ),
    { concurrency }
  )
  assert.deepStrictEqual(
    texts,
    numbers(count).map((n) => `You said: hello ${n}`)
  )
})

const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + value, 0)

describe("1,000 requests over 4 keys", () => {
  const four = { keys: keys("a b c d") }

  it.live("in turn: 250 each", () =>
    using({ simulator: four, selector: RoundRobin.layer() }, function* (world) {
      yield* askAll(world, 1000, 64)
      assert.deepStrictEqual(yield* met(world.simulator), [250, 250, 250, 250])
    })
  )

  it.live("all at once by the fewest in flight: 250 each", () =>
    using({ simulator: four, selector: LeastInFlight.layer() }, function* (world) {
      yield* askAll(world, 1000, 1000)
      assert.deepStrictEqual(yield* met(world.simulator), [250, 250, 250, 250])
    })
  )

  it.live("64 at a time by the fewest in flight: about 250 each, and never more than 16 on one", () =>
    using({ simulator: { ...four, latency: 5 }, selector: LeastInFlight.layer() }, function* (world) {
      yield* askAll(world, 1000, 64)
      const { keys: all } = yield* world.simulator.snapshot
      assert.strictEqual(sum(all.map((key) => key.requests)), 1000)
      for (const { maxInFlight, requests } of all) {
        assert.isAtMost(maxInFlight, 16)
        // It evens out what is in flight; that evens out the counts as far as answers take the same time.
        assert.isAtLeast(requests, 150)
        assert.isAtMost(requests, 350)
      }
    })
  )

  it.live("cost what the keys were billed, and what the pool believes", () =>
    using({ simulator: four, selector: RoundRobin.layer() }, function* (world) {
      yield* askAll(world, 1000, 64)
      const billed = (yield* world.simulator.snapshot).keys.map((key) => key.usage)
      const believed = (yield* world.pool.snapshot).keys.map((key) => key.spent)
      for (const [index, usd] of billed.entries()) assert.closeTo(believed[index]!, usd, 1e-9)
      assert.isAbove(sum(billed), 1000 * helloCost * 0.9)
    })
  )
})

describe("trouble in the middle", () => {
  it.live("of a revoked key, a spent key and a throttled account is nobody's business but ours", () =>
    using(
      {
        simulator: {
          accounts: ["one", "two", "three", "four"].map((name) => ({ name })),
          keys: [
            ...keys("a", { account: "one" }),
            ...keys("b", { account: "two", limit: 0.0005, limitReset: "monthly" }),
            ...keys("c d", { account: "three" }),
            ...keys("e f", { account: "four" })
          ]
        },
        selector: LeastInFlight.layer(),
        options: { credits: { firstEstimate: 0.00001 } }
      },
      function* (world) {
        const { pool, simulator } = world
        // What OpenRouter says of the owners comes with the first readings.
        yield* eventually(pool.snapshot, ({ keys }) => keys.every((key) => key.account !== undefined))
        const served = (count: number) =>
          simulator.waitUntil(({ keys }) => sum(keys.map((key) => key.ok)) >= count)
        const trouble = yield* Effect.forkChild(
          Effect.gen(function* () {
            yield* served(200)
            yield* simulator.revoke("a")
            yield* served(400)
            yield* simulator.setAccount("three", { requestsPerMinute: 1 })
          }),
          { startImmediately: true }
        )
        yield* askAll(world, 1000, 64)
        yield* Fiber.join(trouble)

        const { accounts, keys: all } = yield* simulator.snapshot
        const [a, b, c, d] = all
        // Each request was served once, and billed once.
        assert.strictEqual(sum(all.map((key) => key.ok)), 1000)
        assert.strictEqual(sum((yield* pool.snapshot).keys.map((key) => key.succeeded)), 1000)
        // What was on its way to a key when it died, and no more: its share of 64, of six keys, three and four.
        const refused = (key: Simulator.KeySnapshot) => sum(Object.values(key.failed))
        assert.deepStrictEqual(Object.keys(a!.failed), ["401"])
        assert.isAtMost(refused(a!), 16)
        assert.isAtMost(refused(b!), 32)
        assert.isAbove(b!.ok, 50)
        assert.strictEqual(refused(c!) + refused(d!), accounts[2]!.throttled)
        assert.isAtLeast(accounts[2]!.throttled, 1)
        assert.isAtMost(accounts[2]!.throttled, 40)
        // The cap held: what is left may not pay for one more request, but it was not overrun.
        assert.isAtLeast(b!.limitRemaining!, 0)

        assert.deepStrictEqual(
          (yield* pool.snapshot).keys.map((key) => key.ineligible?.reason).filter((_, index) => index !== 1),
          ["rejected", "throttled", "throttled", undefined, undefined]
        )
      }
    )
  )

  it.live("of a provider is waited for, and the keys stay", () =>
    using(
      {
        simulator: { keys: keys("a b c") },
        selector: LeastInFlight.layer(),
        retry: { maxDelay: "20 millis", times: 8 }
      },
      function* (world) {
        const { pool, simulator } = world
        yield* simulator.fault({ probability: 0.2, action: Simulator.errors.badGateway502() })
        yield* askAll(world, 300, 32)
        const { keys: all } = yield* pool.snapshot
        assert.isAbove(sum(all.map((key) => key.faulted)), 20)
        assert.isTrue(all.every((key) => key.ineligible === undefined))
        assert.strictEqual(sum((yield* simulator.snapshot).keys.map((key) => key.ok)), 300)
      }
    )
  )

  it.live("of all keys is told at once, with the reason of each and the time", () =>
    using(
      {
        simulator: { keys: [...keys("a"), ...keys("b", { limit: 1, usage: 1, limitReset: "daily" })] },
        selector: LeastInFlight.layer(),
        options: { credits: false },
        retry: { times: 0 }
      },
      function* ({ openrouter, simulator }) {
        yield* simulator.revoke("a")
        const results = yield* Effect.forEach(numbers(200), (n) => Effect.flip(openrouter.chat(asking(n))), {
          concurrency: 16
        })
        for (const error of results) assert.instanceOf(error, Errors.NoEligibleKey)
        const last = results.at(-1) as Errors.NoEligibleKey
        assert.deepStrictEqual(
          last.keys.map(({ keyId, reason }) => `${keyId} ${reason}`),
          ["a rejected", "b exhausted"]
        )
        assert.isAbove(last.retryAt!, Date.now())
        // Two keys, sixteen at a time: nobody went on knocking.
        assert.isAtMost(sum(yield* met(simulator)), 32)
      }
    )
  )
})

describe("streams", () => {
  it.live("of which half are cut leave nothing in flight, and the pool goes on", () =>
    using({ simulator: { keys: keys("a b") }, selector: LeastInFlight.layer() }, function* (world) {
      const { openrouter, simulator } = world
      const read = yield* Effect.forEach(
        numbers(200),
        (n) =>
          Stream.unwrap(Effect.map(openrouter.client.execute(sse()), (response) => response.stream)).pipe(
            Stream.decodeText(),
            n % 2 === 0 ? (self) => self : Stream.take(1),
            Stream.mkString
          ),
        { concurrency: 16 }
      )
      yield* idle(world)
      for (const [n, text] of read.entries()) {
        if (n % 2 === 0) assert.include(text, "[DONE]")
        else assert.isAbove(text.length, 0)
      }
      assert.deepStrictEqual(sum(yield* met(simulator)), 200)
      yield* askAll(world, 10, 2)
    })
  )
})

describe("a batch", () => {
  it.live("of 1,000, stopped in the middle, has one result for each request that was served", () =>
    using({ simulator: { keys: keys("a b c d") }, selector: RoundRobin.layer() }, function* (world) {
      const { openrouter, simulator } = world
      const running = yield* Batch.startWith(numbers(1000), (n) => openrouter.chat(asking(n)), {
        concurrency: 32
      })
      yield* simulator.waitUntil(({ keys }) => sum(keys.map((key) => key.ok)) >= 300)
      const kept = yield* running.stop
      const { keys: all } = yield* simulator.waitUntil((snapshot) => snapshot.inFlight === 0)
      assert.isAtLeast(kept.length, 260)
      assert.isBelow(kept.length, 1000)
      assert.isAtMost(sum(all.map((key) => key.ok)) - kept.length, 32)
      assert.strictEqual(new Set(kept.map(({ index }) => index)).size, kept.length)
      for (const { index, result } of kept) {
        assert.isTrue(Result.isSuccess(result))
        if (Result.isSuccess(result)) {
          assert.strictEqual(ChatResponse.text(result.success), `You said: hello ${index}`)
        }
      }
    })
  )
})
