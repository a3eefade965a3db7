import { type Errors, type Hedging, type Lease, Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import {
  failureOf,
  fault,
  holding,
  inFlight,
  key,
  keys,
  leastInFlight,
  ok,
  rotating,
  start,
  using,
  waiting,
  type Parts
} from "./utils.ts"

/** Sends a copy after 100 ms, and writes down what it is asked and told. */
const after = (delay: number | undefined = 100, allowed = true) => {
  const asked: Array<string> = []
  const seen: Array<number> = []
  const hedging: Hedging.Hedging = {
    name: "test",
    delay: () => delay,
    allow: ({ upstream }) => {
      asked.push(upstream ?? "")
      return allowed
    },
    observe: (_, elapsedMillis) => void seen.push(elapsedMillis)
  }
  return { asked, hedging, seen }
}

/** Each key's use takes so many milliseconds, and ends as it says. */
const uses = (
  ends: Readonly<Record<string, readonly [number, Effect.Effect<string, Errors.Fault | string>]>>
) => {
  const ids: Array<string> = []
  const use = (lease: Lease.Lease) => {
    ids.push(lease.key.id)
    const [millis, end] = ends[lease.key.id]!
    return Effect.andThen(Effect.sleep(millis), end)
  }
  return { ids, use }
}

/** How and when an effect ends, as time goes on for a minute. */
const run = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const begun = yield* Clock.currentTimeMillis
    const fiber = yield* start(
      Effect.flatMap(Effect.exit(effect), (exit) =>
        Effect.map(Clock.currentTimeMillis, (at) => ({ after: at - begun, exit }))
      )
    )
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  })

const counts = (pool: Parts["pool"]) =>
  Effect.map(pool.snapshot, ({ keys, waiting }) => [
    keys.map((one) => [one.leased, one.succeeded, one.faulted, one.ignored]),
    keys.map((one) => one.inFlight),
    waiting
  ])

describe("Hedging", () => {
  it.effect("an answer before the delay needs no copy, and the policy learns its time", () => {
    const { asked, hedging, seen } = after()
    return using({ keys: keys("a b"), hedging }, function* ({ balancer, pool }) {
      const { use } = uses({ a: [99, Effect.succeed("a")] })
      assert.deepStrictEqual(yield* run(balancer.use(use)), { after: 99, exit: Exit.succeed("a") })
      assert.deepStrictEqual(yield* run(balancer.use(() => Effect.fail("no"))), {
        after: 0,
        exit: Exit.fail("no")
      })
      assert.deepStrictEqual([asked, seen], [[], [99]])
      assert.deepStrictEqual((yield* counts(pool))[0], [
        [2, 1, 0, 1],
        [0, 0, 0, 0]
      ])
    })
  })
  it.effect(
    "a copy on another key that answers first wins; the loser is interrupted and may have been billed",
    () => {
      const { asked, hedging, seen } = after()
      return using({ keys: keys("a b"), hedging }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 10 })
        yield* pool.credit("b", { remaining: 10 })
        const { ids, use } = uses({ a: [5000, ok], b: [50, Effect.succeed("b")] })
        let interrupted = 0
        const watched = (lease: Lease.Lease) =>
          Effect.onInterrupt(use(lease), () => Effect.sync(() => void interrupted++))
        const options = { estimate: 3, upstream: "m", outcome: outcome(1) }
        assert.deepStrictEqual(yield* run(balancer.use(watched, options)), {
          after: 150,
          exit: Exit.succeed("b")
        })
        assert.deepStrictEqual([ids, asked, interrupted, seen], [["a", "b"], ["m"], 1, [50]])
        const [a, b] = (yield* pool.snapshot).keys
        assert.deepStrictEqual([a!.inFlight, a!.ignored, a!.credit], [0, 1, 7])
        assert.deepStrictEqual([b!.inFlight, b!.succeeded, b!.credit], [0, 1, 9])
      })
    }
  )
  it.effect("the first may still win, and then the copy is the loser", () => {
    const { hedging } = after()
    return using({ keys: keys("a b"), hedging }, function* ({ balancer, pool }) {
      const { use } = uses({ a: [200, Effect.succeed("a")], b: [500, ok] })
      assert.deepStrictEqual(yield* run(balancer.use(use)), { after: 200, exit: Exit.succeed("a") })
      assert.deepStrictEqual(yield* counts(pool), [
        [
          [1, 1, 0, 0],
          [1, 0, 0, 1]
        ],
        [0, 0],
        0
      ])
    })
  })
  it.effect(
    "one that fails does not end the other, and when both have failed the last one's failure counts",
    () =>
      Effect.forEach(
        [
          [["a", 300, "b", 150], 350],
          [["a", 150, "b", 300], 350 + 50]
        ] as const,
        ([[a, aMillis, b, bMillis]]) => {
          const { hedging } = after()
          return using({ keys: keys("a b"), hedging }, function* ({ balancer, pool }) {
            const { use } = uses({ [a]: [aMillis, Effect.fail("a")], [b]: [bMillis, Effect.fail("b")] })
            const ended = yield* run(balancer.use(use))
            // It knows what the other has met.
            const last = aMillis > 100 + bMillis ? "a" : "b"
            assert.deepStrictEqual(ended, { after: Math.max(aMillis, 100 + bMillis), exit: Exit.fail(last) })
            const good = uses({ a: [aMillis, Effect.fail("a")], b: [bMillis, Effect.succeed("b")] })
            assert.deepStrictEqual(yield* run(balancer.use(good.use)), {
              after: 100 + bMillis,
              exit: Exit.succeed("b")
            })
            assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
          })
        }
      )
  )
  it.effect("a copy is not retried, and the first goes on as if there were none", () => {
    const { hedging } = after()
    return using({ keys: keys("a b c"), hedging, retry: rotating }, function* ({ balancer }) {
      const { ids, use } = uses({
        a: [300, fault("key", "unavailable")],
        b: [50, fault("key", "throttled")],
        c: [50, Effect.succeed("c")]
      })
      assert.deepStrictEqual(yield* run(balancer.use(use)), { after: 350, exit: Exit.succeed("c") })
      assert.deepStrictEqual(ids, ["a", "b", "c"])
    })
  })
  it.effect("no copy without leave, without a time, or without another key; none waits in the queue", () =>
    Effect.gen(function* () {
      const attempt = (keys: Parameters<typeof using>[0]["keys"], { hedging }: ReturnType<typeof after>) =>
        using({ keys, hedging }, function* ({ balancer, pool }) {
          const { ids, use } = uses({ a: [500, Effect.succeed("a")], b: [500, ok] })
          const block = yield* start(
            balancer
              .use(() => Effect.never, { filter: ({ id }) => (id === "b" ? undefined : elsewhere) })
              .pipe(Effect.timeout("2 minutes"), Effect.ignore)
          )
          const fiber = yield* start(balancer.use(use))
          yield* TestClock.adjust(300)
          assert.strictEqual(yield* waiting(pool), 0)
          yield* TestClock.adjust(200)
          assert.strictEqual(yield* Fiber.join(fiber), "a")
          yield* Fiber.interrupt(block)
          return ids
        })
      assert.deepStrictEqual(yield* attempt(keys("a b"), after(100, false)), ["a"])
      assert.deepStrictEqual(
        yield* attempt(keys("a b"), { ...after(), hedging: { ...after().hedging, delay: () => undefined } }),
        ["a"]
      )
      assert.deepStrictEqual(yield* attempt([key("a"), key("b", { maxInFlight: 1 })], after()), ["a"])
      assert.deepStrictEqual(yield* attempt(keys("a b"), after()), ["a", "b"])
    })
  )
  it.effect("a request that waits for a key gets no copy: that would only wait beside it", () => {
    const { asked, hedging } = after()
    return using({ keys: [key("a", { maxInFlight: 1 })], hedging }, function* ({ balancer, pool }) {
      const { held, use } = holding()
      yield* start(balancer.use(use))
      const fiber = yield* start(balancer.use(() => ok))
      yield* TestClock.adjust(500)
      // For the one in use there is no other key, so the budget is not asked for it either.
      assert.deepStrictEqual([asked, yield* waiting(pool)], [[], 1])
      held[0]!.end(Exit.void)
      assert.strictEqual(yield* Fiber.join(fiber), "ok")
    })
  })
  it.effect("the interruption of the caller ends both, before and after the copy is sent", () =>
    Effect.forEach([50, 150], (millis) => {
      const { hedging } = after()
      return using({ keys: keys("a b"), hedging }, function* ({ balancer, pool }) {
        let interrupted = 0
        const use = Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++))
        const fiber = yield* start(balancer.use(() => use))
        yield* TestClock.adjust(millis)
        const copies = millis > 100 ? 2 : 1
        assert.strictEqual(
          (yield* inFlight(pool)).reduce((a, b) => a + b),
          copies
        )
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual([interrupted, yield* inFlight(pool)], [copies, [0, 0]])
        yield* TestClock.adjust(1000)
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
      })
    })
  )
  it.effect("one deadline holds for both", () => {
    const { hedging } = after(400)
    return using({ keys: keys("a b"), hedging }, function* ({ balancer, pool }) {
      const { after: ended, exit } = yield* run(balancer.use(() => Effect.never, { timeout: 1000 }))
      const error = yield* failureOf(exit)
      assert.strictEqual(ended, 1000)
      assert.deepStrictEqual(error._tag === "DeadlineExceeded" && [error.timeoutMillis, error.inFlight], [
        1000,
        "b"
      ])
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    })
  })
  /** Both copies come to their value in one step: the first as the second begins. */
  const both = (inBetween: () => void) => {
    const { held, use } = holding<Lease.Lease>()
    const discarded: Array<string> = []
    return {
      discarded,
      use: (lease: Lease.Lease) =>
        held.length === 0
          ? use(lease)
          : Effect.sync(() => {
              held[0]!.end(Exit.succeed(held[0]!.lease))
              inBetween()
              return lease
            }),
      options: {
        outcome: () => undefined,
        discard: (lease: Lease.Lease) =>
          Effect.as(lease.settle(Outcome.ignored()), void discarded.push(lease.key.id))
      }
    }
  }
  it.effect("a value that comes too late is given up, with the lease that it has taken over", () => {
    const { hedging } = after()
    return using({ keys: keys("a b"), hedging }, function* ({ balancer, pool }) {
      const { discarded, options, use } = both(() => {})
      const fiber = yield* start(balancer.use(use, options))
      yield* TestClock.adjust(100)
      const winner = yield* Fiber.join(fiber)
      assert.deepStrictEqual([winner.key.id, winner.settled, discarded], ["a", false, ["b"]])
      assert.deepStrictEqual(yield* inFlight(pool), [1, 0])
      yield* winner.settle(Outcome.success())
    })
  })
  it.effect("and so are both when the caller is interrupted meanwhile", () => {
    const { hedging } = after()
    return using({ keys: keys("a b"), hedging }, function* ({ balancer, pool }) {
      let caller: Fiber.Fiber<unknown, unknown> | undefined
      const { discarded, options, use } = both(() => caller!.interruptUnsafe())
      caller = yield* start(balancer.use(use, options))
      yield* TestClock.adjust(100)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(caller)))
      assert.deepStrictEqual(
        [discarded, yield* inFlight(pool)],
        [
          ["a", "b"],
          [0, 0]
        ]
      )
    })
  })
  it.effect("1,000 hedged requests at once leave nothing behind", () => {
    const { hedging } = after(10)
    return using({ keys: keys("a b c"), hedging, selector: leastInFlight }, function* ({ balancer, pool }) {
      const fibers = yield* Effect.forEach(Array.from({ length: 1000 }), (_, n) =>
        start(balancer.use((lease) => Effect.sleep((n * 7 + lease.key.id.charCodeAt(0) * 13) % 40), {}))
      )
      yield* TestClock.adjust(20)
      yield* Fiber.interruptAll(fibers.filter((_, n) => n % 3 === 0))
      yield* TestClock.adjust("1 minute")
      yield* Effect.forEach(fibers, Fiber.await)
      const { keys: states } = yield* pool.snapshot
      assert.deepStrictEqual(
        states.map((one) => one.inFlight),
        [0, 0, 0]
      )
      const total = (field: "leased" | "succeeded" | "ignored") =>
        states.reduce((sum, one) => sum + one[field], 0)
      assert.isAbove(total("leased"), 1000)
      assert.strictEqual(total("succeeded") + total("ignored"), total("leased"))
    })
  })
})

const outcome = (cost: number) => (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isSuccess(exit) ? Outcome.success(cost) : Outcome.ignored()

const elsewhere = { reason: "elsewhere", scope: "request", since: undefined, until: undefined } as const
