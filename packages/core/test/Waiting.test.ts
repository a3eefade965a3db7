import { Balancer, type Errors, type Filter, KeyPool, RetryPolicy } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import {
  failureOf,
  fault,
  holding,
  inFlight,
  interruptAll,
  key,
  keys,
  layerOf,
  ok,
  patient,
  policy,
  refusalOf,
  start,
  using,
  waiting,
  type Parts,
  type Setup
} from "./utils.ts"

const minute = 60_000

/** A use that tells which key it got, and when. */
const arrival = (balancer: Parts["balancer"], options?: Balancer.LeaseOptions) =>
  balancer.use((lease) => Effect.succeed([lease.key.id, lease.context.nowMillis] as const), options)

const cool = (pool: Parts["pool"], id: string, millis: number) =>
  pool.bench({ scope: "key", id, reason: "throttled", for: millis })

/** Counts who sleeps on the clock around it. */
const countingClock = Effect.map(Clock.clockWith(Effect.succeed), (clock) => {
  const seen = { asleep: 0 }
  const counting: Clock.Clock = {
    currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
    currentTimeMillis: clock.currentTimeMillis,
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
    currentTimeNanos: clock.currentTimeNanos,
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) =>
      Effect.acquireUseRelease(
        Effect.sync(() => void seen.asleep++),
        () => clock.sleep(duration),
        () => Effect.sync(() => void seen.asleep--)
      )
  }
  return { clock: counting, seen }
})

describe("Waiting", () => {
  describe("for a key that returns", () => {
    it.effect("the alarm wakes exactly at its return, and asks nobody before", () => {
      let looks = 0
      const filters = [() => void looks++]
      const setup = { keys: keys("a"), retry: patient("1 minute"), balancer: { filters } }
      return using(setup as Setup, function* ({ balancer, pool }) {
        yield* cool(pool, "a", 10_000)
        const fiber = yield* start(arrival(balancer))
        yield* TestClock.adjust(9999)
        assert.deepStrictEqual([fiber.pollUnsafe(), looks, yield* waiting(pool)], [undefined, 0, 1])
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* Fiber.join(fiber), ["a", 10_000])
        assert.strictEqual(yield* waiting(pool), 0)
      })
    })
    it.effect("of several the first to return serves the first who came, and the alarm is set anew", () =>
      using(
        { keys: keys("a b c", { maxInFlight: 1 }), retry: patient("1 minute") },
        function* ({ balancer, pool }) {
          for (const [id, millis] of [
            ["a", 20_000],
            ["b", 5000],
            ["c", 10_000]
          ] as const)
            yield* cool(pool, id, millis)
          const got: Array<unknown> = []
          for (const n of [1, 2, 3])
            yield* start(
              balancer.use((lease) => {
                got.push([n, lease.key.id, lease.context.nowMillis])
                return Effect.never
              })
            )
          yield* TestClock.adjust("1 hour")
          assert.deepStrictEqual(got, [
            [1, "b", 5000],
            [2, "c", 10_000],
            [3, "a", 20_000]
          ])
        }
      )
    )
    it.effect("a time that is put off is waited for, as far as patience goes", () =>
      using({ keys: keys("a"), retry: patient("30 seconds") }, function* ({ balancer, pool }) {
        yield* cool(pool, "a", 10_000)
        const one = yield* start(arrival(balancer))
        const two = yield* start(refusalOf(arrival(balancer, { maxWait: "15 seconds" })))
        yield* TestClock.adjust(5000)
        yield* cool(pool, "a", 15_000)
        // The second has no hope left, and does not stay for its 15 seconds.
        assert.strictEqual((yield* Fiber.join(two)).retryAt, 20_000)
        assert.strictEqual(yield* waiting(pool), 1)
        yield* TestClock.adjust(14_999)
        assert.isUndefined(one.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* Fiber.join(one), ["a", 20_000])
      })
    )
    it.effect("a time beyond 24 days, which is more than a timer holds, is waited for as well", () =>
      using({ keys: keys("a"), retry: patient(Infinity) }, function* ({ balancer, pool }) {
        const month = 31 * 24 * 60 * minute
        yield* cool(pool, "a", month)
        const fiber = yield* start(arrival(balancer))
        yield* TestClock.adjust(2 ** 31 - 1)
        assert.deepStrictEqual([fiber.pollUnsafe(), yield* waiting(pool)], [undefined, 1])
        yield* TestClock.adjust(month)
        assert.deepStrictEqual(yield* Fiber.join(fiber), ["a", month])
      })
    )
    it.effect("a filter whose time is up, and which says no all the same, is nothing to wait for", () => {
      let looks = 0
      const odd: Filter.Filter = () => {
        looks++
        return { reason: "odd", scope: "key", since: undefined, until: 0 }
      }
      return using(
        { keys: keys("a"), retry: patient("1 minute"), balancer: { filters: [odd] } },
        function* ({ balancer, pool }) {
          const error = yield* refusalOf(arrival(balancer))
          assert.deepStrictEqual([error.keys[0]?.reason, yield* waiting(pool)], ["odd", 0])
          assert.isBelow(looks, 5)
        }
      )
    })
    for (const reason of ["rejected", "exhausted", "insufficient"] as const) {
      it.effect(`nobody waits for a key that is ${reason}, however soon it may be tried again`, () =>
        using({ keys: keys("a"), retry: patient("1 hour") }, function* ({ balancer, pool }) {
          yield* pool.bench({ scope: "key", id: "a", reason, for: 1000 })
          const error = yield* refusalOf(arrival(balancer, { maxWait: "1 hour" }))
          assert.deepStrictEqual([error.retryAt, yield* waiting(pool)], [1000, 0])
        })
      )
    }
    it.effect("who was refused on a key, and waits, is offered it again", () =>
      using(
        { keys: keys("a"), retry: policy(() => RetryPolicy.rotate, "1 minute") },
        function* ({ balancer }) {
          let n = 0
          const fiber = yield* start(
            balancer.use((lease): Effect.Effect<number, Errors.Fault> =>
              n++ === 0
                ? fault("key", "throttled", { retryAfter: 7000 })
                : Effect.succeed(lease.context.nowMillis)
            )
          )
          yield* TestClock.adjust(7000)
          assert.strictEqual(yield* Fiber.join(fiber), 7000)
        }
      )
    )
    it.effect("patience is one budget over all the waits of a request", () => {
      const down = (millis: number) => fault("key", "throttled", { retryAfter: millis })
      const setup = { keys: keys("a"), retry: policy(() => RetryPolicy.rotate, "10 seconds") }
      const run = (second: number) =>
        using(setup, function* ({ balancer }) {
          let n = 0
          const ends = [down(6000), down(second), ok]
          const fiber = yield* start(Effect.exit(balancer.use(() => ends[n++]!)))
          yield* TestClock.adjust(6000)
          const then = fiber.pollUnsafe()
          yield* TestClock.adjust(6000)
          return [then === undefined, Exit.isSuccess(yield* Fiber.join(fiber)), n] as const
        })
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* run(4000), [true, true, 3])
        assert.deepStrictEqual((yield* run(4001))[2], 2)
      })
    })
  })

  describe("for whichever comes first", () => {
    const busy = (body: (parts: Parts, end: () => void) => Generator<Effect.Effect<any, any>, void, any>) =>
      using(
        { keys: keys("a b", { maxInFlight: 1 }), retry: patient("1 minute") },
        function* ({ balancer, pool }) {
          yield* cool(pool, "b", 10_000)
          const { held, use } = holding()
          yield* start(balancer.use(use))
          yield* Effect.gen(() => body({ balancer, pool }, () => held[0]!.end(Exit.void)))
        }
      )
    it.effect("a permit", () =>
      busy(function* ({ balancer }, end) {
        const fiber = yield* start(arrival(balancer))
        yield* TestClock.adjust(5000)
        end()
        assert.deepStrictEqual(yield* Fiber.join(fiber), ["a", 5000])
      })
    )
    it.effect("a return", () =>
      busy(function* ({ balancer }) {
        const fiber = yield* start(arrival(balancer))
        yield* TestClock.adjust(15_000)
        assert.deepStrictEqual(yield* Fiber.join(fiber), ["b", 10_000])
      })
    )
    it.effect("a key that is not worth waiting for, but may be tried again meanwhile", () =>
      busy(function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "b", reason: "rejected", for: 20_000 })
        // It is a permit that both wait for; one of them becomes the probe of b, the other waits on.
        const fibers = yield* Effect.forEach([1, 2], () =>
          start(balancer.use((lease) => Effect.andThen(Effect.sleep(5000), Effect.succeed(lease.key.id))))
        )
        yield* TestClock.adjust(20_000)
        assert.strictEqual(yield* waiting(pool), 1)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), ["b", "b"])
      })
    )
    it.effect("a permit is waited for beyond all patience", () =>
      busy(function* ({ balancer, pool }, end) {
        yield* cool(pool, "b", 10 * minute)
        const fiber = yield* start(arrival(balancer))
        yield* TestClock.adjust(5 * minute)
        end()
        assert.deepStrictEqual(yield* Fiber.join(fiber), ["a", 5 * minute])
      })
    )
  })

  describe("for what a probe meets", () => {
    it.effect("though another key is out of credit until a known time", () =>
      using({ keys: keys("a b"), retry: patient("30 seconds") }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "rejected", for: "1 minute" })
        yield* pool.bench({ scope: "key", id: "b", reason: "exhausted", for: "1 hour" })
        yield* TestClock.adjust("1 minute")
        const { held, use } = holding()
        const probe = yield* start(balancer.use(use))
        const other = yield* start(balancer.use((lease) => Effect.succeed(lease.key.id)))
        assert.strictEqual(yield* waiting(pool), 1)
        held[0]!.end(Exit.void)
        assert.strictEqual(yield* Fiber.join(other), "a")
        yield* Fiber.join(probe)
      })
    )
  })
  describe("for no longer than", () => {
    it.effect("maxWait 0: refused at once, with the time to come back", () =>
      Effect.forEach([{ balancer: { maxWait: 0 } }, {}], (options) =>
        using({ keys: keys("a"), retry: patient("1 minute"), ...options }, function* ({ balancer, pool }) {
          yield* cool(pool, "a", 10_000)
          const request = "balancer" in options ? {} : { maxWait: 0 }
          const error = yield* refusalOf(arrival(balancer, request))
          assert.deepStrictEqual([error.retryAt, yield* waiting(pool)], [10_000, 0])
        })
      )
    )
    it.effect("maxWait for a permit: refused when it has passed, with the verdicts of that time", () =>
      using({ keys: keys("a b", { maxInFlight: 1 }) }, function* ({ balancer, pool }) {
        yield* start(balancer.use(() => Effect.never))
        yield* pool.bench({ scope: "key", id: "b", reason: "rejected", for: 10_000 })
        const fiber = yield* start(Effect.exit(refusalOf(arrival(balancer, { maxWait: 2000 }))))
        yield* TestClock.adjust(1000)
        yield* pool.drain("b")
        yield* TestClock.adjust(999)
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust(1)
        const exit = yield* Fiber.join(fiber)
        assert.deepStrictEqual(Exit.isSuccess(exit) && exit.value.keys.map((no) => no.reason), [
          "saturated",
          "draining"
        ])
        assert.strictEqual(yield* waiting(pool), 0)
      })
    )
    it.effect("maxWait that ends before a return: refused at once, for it would wait in vain", () =>
      using({ keys: keys("a"), retry: patient("1 hour") }, function* ({ balancer, pool }) {
        yield* cool(pool, "a", 10_000)
        const error = yield* refusalOf(arrival(balancer, { maxWait: 9999 }))
        assert.strictEqual(error.retryAt, 10_000)
        const fiber = yield* start(arrival(balancer, { maxWait: 10_000 }))
        yield* TestClock.adjust(10_000)
        assert.deepStrictEqual(yield* Fiber.join(fiber), ["a", 10_000])
      })
    )
    it.effect("a request's own maxWait, even without any patience", () =>
      using({ keys: keys("a"), balancer: { maxWait: 0 } }, function* ({ balancer, pool }) {
        yield* cool(pool, "a", 10_000)
        const fiber = yield* start(arrival(balancer, { maxWait: "1 minute" }))
        yield* TestClock.adjust(10_000)
        assert.deepStrictEqual(yield* Fiber.join(fiber), ["a", 10_000])
      })
    )
    it.effect("the deadline: DeadlineExceeded, with nothing in flight", () =>
      using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
        yield* start(balancer.use(() => Effect.never))
        const fiber = yield* start(failureOf(arrival(balancer, { timeout: 3000, maxWait: "1 hour" })))
        yield* TestClock.adjust(2999)
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust(1)
        const error = yield* Fiber.join(fiber)
        assert.deepStrictEqual(
          error._tag === "DeadlineExceeded" && [error.timeoutMillis, error.inFlight, error.attempts],
          [3000, undefined, []]
        )
        assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[1], 0])
      })
    )
    for (const [option, bad] of [
      ["maxWait", { maxWait: -1 }],
      ["priority", { priority: Number.NaN }],
      ["timeout", { timeout: "soon" as never }]
    ] as const) {
      it.effect(`an option out of its range is a defect that names it: ${option}`, () =>
        using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer }) {
          yield* start(balancer.use(() => Effect.never))
          const exit = yield* Effect.exit(arrival(balancer, bad))
          assert.include(String(Exit.isFailure(exit) && exit.cause), `Balancer: ${option} must be`)
        })
      )
    }
  })

  describe("in the queue", () => {
    /** One key, held by a use that ends when it is told to. */
    const queueing = (
      options: Balancer.Options,
      body: (
        parts: Parts,
        queue: (
          name: string,
          options?: Balancer.LeaseOptions
        ) => Effect.Effect<Fiber.Fiber<unknown, Errors.NoEligibleKey | Errors.DeadlineExceeded>>,
        served: ReadonlyArray<string>,
        end: () => void
      ) => Generator<Effect.Effect<any, any>, void, any>
    ) =>
      using({ keys: [key("a", { maxInFlight: 1 })], balancer: options }, function* (parts) {
        const { held, use } = holding()
        yield* start(parts.balancer.use(use))
        const served: Array<string> = []
        const queue = (name: string, options?: Balancer.LeaseOptions) =>
          start(parts.balancer.use(() => Effect.sync(() => void served.push(name)), options))
        yield* Effect.gen(() => body(parts, queue as never, served, () => held[0]!.end(Exit.void)))
      })

    it.effect(
      "the more urgent go first, and equals in the order of their coming, whatever they ask for",
      () =>
        queueing({}, function* (_, queue, served, end) {
          const upstreams = ["x", "y", undefined, "z"]
          const names: Array<readonly [string, number]> = []
          for (let n = 0; n < 60; n++) {
            const priority = [0, 5, -1.5, 5][(n * 7) % 4]!
            names.push([`${n}`, priority])
            yield* queue(`${n}`, { priority, upstream: upstreams[(n * 3) % 4] })
          }
          end()
          assert.deepStrictEqual(
            served,
            names.toSorted(([, a], [, b]) => b - a).map(([name]) => name)
          )
        })
    )
    it.effect("a full one answers at once, with the earliest time that is known", () =>
      queueing({ maxWaiting: 2 }, function* ({ balancer, pool }, queue, served, end) {
        yield* pool.add(key("b"))
        yield* cool(pool, "b", 9000)
        yield* queue("one")
        yield* queue("two")
        const error = yield* refusalOf(arrival(balancer))
        assert.deepStrictEqual(
          [error.keys.map((no) => no.reason), error.retryAt],
          [["saturated", "throttled"], 9000]
        )
        assert.strictEqual(yield* waiting(pool), 2)
        end()
        assert.deepStrictEqual(served, ["one", "two"])
      })
    )
    it.effect("a more urgent newcomer displaces the last of the least urgent, who is told why", () =>
      queueing({ maxWaiting: 4 }, function* ({ balancer, pool }, queue, served, end) {
        yield* queue("low 1", { upstream: "x" })
        yield* queue("low 2", { upstream: "y" })
        const last = yield* queue("low 3", { upstream: "x" })
        yield* queue("high 1", { priority: 1 })
        yield* queue("high 2", { priority: 1, upstream: "x" })
        const error = yield* refusalOf(Fiber.join(last))
        assert.deepStrictEqual([error.keys[0]?.reason, yield* waiting(pool)], ["saturated", 4])
        // Equals displace nobody.
        yield* refusalOf(arrival(balancer, { priority: 0 }))
        yield* queue("high 3", { priority: 2 })
        yield* queue("high 4", { priority: 2 })
        yield* refusalOf(arrival(balancer, { priority: 1 }))
        assert.strictEqual(yield* waiting(pool), 4)
        end()
        assert.deepStrictEqual(served, ["high 3", "high 4", "high 1", "high 2"])
      })
    )
    it.effect("who is displaced and comes back at once does not get in beyond the bound", () =>
      queueing({ maxWaiting: 1 }, function* ({ balancer, pool }, queue) {
        const stubborn = yield* start(
          Effect.exit(arrival(balancer).pipe(Effect.catch(() => arrival(balancer))))
        )
        yield* queue("urgent", { priority: 1 })
        assert.isTrue(Exit.isFailure(yield* Fiber.join(stubborn)))
        assert.strictEqual(yield* waiting(pool), 1)
      })
    )
    it.effect("with no bound everybody may wait, and with 0 nobody, however urgent", () =>
      Effect.andThen(
        queueing({ maxWaiting: Infinity }, function* ({ pool }, queue) {
          for (let n = 0; n < 11_000; n++) yield* queue("")
          assert.strictEqual(yield* waiting(pool), 11_000)
        }),
        queueing({ maxWaiting: 0 }, function* ({ balancer, pool }) {
          yield* refusalOf(arrival(balancer, { priority: 9 }))
          assert.strictEqual(yield* waiting(pool), 0)
        })
      )
    )
    it.effect("an interruption takes the request out, and nothing runs when its time comes", () =>
      using({ keys: keys("a"), retry: patient("1 minute") }, function* ({ balancer, pool }) {
        yield* cool(pool, "a", 10_000)
        let runs = 0
        const fibers = yield* Effect.forEach([{}, { maxWait: 20_000 }, { timeout: 30_000 }], (options) =>
          start(balancer.use(() => Effect.sync(() => void runs++), options))
        )
        assert.strictEqual(yield* waiting(pool), 3)
        yield* interruptAll(fibers)
        assert.deepStrictEqual([yield* waiting(pool), yield* inFlight(pool)], [0, [0]])
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual([runs, yield* inFlight(pool)], [0, [0]])
      })
    )
    it.effect("10,000 who wait for a time are served in order when it comes, one after the other", () =>
      using(
        { keys: [key("a", { maxInFlight: 1 })], retry: patient("1 minute") },
        function* ({ balancer, pool }) {
          yield* cool(pool, "a", 10_000)
          const order: Array<number> = []
          const fibers = yield* Effect.forEach(Array.from({ length: 10_000 }), (_, n) =>
            start(balancer.use((lease) => Effect.sync(() => order.push(n) + lease.candidate.inFlight)))
          )
          yield* TestClock.adjust(10_000)
          yield* Effect.forEach(fibers, Fiber.join)
          assert.deepStrictEqual(
            order,
            Array.from({ length: 10_000 }, (_, n) => n)
          )
          assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[0], 0])
        }
      )
    )
  })

  describe("in lanes", () => {
    /** Upstream x has no room, whichever key frees up. */
    const noRoomForX = () => {
      const asked: Array<string | undefined> = []
      const filter: Filter.Filter = (_, { upstream }) => {
        asked.push(upstream)
        return upstream === "x"
          ? { reason: "saturated", scope: "upstream", since: undefined, until: undefined }
          : undefined
      }
      return { asked, filter }
    }
    it.effect("a long one that cannot be served neither starves another, nor is asked to its end", () => {
      const { asked, filter } = noRoomForX()
      return using(
        { keys: [key("a", { maxInFlight: 1 })], balancer: { filters: [filter] } },
        function* ({ balancer, pool }) {
          const { held, use } = holding()
          yield* start(balancer.use(use, { upstream: "y" }))
          yield* Effect.forEach(Array.from({ length: 1000 }), () =>
            start(arrival(balancer, { upstream: "x" }))
          )
          const y = yield* Effect.forEach([1, 2], () => start(arrival(balancer, { upstream: "y" })))
          asked.length = 0
          held[0]!.end(Exit.void)
          yield* Effect.forEach(y, Fiber.join)
          assert.strictEqual(yield* waiting(pool), 1000)
          assert.isBelow(asked.length, 100)
        }
      )
    })
    it.effect("requests with facts of their own are all asked, whoever came before them", () => {
      const only =
        (id: string): Filter.Filter =>
        (candidate) =>
          candidate.id === id
            ? undefined
            : { reason: "elsewhere", scope: "request", since: undefined, until: undefined }
      return using({ keys: keys("a b", { maxInFlight: 1 }) }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        yield* Effect.forEach(["a", "b"], (id) => start(balancer.use(use, { filter: only(id) })))
        // This one makes the lane of those without an upstream; it leaves, and the lane stays.
        const plain = yield* start(arrival(balancer))
        yield* Effect.forEach(Array.from({ length: 50 }), () =>
          start(arrival(balancer, { filter: only("b") }))
        )
        const last = yield* start(arrival(balancer, { filter: only("a") }))
        yield* Fiber.interrupt(plain)
        held[0]!.end(Exit.void)
        assert.strictEqual((yield* Fiber.join(last))[0], "a")
        assert.strictEqual(yield* waiting(pool), 50)
      })
    })
  })

  it.effect("a newcomer does not go before those whose time has come, though no timer has rung yet", () => {
    let now = 0
    const late: Clock.Clock = {
      currentTimeMillisUnsafe: () => now,
      currentTimeMillis: Effect.sync(() => now),
      currentTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
      currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
      monotonicTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
      monotonicTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
      sleep: () => Effect.never
    }
    return using(
      { keys: [key("a", { maxInFlight: 1 })], retry: patient("1 minute") },
      function* ({ balancer, pool }) {
        yield* cool(pool, "a", 10_000)
        const { held, use } = holding<number>()
        const one = yield* start(balancer.use(use))
        now = 10_000
        const two = yield* start(balancer.use(use))
        assert.deepStrictEqual([held.length, yield* waiting(pool)], [1, 1])
        held[0]!.end(Exit.succeed(1))
        held[1]!.end(Exit.succeed(2))
        assert.deepStrictEqual([yield* Fiber.join(one), yield* Fiber.join(two)], [1, 2])
      }
    ).pipe(Effect.provideService(Clock.Clock, late))
  })

  describe("and the scope of the pool", () => {
    const opened = Effect.gen(function* () {
      const { clock, seen } = yield* countingClock
      const scope = yield* Scope.make()
      const services = yield* Layer.buildWithScope(
        layerOf({ keys: keys("a"), retry: patient("1 hour") }),
        scope
      ).pipe(Effect.provideService(Clock.Clock, clock))
      const parts = yield* Effect.provide(
        Effect.gen(function* () {
          return { balancer: yield* Balancer.Balancer, pool: yield* KeyPool.KeyPool }
        }),
        services
      )
      return { ...parts, close: Scope.close(scope, Exit.void), seen }
    })
    it.effect("one alarm for all who wait, and none when it is closed", () =>
      Effect.gen(function* () {
        const { balancer, close, pool, seen } = yield* opened
        yield* cool(pool, "a", 10_000)
        const fibers = yield* Effect.forEach([1, 2, 3], () => start(Effect.exit(arrival(balancer))))
        assert.strictEqual(seen.asleep, 1)
        yield* close
        assert.strictEqual(seen.asleep, 0)
        // They are not left alone with a time that nobody watches any more.
        for (const fiber of fibers) {
          const exit = yield* Fiber.join(fiber)
          assert.include(String(Exit.isFailure(exit) && exit.cause), "throttled until")
        }
        const late = yield* refusalOf(arrival(balancer))
        assert.deepStrictEqual([late.retryAt, yield* waiting(pool), seen.asleep], [10_000, 0, 0])
      })
    )
    it.effect("an alarm that is over leaves no timer behind", () =>
      Effect.gen(function* () {
        const { balancer, close, pool, seen } = yield* opened
        for (let n = 0; n < 5; n++) {
          yield* cool(pool, "a", 10_000)
          const fiber = yield* start(arrival(balancer))
          assert.strictEqual(seen.asleep, 1)
          yield* TestClock.adjust(10_000)
          yield* Fiber.join(fiber)
          assert.strictEqual(seen.asleep, 0)
        }
        yield* close
      })
    )
  })
})
