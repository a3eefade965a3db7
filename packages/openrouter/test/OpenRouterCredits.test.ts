import { NodeHttpClient } from "@effect/platform-node"
import { Balancer, Credits, Errors, KeyPool, Outcome, Selector } from "@evenkeel/core"
import type { Key } from "@evenkeel/core"
import { OpenRouter, OpenRouterCredits, OpenRouterError } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Random, Scope } from "effect"
import { TestClock } from "effect/testing"
import { HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
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
}

interface Setup {
  readonly keys?: ReadonlyArray<Key.Traits & { readonly id: string }>
  readonly pool?: Omit<KeyPool.Options, "keys">
  readonly options?: OpenRouterCredits.Options
  /** What `Random` says, which moves the interval: 0.5 is the middle. */
  readonly random?: number
  readonly answer?: Answer
}

/** Credits over keys that are read in memory, so that the time is the test's. */
const using = <A>(setup: Setup, body: (world: World) => Body<A>) =>
  Effect.gen(function* () {
    const traits = setup.keys ?? [{ id: "a" }]
    const names = new Map<string, string>()
    const reads: Array<string> = []
    const answers = new Map<string, Answer>()
    let underWay = 0
    const client = HttpClient.make((request, url) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
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
        underWay: () => underWay
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
      assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.until, 180_000)
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
