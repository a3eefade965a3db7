import { Errors, Filter, type Lease, Outcome, RetryPolicy, Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Duration, Effect, Exit, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import {
  failureOf,
  fault,
  first,
  holding,
  idsOf,
  inFlight,
  interruptAll,
  key,
  keys,
  leastInFlight,
  numbers,
  ok,
  policy,
  refusalOf,
  rotating,
  script,
  start,
  stateOf,
  using,
  waiting
} from "./utils.ts"

const minute = 60_000
const seconds = (n: number) => Duration.seconds(n)

describe("Balancer", () => {
  it.effect("1,000 fibers at once over 4 keys: 250 each, and 0 in flight after interrupting all", () =>
    using({ keys: keys("a b c d"), selector: leastInFlight }, function* ({ balancer, pool }) {
      const fibers = yield* Effect.forEach(Array.from({ length: 1000 }), () =>
        start(balancer.use(() => Effect.never))
      )
      assert.deepStrictEqual(yield* inFlight(pool), [250, 250, 250, 250])
      yield* Fiber.interruptAll(fibers)
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0, 0, 0])
    })
  )

  it.effect("gives the value of the use, and counts the use while it runs and not after", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      const value = yield* balancer.use((lease) =>
        Effect.as(Effect.asVoid(Effect.void), { id: lease.key.id })
      )
      assert.deepStrictEqual(value, { id: "a" })
      const during = yield* balancer.use(() => inFlight(pool))
      assert.deepStrictEqual(during, [1])
      const { inFlight: after, ignored, leased, succeeded } = yield* stateOf(pool, "a")
      assert.deepStrictEqual(
        { after, ignored, leased, succeeded },
        { after: 0, ignored: 0, leased: 2, succeeded: 2 }
      )
    })
  )

  it.effect("counts a function that throws instead of making an effect down again", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      const exit = yield* Effect.exit(
        balancer.use((): Effect.Effect<void> => {
          throw new Error("no effect")
        })
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      const state = yield* stateOf(pool, "a")
      assert.deepStrictEqual([state.inFlight, state.ignored, state.ineligible], [0, 1, undefined])
    })
  )

  it.effect("a poison request benches no key and is not tried on another", () => {
    const tries = script(Effect.fail("malformed request"))
    const seen: Array<string> = []
    const retry = policy((failure) => {
      seen.push(failure.outcome._tag)
      return RetryPolicy.rotate
    })
    return using({ keys: keys("a b c"), retry }, function* ({ balancer, pool }) {
      for (let n = 0; n < 50; n++)
        assert.strictEqual(yield* failureOf(balancer.use(tries.use)), "malformed request")
      assert.deepStrictEqual(new Set(tries.ids), new Set(["a"]))
      assert.deepStrictEqual(seen, [])
      const { keys } = yield* pool.snapshot
      assert.deepStrictEqual(
        keys.map((key) => [key.ineligible, key.faulted, key.ignored, key.inFlight]),
        [
          [undefined, 0, 50, 0],
          [undefined, 0, 0, 0],
          [undefined, 0, 0, 0]
        ]
      )
    })
  })

  it.effect("the randomness of picks comes from Random, so a seed fixes them", () => {
    const run = using({ keys: keys("a b c d"), selector: Selector.random }, function* ({ balancer }) {
      return yield* idsOf(balancer, 40)
    })
    return Effect.gen(function* () {
      const one = yield* run.pipe(Random.withSeed("one"))
      assert.deepStrictEqual(yield* run.pipe(Random.withSeed("one")), one)
      assert.notDeepEqual(yield* run.pipe(Random.withSeed("two")), one)
      assert.strictEqual(new Set(one).size, 4)
    })
  })

  describe("the scope of a fault", () => {
    const six = [
      key("a1", { account: "A", workspace: "w1" }),
      key("a2", { account: "A", workspace: "w2" }),
      key("b1", { account: "B", workspace: "w2" }),
      key("n1")
    ]
    const after = (scope: Outcome.FaultScope) =>
      using({ keys: six }, function* ({ balancer, pool }) {
        yield* failureOf(
          balancer.use(() => fault(scope, "throttled", { retryAfter: 30_000 }), { upstream: "model-x" })
        )
        const exit = yield* Effect.exit(idsOf(balancer, 1, { upstream: "model-x" }))
        const other = yield* Effect.exit(idsOf(balancer, 1, { upstream: "model-y" }))
        const snapshot = yield* pool.snapshot
        return {
          same: exit._tag === "Success" ? exit.value[0] : "refused",
          other: other._tag === "Success" ? other.value[0] : "refused",
          out: snapshot.keys.filter((key) => key.ineligible !== undefined).map((key) => key.id),
          benches: snapshot.benches.map(({ scope, id, until }) => [scope, id, until])
        }
      })

    it.effect("a key's fault benches that key alone", () =>
      Effect.map(after("key"), (seen) =>
        assert.deepStrictEqual(seen, { same: "a2", other: "a2", out: ["a1"], benches: [] })
      )
    )
    it.effect("an account's fault benches all keys of the account, and another account serves", () =>
      Effect.map(after("account"), (seen) =>
        assert.deepStrictEqual(seen, { same: "b1", other: "b1", out: ["a1", "a2"], benches: [] })
      )
    )
    it.effect("a workspace's fault benches all keys of the workspace", () =>
      using(
        { keys: six, selector: Selector.make("last", (all) => all.at(-1)!) },
        function* ({ balancer, pool }) {
          yield* pool.drain("n1")
          yield* failureOf(balancer.use(() => fault("workspace", "exhausted", { retryAfter: 30_000 })))
          const { keys } = yield* pool.snapshot
          assert.deepStrictEqual(
            keys.map((key) => [key.id, key.ineligible?.reason, key.ineligible?.scope]),
            [
              ["a1", undefined, undefined],
              ["a2", "exhausted", "workspace"],
              ["b1", "exhausted", "workspace"],
              ["n1", "draining", "key"]
            ]
          )
        }
      )
    )
    it.effect("an upstream's fault refuses that upstream alone", () =>
      Effect.map(after("upstream"), (seen) =>
        assert.deepStrictEqual(seen, {
          same: "refused",
          other: "a1",
          out: [],
          benches: [["upstream", "model-x", 30_000]]
        })
      )
    )
    it.effect("a host's fault refuses everything", () =>
      Effect.map(after("host"), (seen) =>
        assert.deepStrictEqual(seen, {
          same: "refused",
          other: "refused",
          out: ["a1", "a2", "b1", "n1"],
          benches: [["host", "host", 30_000]]
        })
      )
    )
    it.effect("an upstream or a host that names no time is not benched at all", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* failureOf(balancer.use(() => fault("upstream", "throttled"), { upstream: "x" }))
        yield* failureOf(balancer.use(() => fault("host", "throttled")))
        yield* failureOf(balancer.use(() => fault("upstream", "throttled", { retryAfter: minute })))
        assert.deepStrictEqual((yield* pool.snapshot).benches, [])
        assert.deepStrictEqual(yield* idsOf(balancer, 1, { upstream: "x" }), ["a"])
      })
    )
    it.effect("a key whose account is not known shares its fate with no other", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        yield* failureOf(balancer.use(() => fault("account", "throttled", { retryAfter: minute })))
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["b"])
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.scope, "account")
      })
    )
    it.effect("what is insufficient for one request benches nobody", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        yield* failureOf(balancer.use(() => fault("key", "insufficient", { retryAfter: minute })))
        yield* failureOf(balancer.use(() => fault("account", "insufficient")))
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
        assert.strictEqual((yield* stateOf(pool, "a")).faulted, 2)
      })
    )
  })

  describe("cooldowns", () => {
    it.effect("a Retry-After is the deadline, to the millisecond", () =>
      using({ keys: keys("a b") }, function* ({ balancer }) {
        yield* failureOf(balancer.use(() => fault("key", "throttled", { retryAfter: 12_345 })))
        yield* TestClock.adjust(12_344)
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["b"])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
      })
    )
    it.effect("of two deadlines the later one holds, in whichever order they come", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        const held = holding<void, Errors.Fault>()
        const fibers = yield* Effect.forEach([1, 2, 3, 4], () => start(balancer.use(held.use)))
        const end = (n: number, retryAfter: number) =>
          Effect.sync(() =>
            held.held[n]!.end(Exit.fail(new Errors.Fault({ outcome: throttled(retryAfter) })))
          )
        yield* end(0, 20_000)
        yield* end(1, 10_000)
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.until, 20_000)
        yield* TestClock.adjust(1000)
        yield* end(2, 30_000)
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.until, 31_000)
        yield* end(3, 1000)
        const { ineligible } = yield* stateOf(pool, "a")
        assert.deepStrictEqual([ineligible?.until, ineligible?.since], [31_000, 0])
        yield* interruptAll(fibers)
      })
    )
    const throttled = (retryAfter: number) => {
      const exit = Effect.runSyncExit(fault("key", "throttled", { retryAfter }))
      return (Exit.isFailure(exit) ? (Cause.squash(exit.cause) as Errors.Fault) : undefined)!.outcome
    }
    const untilAfter = (balancer: Parameters<typeof idsOf>[0], reason: Outcome.FaultReason) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        yield* failureOf(balancer.use(() => fault("key", reason)))
        const error = yield* refusalOf(balancer.use(() => ok))
        const until = error.keys[0]!.until!
        yield* TestClock.adjust(until - now)
        return until - now
      })
    it.effect(
      "without a Retry-After the cooldown doubles with each probe that fails, up to its maximum",
      () =>
        using({ keys: keys("a") }, function* ({ balancer, pool }) {
          const lengths: Array<number> = []
          for (let n = 0; n < 6; n++) lengths.push(yield* untilAfter(balancer, "throttled"))
          assert.deepStrictEqual(lengths, [5000, 10_000, 20_000, 40_000, minute, minute])
          yield* balancer.use(() => ok)
          assert.strictEqual(yield* untilAfter(balancer, "throttled"), 5000)
          yield* pool.readmit("key", "a")
          const exhausted: Array<number> = []
          for (let n = 0; n < 6; n++) exhausted.push((yield* untilAfter(balancer, "exhausted")) / minute)
          assert.deepStrictEqual(exhausted, [5, 10, 20, 40, 60, 60])
          yield* pool.readmit("key", "a")
          assert.strictEqual(yield* untilAfter(balancer, "rejected"), minute)
        })
    )
    it.effect("a burst of faults at the same time counts as one, before the bench and after it", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const burst = Effect.gen(function* () {
          const held = holding<void, Errors.Fault>()
          const fibers = yield* Effect.forEach(Array.from({ length: 20 }), () =>
            start(Effect.exit(balancer.use(held.use)))
          )
          for (const { end } of held.held) {
            end(
              Exit.fail(new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "throttled" }) }))
            )
          }
          yield* Effect.forEach(fibers, Fiber.join)
          return (yield* stateOf(pool, "a")).ineligible!.until! - (yield* Clock.currentTimeMillis)
        })
        assert.strictEqual(yield* burst, 5000)
        yield* TestClock.adjust(5000)
        assert.strictEqual(yield* burst, 10_000)
      })
    )
    it.effect("cooldowns of one's own replace the defaults one by one, and unavailable is no cooldown", () =>
      using(
        { keys: keys("a b"), pool: { cooldowns: { throttled: { base: "2 seconds", max: "3 seconds" } } } },
        function* ({ balancer, pool }) {
          yield* failureOf(balancer.use(() => fault("key", "unavailable")))
          assert.strictEqual((yield* stateOf(pool, "a")).ineligible, undefined)
          yield* failureOf(balancer.use(() => fault("key", "throttled")))
          assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.until, 2000)
          yield* failureOf(balancer.use(() => fault("key", "rejected")))
          assert.strictEqual((yield* stateOf(pool, "b")).ineligible?.until, minute)
        }
      )
    )
    it.effect("an unavailable that names a time is benched for it", () =>
      using({ keys: keys("a b") }, function* ({ balancer }) {
        yield* failureOf(balancer.use(() => fault("key", "unavailable", { retryAfter: 1000 })))
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["b"])
      })
    )
  })

  describe("probation", () => {
    for (const [reason, wait] of [
      ["rejected", minute],
      ["exhausted", 5 * minute]
    ] as const) {
      it.effect(`after "${reason}" one probe goes ahead of 100, and its success lets all in`, () =>
        using({ keys: keys("a"), pool: { slowStart: 0 } }, function* ({ balancer, pool }) {
          yield* failureOf(balancer.use(() => fault("key", reason)))
          yield* TestClock.adjust(wait)
          const { held, use } = holding()
          yield* Effect.forEach(Array.from({ length: 100 }), () => start(balancer.use(use)))
          assert.deepStrictEqual([held.length, yield* waiting(pool)], [1, 99])
          held[0]!.end(Exit.void)
          assert.strictEqual((yield* stateOf(pool, "a")).ineligible, undefined)
          assert.deepStrictEqual([held.length, yield* inFlight(pool), yield* waiting(pool)], [100, [99], 0])
        })
      )
      it.effect(`after "${reason}" the failure of the one probe refuses all that waited for it`, () =>
        using({ keys: keys("a") }, function* ({ balancer, pool }) {
          yield* failureOf(balancer.use(() => fault("key", reason)))
          yield* TestClock.adjust(wait)
          const { held, use } = holding<void, Errors.Fault>()
          const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () =>
            start(failureOf(balancer.use(use)))
          )
          held[0]!.end(Exit.fail(new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason }) })))
          const errors = yield* Effect.forEach(fibers, Fiber.join)
          assert.strictEqual(held.length, 1)
          assert.deepStrictEqual(
            new Set(errors.slice(1).map((error) => error._tag === "NoEligibleKey" && error.retryAt)),
            new Set([3 * wait])
          )
          assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[0], 0])
        })
      )
      it.effect(`after "${reason}" nobody waits for the probe when maxWaiting is 0`, () =>
        using({ keys: keys("a"), balancer: { maxWaiting: 0 } }, function* ({ balancer }) {
          yield* failureOf(balancer.use(() => fault("key", reason)))
          yield* TestClock.adjust(wait)
          yield* start(balancer.use(() => Effect.never))
          const error = yield* refusalOf(balancer.use(() => ok))
          assert.deepStrictEqual(
            error.keys.map((no) => [no.reason, no.scope, no.until]),
            [["probing", "key", undefined]]
          )
        })
      )
    }
    it.effect("a probe that is ignored, interrupted or dies frees its place for the next", () =>
      using({ keys: keys("a"), balancer: { maxWaiting: 0 } }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "rejected", for: 1000 })
        yield* TestClock.adjust(1000)
        const { held, use } = holding<void, string>()
        const ends: ReadonlyArray<(fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<unknown>> = [
          (fiber) => Fiber.interrupt(fiber),
          () => Effect.sync(() => held.at(-1)!.end(Exit.fail("malformed request"))),
          () => Effect.sync(() => held.at(-1)!.end(Exit.die("bug")))
        ]
        for (const end of ends) {
          const fiber = yield* start(Effect.exit(balancer.use(use)))
          assert.strictEqual((yield* refusalOf(balancer.use(() => ok))).keys[0]?.reason, "probing")
          yield* end(fiber)
          assert.strictEqual((yield* stateOf(pool, "a")).ineligible, undefined)
        }
        assert.strictEqual(held.length, 3)
      })
    )
    it.effect("a probe that fails benches again, for longer", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* failureOf(balancer.use(() => fault("key", "rejected")))
        yield* TestClock.adjust(minute)
        yield* failureOf(balancer.use(() => fault("key", "rejected")))
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.until, 3 * minute)
      })
    )
    it.effect("an account on probation is proved by one probe for all its keys", () =>
      using(
        { keys: keys("a b", { account: "A" }), balancer: { maxWaiting: 0 } },
        function* ({ balancer, pool }) {
          yield* failureOf(balancer.use(() => fault("account", "exhausted")))
          yield* TestClock.adjust(5 * minute)
          const { held, use } = holding()
          yield* start(balancer.use(use))
          const error = yield* refusalOf(balancer.use(() => ok))
          assert.deepStrictEqual(
            error.keys.map((no) => [no.keyId, no.reason, no.scope]),
            [
              ["a", "probing", "account"],
              ["b", "probing", "account"]
            ]
          )
          held[0]!.end(Exit.void)
          assert.deepStrictEqual(
            (yield* pool.snapshot).keys.map((key) => key.ineligible),
            [undefined, undefined]
          )
        }
      )
    )
    it.effect("the late success of a use that began before the bench does not lift it", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const { held, use } = holding<void, Errors.Fault>()
        const early = yield* start(balancer.use(use))
        yield* failureOf(balancer.use(() => fault("key", "rejected")))
        held[0]!.end(Exit.void)
        yield* Fiber.join(early)
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.reason, "rejected")
      })
    )
    it.effect("a throttled key just goes on when its time is up", () =>
      using({ keys: keys("a"), pool: { slowStart: 0 } }, function* ({ balancer, pool }) {
        yield* failureOf(balancer.use(() => fault("key", "throttled")))
        yield* TestClock.adjust(5000)
        yield* Effect.forEach(Array.from({ length: 100 }), () => start(balancer.use(() => Effect.never)))
        assert.deepStrictEqual(yield* inFlight(pool), [100])
      })
    )
    it.effect("uses that went on after a throttling are no probes of a rejection that comes later", () =>
      using({ keys: keys("a"), pool: { slowStart: 0 } }, function* ({ balancer, pool }) {
        yield* failureOf(balancer.use(() => fault("key", "throttled")))
        yield* TestClock.adjust(5000)
        yield* start(balancer.use(() => Effect.never))
        yield* failureOf(balancer.use(() => fault("key", "rejected", { retryAfter: minute })))
        yield* TestClock.adjust(minute)
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible, undefined)
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
      })
    )
  })

  describe("when no key can serve", () => {
    it.effect("it says for each key why, whose fault, since when and until when, and when to come back", () =>
      using(
        {
          keys: [key("a", { account: "A" }), key("b"), key("c", { maxInFlight: 1 }), key("d"), key("e")],
          balancer: {
            maxWaiting: 0,
            filters: [
              (candidate) =>
                candidate.id === "e"
                  ? { reason: "out of office", scope: "key", since: undefined, until: 99_000 }
                  : undefined
            ]
          }
        },
        function* ({ balancer, pool }) {
          yield* TestClock.adjust(1000)
          yield* pool.bench({ scope: "account", id: "A", reason: "throttled", for: 20_000 })
          yield* pool.bench({ scope: "key", id: "b", reason: "rejected", for: minute })
          yield* pool.drain("d")
          yield* start(balancer.use(() => Effect.never))
          yield* TestClock.adjust(500)
          const error = yield* refusalOf(balancer.use(() => ok))
          const out = { ...numbers, eligible: false, scope: "key" } as const
          assert.deepStrictEqual(error.keys, [
            {
              ...out,
              keyId: "a",
              account: "A",
              reason: "throttled",
              scope: "account",
              since: 1000,
              until: 21_000
            },
            { ...out, keyId: "b", reason: "rejected", since: 1000, until: 61_000 },
            {
              ...out,
              keyId: "c",
              reason: "saturated",
              inFlight: 1,
              maxInFlight: 1,
              since: undefined,
              until: undefined
            },
            { ...out, keyId: "d", reason: "draining", since: 1000, until: undefined },
            { ...out, keyId: "e", reason: "out of office", since: undefined, until: 99_000 }
          ])
          assert.strictEqual(error.retryAt, 21_000)
          assert.deepStrictEqual(error.attempts, [])
          assert.strictEqual(error.lastError, undefined)
          assert.strictEqual(
            error.message,
            "No key can serve: a throttled (account) until 1970-01-01T00:00:21.000Z; b rejected until " +
              "1970-01-01T00:01:01.000Z; c saturated; d draining; e out of office until 1970-01-01T00:01:39.000Z; " +
              "the earliest at 1970-01-01T00:00:21.000Z"
          )
        }
      )
    )
    it.effect("an empty pool says that it is empty", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* pool.remove("a")
        const error = yield* refusalOf(balancer.use(() => ok))
        assert.deepStrictEqual([error.keys, error.retryAt], [[], undefined])
        assert.strictEqual(error.message, "No key can serve: the pool is empty")
      })
    )
    it.effect("all keys exhausted is a typed error, never the first key anyway", () =>
      using({ keys: keys("a b c") }, function* ({ balancer }) {
        const used: Array<string> = []
        for (const retryAfter of [30_000, 10_000, 20_000]) {
          yield* failureOf(balancer.use(() => fault("key", "exhausted", { retryAfter })))
        }
        const error = yield* refusalOf(
          balancer.use((lease) => {
            used.push(lease.key.id)
            return ok
          })
        )
        assert.deepStrictEqual(used, [])
        assert.deepStrictEqual(
          error.keys.map((no) => [no.keyId, no.reason]),
          [
            ["a", "exhausted"],
            ["b", "exhausted"],
            ["c", "exhausted"]
          ]
        )
        assert.strictEqual(error.retryAt, 10_000)
      })
    )
    it.effect(
      "its verdicts are those of the moment of the refusal, though the clock goes on meanwhile",
      () => {
        // A clock that ticks at each look: a key that comes back between the pick and the report must not vanish from it.
        let now = 0
        const ticking: Clock.Clock = {
          currentTimeMillisUnsafe: () => now++,
          currentTimeMillis: Effect.sync(() => now++),
          currentTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
          currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
          monotonicTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
          monotonicTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
          sleep: () => Effect.void
        }
        return using({ keys: keys("a") }, function* ({ balancer, pool }) {
          const ends: Array<string> = []
          for (let millis = 1; millis <= 20; millis++) {
            yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: millis })
            const until = now - 1 + millis
            const exit = yield* Effect.exit(balancer.use(() => ok))
            if (Exit.isSuccess(exit)) ends.push("served")
            else {
              const error = Cause.squash(exit.cause) as Errors.NoEligibleKey
              assert.deepStrictEqual(
                error.keys.map((no) => [no.reason, no.until]),
                [["throttled", until]]
              )
              ends.push("refused")
            }
          }
          // Wherever in between the key comes back, the request is served, or told what kept it away.
          assert.deepStrictEqual(ends, ends.toSorted().toReversed())
          assert.strictEqual(new Set(ends).size, 2)
        }).pipe(Effect.provideService(Clock.Clock, ticking))
      }
    )
    it.effect("it has no stack trace, and other errors keep theirs", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const limit = Error.stackTraceLimit
        yield* pool.drain("a")
        const error = yield* refusalOf(balancer.use(() => ok))
        assert.notInclude(error.stack ?? "", "    at ")
        assert.strictEqual(Error.stackTraceLimit, limit)
        assert.include(new Error("other").stack, "    at ")
      })
    )
  })

  describe("a strategy that misbehaves", () => {
    const misfits: ReadonlyArray<readonly [string, Selector.Picker["pick"]]> = [
      ["returns an object it was not given", () => ({ ...({} as never as object), id: "stranger" }) as never],
      ["returns nothing", () => undefined as never],
      [
        "throws",
        () => {
          throw new Error("selector bug")
        }
      ]
    ]
    for (const [what, pick] of misfits) {
      it.effect(`a selector that ${what} is a defect of that request, and nothing stays in flight`, () =>
        using({ keys: keys("a b"), selector: Selector.make("misfit", pick) }, function* ({ balancer, pool }) {
          const exit = yield* Effect.exit(balancer.use(() => ok))
          assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause) && !Cause.hasFails(exit.cause))
          assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
          assert.strictEqual((yield* stateOf(pool, "a")).leased, 0)
        })
      )
    }
    it.effect(
      "a selector that chooses a key which the filters refused is a defect that names the selector",
      () => {
        let remembered: Parameters<Selector.Picker["pick"]>[0][0] | undefined
        const stale = Selector.make("stale", (candidates) => (remembered ??= candidates[0]))
        return using({ keys: keys("a b"), selector: stale }, function* ({ balancer, pool }) {
          yield* balancer.use(() => ok)
          yield* pool.drain("a")
          const exit = yield* Effect.exit(balancer.use(() => ok))
          assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), 'The selector "stale"')
          assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
        })
      }
    )
    it.effect(
      "a selector that throws for a waiting request fails that one, and not the use that made room",
      () => {
        let calls = 0
        const moody = Selector.make("moody", (candidates) => {
          if (++calls === 2) throw new Error("selector bug")
          return candidates[0]
        })
        return using(
          { keys: [key("a", { maxInFlight: 1 })], selector: moody },
          function* ({ balancer, pool }) {
            const { held, use } = holding()
            const one = yield* start(balancer.use(use))
            const two = yield* start(Effect.exit(balancer.use(() => ok)))
            const three = yield* start(balancer.use(() => ok))
            held[0]!.end(Exit.void)
            yield* Fiber.join(one)
            const exit = yield* Fiber.join(two)
            assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
            assert.strictEqual(yield* Fiber.join(three), "ok")
            assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[0], 0])
          }
        )
      }
    )
    it.effect("a picker whose settled throws keeps no count up, no probe taken and no waiter waiting", () => {
      const selector: Selector.Selector = {
        name: "sore",
        make: Effect.succeed({
          pick: (candidates) => candidates[0],
          settled: () => {
            throw new Error("settled bug")
          }
        })
      }
      return using({ keys: [key("a", { maxInFlight: 1 })], selector }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        const one = yield* start(Effect.exit(balancer.use(use)))
        const two = yield* start(Effect.exit(balancer.use(use)))
        held[0]!.end(Exit.void)
        assert.strictEqual(held.length, 2)
        held[1]!.end(Exit.void)
        for (const fiber of [one, two]) assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
        const state = yield* stateOf(pool, "a")
        assert.deepStrictEqual([state.inFlight, state.succeeded, yield* waiting(pool)], [0, 2, 0])
      })
    })
    it.effect(
      "picker.settled is told once for each pick, after the counts are down, with the time it took",
      () => {
        const told: Array<unknown> = []
        const selector: Selector.Selector = {
          name: "diary",
          make: Effect.succeed({
            pick: (candidates) => candidates[0],
            settled: (candidate, outcome, timing) =>
              void told.push([
                candidate.id,
                candidate.inFlight,
                outcome._tag,
                timing.nowMillis,
                timing.elapsedMillis
              ])
          })
        }
        return using({ keys: keys("a"), selector }, function* ({ balancer }) {
          yield* TestClock.adjust(100)
          const fiber = yield* start(balancer.use(() => Effect.sleep(250)))
          yield* TestClock.adjust(250)
          yield* Fiber.join(fiber)
          yield* Effect.exit(balancer.use(() => Effect.fail("no")))
          yield* Effect.exit(balancer.use(() => fault("key", "throttled")))
          assert.deepStrictEqual(told, [
            ["a", 0, "Success", 350, 250],
            ["a", 0, "Ignored", 350, 0],
            ["a", 0, "Faulted", 350, 0]
          ])
        })
      }
    )
    it.effect("a filter that throws is a defect, and nothing stays in flight", () =>
      using(
        {
          keys: keys("a"),
          balancer: {
            filters: [
              () => {
                throw new Error("filter bug")
              }
            ]
          }
        },
        function* ({ balancer, pool }) {
          const exit = yield* Effect.exit(balancer.use(() => ok))
          assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
          assert.deepStrictEqual(yield* inFlight(pool), [0])
        }
      )
    )
    it.effect("a selector's own facts and the balancer's filters both count", () =>
      using(
        {
          keys: keys("a b c"),
          selector: {
            ...first,
            eligible: (candidate) =>
              candidate.id === "a"
                ? { reason: "mine", scope: "key", since: undefined, until: undefined }
                : undefined
          },
          balancer: {
            filters: [
              Filter.all((candidate) =>
                candidate.id === "b"
                  ? { reason: "yours", scope: "key", since: undefined, until: 5 }
                  : undefined
              )
            ]
          }
        },
        function* ({ balancer, pool }) {
          assert.deepStrictEqual(yield* idsOf(balancer, 1), ["c"])
          yield* pool.remove("c")
          const error = yield* refusalOf(balancer.use(() => ok))
          assert.deepStrictEqual(
            error.keys.map((no) => no.reason),
            ["mine", "yours"]
          )
        }
      )
    )

    it.effect("a request's own facts hold for it alone, after each retry and while it waits", () => {
      const only =
        (id: string): Filter.Filter =>
        (candidate) =>
          candidate.id === id
            ? undefined
            : { reason: "elsewhere", scope: "request", since: undefined, until: undefined }
      const setup = { keys: keys("a b", { maxInFlight: 1 }), retry: rotating }
      return using(setup, function* ({ balancer }) {
        const use = (id: string, f = (lease: Lease.Lease) => Effect.succeed(lease.key.id)) =>
          balancer.use(f, { filter: only(id) })
        assert.deepStrictEqual([yield* use("b"), ...(yield* idsOf(balancer, 1))], ["b", "a"])
        const holder = yield* start(use("b", () => Effect.never))
        const waiter = yield* start(use("b"))
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
        yield* Fiber.interrupt(holder)
        assert.strictEqual(yield* Fiber.join(waiter), "b")
        const rejected = new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "rejected" }) })
        const error = yield* refusalOf(Effect.scoped(balancer.lease({ filter: only("c") })))
        assert.deepStrictEqual(
          error.keys.map((no) => no.reason),
          ["elsewhere", "elsewhere"]
        )
        const refused = yield* refusalOf(balancer.use(() => rejected, { filter: only("b") }))
        assert.deepStrictEqual(
          refused.keys.map((no) => no.reason),
          ["elsewhere", "rejected"]
        )
      })
    })
  })

  describe("the outcome of a use", () => {
    it.effect("an outcome callback that throws is a defect, and the use is settled as ignored", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const exit = yield* Effect.exit(
          balancer.use(() => ok, {
            outcome: () => {
              throw new Error("outcome bug")
            }
          })
        )
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        const state = yield* stateOf(pool, "a")
        assert.deepStrictEqual([state.inFlight, state.ignored, state.ineligible], [0, 1, undefined])
      })
    )
    it.effect("undefined for a value leaves the lease open until it is settled by hand, once", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const lease = yield* balancer.use((lease) => Effect.succeed(lease), { outcome: () => undefined })
        assert.deepStrictEqual([lease.settled, yield* inFlight(pool)], [false, [1]])
        assert.isTrue(yield* lease.settle(Outcome.success(0.5)))
        assert.isFalse(yield* lease.settle(Outcome.success(0.5)))
        assert.isFalse(lease.settleUnsafe(Outcome.ignored()))
        const state = yield* stateOf(pool, "a")
        assert.deepStrictEqual(
          [lease.settled, state.inFlight, state.succeeded, state.ignored, state.spent],
          [true, 0, 1, 0, 0.5]
        )
      })
    )
    it.effect("undefined for a failure or an interruption does not leave the lease open", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const options = { outcome: () => undefined }
        yield* Effect.exit(balancer.use(() => Effect.fail("no"), options))
        const fiber = yield* start(balancer.use(() => Effect.never, options))
        yield* Fiber.interrupt(fiber)
        const state = yield* stateOf(pool, "a")
        assert.deepStrictEqual([state.inFlight, state.ignored], [0, 2])
      })
    )
    it.effect("a use settled by hand is not settled again by the balancer", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* balancer.use((lease) => lease.settle(Outcome.success(1)))
        yield* Effect.exit(
          balancer.use((lease) => Effect.andThen(lease.settle(Outcome.success(2)), fault("key", "rejected")))
        )
        const state = yield* stateOf(pool, "a")
        assert.deepStrictEqual(
          [state.succeeded, state.faulted, state.spent, state.ineligible],
          [2, 0, 3, undefined]
        )
      })
    )
    it.effect("a value that the callback calls a fault benches, and reaches the caller all the same", () =>
      using({ keys: keys("a b") }, function* ({ balancer }) {
        const value = yield* balancer.use((lease) => Effect.succeed(lease.key.id), {
          outcome: () => Outcome.faulted({ scope: "key", reason: "throttled" })
        })
        assert.strictEqual(value, "a")
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["b"])
      })
    )
    it.effect("the callback sees the exit and the lease", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const seen: Array<unknown> = []
        yield* balancer.use(() => Effect.succeed(7), {
          outcome: (exit, lease) => {
            seen.push([
              Exit.isSuccess(exit) && exit.value,
              lease.key.id,
              lease.candidate.inFlight,
              lease.context.attempt
            ])
            return Outcome.success(0.25)
          }
        })
        assert.deepStrictEqual(seen, [[7, "a", 1, 0]])
        assert.strictEqual((yield* stateOf(pool, "a")).spent, 0.25)
      })
    )
  })

  describe("with a retry policy", () => {
    it.effect("without one, every failure goes to the caller", () =>
      using({ keys: keys("a b") }, function* ({ balancer }) {
        const tries = script(fault("key", "throttled", { cause: "first" }), ok)
        const error = yield* failureOf(balancer.use(tries.use))
        assert.strictEqual(error instanceof Errors.Fault && error.cause, "first")
        assert.deepStrictEqual(tries.ids, ["a"])
      })
    )
    it.effect(
      "rotating goes to a key not tried, and ends with NoEligibleKey and the trail of all attempts",
      () => {
        const attempts: Array<number> = []
        const retry = policy((failure) => {
          attempts.push(failure.attempt)
          return RetryPolicy.rotate
        })
        return using({ keys: keys("a b c"), retry }, function* ({ balancer, pool }) {
          const causes = ["one", "two", "three"]
          const tries = script(...causes.map((cause) => fault("key", "unavailable", { cause })))
          const error = yield* refusalOf(balancer.use(tries.use))
          assert.deepStrictEqual(tries.ids, ["a", "b", "c"])
          assert.deepStrictEqual(attempts, [0, 1, 2])
          assert.deepStrictEqual(
            error.attempts.map(({ attempt, durationMillis, keyId, outcome }) => [
              keyId,
              attempt,
              durationMillis,
              outcome._tag === "Faulted" && outcome.reason
            ]),
            [
              ["a", 0, 0, "unavailable"],
              ["b", 1, 0, "unavailable"],
              ["c", 2, 0, "unavailable"]
            ]
          )
          assert.strictEqual((error.lastError as Errors.Fault).cause, "three")
          assert.deepStrictEqual(
            error.keys.map((no) => [no.reason, no.scope]),
            [
              ["tried", "request"],
              ["tried", "request"],
              ["tried", "request"]
            ]
          )
          assert.deepStrictEqual(yield* inFlight(pool), [0, 0, 0])
        })
      }
    )
    it.effect("a rotation that succeeds gives the value, and the context counts the attempts", () =>
      using({ keys: keys("a b c"), retry: rotating }, function* ({ balancer }) {
        const contexts: Array<number> = []
        const value = yield* balancer.use((lease): Effect.Effect<string, Errors.Fault> => {
          contexts.push(lease.context.attempt)
          return lease.key.id === "c" ? Effect.succeed("served by c") : fault("key", "unavailable")
        })
        assert.strictEqual(value, "served by c")
        assert.deepStrictEqual(contexts, [0, 1, 2])
      })
    )
    it.effect(
      "rotating away from an account's fault leaves out all keys of the account, though none is benched",
      () =>
        using(
          {
            keys: [...keys("a1 a2 a3", { account: "A" }), key("b1")],
            retry: rotating
          },
          function* ({ balancer }) {
            const tries = script(fault("account", "unavailable"), ok)
            yield* balancer.use(tries.use)
            assert.deepStrictEqual(tries.ids, ["a1", "b1"])
          }
        )
    )
    it.effect("the faulted key of one request is still offered to others", () =>
      using({ keys: keys("a b"), retry: rotating }, function* ({ balancer }) {
        yield* balancer.use((lease): Effect.Effect<string, Errors.Fault> =>
          lease.key.id === "a" ? fault("key", "unavailable") : ok
        )
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
      })
    )
    it.effect("a timed retry sleeps, then offers the tried keys again", () => {
      let n = 0
      const retry = policy(() => (++n === 2 ? RetryPolicy.retry(seconds(3)) : RetryPolicy.rotate))
      return using({ keys: keys("a b"), retry }, function* ({ balancer, pool }) {
        const down = fault("key", "unavailable")
        const tries = script(down, down, down, ok)
        const fiber = yield* start(balancer.use(tries.use))
        assert.deepStrictEqual(tries.ids, ["a", "b"])
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
        yield* TestClock.adjust(2999)
        assert.deepStrictEqual(tries.ids, ["a", "b"])
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* Fiber.join(fiber), "ok")
        assert.deepStrictEqual(tries.ids, ["a", "b", "a", "b"])
      })
    })
    it.effect("a sleep between two tries can be interrupted", () =>
      using(
        { keys: keys("a"), retry: policy(() => RetryPolicy.retry(seconds(3600))) },
        function* ({ balancer, pool }) {
          const tries = script(fault("key", "unavailable"))
          const fiber = yield* start(balancer.use(tries.use))
          yield* Fiber.interrupt(fiber)
          yield* TestClock.adjust("2 hours")
          assert.deepStrictEqual([tries.ids, yield* inFlight(pool)], [["a"], [0]])
        }
      )
    )
    it.effect("a policy that decides for ever can be interrupted, and holds no key meanwhile", () => {
      const retry: RetryPolicy.RetryPolicy = {
        name: "slow",
        start: Effect.succeed({ decide: () => Effect.never })
      }
      return using({ keys: keys("a"), retry }, function* ({ balancer, pool }) {
        const fiber = yield* start(balancer.use(() => fault("key", "unavailable")))
        assert.deepStrictEqual(yield* inFlight(pool), [0])
        yield* Fiber.interrupt(fiber)
      })
    })
    it.effect("being refused is no failure: the policy is not asked, and says only how patient it is", () => {
      let asked = 0
      const decide = () => {
        asked++
        return RetryPolicy.rotate
      }
      return using({ keys: keys("a"), retry: policy(decide, "10 seconds") }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 10_000 })
        const fiber = yield* start(balancer.use(() => ok))
        yield* TestClock.adjust(9999)
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* Fiber.join(fiber), "ok")
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 10_001 })
        const error = yield* refusalOf(balancer.use(() => ok))
        assert.deepStrictEqual([error.retryAt, asked], [20_001, 0])
      })
    })
    it.effect(
      "a policy starts at the first failure of a request, once, and never for one that succeeds",
      () => {
        let started = 0
        const retry: RetryPolicy.RetryPolicy = {
          name: "counting",
          start: Effect.sync(() => {
            started++
            return { decide: () => Effect.succeed(RetryPolicy.rotate) }
          })
        }
        return using({ keys: keys("a b c"), retry }, function* ({ balancer }) {
          yield* balancer.use(() => ok)
          assert.strictEqual(started, 0)
          yield* balancer.use(script(fault("key", "unavailable"), fault("key", "unavailable"), ok).use)
          assert.strictEqual(started, 1)
        })
      }
    )
    it.effect("10,000 retries of one request need no stack", () => {
      let left = 10_000
      const retry = policy(() => (left-- > 0 ? RetryPolicy.retry(seconds(0)) : RetryPolicy.stop))
      return using({ keys: keys("a"), retry }, function* ({ balancer, pool }) {
        const fiber = yield* start(Effect.exit(balancer.use(() => fault("key", "unavailable"))))
        while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust(1)
        assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
        assert.deepStrictEqual((yield* stateOf(pool, "a")).faulted, 10_001)
      })
    })
  })

  describe("waiting for a permit", () => {
    const two = keys("a b", { maxInFlight: 3 })

    it.effect(
      "100 uses over 2 keys of 3 permits: never more than 3 each, all served in the order they came, without polling",
      () => {
        let picks = 0
        const counting = Selector.make("counting", (candidates) => {
          picks++
          return candidates.reduce((least, next) => (next.inFlight < least.inFlight ? next : least))
        })
        return using({ keys: two, selector: counting }, function* ({ balancer, pool }) {
          let most = 0
          const began: Array<number> = []
          const { held, use } = holding()
          const fibers = yield* Effect.forEach(Array.from({ length: 100 }), (_, n) =>
            start(
              balancer.use((lease) => {
                began.push(n)
                most = Math.max(most, lease.candidate.inFlight)
                return use(lease)
              })
            )
          )
          assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool), picks], [[3, 3], 94, 6])
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(picks, 6)
          for (let n = 0; n < 100; n++) held[n]!.end(Exit.void)
          yield* Effect.forEach(fibers, Fiber.join)
          assert.strictEqual(most, 3)
          assert.deepStrictEqual(
            began,
            Array.from({ length: 100 }, (_, n) => n)
          )
          assert.strictEqual(picks, 100)
          assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[0, 0], 0])
        })
      }
    )
    it.effect("10,000 waiting uses that end as soon as they begin are all served", () =>
      using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        yield* start(balancer.use(use))
        const fibers = yield* Effect.forEach(Array.from({ length: 10_000 }), () =>
          start(balancer.use(() => ok))
        )
        assert.strictEqual(yield* waiting(pool), 10_000)
        held[0]!.end(Exit.void)
        yield* Effect.forEach(fibers, Fiber.join)
        const state = yield* stateOf(pool, "a")
        assert.deepStrictEqual([state.inFlight, state.succeeded], [0, 10_001])
      })
    )
    it.effect("interrupting who waits removes it, and loses no permit and no place in the queue", () =>
      using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        yield* start(balancer.use(use))
        const [one, two, three] = yield* Effect.forEach([1, 2, 3], () =>
          start(Effect.exit(balancer.use(use)))
        )
        yield* Fiber.interrupt(two!)
        assert.strictEqual(yield* waiting(pool), 2)
        yield* Fiber.interrupt(one!)
        held[0]!.end(Exit.void)
        assert.strictEqual(held.length, 2)
        held[1]!.end(Exit.void)
        assert.isTrue(Exit.isSuccess(yield* Fiber.join(three!)))
        assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[0], 0])
      })
    )
    it.effect("no more than maxWaiting may wait, and the next one is told that all keys are saturated", () =>
      using({ keys: two, balancer: { maxWaiting: 5 } }, function* ({ balancer, pool }) {
        yield* Effect.forEach(Array.from({ length: 11 }), () => start(balancer.use(() => Effect.never)))
        const error = yield* refusalOf(balancer.use(() => ok))
        assert.deepStrictEqual(
          error.keys.map((no) => no.reason),
          ["saturated", "saturated"]
        )
        assert.deepStrictEqual([error.retryAt, yield* waiting(pool)], [undefined, 5])
      })
    )
    it.effect("with maxWaiting 0 nobody waits", () =>
      using(
        { keys: [key("a", { maxInFlight: 1 })], balancer: { maxWaiting: 0 } },
        function* ({ balancer, pool }) {
          yield* start(balancer.use(() => Effect.never))
          yield* refusalOf(balancer.use(() => ok))
          assert.strictEqual(yield* waiting(pool), 0)
        }
      )
    )
    const goneBy: ReadonlyArray<
      readonly [
        string,
        string,
        (parts: any, end: (exit: Exit.Exit<any, any>) => void) => Effect.Effect<unknown, any, any>
      ]
    > = [
      ["draining", "draining", ({ pool }) => start(pool.drain("a"))],
      [
        "a bench by hand",
        "rejected",
        ({ pool }) => pool.bench({ scope: "key", id: "a", reason: "rejected", for: 1000 })
      ],
      [
        "a bench of the host",
        "unavailable",
        ({ pool }) => pool.bench({ scope: "host", id: "host", reason: "unavailable", for: 1000 })
      ],
      [
        "a reading of no credit",
        "exhausted",
        ({ pool }) => pool.credit("a", { remaining: 0, requestedAt: 0 })
      ],
      ["removal", "", ({ pool }) => pool.remove("a")],
      [
        "a fault of the use that ran",
        "throttled",
        (_, end) =>
          Effect.sync(() =>
            end(
              Exit.fail(new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "throttled" }) }))
            )
          )
      ]
    ]
    for (const [what, reason, act] of goneBy) {
      it.effect(`who waits for a key that is out by ${what} is sent away at once, and told why`, () =>
        using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
          const { held, use } = holding<void, Errors.Fault>()
          yield* start(Effect.exit(balancer.use(use)))
          const fibers = yield* Effect.forEach([1, 2, 3], () => start(refusalOf(balancer.use(() => ok))))
          yield* act({ balancer, pool }, held[0]!.end)
          for (const fiber of fibers) {
            const error = yield* Fiber.join(fiber)
            assert.deepStrictEqual(
              error.keys.map((no) => no.reason),
              reason === "" ? [] : [reason]
            )
          }
          assert.strictEqual(yield* waiting(pool), 0)
        })
      )
    }
    const comeBy: ReadonlyArray<readonly [string, (parts: any) => Effect.Effect<unknown, any, any>]> = [
      ["a key that is added", ({ pool }) => pool.add(key("c"))],
      ["a key that is resumed", ({ pool }) => pool.resume("b")],
      ["a key that may take more", ({ pool }) => pool.change("a", { maxInFlight: 3 })],
      ["a key that is readmitted", ({ pool }) => pool.readmit("key", "d")]
    ]
    for (const [what, act] of comeBy) {
      it.effect(`who waits is served by ${what}`, () => {
        const setup = { keys: [key("a", { maxInFlight: 1 }), key("b"), key("d")], pool: { slowStart: 0 } }
        return using(setup, function* ({ balancer, pool }) {
          yield* pool.drain("b")
          yield* pool.bench({ scope: "key", id: "d", reason: "rejected", for: 3_600_000 })
          yield* start(balancer.use(() => Effect.never))
          const { held, use } = holding()
          yield* Effect.forEach([1, 2], () => start(balancer.use(use)))
          assert.deepStrictEqual([held.length, yield* waiting(pool)], [0, 2])
          yield* act({ pool })
          assert.deepStrictEqual([held.length, yield* waiting(pool)], [2, 0])
        })
      })
    }
    it.effect("who is given a lease and interrupted in the same tick leaks nothing", () =>
      using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        yield* start(balancer.use(use))
        const done = yield* Deferred.make<void>()
        // The first waiter runs as soon as the permit is free, and interrupts the second while that has just been served.
        let victim: Fiber.Fiber<unknown, unknown> | undefined
        yield* start(balancer.use(() => Effect.sync(() => victim!.interruptUnsafe())))
        victim = yield* start(balancer.use(() => Effect.never))
        const third = yield* start(balancer.use(() => Effect.andThen(Deferred.succeed(done, undefined), ok)))
        held[0]!.end(Exit.void)
        assert.strictEqual(yield* Fiber.join(third), "ok")
        yield* Fiber.await(victim)
        assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool)], [[0], 0])
      })
    )
    it.effect("two waiters served at once, of which the first interrupts the second: nothing leaks", () =>
      using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
        yield* start(balancer.use(() => Effect.never))
        let victim: Fiber.Fiber<unknown, unknown> | undefined
        let reached = false
        const one = yield* start(balancer.use(() => Effect.sync(() => victim!.interruptUnsafe())))
        victim = yield* start(
          balancer.use(() => {
            reached = true
            return Effect.never
          })
        )
        yield* pool.change("a", { maxInFlight: 10 })
        yield* Fiber.join(one)
        yield* Fiber.await(victim)
        assert.deepStrictEqual([yield* inFlight(pool), yield* waiting(pool), reached], [[1], 0, false])
      })
    )
    it.effect("a request that no freed permit could help does not wait", () =>
      using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "upstream", id: "x", reason: "throttled", for: 1000 })
        yield* start(balancer.use(() => Effect.never))
        const error = yield* refusalOf(balancer.use(() => ok, { upstream: "x" }))
        assert.deepStrictEqual(
          error.keys.map((no) => [no.reason, no.scope]),
          [["throttled", "upstream"]]
        )
        assert.strictEqual(yield* waiting(pool), 0)
      })
    )
    it.effect("a waiting use does not hold up one whose upstream is out, nor the other way round", () =>
      using({ keys: [key("a", { maxInFlight: 1 })] }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        yield* start(balancer.use(use))
        const x = yield* start(refusalOf(balancer.use(() => ok, { upstream: "x" })))
        const y = yield* start(balancer.use(() => ok, { upstream: "y" }))
        yield* pool.bench({ scope: "upstream", id: "x", reason: "throttled", for: 1000 })
        assert.strictEqual((yield* Fiber.join(x)).keys[0]?.scope, "upstream")
        held[0]!.end(Exit.void)
        assert.strictEqual(yield* Fiber.join(y), "ok")
      })
    )
  })
})
