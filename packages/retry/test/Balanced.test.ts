import { Balancer, Errors, KeyPool, Outcome, Selector } from "@evenkeel/core"
import { Hedge, Retry } from "@evenkeel/retry"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"

const withRandom = (value: number) =>
  Effect.provideService(Random.Random, { nextDoubleUnsafe: () => value, nextIntUnsafe: () => 0 })

const inOrder = Selector.layer(Selector.make("first", (candidates) => candidates[0]))
const keys = (...ids: ReadonlyArray<string>) =>
  KeyPool.layer({ keys: ids.map((id) => ({ id, secret: `sk-${id}-000001` })) })

const live = (pool: ReturnType<typeof keys>, options?: Retry.Options) =>
  Balancer.layer.pipe(Layer.provide(Retry.layer(options)), Layer.provide(inOrder), Layer.provideMerge(pool))

const fault = (scope: Outcome.FaultScope, reason: Outcome.FaultReason, retryAfter?: Duration.Input) =>
  new Errors.Fault({
    outcome: Outcome.faulted({
      scope,
      reason,
      retryAfter: retryAfter === undefined ? undefined : Duration.fromInputUnsafe(retryAfter)
    })
  })

/** Runs one request, and tells which key it met when, and how it ended. */
const request = Effect.fnUntraced(function* <E>(
  f: (keyId: string, attempt: number) => Effect.Effect<string, E>,
  options?: Balancer.LeaseOptions
) {
  const balancer = yield* Balancer.Balancer
  const pool = yield* KeyPool.KeyPool
  const met: Array<readonly [string, number]> = []
  const fiber = yield* balancer
    .use(
      (lease) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          met.push([lease.key.id, now])
          return f(lease.key.id, met.length - 1)
        }),
      { upstream: "model", ...options }
    )
    .pipe(Effect.exit, Effect.forkChild({ startImmediately: true }))
  return {
    met,
    fiber,
    /** Lets an hour pass, and checks that nothing is left behind. */
    end: Effect.gen(function* () {
      yield* TestClock.adjust("1 hour")
      const exit = yield* Fiber.join(fiber)
      const { keys } = yield* pool.snapshot
      assert.isTrue(keys.every((key) => key.inFlight === 0))
      return exit
    })
  }
})

const failureOf = <A, E>(exit: Exit.Exit<A, E>): unknown =>
  exit._tag === "Failure" ? exit.cause.reasons.map((r) => (r._tag === "Fail" ? r.error : r))[0] : undefined

describe("the layer", () => {
  it.effect("is picked up by a balancer above it, and without it nothing is retried", () =>
    Effect.gen(function* () {
      const pool = keys("a", "b")
      const once = yield* request((id) => (id === "a" ? fault("key", "rejected") : Effect.succeed(id))).pipe(
        Effect.provide(Balancer.layer.pipe(Layer.provide(inOrder), Layer.provideMerge(pool)))
      )
      assert.strictEqual((yield* Fiber.join(once.fiber))._tag, "Failure")
      const twice = yield* request((id) => (id === "a" ? fault("key", "rejected") : Effect.succeed(id))).pipe(
        Effect.provide(live(keys("a", "b")))
      )
      assert.deepStrictEqual(yield* Fiber.join(twice.fiber), Exit.succeed("b"))
      assert.deepStrictEqual(twice.met, [
        ["a", 0],
        ["b", 0]
      ])
    })
  )

  it.effect("costs nothing for requests that succeed: their schedule is not even made", () =>
    Effect.gen(function* () {
      let made = 0
      const schedule = Schedule.fromStep(
        Effect.sync(() => {
          made++
          return () => Effect.succeed([undefined, Duration.millis(1)] as [undefined, Duration.Duration])
        })
      )
      yield* Effect.gen(function* () {
        for (let i = 0; i < 100; i++) yield* (yield* request(Effect.succeed)).end
        assert.strictEqual(made, 0)
        const { end, met } = yield* request((id, i) =>
          i < 3 ? fault("upstream", "unavailable") : Effect.succeed(id)
        )
        yield* end
        assert.deepStrictEqual([made, met.length], [1, 4])
      }).pipe(Effect.provide(live(keys("a"), { schedule })))
    })
  )
})

describe("rotation", () => {
  const seconds: Record<string, number> = { a: 20, b: 10, c: 30 }
  const throttled = (id: string) => fault("key", "throttled", Duration.seconds(seconds[id]!))

  it.effect("meets each key once, and then says when the first returns", () =>
    Effect.gen(function* () {
      const { end, met } = yield* request(throttled)
      const error = failureOf(yield* end)
      assert.deepStrictEqual(met, [
        ["a", 0],
        ["b", 0],
        ["c", 0]
      ])
      assert.instanceOf(error, Errors.NoEligibleKey)
      assert.strictEqual(error.retryAt, 10_000)
      assert.deepStrictEqual(
        error.attempts.map((attempt) => [attempt.keyId, attempt.attempt]),
        [
          ["a", 0],
          ["b", 1],
          ["c", 2]
        ]
      )
    }).pipe(Effect.provide(live(keys("a", "b", "c"), { patience: 0 })))
  )

  it.effect("waits for the first that returns, and no longer", () =>
    Effect.gen(function* () {
      const { end, met } = yield* request((id, i) => (i < 3 ? throttled(id) : Effect.succeed(id)))
      assert.deepStrictEqual(yield* end, Exit.succeed("b"))
      assert.deepStrictEqual(met.at(-1), ["b", 10_000])
    }).pipe(Effect.provide(live(keys("a", "b", "c"))))
  )

  for (const reason of ["rejected", "exhausted"] as const) {
    it.effect(`does not wait for a key that is ${reason}, however soon it may be tried again`, () =>
      Effect.gen(function* () {
        const { end, met } = yield* request(() => fault("key", reason, Duration.seconds(1)))
        const error = failureOf(yield* end)
        assert.instanceOf(error, Errors.NoEligibleKey)
        assert.deepStrictEqual([error.retryAt, met], [1000, [["a", 0]]])
      }).pipe(Effect.provide(live(keys("a"))))
    )
  }

  it.effect("ends, with the trail, when nobody knows when a key returns", () =>
    Effect.gen(function* () {
      const { end, met } = yield* request(() => fault("key", "unavailable"))
      const error = failureOf(yield* end)
      assert.instanceOf(error, Errors.NoEligibleKey)
      assert.deepStrictEqual([error.retryAt, error.attempts.length], [undefined, 2])
      assert.deepStrictEqual(
        met.map(([id]) => id),
        ["a", "b"]
      )
    }).pipe(Effect.provide(live(keys("a", "b"))))
  )

  it.effect("does not wait longer than its patience, in all", () =>
    Effect.gen(function* () {
      const { end, fiber, met } = yield* request(() => fault("key", "throttled", "4 seconds"))
      yield* TestClock.adjust("8 seconds")
      assert.instanceOf(failureOf(yield* Fiber.join(fiber)), Errors.NoEligibleKey)
      yield* end
      assert.deepStrictEqual(met, [
        ["a", 0],
        ["a", 4000],
        ["a", 8000]
      ])
    }).pipe(Effect.provide(live(keys("a"), { patience: "11 seconds" })))
  )

  it.effect("does not meet keys that keep failing more often than it may: N + times + 1", () =>
    Effect.gen(function* () {
      const { end, met } = yield* request(() => fault("key", "throttled", "100 millis"))
      assert.instanceOf(failureOf(yield* end), Errors.Fault)
      assert.strictEqual(met.length, 3 + 5 + 1)
    }).pipe(Effect.provide(live(keys("a", "b", "c"), { times: 5 })))
  )
})

describe("back-off", () => {
  it.effect("is exact to the millisecond, on the same upstream", () =>
    Effect.gen(function* () {
      const { end, met } = yield* request(() => fault("upstream", "unavailable"))
      const error = failureOf(yield* end)
      assert.deepStrictEqual(
        met.map(([, time]) => time),
        [0, 100, 300, 700]
      )
      assert.instanceOf(error, Errors.Fault)
    }).pipe(Effect.provide(live(keys("a", "b"), { schedule: Schedule.exponential("100 millis") })))
  )

  it.effect("obeys Retry-After to the millisecond", () =>
    Effect.gen(function* () {
      const { end, met } = yield* request((id, i) =>
        i === 0 ? fault("upstream", "throttled", "10 seconds") : Effect.succeed(id)
      )
      yield* TestClock.adjust("9999 millis")
      assert.strictEqual(met.length, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(met.length, 2)
      assert.deepStrictEqual(yield* end, Exit.succeed("a"))
    }).pipe(withRandom(0), Effect.provide(live(keys("a", "b"))))
  )

  it.effect("of a herd that was told one time: its members return apart", () =>
    Effect.gen(function* () {
      const failing = (_: string, i: number) =>
        i === 0
          ? Effect.andThen(Effect.sleep(1), fault("upstream", "unavailable", "10 seconds"))
          : Effect.succeed("")
      const herd = yield* Effect.forEach(Array.from({ length: 200 }), () => request(failing))
      yield* TestClock.adjust("10 seconds")
      assert.isTrue(herd.every(({ met }) => met.length === 1))
      yield* TestClock.adjust("501 millis")
      const times = herd.map(({ met }) => met[1]![1])
      assert.isTrue(times.every((time) => time >= 10_001 && time <= 10_501))
      assert.isAbove(new Set(times).size, 100)
    }).pipe(Random.withSeed("herd"), Effect.provide(live(keys("a"), { budget: { perSecond: 20 } })))
  )

  it.effect("does not sleep for days", () =>
    Effect.gen(function* () {
      const { fiber } = yield* request(() => fault("host", "unavailable", "3 days"))
      assert.instanceOf(failureOf(yield* Fiber.join(fiber)), Errors.Fault)
    }).pipe(Effect.provide(live(keys("a"))))
  )

  it.effect("ends with an interruption, which leaves nothing behind", () =>
    Effect.gen(function* () {
      const { fiber, met } = yield* request(() => fault("upstream", "unavailable"))
      yield* TestClock.adjust("100 millis")
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(met.length, 1)
      const { keys } = yield* (yield* KeyPool.KeyPool).snapshot
      assert.deepStrictEqual([keys[0]!.inFlight, keys[0]!.leased], [0, 1])
    }).pipe(withRandom(0.5), Effect.provide(live(keys("a"))))
  )

  it.effect("ends before a deadline that it would miss", () =>
    Effect.gen(function* () {
      const { fiber, met } = yield* request(() => fault("upstream", "unavailable"), { timeout: "250 millis" })
      yield* TestClock.adjust("100 millis")
      // The third attempt would begin at 300 ms: the caller hears of the second at once.
      assert.instanceOf(failureOf(yield* Fiber.join(fiber)), Errors.Fault)
      assert.strictEqual(met.length, 2)
    }).pipe(Effect.provide(live(keys("a"), { schedule: Schedule.exponential("100 millis") })))
  )

  it.effect("is not needed where another model may serve", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const met: Array<string | undefined> = []
      const exit = yield* balancer
        .use(
          (lease) => {
            met.push(lease.context.upstream)
            return met.length < 3 ? fault("upstream", "unavailable") : Effect.succeed("served")
          },
          { upstream: "first", alternatives: ["second", "third"] }
        )
        .pipe(Effect.exit)
      assert.deepStrictEqual(exit, Exit.succeed("served"))
      assert.deepStrictEqual(met, ["first", "second", "third"])
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }).pipe(Effect.provide(live(keys("a"))))
  )

  it.effect("after what may have been billed happens once", () =>
    Effect.gen(function* () {
      const { end, met } = yield* request(
        () =>
          new Errors.Fault({
            outcome: Outcome.faulted({
              scope: "upstream",
              reason: "unavailable",
              status: 524,
              cost: undefined
            })
          })
      )
      assert.instanceOf(failureOf(yield* end), Errors.Fault)
      assert.strictEqual(met.length, 2)
    }).pipe(Effect.provide(live(keys("a", "b"))))
  )
})

describe("any run of faults", () => {
  it.effect("makes at most N + times + 1 attempts, and (M − 1) · (times + 1) more for M models", () =>
    Effect.gen(function* () {
      let atBound = 0
      for (let run = 0; run < 400; run++) {
        const [n, m, times] = [
          yield* Random.nextIntBetween(1, 4),
          yield* Random.nextIntBetween(1, 3),
          yield* Random.nextIntBetween(0, 3)
        ]
        const ofKeys = yield* Random.next
        const ids = ["a", "b", "c", "d"].slice(0, n)
        const alternatives = ["second", "third"].slice(0, m - 1)
        const options = { times, budget: false, patience: "1 hour" } as const
        const met = yield* Effect.gen(function* () {
          const { end, met } = yield* request(
            () =>
              Effect.gen(function* () {
                const scope = (yield* Random.next) < ofKeys ? "key" : "upstream"
                const retryAfter = (yield* Random.nextBoolean) ? "1 second" : undefined
                return yield* fault(scope, "throttled", retryAfter)
              }),
            { alternatives }
          )
          assert.strictEqual((yield* end)._tag, "Failure")
          return met
        }).pipe(Effect.provide(live(keys(...ids), options)))
        const most = ids.length + times + 1 + alternatives.length * (times + 1)
        assert.isAtMost(met.length, most)
        if (met.length === most) atBound++
      }
      // The bound is met, and so no larger than it must be.
      assert.isAbove(atBound, 0)
    }).pipe(Random.withSeed("faults"))
  )
})

describe("vector 59: a total outage of 10,000 requests at 100 a second", () => {
  const attemptsOf = Effect.fnUntraced(function* (options?: Retry.Options) {
    let attempts = 0
    yield* Effect.gen(function* () {
      for (let i = 0; i < 10_000; i++) {
        yield* request(() => {
          attempts++
          return fault("host", "unavailable")
        })
        yield* TestClock.adjust("10 millis")
      }
      yield* TestClock.adjust("1 hour")
    }).pipe(Effect.provide(live(keys("a", "b", "c"), options)))
    return attempts / 10_000
  })

  it.effect("costs at most 1.31 attempts a request", () =>
    Effect.gen(function* () {
      const ratio = yield* attemptsOf()
      assert.isAtMost(ratio, 1.31)
      assert.isAbove(ratio, 1.29)
    }).pipe(Random.withSeed("outage"))
  )

  it.effect("costs 4 without a budget", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* attemptsOf({ budget: false }), 4)
    }).pipe(Random.withSeed("outage"))
  )
})

describe("hedging", () => {
  const hedged = (options?: Hedge.Options) =>
    Balancer.layer.pipe(Layer.provide([Hedge.layer(options), inOrder]), Layer.provideMerge(keys("a", "b")))
  const answers = (millis: number) => (id: string) => Effect.delay(Effect.succeed(id), millis)
  const learn = Effect.fnUntraced(function* (n: number) {
    for (let i = 1; i <= n; i++) {
      const { fiber } = yield* request(answers(i * 100))
      yield* TestClock.adjust(i * 100)
      yield* Fiber.join(fiber)
    }
    return yield* Clock.currentTimeMillis
  })

  it.effect("sends a copy to another key after the percentile, and gives up the loser", () =>
    Effect.gen(function* () {
      const start = yield* learn(20)
      let lost = 0
      const { end, met } = yield* request((id) =>
        id === "a" ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => lost++)) : Effect.succeed(id)
      )
      yield* TestClock.adjust(1899)
      assert.deepStrictEqual(met, [["a", start]])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(met, [
        ["a", start],
        ["b", start + 1900]
      ])
      assert.deepStrictEqual([yield* end, lost], [Exit.succeed("b"), 1])
    }).pipe(Effect.provide(hedged({ budget: { window: "1 hour" } })))
  )

  it.effect("sends none while too little is known, or the budget is spent", () =>
    Effect.gen(function* () {
      yield* learn(19)
      const early = yield* request(answers(60_000))
      yield* early.end
      // One request in twenty may be hedged, and this is the 21st.
      const once = yield* request(answers(60_000))
      yield* once.end
      const spent = yield* request(answers(60_000))
      yield* spent.end
      assert.deepStrictEqual([early.met.length, once.met.length, spent.met.length], [1, 2, 1])
    }).pipe(Effect.provide(hedged({ budget: { window: "10 hours" } })))
  )
})
