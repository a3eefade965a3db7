import { type Breaker, Breaker as Breakers, type Filter } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { holding, idsOf, key, keys, ok, patient, refusalOf, start, using, waiting } from "./utils.ts"

/** A breaker that suspects these keys, and is sure of those. */
const suspecting = (soft: string, hard = "") => {
  const guess: Filter.Ineligible = {
    reason: "circuit-open",
    scope: "key",
    since: 5,
    until: 90_000,
    soft: true
  }
  const breaker: Breaker.Breaker = {
    ...Breakers.closed,
    filter: ({ id }) => {
      if (soft.split(" ").includes(id)) return guess
      return hard.split(" ").includes(id) ? { ...guess, soft: false } : undefined
    }
  }
  return breaker
}

describe("Soft verdicts", () => {
  it.effect("keep a request from a key as long as another can serve", () =>
    using({ keys: keys("a b"), breaker: suspecting("a") }, function* ({ balancer }) {
      assert.deepStrictEqual(yield* idsOf(balancer, 3), ["b", "b", "b"])
    })
  )
  it.effect("are overlooked when they alone would leave a request without a key", () =>
    using({ keys: keys("a b c"), breaker: suspecting("a b c") }, function* ({ balancer }) {
      assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
      const { keys } = yield* balancer.explain()
      assert.deepStrictEqual(
        keys.map((one) => one.eligible && one.overlooked),
        Array.from({ length: 3 }, () => ({
          reason: "circuit-open",
          scope: "key",
          since: 5,
          until: 90_000
        })) as never
      )
    })
  )
  it.effect("and when the others are out for good reasons, of which the suspects are not offered", () =>
    using({ keys: keys("a b c d"), breaker: suspecting("b", "c") }, function* ({ balancer, pool }) {
      yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 50_000 })
      yield* pool.drain("d")
      assert.deepStrictEqual(yield* idsOf(balancer, 1), ["b"])
      const { keys } = yield* balancer.explain()
      assert.deepStrictEqual(
        keys.map((one) => (one.eligible ? "serves" : one.reason)),
        ["throttled", "serves", "circuit-open", "draining"]
      )
    })
  )
  it.effect("a firm verdict of the same kind is a fact", () =>
    using({ keys: keys("a b"), breaker: suspecting("", "a b") }, function* ({ balancer }) {
      const error = yield* refusalOf(balancer.use(() => ok))
      assert.strictEqual(error.retryAt, 90_000)
    })
  )
  it.effect(
    "facts of the pool, of filters and of the request go before them, so a suspect that is out stays out",
    () =>
      using(
        {
          keys: [key("a", { maxInFlight: 1 }), key("b")],
          breaker: suspecting("a b"),
          balancer: {
            maxWaiting: 0,
            filters: [
              ({ id }) =>
                id === "b" ? { reason: "mine", scope: "key", since: undefined, until: undefined } : undefined
            ]
          }
        },
        function* ({ balancer }) {
          yield* start(balancer.use(() => Effect.never))
          const error = yield* refusalOf(balancer.use(() => ok))
          assert.deepStrictEqual(
            error.keys.map((no) => no.reason),
            ["saturated", "mine"]
          )
        }
      )
  )
  it.effect("a key that is merely saturated is not gone: the request waits for it", () =>
    using(
      { keys: [key("a", { maxInFlight: 1 }), key("b")], breaker: suspecting("b") },
      function* ({ balancer, pool }) {
        const { held, ids, use } = holding()
        yield* start(balancer.use(use))
        const fiber = yield* start(balancer.use((lease) => Effect.succeed(lease.key.id)))
        assert.strictEqual(yield* waiting(pool), 1)
        const { keys } = yield* balancer.explain()
        assert.deepStrictEqual(
          keys.map((one) => (one.eligible ? "serves" : one.reason)),
          ["saturated", "circuit-open"]
        )
        held[0]!.end(Exit.void)
        assert.deepStrictEqual([yield* Fiber.join(fiber), ids()], ["a", ["a"]])
      }
    )
  )
  it.effect("when that one goes for good, who waits for it takes the suspect", () =>
    using(
      { keys: [key("a", { maxInFlight: 1 }), key("b")], breaker: suspecting("b") },
      function* ({ balancer, pool }) {
        yield* start(balancer.use(() => Effect.never))
        const fiber = yield* start(balancer.use((lease) => Effect.succeed(lease.key.id)))
        yield* pool.remove("a")
        assert.strictEqual(yield* Fiber.join(fiber), "b")
      }
    )
  )
  it.effect("nor is one that is warming, or paced", () =>
    Effect.gen(function* () {
      const warming = using({ keys: keys("a b"), breaker: suspecting("b") }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 1000 })
        yield* TestClock.adjust(1000)
        yield* start(balancer.use(() => Effect.never))
        yield* start(balancer.use(() => Effect.never))
        return yield* waiting(pool)
      })
      assert.strictEqual(yield* warming, 1)
      const paced: Filter.Filter = ({ id }, { nowMillis }) =>
        id === "a" && nowMillis < 5000
          ? { reason: "paced", scope: "key", since: undefined, until: 5000 }
          : undefined
      const setup = {
        keys: keys("a b"),
        breaker: suspecting("b"),
        retry: patient("1 minute"),
        balancer: { filters: [paced] }
      }
      yield* using(setup, function* ({ balancer }) {
        const fiber = yield* start(
          balancer.use((lease) => Effect.succeed([lease.key.id, lease.context.nowMillis]))
        )
        yield* TestClock.adjust(10_000)
        assert.deepStrictEqual(yield* Fiber.join(fiber), ["a", 5000])
      }).pipe(Effect.provide(TestClock.layer()))
    })
  )
  it.effect("a request that was refused by the key itself does not take it for a suspect", () =>
    using({ keys: keys("a b"), breaker: suspecting("a b") }, function* ({ balancer, pool }) {
      yield* pool.bench({ scope: "account", id: "key:a", reason: "rejected", for: 60_000 })
      assert.deepStrictEqual(yield* idsOf(balancer, 2), ["b", "b"])
    })
  )
})
