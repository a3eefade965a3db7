import { Errors, Outcome, SlowStart } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  failureOf,
  fault,
  holding,
  inFlight,
  key,
  keys,
  ok,
  patient,
  refusalOf,
  start,
  stateOf,
  using,
  waiting
} from "./utils.ts"

const seconds = (n: number) => n * 1000

describe("SlowStart", () => {
  describe("on its own", () => {
    it("allows one request at a time, and one more with each success", () => {
      const start = new SlowStart.SlowStart(1000, 30_000)
      const open = () => {
        let n = 0
        while (!start.blocks(1000)) {
          start.admit()
          n++
        }
        return n
      }
      assert.strictEqual(open(), 1)
      for (const size of [1, 2, 4, 8, 16, 32, 64, 128]) {
        for (let n = 0; n < size; n++) start.settle(true, 1000)
        assert.strictEqual(open(), 2 * size)
      }
    })
    it("what fails gives its place back, and earns none", () => {
      const start = new SlowStart.SlowStart(0, 30_000)
      for (let n = 0; n < 10; n++) {
        start.admit()
        assert.isTrue(start.blocks(0))
        start.settle(false, 0)
        assert.isFalse(start.blocks(0))
      }
      start.admit()
      assert.isTrue(start.blocks(29_999))
    })
    it("a success puts its end off while half of what is allowed is in use", () => {
      const start = new SlowStart.SlowStart(0, 30_000)
      start.admit()
      start.settle(true, 10_000)
      assert.strictEqual(start.until, 40_000)
      // Two are allowed, then three: one in use is half of the first, and less than half of the second.
      start.admit()
      start.settle(true, 20_000)
      assert.strictEqual(start.until, 50_000)
      start.admit()
      start.settle(true, 30_000)
      assert.strictEqual(start.until, 50_000)
    })
    it("after a relapse it starts with half, and grows by one each round trip", () => {
      const start = new SlowStart.SlowStart(0, 30_000, 9)
      for (const allowed of [4, 5, 6, 7]) {
        assert.strictEqual(start.allowed, allowed)
        for (let n = 0; n < allowed; n++) start.admit()
        // A little more than a round trip: what it grows by sinks as it grows.
        for (let n = 0; n < allowed; n++) start.settle(true, 1000)
        start.admit()
        start.settle(true, 1000)
      }
    })
    it("is over after its window, and once 512 at a time are allowed", () => {
      const timed = new SlowStart.SlowStart(1000, 30_000)
      timed.admit()
      assert.deepStrictEqual(
        [timed.over(30_999), timed.over(31_000), timed.blocks(31_000)],
        [false, true, false]
      )
      const grown = new SlowStart.SlowStart(0, Infinity)
      for (let n = 0; n < 511; n++) {
        assert.isFalse(grown.over(0))
        grown.admit()
        grown.settle(true, 0)
      }
      assert.isTrue(grown.over(0))
    })
  })

  describe("in the pool", () => {
    for (const [scope, id] of [
      ["key", "a"],
      ["account", "A"],
      ["workspace", "w"],
      ["upstream", "m"],
      ["host", "host"]
    ] as const) {
      it.effect(`${scope}: of 100 that waited for its return one begins, then 2, 4, 8`, () =>
        using(
          { keys: [key("a", { account: "A", workspace: "w" })], retry: patient("1 minute") },
          function* ({ balancer, pool }) {
            yield* pool.bench({ scope, id, reason: "throttled", for: 5000 })
            const { held, use } = holding()
            yield* Effect.forEach(Array.from({ length: 100 }), () =>
              start(balancer.use(use, { upstream: "m" }))
            )
            assert.deepStrictEqual([held.length, yield* waiting(pool)], [0, 100])
            yield* TestClock.adjust(5000)
            let ended = 0
            for (const size of [1, 2, 4, 8, 16, 32]) {
              assert.deepStrictEqual([held.length - ended, yield* waiting(pool)], [size, 100 - held.length])
              const { keys } = yield* balancer.explain({ upstream: "m" })
              const [one] = keys
              assert.deepStrictEqual(
                one?.eligible === false && [one.reason, one.scope, one.since, one.until],
                ["warming", scope, 5000, 35_000]
              )
              const all = held.slice(ended)
              ended = held.length
              for (const { end } of all) end(Exit.void)
            }
            assert.strictEqual(held.length, 100)
          }
        )
      )
    }
    it.effect("its window ends by itself, and those who wait are let in then, though nothing settles", () =>
      using({ keys: keys("a"), retry: patient("1 minute") }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 5000 })
        yield* Effect.forEach(Array.from({ length: 10 }), () => start(balancer.use(() => Effect.never)))
        yield* TestClock.adjust(5000)
        assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[1], 9])
        yield* TestClock.adjust(29_999)
        assert.deepStrictEqual(yield* inFlight(pool), [1])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[10], 0])
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible, undefined)
      })
    )
    it.effect("a request refused for it is told when it ends at the latest", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 5000 })
        yield* TestClock.adjust(6000)
        yield* start(balancer.use(() => Effect.never))
        const error = yield* refusalOf(balancer.use(() => ok, { maxWait: 0 }))
        assert.deepStrictEqual([error.keys[0]?.reason, error.retryAt], ["warming", 36_000])
      })
    )
    it.effect("a fault within it benches again, and the next return starts anew", () =>
      using({ keys: keys("a"), retry: patient("10 minutes") }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 5000 })
        const { held, use } = holding<void, Errors.Fault>()
        yield* Effect.forEach(Array.from({ length: 10 }), () => start(Effect.exit(balancer.use(use))))
        yield* TestClock.adjust(5000)
        held[0]!.end(Exit.void)
        assert.strictEqual(held.length, 3)
        held[1]!.end(
          Exit.fail(new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "throttled" }) }))
        )
        // The other of the two is still on its way: it belongs to the time before.
        assert.strictEqual(held.length, 3)
        const { ineligible } = yield* stateOf(pool, "a")
        yield* TestClock.adjust(ineligible!.until! - 5000)
        assert.strictEqual(held.length, 4)
        held[2]!.end(Exit.void)
        assert.strictEqual(held.length, 4)
        held[3]!.end(Exit.void)
        assert.strictEqual(held.length, 6)
      })
    )
    for (const reason of ["rejected", "exhausted"] as const) {
      it.effect(`after "${reason}" it begins with the success of the probe`, () =>
        using({ keys: keys("a") }, function* ({ balancer, pool }) {
          yield* pool.bench({ scope: "key", id: "a", reason, for: 5000 })
          yield* TestClock.adjust(5000)
          const { held, use } = holding()
          yield* Effect.forEach(Array.from({ length: 10 }), () => start(balancer.use(use)))
          assert.strictEqual(
            (yield* refusalOf(balancer.use(() => ok, { maxWait: 0 }))).keys[0]?.reason,
            "probing"
          )
          yield* TestClock.adjust(seconds(2))
          held[0]!.end(Exit.void)
          assert.deepStrictEqual([held.length, yield* waiting(pool)], [2, 8])
          const { ineligible } = yield* stateOf(pool, "a")
          assert.deepStrictEqual([ineligible?.reason, ineligible?.since], ["warming", 7000])
          held[1]!.end(Exit.void)
          assert.deepStrictEqual([held.length, yield* waiting(pool)], [4, 6])
        })
      )
    }
    it.effect("whoever is readmitted by hand, or by a reading of credit, starts slowly too", () =>
      Effect.forEach(["hand", "reading"], (how) =>
        using({ keys: keys("a") }, function* ({ balancer, pool }) {
          yield* pool.bench({ scope: "key", id: "a", reason: "exhausted", for: 5000 })
          yield* TestClock.adjust(1)
          if (how === "hand") yield* pool.readmit("key", "a")
          else yield* pool.credit("a", { remaining: 5 })
          yield* Effect.forEach([1, 2, 3], () => start(balancer.use(() => Effect.never)))
          assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[1], 2])
        })
      )
    )
    it.effect("an interruption gives its place back to who waits", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 5000 })
        yield* TestClock.adjust(5000)
        const { held, use } = holding()
        const first = yield* start(balancer.use(use))
        yield* start(balancer.use(use))
        yield* start(balancer.use(use))
        yield* Fiber.interrupt(first)
        assert.deepStrictEqual([held.length, yield* inFlight(pool), yield* waiting(pool)], [2, [1], 1])
      })
    )
    it.effect("a key beside it takes what it must not, so nobody waits", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 5000 })
        yield* TestClock.adjust(5000)
        yield* Effect.forEach(Array.from({ length: 10 }), () => start(balancer.use(() => Effect.never)))
        assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[1, 9], 0])
      })
    )
    it.effect("a bench for some upstreams only is none to recover from", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* failureOf(
          balancer.use(() => fault("account", "throttled", { within: ":free", retryAfter: 5000 }), {
            upstream: "m:free"
          })
        )
        yield* TestClock.adjust(5000)
        yield* Effect.forEach([1, 2, 3], () =>
          start(balancer.use(() => Effect.never, { upstream: "m:free" }))
        )
        assert.deepStrictEqual(yield* inFlight(pool), [3])
      })
    )
    it.effect("0 switches it off: all who waited begin at once", () =>
      using(
        { keys: keys("a"), retry: patient("1 minute"), pool: { slowStart: 0 } },
        function* ({ balancer, pool }) {
          yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 5000 })
          yield* Effect.forEach(Array.from({ length: 10 }), () => start(balancer.use(() => Effect.never)))
          yield* TestClock.adjust(5000)
          assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[10], 0])
        }
      )
    )
    it.effect("the events of the pool tell of the return as before", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const events: Array<string> = []
        yield* start(Stream.runForEach(pool.changes, ({ _tag }) => Effect.sync(() => void events.push(_tag))))
        yield* Effect.yieldNow
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 5000 })
        yield* TestClock.adjust(5000)
        yield* balancer.use(() => ok)
        for (let n = 0; n < 10; n++) yield* Effect.yieldNow
        assert.deepStrictEqual(events, ["Benched", "Readmitted"])
      })
    )
  })
})
