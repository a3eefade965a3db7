import { Errors, RetryPolicy } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import {
  failureOf,
  fault,
  holding,
  inFlight,
  key,
  keys,
  ok,
  policy,
  rotating,
  start,
  stateOf,
  using
} from "./utils.ts"

/** The failure of an effect that ends as time goes on, and when it came. */
const endOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  start(
    Effect.flatMap(failureOf(effect), (error) => Effect.map(Clock.currentTimeMillis, (at) => ({ at, error })))
  )

const exceeded = (error: unknown): Errors.DeadlineExceeded => {
  assert.instanceOf(error, Errors.DeadlineExceeded)
  return error as Errors.DeadlineExceeded
}

describe("Deadline", () => {
  it.effect("a use in flight is cut off: interrupted, ignored, and what it may have cost stays debited", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      yield* pool.credit("a", { remaining: 10 })
      let ended = ""
      const use = Effect.onExit(Effect.never, (exit) => Effect.sync(() => void (ended = exit._tag)))
      const fiber = yield* endOf(balancer.use(() => use, { timeout: "1 second", estimate: 3 }))
      yield* TestClock.adjust(999)
      assert.deepStrictEqual([fiber.pollUnsafe(), yield* inFlight(pool)], [undefined, [1]])
      yield* TestClock.adjust("1 minute")
      const { at, error } = yield* Fiber.join(fiber)
      const { attempts, inFlight: keyId, lastError, message, timeoutMillis } = exceeded(error)
      assert.deepStrictEqual(
        [at, keyId, timeoutMillis, attempts, lastError],
        [1000, "a", 1000, [], undefined]
      )
      assert.strictEqual(message, "The deadline of 1000 ms has passed, with a request in flight on a")
      assert.strictEqual(ended, "Failure")
      const state = yield* stateOf(pool, "a")
      assert.deepStrictEqual(
        [state.inFlight, state.ignored, state.credit, state.ineligible],
        [0, 1, 7, undefined]
      )
    })
  )
  it.effect("a use that ends in time keeps its value, its failure and its cost", () =>
    using({ keys: keys("a"), balancer: { timeout: "1 second" } }, function* ({ balancer, pool }) {
      const value = yield* start(balancer.use(() => Effect.as(Effect.sleep(999), "value")))
      const failure = yield* endOf(balancer.use(() => Effect.andThen(Effect.sleep(999), Effect.fail("no"))))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Fiber.join(value), "value")
      assert.deepStrictEqual(yield* Fiber.join(failure), { at: 999, error: "no" })
      const state = yield* stateOf(pool, "a")
      assert.deepStrictEqual([state.succeeded, state.ignored, state.inFlight], [1, 1, 0])
    })
  )
  it.effect("it is one over all attempts, and the error holds the trail of those that failed", () =>
    using(
      { keys: keys("a b"), retry: rotating, balancer: { timeout: 1000 } },
      function* ({ balancer, pool }) {
        const slow = (cause: string) =>
          Effect.andThen(Effect.sleep(600), fault("key", "unavailable", { cause }))
        const fiber = yield* endOf(balancer.use((lease) => slow(lease.key.id)))
        yield* TestClock.adjust("1 hour")
        const { at, error } = yield* Fiber.join(fiber)
        const { attempts, inFlight: keyId, lastError, message } = exceeded(error)
        assert.deepStrictEqual(
          [at, keyId, attempts.map((one) => [one.keyId, one.durationMillis])],
          [1000, "b", [["a", 600]]]
        )
        assert.strictEqual((lastError as Errors.Fault).cause, "a")
        assert.include(message, "after 1 failed attempts")
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
      }
    )
  )
  for (const [delay, tries] of [
    [400, 1],
    [399, 2]
  ] as const) {
    it.effect(
      `a retry ${delay} ms later, with 400 ms left: ${tries} attempts, and never a wait in vain`,
      () =>
        using(
          {
            keys: keys("a"),
            retry: policy(({ attempt }) =>
              attempt === 0 ? RetryPolicy.retry(Duration.millis(delay)) : RetryPolicy.stop
            )
          },
          function* ({ balancer }) {
            let n = 0
            const use = Effect.suspend(() => {
              n++
              return n === 1
                ? Effect.andThen(Effect.sleep(600), fault("host", "unavailable", { cause: n }))
                : fault("host", "unavailable", { cause: n })
            })
            const fiber = yield* endOf(balancer.use(() => use, { timeout: 1000 }))
            yield* TestClock.adjust("1 hour")
            const { at, error } = yield* Fiber.join(fiber)
            assert.deepStrictEqual(
              [error instanceof Errors.Fault && error.cause, at, n],
              [tries, tries === 1 ? 600 : 999, tries]
            )
          }
        )
    )
  }
  it.effect("what fails at the very deadline is not taken elsewhere", () =>
    using({ keys: keys("a b"), retry: rotating }, function* ({ balancer }) {
      const ids: Array<string> = []
      const fiber = yield* endOf(
        balancer.use(
          (lease) => {
            ids.push(lease.key.id)
            return Effect.andThen(Effect.sleep(1000), fault("key", "unavailable"))
          },
          // The use has set its timer first, so its failure comes first.
          { timeout: 1000 }
        )
      )
      yield* TestClock.adjust("1 hour")
      const { at, error } = yield* Fiber.join(fiber)
      assert.deepStrictEqual([at, error._tag, ids], [1000, "Fault", ["a"]])
    })
  )
  it.effect("a deadline of 0 has passed before anything begins", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      let runs = 0
      const use = Effect.sync(() => void runs++)
      exceeded(yield* failureOf(balancer.use(() => use, { timeout: 0 })))
      exceeded(yield* failureOf(Effect.scoped(balancer.lease({ timeout: 0 }))))
      assert.deepStrictEqual([runs, (yield* stateOf(pool, "a")).leased], [0, 0])
    })
  )
  it.effect("the request's own goes before the balancer's, be it shorter, longer or none", () =>
    using({ keys: keys("a"), balancer: { timeout: 1000 } }, function* ({ balancer }) {
      const fibers = yield* Effect.forEach([undefined, 10, 5000, Infinity], (timeout) =>
        endOf(balancer.use(() => Effect.andThen(Effect.sleep(9000), Effect.fail("no")), { timeout }))
      )
      yield* TestClock.adjust("1 hour")
      const ends = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(
        ends.map(({ at }) => at),
        [1000, 10, 5000, 9000]
      )
    })
  )
  it.effect("the wait for a permit counts as well", () =>
    using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
      const { held, use } = holding()
      yield* start(balancer.use(use))
      const fiber = yield* endOf(balancer.use(() => Effect.never, { timeout: 1000 }))
      yield* TestClock.adjust(900)
      held[0]!.end(Exit.void)
      assert.deepStrictEqual(yield* inFlight(pool), [1])
      yield* TestClock.adjust("1 hour")
      const { at, error } = yield* Fiber.join(fiber)
      assert.deepStrictEqual([at, exceeded(error).inFlight, yield* inFlight(pool)], [1000, "a", [0]])
    })
  )
  it.effect("of a lease it is that of finding a key, and does not end it", () =>
    using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
      const scope = yield* Scope.make()
      const lease = yield* Scope.provide(balancer.lease({ timeout: 1000 }), scope)
      const fiber = yield* endOf(Effect.scoped(balancer.lease({ timeout: 2000 })))
      yield* TestClock.adjust("1 hour")
      const { at, error } = yield* Fiber.join(fiber)
      assert.deepStrictEqual([at, exceeded(error).inFlight, lease.settled], [2000, undefined, false])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual([lease.settled, yield* inFlight(pool)], [true, [0]])
    })
  )
  it.effect("an interruption of the caller is no deadline, though one is set", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      const fiber = yield* start(balancer.use(() => Effect.never, { timeout: 1000 }))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual((yield* stateOf(pool, "a")).ignored, 1)
      assert.strictEqual(yield* balancer.use(() => ok, { timeout: 1000 }), "ok")
      assert.deepStrictEqual(yield* inFlight(pool), [0])
    })
  )
})
