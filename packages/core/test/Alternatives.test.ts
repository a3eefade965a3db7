import { type Breaker, Breaker as Breakers, type Lease, Limiter, RetryPolicy } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import {
  failureOf,
  fault,
  holding,
  key,
  keys,
  ok,
  patient,
  policy,
  refusalOf,
  rotating,
  start,
  using,
  waiting,
  type Parts
} from "./utils.ts"

const asked = { upstream: "x", alternatives: ["y", "z"] }
const upstreamOf = (lease: Lease.Lease) => Effect.succeed(lease.context.upstream)
const out = (pool: Parts["pool"], id: string, millis = 1000) =>
  pool.bench({ scope: "upstream", id, reason: "throttled", for: millis })

describe("Alternatives", () => {
  it.effect("what was asked for serves as long as it can, then the first alternative that can", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      assert.strictEqual(yield* balancer.use(upstreamOf, asked), "x")
      yield* out(pool, "x")
      assert.strictEqual(yield* balancer.use(upstreamOf, asked), "y")
      yield* out(pool, "y")
      assert.strictEqual(yield* balancer.use(upstreamOf, asked), "z")
      yield* out(pool, "z", 2000)
      const error = yield* refusalOf(balancer.use(upstreamOf, asked))
      assert.deepStrictEqual([error.keys[0]?.scope, error.retryAt], ["upstream", 1000])
      yield* TestClock.adjust(1000)
      assert.strictEqual(yield* balancer.use(upstreamOf, asked), "x")
    })
  )
  it.effect("they stand in for an open circuit as well", () => {
    const breaker: Breaker.Breaker = {
      ...Breakers.closed,
      filter: (_, { upstream }) =>
        upstream === "x" ? { reason: "circuit-open", scope: "upstream", since: 0, until: 5000 } : undefined
    }
    return using({ keys: keys("a"), breaker }, function* ({ balancer }) {
      assert.strictEqual(yield* balancer.use(upstreamOf, asked), "y")
    })
  })
  it.effect("while keys are merely busy the request waits for what it asked for", () =>
    using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
      const { held, use } = holding()
      yield* start(balancer.use(use))
      const fiber = yield* start(balancer.use(upstreamOf, asked))
      assert.strictEqual(yield* waiting(pool), 1)
      held[0]!.end(Exit.void)
      assert.strictEqual(yield* Fiber.join(fiber), "x")
    })
  )
  it.effect("when all are out it waits for the first to return, whichever that is", () =>
    using({ keys: keys("a"), retry: patient("1 minute") }, function* ({ balancer, pool }) {
      yield* out(pool, "x", 9000)
      yield* out(pool, "y", 7000)
      yield* out(pool, "z", 3000)
      const fiber = yield* start(
        balancer.use((lease) => Effect.succeed([lease.context.upstream, lease.context.nowMillis]), asked)
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["z", 3000])
    })
  )
  it.effect("a rotation after a fault of the upstream goes to the next, at once, on any key", () =>
    using({ keys: keys("a b"), retry: rotating }, function* ({ balancer }) {
      const tried: Array<unknown> = []
      const value = yield* balancer.use((lease) => {
        tried.push([lease.key.id, lease.context.upstream, lease.context.attempt])
        return tried.length < 3 ? fault("upstream", "unavailable") : ok
      }, asked)
      assert.deepStrictEqual(
        [value, tried],
        [
          "ok",
          [
            ["a", "x", 0],
            ["a", "y", 1],
            ["a", "z", 2]
          ]
        ]
      )
      // What failed one request is offered to the next.
      assert.strictEqual(yield* balancer.use(upstreamOf, asked), "x")
    })
  )
  it.effect("the policy is told whether there is another that was not tried", () => {
    const told: Array<unknown> = []
    const retry = policy(({ alternatives, attempt, keyId, nowMillis, upstream }) => {
      told.push([keyId, attempt, upstream, alternatives, nowMillis])
      return alternatives ? RetryPolicy.rotate : RetryPolicy.stop
    })
    return using({ keys: keys("a"), retry }, function* ({ balancer }) {
      yield* TestClock.adjust(500)
      yield* failureOf(balancer.use(() => fault("upstream", "unavailable"), asked))
      yield* failureOf(balancer.use(() => fault("upstream", "unavailable"), { upstream: "x" }))
      yield* failureOf(balancer.use(() => fault("upstream", "unavailable")))
      assert.deepStrictEqual(told, [
        ["a", 0, "x", true, 500],
        ["a", 1, "y", true, 500],
        ["a", 2, "z", false, 500],
        ["a", 0, "x", false, 500],
        ["a", 0, undefined, false, 500]
      ])
    })
  })
  it.effect("a fault of a key is the key's, and leaves the upstream in place", () =>
    using({ keys: keys("a b"), retry: rotating }, function* ({ balancer }) {
      const value = yield* balancer.use(
        (lease) =>
          lease.key.id === "a"
            ? fault("key", "unavailable")
            : Effect.succeed([lease.key.id, lease.context.upstream]),
        asked
      )
      assert.deepStrictEqual(value, ["b", "x"])
    })
  )
  it.effect(
    "after a while what failed may serve again: a timed retry begins anew with what was asked for",
    () => {
      const retry = policy(({ alternatives }) =>
        alternatives ? RetryPolicy.rotate : RetryPolicy.retry(Duration.seconds(1))
      )
      return using({ keys: keys("a"), retry }, function* ({ balancer }) {
        const tried: Array<string | undefined> = []
        const fiber = yield* start(
          balancer.use((lease) => {
            tried.push(lease.context.upstream)
            return tried.length < 5 ? fault("upstream", "unavailable") : ok
          }, asked)
        )
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(tried, ["x", "y", "z", "x", "y"])
      })
    }
  )
  it.effect("a lease says which one it is for, and the hold is estimated for that one", () => {
    const credits = {
      estimate: ({ upstream }: { readonly upstream: string | undefined }) => (upstream === "x" ? 4 : 1),
      observe: () => {},
      doubt: () => {}
    }
    return using({ keys: keys("a"), credits }, function* ({ balancer, pool }) {
      yield* pool.credit("a", { remaining: 3 })
      // x is too dear for the key, and y is not.
      const [upstream, estimate] = yield* Effect.scoped(
        Effect.map(balancer.lease(asked), ({ context }) => [context.upstream, context.estimate] as const)
      )
      assert.deepStrictEqual([upstream, estimate], ["y", 1])
    })
  })
  it.effect("one that has its own limit is passed by when the limit is reached until a time", () => {
    const limiter: Limiter.Limiter = {
      ...Limiter.unlimited,
      filter: (_, { upstream }) =>
        upstream === "x" ? { reason: "paced", scope: "account", since: 0, until: 9000 } : undefined
    }
    return using({ keys: keys("a"), limiter }, function* ({ balancer }) {
      assert.strictEqual(yield* balancer.use(upstreamOf, asked), "y")
    })
  })
})
