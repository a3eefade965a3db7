import { Outcome } from "@evenkeel/core"
import type { Lease } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Redacted, Scope, Stream } from "effect"
import {
  fault,
  holding,
  inFlight,
  key,
  keys,
  ok,
  refusalOf,
  secretOf,
  start,
  stateOf,
  using,
  waiting
} from "./utils.ts"

describe("Lease", () => {
  it.effect("a lease holds its key while its scope is open, and closing the scope is a success", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      const scope = yield* Scope.make()
      const lease = yield* Scope.provide(balancer.lease({ upstream: "x", affinity: "s", estimate: 1 }), scope)
      assert.strictEqual(Redacted.value(lease.key.secret), secretOf("a"))
      assert.deepStrictEqual([lease.candidate.id, lease.candidate.inFlight, lease.settled], ["a", 1, false])
      const { affinity, attempt, estimate, upstream } = lease.context
      assert.deepStrictEqual([affinity, attempt, estimate, upstream], ["s", 0, 1, "x"])
      yield* Scope.close(scope, Exit.void)
      const { inFlight, succeeded } = yield* stateOf(pool, "a")
      assert.deepStrictEqual([lease.settled, inFlight, succeeded], [true, 0, 1])
    })
  )

  const ends: ReadonlyArray<readonly [string, Exit.Exit<void, string>, "succeeded" | "ignored"]> = [
    ["a success", Exit.void, "succeeded"],
    ["a failure", Exit.fail("no"), "ignored"],
    ["a defect", Exit.die("bug"), "ignored"],
    ["an interruption", Exit.interrupt(1), "ignored"]
  ]
  for (const [what, exit, counted] of ends) {
    it.effect(`a scope that closes with ${what} settles its lease once, as ${counted}`, () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const scope = yield* Scope.make()
        const lease = yield* Scope.provide(balancer.lease(), scope)
        yield* Scope.close(scope, exit)
        yield* Scope.close(scope, exit)
        assert.isFalse(yield* lease.settle(Outcome.success()))
        const state = yield* stateOf(pool, "a")
        assert.deepStrictEqual(
          { inFlight: state.inFlight, succeeded: state.succeeded, ignored: state.ignored },
          { inFlight: 0, succeeded: 0, ignored: 0, [counted]: 1 }
        )
      })
    )
  }

  it.effect("interrupting the fiber that has the scope settles the lease as ignored", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      const fiber = yield* start(Effect.scoped(Effect.andThen(balancer.lease(), Effect.never)))
      assert.deepStrictEqual(yield* inFlight(pool), [1])
      yield* Fiber.interrupt(fiber)
      const state = yield* stateOf(pool, "a")
      assert.deepStrictEqual([state.inFlight, state.ignored], [0, 1])
    })
  )

  it.effect("what is settled by hand stays so when the scope closes", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      yield* Effect.scoped(
        Effect.flatMap(balancer.lease(), (lease) =>
          lease.settle(Outcome.faulted({ scope: "key", reason: "rejected" }))
        )
      )
      const state = yield* stateOf(pool, "a")
      assert.deepStrictEqual(
        [state.inFlight, state.faulted, state.succeeded, state.ineligible?.reason],
        [0, 1, 0, "rejected"]
      )
    })
  )

  it.effect("a scope that is closed already gets a lease that is settled at once", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      const scope = yield* Scope.make()
      yield* Scope.close(scope, Exit.void)
      const lease = yield* Scope.provide(balancer.lease(), scope)
      assert.deepStrictEqual([lease.settled, yield* inFlight(pool)], [true, [0]])
    })
  )

  it.effect("a lease that cannot be had fails at once, is not retried, and leaves nothing in the scope", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      yield* pool.drain("a")
      const error = yield* Effect.scoped(refusalOf(balancer.lease()))
      assert.deepStrictEqual(
        error.keys.map((no) => no.reason),
        ["draining"]
      )
    })
  )

  it.effect("a lease waits for a permit in the same queue as uses do", () =>
    using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
      const { held, use } = holding()
      yield* start(balancer.use(use))
      const order: Array<string> = []
      const leased = yield* start(
        Effect.scoped(
          Effect.andThen(
            balancer.lease(),
            Effect.sync(() => order.push("lease"))
          )
        )
      )
      const used = yield* start(balancer.use(() => Effect.sync(() => order.push("use"))))
      assert.strictEqual(yield* waiting(pool), 2)
      held[0]!.end(Exit.void)
      yield* Fiber.join(leased)
      yield* Fiber.join(used)
      assert.deepStrictEqual(order, ["lease", "use"])
    })
  )

  it.effect("a stream holds its key up to its last element, or until its consumer leaves", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      const body = Stream.unwrap(
        Effect.map(balancer.lease(), (lease: Lease.Lease) =>
          Stream.fromIterable([1, 2, 3]).pipe(
            Stream.mapEffect((n) => Effect.as(Effect.yieldNow, [n, lease.settled] as const))
          )
        )
      )
      assert.deepStrictEqual(yield* Stream.runCollect(body), [
        [1, false],
        [2, false],
        [3, false]
      ])
      assert.deepStrictEqual(yield* inFlight(pool), [0])
      yield* Stream.runCollect(Stream.take(body, 1))
      assert.deepStrictEqual(yield* inFlight(pool), [0])
      const fiber = yield* start(Stream.runDrain(Stream.concat(body, Stream.never)))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* inFlight(pool), [0])
    })
  )

  it.effect("the candidate of a lease is live", () =>
    using({ keys: keys("a") }, function* ({ balancer }) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const lease = yield* balancer.lease()
          yield* balancer.lease()
          assert.strictEqual(lease.candidate.inFlight, 2)
        })
      )
    })
  )

  it.effect("100,000 settlings of one lease count once", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      yield* Effect.exit(
        balancer.use((lease) => {
          let counted = 0
          for (let n = 0; n < 100_000; n++) if (lease.settleUnsafe(Outcome.success(1))) counted++
          assert.strictEqual(counted, 1)
          return Effect.andThen(ok, fault("key", "rejected"))
        })
      )
      const state = yield* stateOf(pool, "a")
      assert.deepStrictEqual([state.inFlight, state.succeeded, state.faulted, state.spent], [0, 1, 0, 1])
    })
  )
})
