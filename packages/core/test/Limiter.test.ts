import { type Breaker, Breaker as Breakers, type Candidate, Limiter, Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import {
  fault,
  holding,
  inFlight,
  key,
  keys,
  ok,
  patient,
  refusalOf,
  rotating,
  start,
  using,
  waiting
} from "./utils.ts"

/** So many requests in a window that begins with each multiple of it; writes down what it is told. */
const windowed = (limit: number, windowMillis: number) => {
  let next = 0
  const admitted = new Map<number, string>()
  const records: Array<readonly [string, number, string]> = []
  const forgotten: Array<string> = []
  const taken = new Map<string, number>()
  const slot = (id: string, nowMillis: number) => `${id} ${Math.floor(nowMillis / windowMillis)}`
  const limiter: Limiter.Limiter = {
    name: "windowed",
    filter: ({ id }, { nowMillis }) =>
      (taken.get(slot(id, nowMillis)) ?? 0) >= limit
        ? {
            reason: "paced",
            scope: "key",
            since: undefined,
            until: (Math.floor(nowMillis / windowMillis) + 1) * windowMillis
          }
        : undefined,
    admit: ({ id }, { nowMillis }) => {
      const name = slot(id, nowMillis)
      taken.set(name, (taken.get(name) ?? 0) + 1)
      admitted.set(++next, id)
      return next
    },
    record: (candidate, _, admission, outcome) => {
      assert.strictEqual(admitted.get(admission), candidate.id)
      admitted.delete(admission)
      records.push([candidate.id, admission, outcome._tag])
    },
    headroom: ({ id }, nowMillis) => {
      return { requests: limit - (taken.get(slot(id, nowMillis)) ?? 0), tokens: undefined }
    },
    forget: (id) => void forgotten.push(id)
  }
  return { admitted, forgotten, limiter, records }
}

describe("Limiter", () => {
  it.effect("every admit is paired with one record, however the use ends", () => {
    const seen = windowed(Infinity, 1)
    return using({ keys: keys("a"), limiter: seen.limiter }, function* ({ balancer }) {
      yield* balancer.use(() => ok)
      yield* Effect.exit(balancer.use(() => Effect.fail("no")))
      yield* Effect.exit(balancer.use(() => Effect.die("bug")))
      yield* Effect.exit(
        balancer.use((): Effect.Effect<void> => {
          throw new Error("no effect")
        })
      )
      yield* Fiber.interrupt(yield* start(balancer.use(() => Effect.never)))
      const late = yield* start(Effect.exit(balancer.use(() => Effect.never, { timeout: 10 })))
      yield* TestClock.adjust(10)
      yield* Fiber.join(late)
      yield* Effect.scoped(balancer.lease())
      const scope = yield* Scope.make()
      yield* Scope.provide(balancer.lease(), scope)
      yield* Scope.close(scope, Exit.fail("no"))
      yield* Effect.exit(balancer.use(() => fault("upstream", "unavailable")))
      const tags = ["Success", ...Array.from({ length: 5 }, () => "Ignored"), "Success", "Ignored", "Faulted"]
      assert.deepStrictEqual(
        seen.records,
        tags.map((tag, n) => ["a", n + 1, tag])
      )
      assert.strictEqual(seen.admitted.size, 0)
    })
  })
  it.effect("it stands beside the breaker, and each gets back what it handed out", () => {
    const seen = windowed(Infinity, 1)
    const told: Array<number> = []
    const breaker: Breaker.Breaker = {
      ...Breakers.closed,
      admit: () => 77,
      record: (_, __, admission) => void told.push(admission)
    }
    return using({ keys: keys("a"), breaker, limiter: seen.limiter }, function* ({ balancer }) {
      yield* balancer.use(() => ok)
      yield* balancer.use(() => ok)
      assert.deepStrictEqual(
        [told, seen.records.map(([, admission]) => admission)],
        [
          [77, 77],
          [1, 2]
        ]
      )
    })
  })
  it.effect("what it refuses goes to another key, and with none left it says until when", () => {
    const { admitted, limiter } = windowed(1, 1000)
    return using({ keys: keys("a b"), limiter }, function* ({ balancer, pool }) {
      yield* TestClock.adjust(300)
      const id = balancer.use((lease) => Effect.succeed(lease.key.id))
      assert.deepStrictEqual([yield* id, yield* id], ["a", "b"])
      const error = yield* refusalOf(id)
      assert.deepStrictEqual(
        error.keys.map((no) => [no.reason, no.until]),
        [
          ["paced", 1000],
          ["paced", 1000]
        ]
      )
      assert.deepStrictEqual([error.retryAt, admitted.size, yield* inFlight(pool)], [1000, 0, [0, 0]])
      // The pool's own facts know nothing of limiters.
      assert.isUndefined((yield* pool.snapshot).keys[0]!.ineligible)
    })
  })
  it.effect("who has patience waits for the next window, and no more are let in than it holds", () => {
    const { limiter, records } = windowed(3, 1000)
    return using({ keys: keys("a"), limiter, retry: patient("1 minute") }, function* ({ balancer, pool }) {
      const fibers = yield* Effect.forEach(Array.from({ length: 10 }), () =>
        start(balancer.use((lease) => Effect.succeed(lease.context.nowMillis)))
      )
      assert.strictEqual(yield* waiting(pool), 7)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(
        yield* Effect.forEach(fibers, Fiber.join),
        [0, 0, 0, 1000, 1000, 1000, 2000, 2000, 2000, 3000]
      )
      assert.strictEqual(records.length, 10)
    })
  })
  it.effect("a limit of uses at a time (saturated) is waited for without any patience", () => {
    let room = 1
    const limiter: Limiter.Limiter = {
      ...Limiter.unlimited,
      filter: () =>
        room > 0 ? undefined : { reason: "saturated", scope: "account", since: undefined, until: undefined },
      admit: () => room--,
      record: () => void room++
    }
    return using({ keys: keys("a b"), limiter }, function* ({ balancer, pool }) {
      const { held, use } = holding()
      yield* Effect.forEach([1, 2, 3], () => start(balancer.use(use)))
      assert.deepStrictEqual([held.length, yield* waiting(pool)], [1, 2])
      held[0]!.end(Exit.void)
      held[1]!.end(Exit.void)
      held[2]!.end(Exit.void)
      assert.deepStrictEqual([held.length, room, yield* inFlight(pool)], [3, 1, [0, 0]])
    })
  })
  it.effect("what it leaves a key strategies can see, as of the time of the pick", () => {
    const { limiter } = windowed(4, 1000)
    const left: Array<number | undefined> = []
    const selector = Selector.make("roomiest", (candidates, context) => {
      const room = (one: Candidate.Candidate) => context.headroom?.(one)?.requests ?? 0
      const best = candidates.reduce((a, b) => (room(b) > room(a) ? b : a))
      left.push(room(best))
      return best
    })
    return using({ keys: keys("a b"), limiter, selector }, function* ({ balancer }) {
      const id = balancer.use((lease) => Effect.succeed(lease.key.id))
      assert.deepStrictEqual([yield* id, yield* id, yield* id], ["a", "b", "a"])
      yield* TestClock.adjust(1000)
      yield* id
      assert.deepStrictEqual(left, [4, 4, 3, 4])
    })
  })
  it.effect("a key that is removed is forgotten, and its late uses are not recorded after that", () => {
    const seen = windowed(Infinity, 1)
    return using({ keys: keys("a b"), limiter: seen.limiter }, function* ({ balancer, pool }) {
      const { held, use } = holding()
      yield* start(balancer.use(use))
      yield* pool.remove("a")
      held[0]!.end(Exit.void)
      assert.deepStrictEqual([seen.forgotten, seen.records], [["a"], []])
    })
  })
  it.effect("waiting, refused and rotated requests are admitted only where they are sent", () => {
    const seen = windowed(Infinity, 1)
    return using(
      { keys: keys("a b", { maxInFlight: 1 }), limiter: seen.limiter, retry: rotating },
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
        assert.deepStrictEqual([seen.admitted.size, seen.records.length], [0, 6])
      }
    )
  })
  it.effect("one that throws keeps no count up and no waiter waiting", () =>
    Effect.forEach(["admit", "record"] as const, (what) => {
      const limiter: Limiter.Limiter = {
        ...Limiter.unlimited,
        [what]: () => {
          throw new Error("limiter bug")
        }
      }
      return using({ keys: [key("a", { maxInFlight: 1 })], limiter }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        const fibers = yield* Effect.forEach([1, 2], () => start(Effect.exit(balancer.use(use))))
        for (let n = 0; n < held.length; n++) held[n]!.end(Exit.void)
        for (const fiber of fibers) assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
        assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[0], 0])
      })
    })
  )
})
