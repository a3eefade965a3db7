import { NodeHttpClient } from "@effect/platform-node"
import { Balancer, Credits, Errors, KeyPool, Outcome, Selector } from "@evenkeel/core"
import type { Key } from "@evenkeel/core"
import { OpenRouter, OpenRouterCredits, OpenRouterError } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Random, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import { HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import { costOf } from "../src/internal/credit/cost.ts"
import { exhaustedAt } from "../src/internal/credit/forecast.ts"
import {
  type Body,
  eventually,
  first,
  hello,
  helloCost,
  keys,
  met,
  poolOf,
  secretOf,
  stateOf,
  running
} from "./utils.ts"

type Answer = Effect.Effect<Response, HttpClientError.HttpClientError>

const info = (data: object, status = 200): Answer => Effect.sync(() => Response.json({ data }, { status }))
const capped = (limit_remaining: number | null, more: object = {}) =>
  info({ limit: 10, limit_remaining, ...more })

interface World {
  readonly pool: KeyPool.KeyPool["Service"]
  readonly balancer: Balancer.Balancer["Service"]
  readonly credits: Credits.Credits
  /** The readings so far: when, in seconds, and of which key. */
  readonly reads: ReadonlyArray<string>
  /** What `GET /key` answers from now on. */
  readonly answer: (id: string, answer: Answer) => void
  readonly underWay: () => number
  /** When prices were read, in seconds. */
  readonly priceReads: ReadonlyArray<number>
  /** What `GET /models` answers from now on. */
  readonly price: (answer: Answer) => void
}

interface Setup {
  readonly keys?: ReadonlyArray<Key.Traits & { readonly id: string }>
  readonly pool?: Omit<KeyPool.Options, "keys">
  readonly options?: OpenRouterCredits.Options
  /** What `Random` says, which moves the interval: 0.5 is the middle. */
  readonly random?: number
  readonly answer?: Answer
  readonly prices?: Answer
  /** What the keys answer first, where that is not `answer`. */
  readonly first?: Readonly<Record<string, Answer>>
}

/** The circumstances of no request in particular. */
const nowhere = {
  attempt: 0,
  nowMillis: 0,
  random: () => 0,
  affinity: undefined,
  upstream: undefined,
  tokens: undefined,
  estimate: undefined
}

const priced = (...models: ReadonlyArray<readonly [id: unknown, pricing: unknown]>): Answer =>
  Effect.sync(() => Response.json({ data: models.map(([id, pricing]) => ({ id, pricing })) }))

/** Credits over keys that are read in memory, so that the time is the test's. */
const using = <A>(setup: Setup, body: (world: World) => Body<A>) =>
  Effect.gen(function* () {
    const traits = setup.keys ?? [{ id: "a" }]
    const names = new Map<string, string>()
    const reads: Array<string> = []
    const answers = new Map<string, Answer>(Object.entries(setup.first ?? {}))
    let underWay = 0
    const priceReads: Array<number> = []
    let prices = setup.prices ?? info({}, 404)
    const client = HttpClient.make((request, url) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (url.pathname === "/api/v1/models") {
          // Prices are public: no key is shown for them.
          assert.isUndefined(request.headers["authorization"])
          priceReads.push(now / 1000)
          return Effect.map(prices, (response) => HttpClientResponse.fromWeb(request, response))
        }
        assert.strictEqual(`${request.method} ${url.toString()}`, "GET https://openrouter.test/api/v1/key")
        const id = names.get(request.headers["authorization"]!)!
        reads.push(`${now / 1000} ${id}`)
        underWay++
        return (answers.get(id) ?? setup.answer ?? capped(null)).pipe(
          Effect.ensuring(Effect.sync(() => underWay--)),
          Effect.map((response) => HttpClientResponse.fromWeb(request, response))
        )
      })
    )
    for (const name of "abcdefghijkl") names.set(`Bearer ${secretOf(name)}`, name)
    const pool = yield* KeyPool.make({
      ...setup.pool,
      keys: traits.map((key) => ({ ...key, secret: secretOf(key.id) }))
    })
    const inPool = Effect.provideService(KeyPool.KeyPool, pool)
    const credits = yield* inPool(
      OpenRouterCredits.make(client, "https://openrouter.test/api/v1", setup.options)
    )
    const balancer = yield* Balancer.make().pipe(
      inPool,
      Effect.provideService(Selector.Selector, first),
      Effect.provideService(Credits.Credits, credits)
    )
    yield* quiet
    return yield* running(() =>
      body({
        pool,
        balancer,
        credits,
        reads,
        answer: (id, answer) => void answers.set(id, answer),
        underWay: () => underWay,
        priceReads,
        price: (answer) => void (prices = answer)
      })
    )
  }).pipe(
    Effect.provideService(Random.Random, {
      nextDoubleUnsafe: () => setup.random ?? 0.5,
      nextIntUnsafe: () => 0
    })
  )

const creditOf = (pool: World["pool"], id = "a") => Effect.map(stateOf(pool, id), (key) => key.credit)

/** Lets everything run that can run without time passing. */
const quiet = Effect.repeat(Effect.yieldNow, { times: 100 })

/** A use that is settled by hand. */
const held = Effect.fnUntraced(function* (balancer: World["balancer"], options: Balancer.LeaseOptions = {}) {
  const scope = yield* Scope.make()
  return yield* Effect.provideService(balancer.lease(options), Scope.Scope, scope)
})

const spend = (balancer: World["balancer"], cost: number, options: Balancer.LeaseOptions = { estimate: 0 }) =>
  balancer.use(() => Effect.void, { ...options, outcome: () => Outcome.success(cost) })

describe("readings", () => {
  it.effect("of all keys reach the pool at once, and then every minute", () =>
    using(
      { keys: [{ id: "a" }, { id: "b" }, { id: "c" }], answer: capped(7) },
      function* ({ answer, pool, reads }) {
        assert.deepStrictEqual(reads, ["0 a", "0 b", "0 c"])
        assert.deepStrictEqual(
          (yield* pool.snapshot).keys.map(({ credit, creditReadAt }) => [credit, creditReadAt]),
          [
            [7, 0],
            [7, 0],
            [7, 0]
          ]
        )
        answer("b", capped(6.5))
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual(reads.length, 3)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(reads.slice(3), ["60 a", "60 b", "60 c"])
        assert.strictEqual(yield* creditOf(pool, "b"), 6.5)
        yield* TestClock.adjust("2 minutes")
        assert.strictEqual(reads.length, 12)
      }
    )
  )

  it.effect("of a key without a cap say that it is not known what is left", () =>
    using({ answer: capped(null) }, function* ({ pool }) {
      const key = yield* stateOf(pool, "a")
      assert.isUndefined(key.credit)
      assert.strictEqual(key.creditReadAt, 0)
    })
  )

  it.effect("of a key that lifted its cap do so too", () =>
    using({ answer: capped(3) }, function* ({ answer, pool }) {
      answer("a", capped(null))
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(yield* creditOf(pool))
    })
  )

  it.effect("of a spent cap, or an overrun one, take the key out", () =>
    using({ keys: [{ id: "a" }, { id: "b" }] }, function* ({ answer, balancer, pool }) {
      answer("a", capped(-0.25))
      answer("b", capped(0))
      yield* TestClock.adjust("1 minute")
      const refused = yield* Effect.flip(balancer.use(() => Effect.void))
      assert.deepStrictEqual(
        (refused as Errors.NoEligibleKey).keys.map(({ keyId, reason }) => `${keyId} ${reason}`),
        ["a exhausted", "b exhausted"]
      )
      answer("b", capped(5))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* balancer.use((lease) => Effect.succeed(lease.key.id)), "b")
      assert.strictEqual(yield* creditOf(pool, "a"), -0.25)
    })
  )

  for (const [random, seconds] of [
    [0, 54],
    [0.5, 60],
    [1, 66]
  ] as const) {
    it.effect(`are ${seconds} seconds apart where chance says ${random}`, () =>
      using({ random }, function* ({ reads }) {
        yield* TestClock.adjust(Duration.seconds(seconds * 3))
        assert.deepStrictEqual(
          reads,
          [0, 1, 2, 3].map((n) => `${n * seconds} a`)
        )
      })
    )
  }

  it.effect("are as far apart as the option says", () =>
    using({ options: { interval: "10 minutes" } }, function* ({ reads }) {
      yield* TestClock.adjust("20 minutes")
      assert.deepStrictEqual(reads, ["0 a", "600 a", "1200 a"])
    })
  )

  it.effect("are no more than 4 at a time, and one that hangs is given up after 15 seconds", () =>
    using(
      { keys: Array.from("abcdefghij", (id) => ({ id })), answer: Effect.never },
      function* ({ pool, reads, underWay }) {
        assert.strictEqual(reads.length, 4)
        assert.strictEqual(underWay(), 4)
        yield* TestClock.adjust("15 seconds")
        assert.strictEqual(reads.length, 8)
        assert.strictEqual(underWay(), 4)
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(reads.length, 10)
        assert.strictEqual(underWay(), 0)
        assert.isTrue((yield* pool.snapshot).keys.every((key) => key.ineligible === undefined))
      }
    )
  )

  it.effect("end with the scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const seen = yield* Deferred.make<ReadonlyArray<string>>()
      yield* using({}, function* ({ credits, pool, reads }) {
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(reads.length, 2)
        yield* Scope.close(scope, Exit.void)
        credits.doubt("a")
        yield* pool.add({ id: "b", secret: secretOf("b") })
        yield* TestClock.adjust("10 minutes")
        yield* Deferred.succeed(seen, reads)
      }).pipe(Effect.provideService(Scope.Scope, scope))
      assert.deepStrictEqual(yield* Deferred.await(seen), ["0 a", "60 a"])
    })
  )

  it.effect("that are under way end with the scope too", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* using({ answer: Effect.never }, function* ({ underWay }) {
        assert.strictEqual(underWay(), 1)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(underWay(), 0)
      }).pipe(Effect.provideService(Scope.Scope, scope))
    })
  )
})

describe("what was spent", () => {
  it.effect("is kept until a reading can have seen it", () =>
    using({ answer: capped(10) }, function* ({ answer, balancer, pool }) {
      yield* TestClock.adjust("10 seconds")
      yield* spend(balancer, 1)
      assert.strictEqual(yield* creditOf(pool), 9)
      // A minute later OpenRouter may still show what was before: the dollar is counted by us.
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual(yield* creditOf(pool), 9)
      // Another minute later it must show it.
      answer("a", capped(9))
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(yield* creditOf(pool), 9)
    })
  )

  it.effect("before a reading is dropped by it where there is no lag", () =>
    using({ answer: capped(10), options: { lag: 0 } }, function* ({ answer, balancer, pool }) {
      yield* TestClock.adjust("10 seconds")
      yield* spend(balancer, 1)
      answer("a", capped(9))
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual(yield* creditOf(pool), 9)
    })
  )
})

describe("an estimate", () => {
  const request = { upstream: "a/b", tokens: 1000 }

  it.effect("is held while the request runs, and replaced by its cost", () =>
    using({ answer: capped(10), options: { firstEstimate: 0.5 } }, function* ({ balancer, pool }) {
      const one = yield* held(balancer, request)
      assert.strictEqual(yield* creditOf(pool), 9.5)
      const two = yield* held(balancer, request)
      assert.strictEqual(yield* creditOf(pool), 9)
      yield* one.settle(Outcome.success(0.25))
      assert.strictEqual(yield* creditOf(pool), 9.25)
      // A request of which it is not known what it cost stays debited with its estimate.
      yield* two.settle(Outcome.ignored())
      assert.strictEqual(yield* creditOf(pool), 9.25)
    })
  )

  it.effect("is what such requests cost of late", () =>
    using({ answer: capped(10), options: { firstEstimate: 0.5 } }, function* ({ balancer, pool }) {
      yield* spend(balancer, 2, request)
      assert.strictEqual(yield* creditOf(pool), 8)
      const again = yield* held(balancer, request)
      assert.closeTo((yield* creditOf(pool))!, 6, 1e-9)
      yield* again.settle(Outcome.ignored(0))
      assert.closeTo((yield* creditOf(pool))!, 8, 1e-9)
      // Of another model nothing is known.
      yield* held(balancer, { ...request, upstream: "c/d" })
      assert.closeTo((yield* creditOf(pool))!, 7.5, 1e-9)
    })
  )

  it.effect("keeps requests from overrunning what is left", () =>
    using({ answer: capped(1), options: { firstEstimate: 0.4 } }, function* ({ balancer }) {
      yield* held(balancer, request)
      yield* held(balancer, request)
      const refused = (yield* Effect.flip(held(balancer, request))) as Errors.NoEligibleKey
      assert.deepStrictEqual(
        refused.keys.map(({ reason }) => reason),
        ["insufficient"]
      )
    })
  )

  it.effect("is a cent unless told", () =>
    using({ answer: capped(10) }, function* ({ balancer, pool }) {
      yield* held(balancer, request)
      assert.closeTo((yield* creditOf(pool))!, 9.99, 1e-9)
    })
  )
})

describe("prices", () => {
  const dear = { prompt: "0.001", completion: "0.01", request: "0.5" }
  const cheap = { prompt: "0.0001", completion: "0.001" }
  const prices = priced(["a/b", dear], ["a/c", cheap], ["a/c:free", { prompt: "0", completion: "0" }])
  const request = { upstream: "a/b", tokens: 300, promptTokens: 100 }
  /** 100 × 0.001 + 200 × 0.01 + 0.5 */
  const price = 2.6
  const estimate = (credits: Credits.Credits, fields: Balancer.LeaseOptions = request) =>
    credits.estimate({ ...nowhere, ...fields })!

  it.effect("are what is held: of the prompt, of the longest answer, and of the request", () =>
    using({ answer: capped(10), prices }, function* ({ balancer, pool, priceReads }) {
      assert.deepStrictEqual(priceReads, [0])
      const one = yield* held(balancer, request)
      assert.closeTo((yield* creditOf(pool))!, 10 - price, 1e-9)
      yield* one.settle(Outcome.success(1))
      assert.closeTo((yield* creditOf(pool))!, 9, 1e-9)
      // What it did cost teaches nothing where the price is known.
      const two = yield* held(balancer, request)
      assert.closeTo((yield* creditOf(pool))!, 9 - price, 1e-9)
      yield* two.settle(Outcome.success(0))
    })
  )

  it.effect("of a variant without one are those of its model", () =>
    using({ prices }, function* ({ credits }) {
      yield* quiet
      for (const variant of ["nitro", "floor", "online", "thinking", "what-comes-next"]) {
        assert.closeTo(estimate(credits, { ...request, upstream: `a/b:${variant}` }), price, 1e-9, variant)
      }
      assert.strictEqual(estimate(credits, { ...request, upstream: "a/c:free" }), 0)
      assert.strictEqual(estimate(credits, { ...request, upstream: "a/d:nitro" }), 0.01)
    })
  )

  it.effect("of several models that may answer are those of the dearest", () =>
    using({ prices }, function* ({ credits }) {
      yield* quiet
      const models = (upstream: string, ...fallbacks: ReadonlyArray<string>) =>
        estimate(credits, { ...request, upstream, fallbacks })
      assert.closeTo(models("a/c", "a/c:free", "a/b:nitro"), price, 1e-9)
      assert.closeTo(models("a/b", "a/c"), price, 1e-9)
      assert.strictEqual(models("a/c:free", "a/c:free", "nobody/knows"), 0.01)
    })
  )

  it.effect("of tokens of which it is not known whose they are are the dearer ones", () =>
    using({ prices }, function* ({ credits }) {
      yield* quiet
      assert.closeTo(estimate(credits, { upstream: "a/b", tokens: 300 }), 3.5, 1e-9)
      // Of how many it is not known either.
      assert.strictEqual(estimate(credits, { upstream: "a/b" }), 0.01)
    })
  )

  it.effect("that make no sense are none, and cost no other model its price", () =>
    using(
      {
        prices: priced(
          ["a/auto", { prompt: "-1", completion: "-1" }],
          ["a/half", { prompt: "0.1" }],
          ["a/odd", { prompt: "much", completion: "NaN" }],
          ["a/empty", { prompt: "", completion: "" }],
          ["a/null", null],
          [7, dear],
          ["a/number", { prompt: 0.001, completion: 0.01, request: "x" }],
          ["a/b", dear]
        )
      },
      function* ({ credits }) {
        yield* quiet
        for (const model of ["a/auto", "a/half", "a/odd", "a/empty", "a/null"]) {
          assert.strictEqual(estimate(credits, { ...request, upstream: model }), 0.01, model)
        }
        assert.closeTo(estimate(credits, { ...request, upstream: "a/number" }), price - 0.5, 1e-9)
        assert.closeTo(estimate(credits), price, 1e-9)
      }
    )
  )

  it.effect("are read again every hour, and after a minute where that failed", () =>
    using({ prices, options: { interval: "10 hours" } }, function* ({ price: set, priceReads }) {
      yield* TestClock.adjust("59 minutes")
      assert.deepStrictEqual(priceReads, [0])
      set(info({}, 500))
      yield* TestClock.adjust("1 minute")
      yield* TestClock.adjust("1 minute")
      set(prices)
      yield* TestClock.adjust("1 minute")
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(priceReads, [0, 3600, 3660, 3720, 7320])
    })
  )

  for (const [name, answer] of [
    ["a 500", info({}, 500)],
    ["a page", Effect.sync(() => new Response("<html>"))],
    ["no list", Effect.sync(() => Response.json({ data: "none" }))],
    ["an empty list", priced()],
    ["a list without a price", priced(["a/b", {}])],
    ["a defect", Effect.die(new Error("boom"))],
    ["no answer", Effect.never]
  ] as ReadonlyArray<readonly [string, Answer]>) {
    it.effect(`stay when the next reading is ${name}`, () =>
      using({ prices }, function* ({ credits, price: set, priceReads }) {
        set(answer)
        yield* TestClock.adjust("61 minutes")
        assert.isAtLeast(priceReads.length, 2)
        assert.closeTo(estimate(credits), price, 1e-9)
        set(priced(["a/b", cheap]))
        yield* TestClock.adjust("3 minutes")
        assert.closeTo(estimate(credits), 0.21, 1e-9)
      })
    )
  }

  it.effect("that hang delay no reading of a key", () =>
    using({ prices: Effect.never, answer: capped(7) }, function* ({ pool }) {
      assert.strictEqual(yield* creditOf(pool), 7)
    })
  )
})

describe("the cost of an answer", () => {
  const usage = (fields: object) => ({ usage: { cost: 0.5, ...fields } })
  const upstream = { cost_details: { upstream_inference_cost: 2 } }

  it("is what OpenRouter bills", () => {
    assert.strictEqual(costOf(usage({})), 0.5)
    assert.strictEqual(costOf(usage({ is_byok: true, ...upstream })), 0.5)
    for (const odd of [undefined, null, "1", -1, NaN, Infinity]) {
      assert.isUndefined(costOf(usage({ cost: odd })))
      assert.isUndefined(costOf(usage({ cost: odd, is_byok: true, ...upstream }), true))
    }
    for (const body of [undefined, null, 7, [], {}, { usage: null }]) assert.isUndefined(costOf(body))
  })

  it("is what counts against a cap that includes BYOK", () => {
    assert.strictEqual(costOf(usage({ is_byok: true, ...upstream }), true), 2.5)
    assert.strictEqual(costOf(usage({ cost: 0, is_byok: true, ...upstream }), true), 2)
    // Of other requests the provider's price is in OpenRouter's.
    for (const is_byok of [false, undefined, null, "true"]) {
      assert.strictEqual(costOf(usage({ is_byok, ...upstream }), true), 0.5)
    }
    for (const cost_details of [undefined, null, {}, { upstream_inference_cost: null }]) {
      assert.strictEqual(costOf(usage({ is_byok: true, cost_details }), true), 0.5)
    }
  })

  it.effect("is known by the key, as its last reading that said so", () =>
    using({ answer: capped(7) }, function* ({ answer, balancer, pool }) {
      const includes = balancer.use((lease) => Effect.succeed(lease.candidate.includesByok))
      assert.isUndefined(yield* includes)
      for (const [said, known] of [
        [true, true],
        [null, true],
        [false, false]
      ] as const) {
        answer("a", capped(7, { include_byok_in_limit: said }))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* includes, known)
        assert.strictEqual((yield* stateOf(pool, "a")).includesByok, known)
      }
    })
  )
})

describe("a reading that fails", () => {
  for (const [name, answer] of [
    ["a 500", info({}, 500)],
    ["a 429", info({}, 429)],
    ["a 403", info({}, 403)],
    ["a page", Effect.sync(() => new Response("<html>", { status: 200 }))],
    ["another shape", info({ limit_remaining: "much" })],
    ["no data", Effect.sync(() => Response.json({}))],
    [
      "a broken connection",
      Effect.fail(
        new HttpClientError.HttpClientError({
          reason: new HttpClientError.TransportError({ request: {} as never, description: "reset" })
        })
      )
    ],
    ["a defect", Effect.die(new Error("boom"))]
  ] as ReadonlyArray<readonly [string, Answer]>) {
    it.effect(`with ${name} leaves what is known, and the next one is taken again`, () =>
      using({ answer: capped(7) }, function* ({ answer: set, pool, reads }) {
        set("a", answer)
        yield* TestClock.adjust("1 minute")
        const key = yield* stateOf(pool, "a")
        assert.strictEqual(key.credit, 7)
        assert.strictEqual(key.creditReadAt, 0)
        assert.isUndefined(key.ineligible)
        set("a", capped(5))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(reads.length, 3)
        assert.strictEqual(yield* creditOf(pool), 5)
      })
    )
  }

  it.effect("for 15 minutes leaves nothing known: an old figure is none", () =>
    using({ answer: capped(0) }, function* ({ answer, balancer, pool }) {
      answer("a", info({}, 500))
      yield* TestClock.adjust("15 minutes")
      yield* Effect.flip(balancer.use(() => Effect.void))
      yield* TestClock.adjust("1 minute")
      yield* balancer.use(() => Effect.void)
      assert.isUndefined(yield* creditOf(pool))
    })
  )

  it.effect("leaves credit that is stale until the next one, and so does none for two intervals", () =>
    using({ answer: capped(7) }, function* ({ answer, pool, reads }) {
      const state = Effect.map(stateOf(pool, "a"), ({ credit, creditStale }) => [credit, creditStale])
      assert.deepStrictEqual(yield* state, [7, false])
      answer("a", info({}, 500))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* state, [7, true])
      answer("a", capped(6))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* state, [6, false])
      answer("a", Effect.never)
      yield* TestClock.adjust("60 seconds")
      // Under way.
      assert.deepStrictEqual(yield* state, [6, false])
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(yield* state, [6, true])
      yield* TestClock.adjust("15 minutes")
      assert.deepStrictEqual(yield* state, [undefined, true])
      assert.isAbove(reads.length, 10)
    })
  )

  it.effect("leaves nothing known on a key that is out for another reason", () =>
    using({ answer: capped(7) }, function* ({ answer, pool }) {
      answer("a", info({}, 500))
      yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: "1 day" })
      yield* TestClock.adjust("16 minutes")
      assert.isUndefined(yield* creditOf(pool))
    })
  )

  it.effect("with a 401 benches the longer, the more often it comes, up to an hour", () =>
    using({ keys: [{ id: "a" }, { id: "b" }], answer: capped(7) }, function* ({ answer, pool }) {
      answer("a", info({}, 401))
      const minutes: Array<number> = []
      for (let n = 1; n <= 8; n++) {
        yield* TestClock.adjust("1 minute")
        const { ineligible } = yield* stateOf(pool, "a")
        minutes.push(ineligible!.until! / 60_000 - n)
      }
      assert.deepStrictEqual(minutes, [1, 2, 4, 8, 16, 32, 60, 60])
      // Once it is accepted, all is forgotten.
      answer("a", capped(7))
      yield* TestClock.adjust("1 minute")
      assert.isUndefined((yield* stateOf(pool, "a")).ineligible)
      answer("a", info({}, 401))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* stateOf(pool, "a")).ineligible!.until, 11 * 60_000)
    })
  )

  it.effect("with a 401 page from something on the way benches nobody", () =>
    using({ answer: capped(7) }, function* ({ answer, pool }) {
      const page = { status: 401, headers: { "content-type": "text/html" } }
      answer(
        "a",
        Effect.sync(() => new Response("<html>Sign in</html>", page))
      )
      yield* TestClock.adjust("2 minutes")
      assert.isUndefined((yield* stateOf(pool, "a")).ineligible)
    })
  )

  it.effect("with a 401 follows the cooldown of the pool", () =>
    using(
      {
        keys: [{ id: "a" }, { id: "b" }],
        pool: { cooldowns: { rejected: { base: "3 minutes", max: "4 minutes" } } }
      },
      function* ({ answer, pool }) {
        answer("a", info({}, 401))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible!.until, 240_000)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible!.until, 300_000)
        // Half of the shortest time has passed since it was first told: it has returned.
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible!.until, 180_000 + 240_000)
      }
    )
  )

  it.effect("with a 401 on all keys within 10 seconds is an incident of half a minute", () =>
    using({ keys: [{ id: "a" }, { id: "b" }, { id: "c" }] }, function* ({ answer, pool }) {
      const untils = Effect.map(pool.snapshot, ({ keys }) => keys.map((key) => key.ineligible?.until))
      const refused = info({}, 401)
      for (const id of "ab") answer(id, refused)
      answer("c", Effect.andThen(Effect.sleep("9 seconds"), refused))
      yield* TestClock.adjust("1 minute")
      // So far it could be these two.
      assert.deepStrictEqual(yield* untils, [120_000, 120_000, undefined])
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* untils, [99_000, 99_000, 99_000])
      // It is no better a minute later.
      answer("c", refused)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* untils, [159_000, 159_000, 159_000])
      answer("a", capped(1))
      answer("b", capped(1))
      yield* TestClock.adjust("1 minute")
      // Now it is one alone, and not for the first time.
      assert.deepStrictEqual(yield* untils, [undefined, undefined, 309_000])
    })
  )

  it.effect("with a 401 on all keys in more than 10 seconds is none", () =>
    using({ keys: [{ id: "a" }, { id: "b" }] }, function* ({ answer, pool }) {
      answer("a", info({}, 401))
      answer("b", Effect.andThen(Effect.sleep("11 seconds"), info({}, 401)))
      yield* TestClock.adjust("71 seconds")
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map((key) => key.ineligible?.until),
        [120_000, 131_000]
      )
    })
  )

  it.effect("with a 401 on all keys shortens no bench of another reason", () =>
    using({ keys: [{ id: "a" }, { id: "b" }] }, function* ({ answer, pool }) {
      for (const id of "ab") answer(id, info({}, 401))
      yield* pool.bench({ scope: "key", id: "a", reason: "exhausted", for: "1 day" })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map((key) => [key.ineligible?.reason, key.ineligible?.until]),
        [
          ["exhausted", 86_400_000],
          ["rejected", 90_000]
        ]
      )
    })
  )

  it.effect("with a 401 on the only key is no incident", () =>
    using({ answer: info({}, 401) }, function* ({ pool }) {
      assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.until, 60_000)
    })
  )

  it.effect("no more takes back a key that requests were refused on, unless it is of another kind", () =>
    using({ keys: [{ id: "a" }, { id: "b" }], answer: capped(7) }, function* ({ answer, pool }) {
      for (const id of "ab") yield* pool.bench({ scope: "key", id, reason: "rejected", for: "1 hour" })
      answer("b", capped(7, { is_management_key: true }))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map((key) => key.ineligible?.reason),
        [undefined, "rejected"]
      )
    })
  )

  it.effect("with a 401 sends the key to the bench for a minute, and no other key", () =>
    using({ keys: [{ id: "a" }, { id: "b" }], answer: capped(7) }, function* ({ answer, balancer, pool }) {
      answer("a", info({}, 401))
      yield* TestClock.adjust("1 minute")
      const { credit, ineligible } = yield* stateOf(pool, "a")
      assert.deepStrictEqual(ineligible, { reason: "rejected", scope: "key", since: 60_000, until: 120_000 })
      assert.strictEqual(credit, 7)
      assert.strictEqual(yield* balancer.use((lease) => Effect.succeed(lease.key.id)), "b")
      // Still refused a minute later, and then well again.
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.until, 240_000)
      answer("a", capped(6))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* balancer.use((lease) => Effect.succeed(lease.key.id)), "a")
    })
  )
})

describe("the owner of a key", () => {
  const owned = info({ organization_id: "org_1", creator_user_id: "user_1", workspace_id: "w_1" })

  it.effect("is what OpenRouter says, the organisation before the member", () =>
    using({ keys: [{ id: "a" }, { id: "b" }, { id: "c" }], answer: owned }, function* ({ pool }) {
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map(({ account, workspace }) => [account, workspace]),
        Array.from({ length: 3 }, () => ["org_1", "w_1"])
      )
    })
  )

  it.effect("is the member where there is no organisation, and unknown where nobody is named", () =>
    using(
      { answer: info({ organization_id: null, creator_user_id: "user_1", workspace_id: null }) },
      function* ({ answer, pool }) {
        answer("b", info({}))
        yield* pool.add({ id: "b", secret: secretOf("b") })
        yield* quiet
        assert.deepStrictEqual(
          (yield* pool.snapshot).keys.map(({ account, workspace }) => [account, workspace]),
          [
            ["user_1", undefined],
            [undefined, undefined]
          ]
        )
      }
    )
  )

  it.effect("is what was declared, where it was", () =>
    using(
      {
        keys: [
          { id: "a", account: "mine" },
          { id: "b", workspace: "ours" }
        ],
        answer: owned
      },
      function* ({ pool }) {
        assert.deepStrictEqual(
          (yield* pool.snapshot).keys.map(({ account, workspace }) => [account, workspace]),
          [
            ["mine", "w_1"],
            ["org_1", "ours"]
          ]
        )
      }
    )
  )

  it.effect("is declared at any time, even while it is read, and learnt anew where it was learnt", () =>
    using({ keys: [{ id: "a" }, { id: "b" }, { id: "c" }], answer: owned }, function* ({ answer, pool }) {
      const owners = Effect.map(pool.snapshot, ({ keys }) =>
        keys.map(({ account, workspace }) => [account, workspace])
      )
      const gate = yield* Deferred.make<void>()
      const moved = info({ organization_id: "org_2", workspace_id: "w_2" })
      for (const id of "abc") answer(id, Effect.andThen(Deferred.await(gate), moved))
      yield* TestClock.adjust("1 minute")
      yield* pool.change("a", { account: "mine" })
      // The same as was learnt: but now it is declared.
      yield* pool.change("b", { workspace: "w_1" })
      yield* Deferred.succeed(gate, undefined)
      yield* quiet
      assert.deepStrictEqual(yield* owners, [
        ["mine", "w_2"],
        ["org_2", "w_1"],
        ["org_2", "w_2"]
      ])
      // Silence takes nothing back.
      for (const id of "abc") answer(id, info({}))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual((yield* owners)[2], ["org_2", "w_2"])
    })
  )

  it.effect("as an answer named it gives way to what the key says", () =>
    using({ answer: info({}) }, function* ({ answer, balancer, pool }) {
      const outcome = Outcome.faulted({ scope: "key", reason: "unavailable", account: "user_9" })
      yield* Effect.exit(balancer.use(() => Effect.fail(new Errors.Fault({ outcome }))))
      assert.strictEqual((yield* stateOf(pool, "a")).account, "user_9")
      answer("a", owned)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* stateOf(pool, "a")).account, "org_1")
    })
  )

  it.effect("once known makes its keys share a fault", () =>
    using({ keys: [{ id: "a" }, { id: "b" }, { id: "c" }], answer: owned }, function* ({ balancer, pool }) {
      yield* pool.change("c", { account: "other" })
      yield* Effect.exit(
        balancer.use(() =>
          Effect.fail(
            new Errors.Fault({ outcome: Outcome.faulted({ scope: "account", reason: "exhausted" }) })
          )
        )
      )
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map((key) => key.ineligible?.reason),
        ["exhausted", "exhausted", undefined]
      )
    })
  )
})

describe("a key that is added", () => {
  it.effect("is read at once, and then with the others", () =>
    using({ answer: capped(7) }, function* ({ pool, reads }) {
      yield* TestClock.adjust("20 seconds")
      yield* pool.add({ id: "b", secret: secretOf("b") })
      yield* quiet
      assert.deepStrictEqual(reads, ["0 a", "20 b"])
      assert.strictEqual(yield* creditOf(pool, "b"), 7)
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(reads.slice(2), ["60 a", "60 b"])
    })
  )

  it.effect("and removed is read no more", () =>
    using({ keys: [{ id: "a" }, { id: "b" }] }, function* ({ credits, pool, reads }) {
      yield* pool.remove("a")
      credits.doubt("a")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(reads, ["0 a", "0 b", "60 b"])
    })
  )

  it.effect("and removed while it is read disturbs nobody", () =>
    using({ keys: [{ id: "a" }, { id: "b" }] }, function* ({ answer, pool, reads }) {
      const gate = yield* Deferred.make<void>()
      answer("a", Effect.andThen(Deferred.await(gate), capped(1)))
      yield* TestClock.adjust("1 minute")
      yield* pool.remove("a")
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(reads.slice(2), ["60 a", "60 b", "120 b"])
    })
  )
})

describe("doubt", () => {
  it.effect("has a key read at once, but not again within 5 seconds", () =>
    using(
      { keys: [{ id: "a" }, { id: "b" }], options: { interval: "1 hour" } },
      function* ({ credits, reads }) {
        yield* TestClock.adjust("10 seconds")
        credits.doubt("a")
        yield* quiet
        assert.deepStrictEqual(reads.slice(2), ["10 a"])
        yield* TestClock.adjust("2 seconds")
        for (let n = 0; n < 3; n++) credits.doubt("a")
        credits.doubt("b")
        yield* quiet
        assert.deepStrictEqual(reads.slice(2), ["10 a", "12 b"])
        yield* TestClock.adjust("3 seconds")
        credits.doubt("a")
        yield* quiet
        assert.deepStrictEqual(reads.slice(2), ["10 a", "12 b", "15 a"])
      }
    )
  )

  it.effect("soon after a reading is put off, and never dropped", () =>
    using({ options: { interval: "1 hour" } }, function* ({ credits, reads }) {
      yield* TestClock.adjust("1 second")
      for (let n = 0; n < 3; n++) credits.doubt("a")
      yield* TestClock.adjust("3999 millis")
      assert.deepStrictEqual(reads, ["0 a"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(reads, ["0 a", "5 a"])
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(reads.length, 2)
    })
  )

  it.effect("while the key is read is about what came after", () =>
    using({ options: { interval: "1 hour" } }, function* ({ answer, credits, reads }) {
      yield* TestClock.adjust("10 seconds")
      answer("a", Effect.andThen(Effect.sleep("7 seconds"), capped(1)))
      credits.doubt("a")
      yield* TestClock.adjust("6 seconds")
      credits.doubt("a")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(reads, ["0 a", "10 a", "17 a"])
    })
  )

  it.effect("that was put off is settled by the reading that comes first", () =>
    using({ options: { interval: "8 seconds" } }, function* ({ credits, reads }) {
      yield* TestClock.adjust("6 seconds")
      credits.doubt("a")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(reads, ["0 a", "6 a"])
      credits.doubt("a")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(reads, ["0 a", "6 a", "8 a"])
      yield* TestClock.adjust("7 seconds")
      assert.strictEqual(reads.length, 3)
    })
  )

  it.effect("about one key does not wait for the reading of another", () =>
    using(
      { keys: Array.from("abcdef", (id) => ({ id })), options: { interval: "1 hour" } },
      function* ({ answer, credits, reads, underWay }) {
        yield* TestClock.adjust("10 seconds")
        answer("a", Effect.never)
        for (const id of "abcdef") credits.doubt(id)
        yield* quiet
        assert.deepStrictEqual(reads.slice(6), ["10 a", "10 b", "10 c", "10 d", "10 e", "10 f"])
        assert.strictEqual(underWay(), 1)
        for (const id of "bcdef") answer(id, Effect.never)
        yield* TestClock.adjust("5 seconds")
        for (const id of "bcdef") credits.doubt(id)
        yield* quiet
        // Bounded all the same.
        assert.strictEqual(underWay(), 4)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(reads.length, 12 + 4)
      }
    )
  )

  it.effect("about a key that nobody knows is no reason to stop", () =>
    using({ options: { interval: "1 hour" } }, function* ({ credits, reads }) {
      credits.doubt("nobody")
      yield* TestClock.adjust("10 seconds")
      credits.doubt("a")
      yield* quiet
      assert.deepStrictEqual(reads, ["0 a", "10 a"])
    })
  )

  it.effect("goes on after a reading that died", () =>
    using({ options: { interval: "1 hour" } }, function* ({ answer, credits, reads }) {
      yield* TestClock.adjust("10 seconds")
      answer("a", Effect.die(new Error("boom")))
      credits.doubt("a")
      yield* TestClock.adjust("10 seconds")
      credits.doubt("a")
      yield* quiet
      assert.deepStrictEqual(reads, ["0 a", "10 a", "20 a"])
    })
  )

  it.effect("comes with an answer that credit does not suffice", () =>
    using(
      { options: { interval: "1 hour" }, answer: capped(5) },
      function* ({ answer, balancer, pool, reads }) {
        yield* TestClock.adjust("10 seconds")
        answer("a", capped(0.001))
        yield* Effect.exit(
          balancer.use(() =>
            Effect.fail(
              new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "insufficient" }) })
            )
          )
        )
        yield* quiet
        assert.deepStrictEqual(reads, ["0 a", "10 a"])
        assert.strictEqual(yield* creditOf(pool), 0.001)
      }
    )
  )
})

describe("a key that is benched", () => {
  const two = {
    keys: [{ id: "a" }, { id: "b" }],
    answer: capped(7),
    options: { interval: "1 hour" }
  } as const
  const refused = info({}, 401)
  const readsOf = (reads: ReadonlyArray<string>) => reads.filter((read) => read.endsWith(" a"))
  const refuse = (balancer: World["balancer"], reason: Outcome.FaultReason, scope: Outcome.FaultScope) =>
    Effect.exit(
      balancer.use(() => Effect.fail(new Errors.Fault({ outcome: Outcome.faulted({ scope, reason }) })))
    )

  it.effect("as refused is read before it returns, and benched on where it still is refused", () =>
    using(two, function* ({ answer, balancer, pool, reads }) {
      answer("a", refused)
      yield* refuse(balancer, "rejected", "key")
      assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.until, 60_000)
      yield* TestClock.adjust("49 seconds")
      assert.deepStrictEqual(readsOf(reads), ["0 a"])
      yield* TestClock.adjust("1 second")
      // Ten seconds before its time.
      assert.deepStrictEqual(readsOf(reads), ["0 a", "50 a"])
      assert.deepInclude((yield* stateOf(pool, "a")).ineligible, { reason: "rejected", until: 170_000 })
      // At no time was it offered, and again it is read before its time, and no oftener.
      for (let n = 0; n < 119; n++) {
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* balancer.use(({ key }) => Effect.succeed(key.id)), "b")
      }
      assert.deepStrictEqual(readsOf(reads), ["0 a", "50 a", "160 a"])
      assert.strictEqual((yield* stateOf(pool, "a")).leased, 1)
    })
  )

  it.effect("as refused and well again returns before its time, by a reading alone", () =>
    using(two, function* ({ balancer, pool, reads }) {
      yield* refuse(balancer, "rejected", "key")
      yield* TestClock.adjust("50 seconds")
      assert.deepStrictEqual(readsOf(reads), ["0 a", "50 a"])
      assert.isUndefined((yield* stateOf(pool, "a")).ineligible)
      assert.strictEqual(yield* balancer.use(({ key }) => Effect.succeed(key.id)), "a")
      // Nothing is left to be read for.
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(readsOf(reads).length, 2)
    })
  )

  it.effect("for long returns with the next reading of all keys", () =>
    using({ ...two, options: {} }, function* ({ balancer, pool, reads }) {
      yield* pool.bench({ scope: "key", id: "a", reason: "rejected", for: "1 hour" })
      yield* TestClock.adjust("1 minute")
      assert.isUndefined((yield* stateOf(pool, "a")).ineligible)
      assert.strictEqual(yield* balancer.use(({ key }) => Effect.succeed(key.id)), "a")
      assert.deepStrictEqual(readsOf(reads), ["0 a", "60 a"])
    })
  )

  it.effect("as spent is read before it returns: it serves again with headroom, and not without", () =>
    using(two, function* ({ answer, balancer, pool, reads }) {
      answer("a", capped(0))
      yield* refuse(balancer, "exhausted", "key")
      // At once because the answer raised a doubt, and before the five minutes are over.
      yield* TestClock.adjust("289 seconds")
      assert.deepStrictEqual(readsOf(reads), ["0 a", "5 a"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(readsOf(reads), ["0 a", "5 a", "290 a"])
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.reason, "exhausted")
      assert.strictEqual(yield* balancer.use(({ key }) => Effect.succeed(key.id)), "b")
      yield* pool.bench({ scope: "key", id: "a", reason: "exhausted", for: "5 minutes" })
      answer("a", capped(3))
      yield* TestClock.adjust("290 seconds")
      assert.isUndefined((yield* stateOf(pool, "a")).ineligible)
      assert.strictEqual((yield* stateOf(pool, "a")).leased, 1)
    })
  )

  for (const [reason, scope] of [
    ["exhausted", "account"],
    ["throttled", "account"],
    ["throttled", "key"]
  ] as const) {
    it.effect(`as ${reason} by ${scope} is not read for it: a request has to prove it`, () =>
      using(two, function* ({ balancer, pool, reads }) {
        yield* refuse(balancer, reason, scope)
        // A 402 raises a doubt, which is another thing.
        yield* TestClock.adjust("5 seconds")
        const before = reads.length
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(reads.length, before)
        assert.strictEqual(yield* balancer.use(({ key }) => Effect.succeed(key.id)), "a")
        assert.isUndefined((yield* stateOf(pool, "a")).ineligible)
      })
    )
  }

  it.effect("is not read twice at a time, and not where it has left", () =>
    using({ ...two, options: {} }, function* ({ answer, pool, reads, underWay }) {
      answer("a", Effect.andThen(Effect.sleep("14 seconds"), refused))
      // It returns ten seconds behind the next reading of all keys, which is still under way then.
      yield* pool.bench({ scope: "key", id: "a", reason: "rejected", for: "72 seconds" })
      yield* TestClock.adjust("63 seconds")
      assert.strictEqual(underWay(), 1)
      assert.deepStrictEqual(readsOf(reads), ["0 a", "60 a"])
      yield* pool.remove("a")
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(readsOf(reads), ["0 a", "60 a"])
    })
  )

  it.effect("whose time is put off is read for the later one", () =>
    using(two, function* ({ pool, reads }) {
      yield* pool.bench({ scope: "key", id: "a", reason: "exhausted", for: "1 minute" })
      yield* TestClock.adjust("30 seconds")
      yield* pool.bench({ scope: "key", id: "a", reason: "exhausted", for: "2 minutes" })
      yield* TestClock.adjust("109 seconds")
      assert.deepStrictEqual(readsOf(reads), ["0 a"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(readsOf(reads), ["0 a", "140 a"])
    })
  )

  it.effect("where a reading fails, is proved by one request", () =>
    using(two, function* ({ answer, balancer, pool }) {
      answer("a", info({}, 500))
      yield* refuse(balancer, "rejected", "key")
      yield* TestClock.adjust("60 seconds")
      const probe = yield* held(balancer)
      assert.strictEqual(probe.key.id, "a")
      assert.strictEqual(yield* balancer.use(({ key }) => Effect.succeed(key.id)), "b")
      yield* probe.settle(Outcome.success(0))
      assert.isUndefined((yield* stateOf(pool, "a")).ineligible)
    })
  )
})

describe("a reset", () => {
  it.effect("fills the cap up again at the boundary, before the next reading", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.parse("2026-11-21T23:50:00Z"))
      yield* using(
        { answer: capped(0, { limit_reset: "daily" }), options: { interval: "1 hour" } },
        function* ({ balancer, pool, reads }) {
          const midnight = Date.parse("2026-11-22T00:00:00Z")
          assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.until, midnight)
          const refused = yield* Effect.flip(balancer.use(() => Effect.void))
          assert.strictEqual((refused as Errors.NoEligibleKey).retryAt, midnight)
          yield* TestClock.setTime(midnight - 1)
          yield* Effect.flip(balancer.use(() => Effect.void))
          yield* TestClock.setTime(midnight)
          yield* balancer.use(() => Effect.void)
          assert.strictEqual(reads.length, 1)
        }
      )
    })
  )

  for (const [random, seconds] of [
    [0, 1],
    [0.5, 2.5],
    [1, 4]
  ] as const) {
    it.effect(`at midnight is read ${seconds} seconds later where chance says ${random}`, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(Date.parse("2026-11-22T23:50:00Z"))
        const midnight = Date.parse("2026-11-23T00:00:00Z")
        const resets = { a: "daily", b: "weekly", c: "monthly", d: null }
        const answers = Object.entries(resets).map(([id, limit_reset]) => ({ id, limit_reset }))
        yield* using(
          {
            keys: answers.map(({ id }) => ({ id })),
            options: { interval: "1 hour" },
            random,
            first: Object.fromEntries(answers.map(({ id, limit_reset }) => [id, capped(0, { limit_reset })]))
          },
          function* ({ answer, balancer, pool, reads }) {
            for (const id of "abcd")
              answer(id, capped(10, { limit_reset: resets[id as keyof typeof resets] }))
            const key = Effect.map(pool.snapshot, ({ keys }) => keys.map(({ credit }) => credit))
            assert.deepStrictEqual(yield* key, [0, 0, 0, 0])
            yield* TestClock.setTime(midnight + seconds * 1000 - 1)
            assert.strictEqual(reads.length, 4)
            // The cap is full, as far as the calendar tells; nobody has seen it yet.
            assert.deepStrictEqual(yield* key, [undefined, undefined, 0, 0])
            yield* spend(balancer, 0)
            yield* TestClock.adjust(1)
            assert.deepStrictEqual(
              reads.slice(4),
              ["a", "b"].map((id) => `${midnight / 1000 + seconds} ${id}`)
            )
            assert.deepStrictEqual(yield* key, [10, 10, 0, 0])
            // And again at the next one: of the day alone.
            const before = reads.length
            yield* TestClock.setTime(midnight + 86_400_000 + seconds * 1000)
            const late = reads
              .slice(before)
              .filter((read) => read.startsWith(`${(midnight + 86_400_000) / 1000 + seconds} `))
            assert.deepStrictEqual(
              late.map((read) => read.slice(-1)),
              ["a"]
            )
          }
        )
      })
    )
  }

  it.effect("ends the exhaustion that requests met, with a reading that can have seen it", () =>
    using({ answer: capped(5) }, function* ({ balancer, credits, pool }) {
      yield* TestClock.adjust("30 seconds")
      const outcome = Outcome.faulted({ scope: "key", reason: "exhausted" })
      yield* Effect.exit(balancer.use(() => Effect.fail(new Errors.Fault({ outcome }))))
      const reason = Effect.map(stateOf(pool, "a"), (key) => key.ineligible?.reason)
      yield* quiet
      // What is read at once may be of a minute ago.
      assert.strictEqual(yield* reason, "exhausted")
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* reason, "exhausted")
      yield* TestClock.adjust("60 seconds")
      assert.isUndefined(yield* reason)
      credits.doubt("a")
    })
  )

  for (const limit_reset of [null, "never", "hourly", undefined]) {
    it.effect(`of ${limit_reset} has no boundary`, () =>
      using({ answer: capped(0, { limit_reset }) }, function* ({ pool }) {
        const { ineligible } = yield* stateOf(pool, "a")
        assert.strictEqual(ineligible?.reason, "exhausted")
        assert.isUndefined(ineligible?.until)
      })
    )
  }
})

describe("the report", () => {
  it.effect("tells what is left, how fast it goes and how long it lasts", () =>
    using(
      { keys: [{ id: "a", account: "mine" }, { id: "b" }], answer: capped(10, { limit_reset: "daily" }) },
      function* ({ answer, balancer, pool }) {
        answer("b", capped(null))
        const { balances } = yield* Effect.provideService(OpenRouterCredits.report, KeyPool.KeyPool, pool)
        const day = 86_400_000
        const [a] = yield* balances
        const before: OpenRouterCredits.Balance = {
          keyId: "a",
          account: "mine",
          remaining: 10,
          limit: 10,
          readAt: 0,
          stale: false,
          resetsAt: day,
          burnRate: 0,
          exhaustedAt: undefined
        }
        assert.deepStrictEqual(a, before)
        // A cent a second: 36 USD an hour.
        for (let n = 0; n < 300; n++) {
          yield* TestClock.adjust("1 second")
          yield* spend(balancer, 0.01)
        }
        answer("b", info({}, 500))
        yield* TestClock.adjust("60 seconds")
        for (let n = 0; n < 60; n++) yield* spend(balancer, 0.01)
        const [after, b] = yield* balances
        assert.closeTo(after!.burnRate, 36, 1.5)
        assert.closeTo(after!.remaining!, 10 - 3.6, 3.6)
        const left = (after!.remaining! / after!.burnRate) * 3_600_000
        assert.closeTo(after!.exhaustedAt!, 360_000 + left, 1)
        assert.deepStrictEqual(
          [b!.remaining, b!.exhaustedAt, b!.burnRate, b!.stale, b!.readAt],
          [undefined, undefined, 0, true, 300_000]
        )
      }
    )
  )

  const Spending = Schema.Struct({
    remaining: Schema.Union([
      Schema.Undefined,
      Schema.Finite.check(Schema.isBetween({ minimum: -10, maximum: 1e6 }))
    ]),
    burnRate: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e4 })),
    resetsAt: Schema.Union([
      Schema.Undefined,
      Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4e12 }))
    ])
  })
  const at = 1.8e12

  it.prop(
    "foresees no end that is past, behind a reset, or further than a year",
    [Spending],
    ([spending]) => {
      const end = exhaustedAt(spending, at)
      if (end === undefined) return
      assert.isDefined(spending.remaining)
      assert.isAtLeast(end, at)
      assert.isAtMost(end, at + 365 * 86_400_000)
      if (end > at && spending.resetsAt !== undefined) {
        assert.isTrue(spending.resetsAt <= at || end < spending.resetsAt)
      }
    }
  )

  it.prop("foresees the end at which all is spent", [Spending], ([spending]) => {
    const end = exhaustedAt({ ...spending, resetsAt: undefined }, at)
    if (end === undefined || spending.remaining! <= 0) return
    const spent = ((end - at) / 3_600_000) * spending.burnRate
    assert.closeTo(spent, spending.remaining!, 1e-6 * (1 + spending.remaining! + spending.burnRate))
  })

  it.prop("foresees the end the sooner, the more is spent and the less is left", [Spending], ([spending]) => {
    const { burnRate, remaining } = spending
    const free = { ...spending, resetsAt: undefined }
    const end = exhaustedAt(free, at)
    if (end === undefined || remaining === undefined) return
    assert.isAtMost(exhaustedAt({ ...free, burnRate: burnRate * 2 }, at)!, end)
    assert.isAtMost(exhaustedAt({ ...free, remaining: remaining - Math.abs(remaining) / 2 }, at)!, end)
  })
})

describe("options", () => {
  const wrong: ReadonlyArray<readonly [OpenRouterCredits.Options, string]> = [
    [{ interval: 0 }, "interval"],
    [{ interval: "999 millis" }, "interval"],
    [{ interval: -1 }, "interval"],
    [{ interval: NaN }, "interval"],
    [{ lag: -1 }, "lag"],
    [{ firstEstimate: -0.01 }, "firstEstimate"],
    [{ firstEstimate: NaN }, "firstEstimate"],
    [{ firstEstimate: Infinity }, "firstEstimate"]
  ]
  for (const [options, option] of wrong) {
    const [given] = Object.entries(options)
    it.effect(`out of range are refused: ${given![0]} ${String(given![1])}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(using({ options }, function* () {}))
        assert.instanceOf(error, OpenRouterError.InvalidOption)
        assert.strictEqual((error as OpenRouterError.InvalidOption).option, option)
      })
    )
  }

  for (const options of [
    { interval: "1 second" },
    { interval: "365 days" },
    { lag: 0 },
    { firstEstimate: 0 }
  ] as const) {
    const [given] = Object.entries(options)
    it.effect(`in range are taken: ${given![0]} ${String(given![1])}`, () =>
      using({ options }, function* ({ reads }) {
        yield* quiet
        assert.deepStrictEqual(reads, ["0 a"])
      })
    )
  }
})

describe("against the simulator", () => {
  it.live("the service reads caps, adopts accounts, debits what it spends, and refuses what is spent", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      const context = yield* Layer.build(
        OpenRouter.layerWith({ baseUrl: simulator.baseUrl, credits: { interval: "1 second" } }).pipe(
          Layer.provide([Selector.layer(first), NodeHttpClient.layerUndici]),
          Layer.provideMerge(poolOf(simulator))
        )
      )
      const pool = Context.get(context, KeyPool.KeyPool)
      const openrouter = Context.get(context, OpenRouter.OpenRouter)
      yield* eventually(pool.snapshot, ({ keys }) => keys.every((key) => key.creditReadAt !== undefined))
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map(({ account, credit }) => [account, credit]),
        [
          ["user_simulated_one", 1],
          ["org_two", undefined]
        ]
      )
      yield* openrouter.chat(hello)
      assert.closeTo((yield* stateOf(pool, "a")).credit!, 1 - helloCost, 1e-12)
      yield* simulator.setKey("a", { usage: 1 })
      yield* eventually(stateOf(pool, "a"), (key) => key.ineligible?.reason === "exhausted")
      const fiber = yield* Effect.forkChild(openrouter.chat(hello))
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* met(simulator), [1, 1])
      yield* simulator.revoke("b")
      yield* eventually(stateOf(pool, "b"), (key) => key.ineligible?.reason === "rejected")
      assert.deepStrictEqual(yield* met(simulator), [1, 1])
    }).pipe(
      Effect.provide(
        Simulator.layer({
          accounts: [{ name: "one" }, { name: "two", organizationId: "org_two" }],
          keys: [...keys("a", { limit: 1, account: "one" }), ...keys("b", { account: "two" })]
        })
      )
    )
  )
})
