import { Breaker, type Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import {
  fault,
  holding,
  inFlight,
  key,
  keys,
  ok,
  refusalOf,
  rotating,
  start,
  using,
  waiting
} from "./utils.ts"

/** Writes down what it is told, and refuses the keys it is told to refuse. */
const recording = () => {
  let next = 0
  const admitted = new Map<number, string>()
  const records: Array<readonly [string, number, string]> = []
  const forgotten: Array<string> = []
  const open = new Set<string>()
  const breaker: Breaker.Breaker = {
    name: "recording",
    filter: (candidate) =>
      open.has(candidate.id) ? { reason: "circuit-open", scope: "key", since: 1, until: 99 } : undefined,
    admit: (candidate) => {
      admitted.set(++next, candidate.id)
      return next
    },
    record: (candidate, _, admission, outcome) => {
      assert.strictEqual(admitted.get(admission), candidate.id)
      admitted.delete(admission)
      records.push([candidate.id, admission, outcome._tag])
    },
    forget: (id) => void forgotten.push(id)
  }
  return { admitted, breaker, forgotten, open, records }
}

describe("Breaker", () => {
  it.effect("every admit is paired with one record, however the use ends", () => {
    const seen = recording()
    return using({ keys: keys("a"), breaker: seen.breaker }, function* ({ balancer }) {
      yield* balancer.use(() => ok)
      yield* Effect.exit(balancer.use(() => Effect.fail("no")))
      yield* Effect.exit(balancer.use(() => Effect.die("bug")))
      yield* Effect.exit(
        balancer.use((): Effect.Effect<void> => {
          throw new Error("no effect")
        })
      )
      const fiber = yield* start(balancer.use(() => Effect.never))
      yield* Fiber.interrupt(fiber)
      yield* Effect.exit(
        balancer.use(() => ok, {
          outcome: () => {
            throw new Error("outcome bug")
          }
        })
      )
      yield* Effect.scoped(balancer.lease())
      const scope = yield* Scope.make()
      yield* Scope.provide(balancer.lease(), scope)
      yield* Scope.close(scope, Exit.fail("no"))
      yield* Effect.exit(balancer.use(() => fault("upstream", "unavailable")))
      assert.deepStrictEqual(
        seen.records.map(([, admission, tag]) => [admission, tag]),
        [
          "Success",
          "Ignored",
          "Ignored",
          "Ignored",
          "Ignored",
          "Ignored",
          "Success",
          "Ignored",
          "Faulted"
        ].map((tag, n) => [n + 1, tag])
      )
      assert.strictEqual(seen.admitted.size, 0)
    })
  })

  it.effect("a key that is removed is forgotten, and its late uses are not recorded after that", () => {
    const seen = recording()
    return using({ keys: keys("a b"), breaker: seen.breaker }, function* ({ balancer, pool }) {
      const { held, use } = holding()
      yield* start(balancer.use(use))
      yield* pool.remove("a")
      assert.deepStrictEqual(seen.forgotten, ["a"])
      held[0]!.end(Exit.void)
      assert.deepStrictEqual(seen.records, [])
    })
  })

  it.effect("what the breaker refuses is not offered, and it says so when nothing is left", () => {
    const seen = recording()
    return using({ keys: keys("a b"), breaker: seen.breaker }, function* ({ balancer, pool }) {
      seen.open.add("a")
      assert.strictEqual(yield* balancer.use((lease) => Effect.succeed(lease.key.id)), "b")
      seen.open.add("b")
      const error = yield* refusalOf(balancer.use(() => ok))
      assert.deepStrictEqual(
        error.keys.map((no) => [no.reason, no.since, no.until]),
        [
          ["circuit-open", 1, 99],
          ["circuit-open", 1, 99]
        ]
      )
      assert.deepStrictEqual([error.retryAt, seen.admitted.size], [99, 0])
      // The pool's own facts know nothing of breakers.
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map((one) => one.ineligible),
        [undefined, undefined]
      )
    })
  })

  it.effect("waiting, refused and retried requests admit only what they use", () => {
    const seen = recording()
    // Both keys are saturated as the first of them fails, so the other is waited for as well.
    return using(
      { keys: keys("a b", { maxInFlight: 1 }), breaker: seen.breaker, retry: rotating },
      function* ({ balancer, pool }) {
        const { held, use } = holding()
        yield* Effect.forEach([1, 2], () => start(balancer.use(use)))
        const fibers = yield* Effect.forEach([1, 2, 3], () =>
          start(Effect.exit(balancer.use(() => fault("key", "unavailable"))))
        )
        yield* Fiber.interrupt(fibers[1]!)
        assert.deepStrictEqual([seen.admitted.size, yield* waiting(pool)], [2, 2])
        for (const { end } of held) end(Exit.void)
        yield* Effect.forEach(fibers, Fiber.await)
        assert.strictEqual(seen.admitted.size, 0)
        assert.deepStrictEqual(seen.records.map(([, , tag]) => tag).toSorted(), [
          "Faulted",
          "Faulted",
          "Faulted",
          "Faulted",
          "Success",
          "Success"
        ])
      }
    )
  })

  it.effect("an admit that throws is a defect, and nothing stays in flight", () => {
    const breaker: Breaker.Breaker = {
      ...Breaker.closed,
      admit: () => {
        throw new Error("breaker bug")
      }
    }
    return using({ keys: keys("a"), breaker }, function* ({ balancer, pool }) {
      assert.isTrue(Exit.isFailure(yield* Effect.exit(balancer.use(() => ok))))
      assert.deepStrictEqual(yield* inFlight(pool), [0])
    })
  })

  it.effect("a record that throws keeps no count up and no waiter waiting", () => {
    const breaker: Breaker.Breaker = {
      ...Breaker.closed,
      record: () => {
        throw new Error("breaker bug")
      }
    }
    return using({ keys: [key("a", { maxInFlight: 1 })], breaker }, function* ({ balancer, pool }) {
      const { held, use } = holding()
      const fibers = yield* Effect.forEach([1, 2], () => start(Effect.exit(balancer.use(use))))
      held[0]!.end(Exit.void)
      held[1]!.end(Exit.void)
      yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[0], 0])
    })
  })

  it.effect("the picker forgets removed keys as well", () => {
    const forgotten: Array<string> = []
    const selector: Selector.Selector = {
      name: "forgetful",
      make: Effect.succeed({ pick: (candidates) => candidates[0], forget: (id) => void forgotten.push(id) })
    }
    return using({ keys: keys("a b"), selector }, function* ({ pool }) {
      yield* pool.remove("b")
      assert.deepStrictEqual(forgotten, ["b"])
    })
  })
})
