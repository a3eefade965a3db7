import { Balancer, Errors, KeyPool, Outcome, Selector } from "@evenkeel/core"
import { Retry } from "@evenkeel/retry"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"

const withRandom = (value: number) =>
  Effect.provideService(Random.Random, { nextDoubleUnsafe: () => value, nextIntUnsafe: () => 0 })

const inOrder = Selector.layer(Selector.make("first", (candidates) => candidates[0]))
const keys = (...ids: ReadonlyArray<string>) =>
  KeyPool.layer({ keys: ids.map((id) => ({ id, secret: `sk-or-v1-${id.repeat(20)}` })) })

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
  f: (keyId: string, attempt: number) => Effect.Effect<string, E>
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
      { upstream: "model" }
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
    }).pipe(Effect.provide(live(keys("a", "b", "c"), { times: 0 })))
  )

  it.effect("waits for the first that returns, and no longer", () =>
    Effect.gen(function* () {
      const { end, met } = yield* request((id, i) => (i < 3 ? throttled(id) : Effect.succeed(id)))
      assert.deepStrictEqual(yield* end, Exit.succeed("b"))
      assert.deepStrictEqual(met.at(-1), ["b", 10_125])
    }).pipe(withRandom(0.25), Effect.provide(live(keys("a", "b", "c"))))
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

  it.effect("of a herd that was told one time: its members return apart", () =>
    Effect.gen(function* () {
      const pool = yield* KeyPool.KeyPool
      yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: "10 seconds" })
      const herd = yield* Effect.forEach(Array.from({ length: 200 }), () => request(Effect.succeed))
      yield* TestClock.adjust("9999 millis")
      assert.isTrue(herd.every(({ met }) => met.length === 0))
      yield* TestClock.adjust("501 millis")
      const times = herd.map(({ met }) => met[0]![1])
      assert.isTrue(times.every((time) => time >= 10_000 && time <= 10_500))
      assert.isAbove(new Set(times).size, 100)
    }).pipe(Random.withSeed("herd"), Effect.provide(live(keys("a"))))
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

  it.effect("costs a total outage 4 attempts a request, and 1.3 with a budget in the schedule", () =>
    Effect.gen(function* () {
      const requests = 2000
      const outage = Effect.fnUntraced(function* (schedule: Retry.Options["schedule"]) {
        let attempts = 0
        yield* Effect.gen(function* () {
          for (let i = 0; i < requests; i++) {
            yield* request(() => {
              attempts++
              return fault("host", "unavailable")
            })
            yield* TestClock.adjust("10 millis")
          }
          yield* TestClock.adjust("1 hour")
        }).pipe(Effect.provide(live(keys("a", "b", "c"), { schedule })))
        return attempts / requests
      })
      assert.strictEqual(yield* outage(Retry.backoff), 4)
      // 20 % of the requests, and 10 a second besides: Finagle's retry budget.
      let spent = 0
      const start = yield* Clock.currentTimeMillis
      const budgeted = Retry.backoff.pipe(
        Schedule.while(({ now }) => spent < ((now - start) / 1000) * (0.2 * 100 + 10) && ++spent > 0)
      )
      const ratio = yield* outage(budgeted)
      assert.isAbove(ratio, 1.2)
      assert.isAtMost(ratio, 1.31)
    }).pipe(Random.withSeed("outage"))
  )
})
