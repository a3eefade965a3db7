import { Errors, type Key, KeyPool, Outcome } from "@evenkeel/core"
import type { PoolEvent } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  engineOf,
  failureOf,
  fault,
  holding,
  idsOf,
  inFlight,
  key,
  keys,
  numbers,
  ok,
  refusalOf,
  secretOf,
  start,
  stateOf,
  using,
  type Parts
} from "./utils.ts"

const minute = 60_000

/** The events of the pool from now on. */
const listen = (pool: Parts["pool"]) =>
  Effect.gen(function* () {
    const events: Array<PoolEvent.PoolEvent> = []
    yield* start(Stream.runForEach(pool.changes, (event) => Effect.sync(() => events.push(event))))
    yield* Effect.yieldNow
    return {
      events,
      /** Lets the listener catch up. */
      caughtUp: Effect.gen(function* () {
        for (let n = 0; n < 10; n++) yield* Effect.yieldNow
        return events
      })
    }
  })

const creditOf = (pool: Parts["pool"], id = "a") => Effect.map(stateOf(pool, id), (state) => state.credit)

/** The size of one of the collections that the pool keeps, wherever it keeps it. */
const sizeOf = (pool: KeyPool.KeyPool["Service"], name: string): number => {
  const engine = engineOf(pool)
  for (const part of [
    engine,
    engine.domains,
    engine.domains.registry,
    engine.waiting
  ] as ReadonlyArray<object>) {
    if (name in part) return (part as Record<string, ReadonlySet<unknown>>)[name]!.size
  }
  throw new Error(`the pool keeps no ${name}`)
}

describe("KeyPool", () => {
  describe("making one", () => {
    it.effect("a pool of no keys, of bad keys and of duplicates is refused", () =>
      Effect.gen(function* () {
        const refused = (inputs: ReadonlyArray<Key.Input>) =>
          failureOf(Effect.scoped(KeyPool.make({ keys: inputs })))
        assert.strictEqual((yield* refused([])).message, "keys must be a list of at least one key")
        assert.strictEqual((yield* refused([secretOf("a"), ""])).position, 2)
        assert.strictEqual((yield* refused([secretOf("a"), secretOf("a")])).field, "secret")
      })
    )
    it.effect("a snapshot tells the traits, the counts, the credit and the benches", () =>
      using(
        {
          keys: [
            key("a", {
              account: "A",
              workspace: "w",
              weight: 2,
              tier: 1,
              maxInFlight: 9,
              labels: { team: "x" }
            })
          ]
        },
        function* ({ balancer, pool }) {
          yield* pool.credit("a", { remaining: 10, requestedAt: 0 })
          yield* TestClock.adjust(100)
          yield* balancer.use(() => ok, { outcome: () => Outcome.success(0.5) })
          yield* Effect.exit(balancer.use(() => Effect.fail("no")))
          yield* start(balancer.use(() => Effect.never, { estimate: 2 }))
          yield* Effect.exit(balancer.use(() => fault("account", "throttled", { retryAfter: 900 })))
          yield* pool.bench({ scope: "upstream", id: "x", reason: "unavailable", for: 900 })
          assert.deepStrictEqual(yield* pool.snapshot, {
            at: 100,
            keys: [
              {
                id: "a",
                account: "A",
                workspace: "w",
                weight: 2,
                tier: 1,
                maxInFlight: 9,
                labels: { team: "x" },
                inFlight: 1,
                credit: 7.5,
                creditReadAt: 0,
                creditStale: false,
                creditResetsAt: undefined,
                creditLimit: undefined,
                burnRate: (0.5 / (600_000 * (1 - Math.exp(-0.1)))) * 3_600_000,
                includesByok: undefined,
                latency: 0,
                ineligible: { reason: "throttled", scope: "account", since: 100, until: 1000 },
                shortage: undefined,
                leased: 4,
                succeeded: 1,
                faulted: 1,
                ignored: 1,
                spent: 0.5
              }
            ],
            benches: [
              {
                scope: "upstream",
                id: "x",
                within: undefined,
                reason: "unavailable",
                since: 100,
                until: 1000
              }
            ],
            waiting: 0
          })
          yield* TestClock.adjust(900)
          assert.deepStrictEqual((yield* pool.snapshot).benches, [])
        }
      )
    )
    it.effect("a snapshot stays as it was when the pool goes on", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "rejected", for: 1000 })
        const before = yield* pool.snapshot
        const copy = structuredClone(before)
        yield* pool.bench({ scope: "key", id: "a", reason: "exhausted", for: 5000 })
        yield* pool.change("a", { weight: 7 })
        yield* Effect.exit(balancer.use(() => ok))
        assert.deepStrictEqual(before, copy)
      })
    )
    it.effect("latency is quick to rise and slow to fall, and learns from successes alone", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const take = (millis: number, then: Effect.Effect<unknown, unknown> = ok) =>
          Effect.gen(function* () {
            const fiber = yield* start(
              Effect.exit(balancer.use(() => Effect.andThen(Effect.sleep(millis), then)))
            )
            yield* TestClock.adjust(millis)
            yield* Fiber.join(fiber)
            return (yield* stateOf(pool, "a")).latency!
          })
        assert.strictEqual(yield* take(100), 100)
        assert.strictEqual(yield* take(400), 400)
        assert.strictEqual(yield* take(5000, Effect.fail("no")), 400)
        assert.strictEqual(yield* take(10_000, fault("upstream", "unavailable")), 400)
        yield* TestClock.adjust(6000)
        // 21,000 ms after the last observation, by a half-life of 10 s × ln 2.
        const decay = Math.exp(-2.11)
        assert.approximately(yield* take(100), 400 * decay + 100 * (1 - decay), 1e-9)
      })
    )
  })

  describe("membership", () => {
    it.effect("an id that the pool does not have is an error, whatever is asked of it", () =>
      using({ keys: keys("a") }, function* ({ pool }) {
        const asked = [
          pool.change("x", { weight: 2 }),
          pool.drain("x"),
          pool.resume("x"),
          pool.remove("x"),
          pool.credit("x", { remaining: 1, requestedAt: 0 }),
          pool.bench({ scope: "key", id: "x", reason: "rejected", for: 1000 })
        ]
        for (const ask of asked) {
          const error = yield* failureOf(ask as Effect.Effect<unknown, Key.InvalidKey | Errors.UnknownKey>)
          assert.strictEqual(error._tag === "UnknownKey" && error.keyId, "x")
          assert.strictEqual(error.message, 'The pool has no key with id "x"')
        }
        assert.isFalse(yield* pool.readmit("key", "x"))
      })
    )
    it.effect("a key that is added serves, and one that is there already is refused", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const added = yield* pool.add(key("b", { weight: 2 }))
        assert.deepStrictEqual([added.id, added.weight], ["b", 2])
        yield* pool.drain("a")
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["b"])
        assert.strictEqual((yield* failureOf(pool.add({ id: "c", secret: secretOf("a") }))).field, "secret")
        assert.strictEqual((yield* failureOf(pool.add({ id: "b", secret: secretOf("c") }))).field, "id")
        assert.strictEqual((yield* failureOf(pool.add(""))).field, "secret")
        assert.deepStrictEqual(
          (yield* pool.keys).map((one) => one.id),
          ["a", "b"]
        )
      })
    )
    it.effect("two fibers that add the same key at once add it once", () =>
      using({ keys: keys("a") }, function* ({ pool }) {
        const exits = yield* Effect.all(
          [Effect.exit(pool.add(secretOf("b"))), Effect.exit(pool.add(secretOf("b")))],
          {
            concurrency: 2
          }
        )
        assert.deepStrictEqual(exits.map(Exit.isSuccess).toSorted(), [false, true])
        assert.strictEqual((yield* pool.keys).length, 2)
      })
    )
    it.effect("a change takes effect at once, and a bad one changes nothing", () =>
      using(
        { keys: [key("a", { maxInFlight: 1 })], balancer: { maxWaiting: 0 } },
        function* ({ balancer, pool }) {
          yield* pool.credit("a", { remaining: 9, requestedAt: 0 })
          yield* start(balancer.use(() => Effect.never))
          yield* refusalOf(balancer.use(() => ok))
          yield* pool.change("a", { maxInFlight: 2, labels: { team: "y" } })
          assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
          yield* failureOf(pool.change("a", { weight: -1, tier: 9 }))
          const { credit, inFlight, labels, maxInFlight, tier, weight } = yield* stateOf(pool, "a")
          assert.deepStrictEqual(
            [credit, inFlight, labels, maxInFlight, tier, weight],
            [9, 1, { team: "y" }, 2, 0, 1]
          )
        }
      )
    )
    it.effect(
      "the bench of an account survives the change of another trait, and a key that moves leaves it behind",
      () =>
        using({ keys: [key("a1", { account: "A" }), key("b1", { account: "B" })] }, function* ({ pool }) {
          yield* pool.bench({ scope: "account", id: "A", reason: "throttled", for: minute })
          const out = Effect.map(pool.snapshot, ({ keys }) =>
            keys.filter((one) => one.ineligible !== undefined).map((one) => one.id)
          )
          yield* pool.change("a1", { weight: 5, account: "A" })
          assert.deepStrictEqual(yield* out, ["a1"])
          yield* pool.add(key("a2", { account: "A" }))
          assert.deepStrictEqual(yield* out, ["a1", "a2"])
          yield* pool.change("a1", { account: "B" })
          assert.deepStrictEqual(yield* out, ["a2"])
          yield* pool.change("b1", { account: "A" })
          assert.deepStrictEqual(yield* out, ["b1", "a2"])
          assert.isTrue(yield* pool.readmit("account", "A"))
          assert.deepStrictEqual(yield* out, [])
        })
    )
    it.effect(
      "a use that began in one account and ends after its key moved faults the new one's owner, and probes of the old are freed",
      () =>
        using(
          { keys: [key("a", { account: "A" }), key("b", { account: "A" })] },
          function* ({ balancer, pool }) {
            yield* pool.bench({ scope: "account", id: "A", reason: "exhausted", for: 1000 })
            yield* TestClock.adjust(1000)
            const { held, use } = holding()
            yield* start(balancer.use(use))
            assert.strictEqual((yield* stateOf(pool, "b")).ineligible?.reason, "probing")
            yield* pool.change("a", { account: "B" })
            held[0]!.end(Exit.void)
            assert.strictEqual((yield* stateOf(pool, "b")).ineligible, undefined)
          }
        )
    )
    it.effect("draining an idle key returns at once", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        yield* pool.drain("a")
        yield* pool.drain("a")
        assert.deepStrictEqual(yield* idsOf(balancer, 3), ["b", "b", "b"])
        yield* pool.resume("a")
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
      })
    )
    it.effect("draining waits for what is in flight; new requests go elsewhere", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        yield* start(balancer.use(use))
        yield* start(balancer.use(use))
        const drained = yield* start(pool.drain("a"))
        const again = yield* start(pool.drain("a"))
        held[0]!.end(Exit.void)
        assert.deepStrictEqual([drained.pollUnsafe(), yield* idsOf(balancer, 1)], [undefined, ["b"]])
        held[1]!.end(Exit.void)
        yield* Fiber.join(drained)
        yield* Fiber.join(again)
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.reason, "draining")
      })
    )
    it.effect("interrupting a drain leaves the key draining and nothing behind", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* start(balancer.use(() => Effect.never))
        const fiber = yield* start(pool.drain("a"))
        assert.strictEqual(engineOf(pool).get("a")!.idle.size, 1)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(engineOf(pool).get("a")!.idle.size, 0)
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible?.reason, "draining")
      })
    )
    it.effect("removing a key ends a drain that waits for it", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* start(balancer.use(() => Effect.never))
        const fiber = yield* start(pool.drain("a"))
        yield* pool.remove("a")
        yield* Fiber.join(fiber)
      })
    )
    it.effect("uses of a removed key go on and settle without harm to one that takes its id", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        const { held, use } = holding<string, Errors.Fault>()
        const fibers = yield* Effect.forEach([1, 2, 3], () =>
          start(Effect.exit(balancer.use(use, { estimate: 1 })))
        )
        yield* pool.credit("a", { remaining: 5, requestedAt: 0 })
        yield* pool.remove("a")
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["b"])
        yield* pool.add({ ...key("a"), secret: secretOf("another") })
        held[0]!.end(Exit.succeed("late"))
        held[1]!.end(
          Exit.fail(new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "rejected" }) }))
        )
        held[2]!.end(
          Exit.fail(new Errors.Fault({ outcome: Outcome.faulted({ scope: "account", reason: "exhausted" }) }))
        )
        const exits = yield* Effect.forEach(fibers, Fiber.join)
        assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, false])
        const { credit, faulted, inFlight, ineligible, leased, succeeded } = yield* stateOf(pool, "a")
        assert.deepStrictEqual(
          { credit, faulted, inFlight, ineligible, leased, succeeded },
          { credit: undefined, faulted: 0, inFlight: 0, ineligible: undefined, leased: 0, succeeded: 0 }
        )
      })
    )
    it.effect("re-adding an id starts fresh: no bench, no draining, no counts", () =>
      using({ keys: keys("a b", { account: "A" }) }, function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "rejected", for: minute })
        yield* pool.drain("a")
        yield* pool.remove("a")
        yield* pool.add(key("a"))
        assert.strictEqual((yield* stateOf(pool, "a")).ineligible, undefined)
        yield* pool.remove("b")
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
      })
    )
  })

  describe("benches by hand", () => {
    it.effect("readmit lifts a bench and says whether there was one", () =>
      using({ keys: keys("a", { account: "A", workspace: "w" }) }, function* ({ pool }) {
        const scopes = [
          ["key", "a"],
          ["account", "A"],
          ["workspace", "w"],
          ["upstream", "x"],
          ["host", "host"]
        ] as const
        for (const [scope, id] of scopes) {
          assert.isFalse(yield* pool.readmit(scope, id), scope)
          yield* pool.bench({ scope, id, reason: "throttled", for: minute })
          assert.isTrue(yield* pool.readmit(scope, id), scope)
          const { benches, keys } = yield* pool.snapshot
          assert.deepStrictEqual([benches, keys[0]!.ineligible], [[], undefined])
        }
      })
    )
    it.effect("of two deadlines the later one holds, with its reason", () =>
      using({ keys: keys("a") }, function* ({ pool }) {
        yield* pool.bench({ scope: "key", id: "a", reason: "rejected", for: "1 hour" })
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: "1 second" })
        assert.deepStrictEqual((yield* stateOf(pool, "a")).ineligible, {
          reason: "rejected",
          scope: "key",
          since: 0,
          until: 60 * minute
        })
        yield* pool.bench({ scope: "key", id: "a", reason: "exhausted", for: "2 hours" })
        assert.deepStrictEqual((yield* stateOf(pool, "a")).ineligible, {
          reason: "exhausted",
          scope: "key",
          since: 0,
          until: 120 * minute
        })
      })
    )
    it.effect("a key whose account is not known tells whose fault the present bench is", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* failureOf(balancer.use(() => fault("account", "throttled", { retryAfter: 1000 })))
        yield* TestClock.adjust(2000)
        yield* failureOf(balancer.use(() => fault("key", "exhausted", { retryAfter: minute })))
        assert.deepStrictEqual((yield* stateOf(pool, "a")).ineligible, {
          reason: "exhausted",
          scope: "key",
          since: 2000,
          until: 62_000
        })
      })
    )
  })

  describe("changes", () => {
    it.effect("the stream tells what happens, in order", () =>
      using({ keys: [key("a", { account: "A" })] }, function* ({ balancer, pool }) {
        const { caughtUp } = yield* listen(pool)
        yield* pool.add(key("b"))
        yield* pool.change("b", { weight: 2 })
        yield* pool.drain("b")
        yield* pool.drain("b")
        yield* pool.resume("b")
        yield* pool.resume("b")
        yield* pool.credit("b", { remaining: 3, requestedAt: 0 })
        yield* pool.bench({ scope: "host", id: "host", reason: "unavailable", for: 10 })
        yield* pool.readmit("host", "host")
        yield* Effect.exit(balancer.use(() => fault("account", "throttled", { retryAfter: 2000 })))
        yield* TestClock.adjust(2000)
        yield* balancer.use(() => ok)
        yield* pool.remove("b")
        assert.deepStrictEqual(yield* caughtUp, [
          { _tag: "KeyAdded", keyId: "b" },
          { _tag: "KeyChanged", keyId: "b" },
          { _tag: "KeyDraining", keyId: "b" },
          { _tag: "KeyResumed", keyId: "b" },
          { _tag: "CreditRead", keyId: "b", credit: 3, limit: undefined },
          {
            _tag: "Benched",
            scope: "host",
            id: "host",
            within: undefined,
            reason: "unavailable",
            since: 0,
            until: 10
          },
          { _tag: "Readmitted", scope: "host", id: "host", within: undefined },
          {
            _tag: "Benched",
            scope: "account",
            id: "A",
            within: undefined,
            reason: "throttled",
            since: 0,
            until: 2000
          },
          { _tag: "Readmitted", scope: "account", id: "A", within: undefined },
          { _tag: "KeyRemoved", keyId: "b" }
        ])
      })
    )
    it.effect("who does not listen holds nothing up, and who falls behind loses the oldest", () =>
      using({ keys: keys("a") }, function* ({ pool }) {
        const events: Array<PoolEvent.PoolEvent> = []
        yield* start(
          Stream.runForEach(pool.changes, (event) =>
            Effect.andThen(
              Effect.sync(() => events.push(event)),
              Effect.sleep(1)
            )
          )
        )
        for (let n = 0; n < 3000; n++) yield* pool.credit("a", { remaining: n, requestedAt: n })
        yield* TestClock.adjust(5000)
        assert.isAtMost(events.length, 1026)
        assert.deepStrictEqual(events.at(-1), {
          _tag: "CreditRead",
          keyId: "a",
          credit: 2999,
          limit: undefined
        })
      })
    )
  })

  describe("credit", () => {
    it.effect("an estimate is held from the pick, and the cost debited when the use settles", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 10, requestedAt: 0 })
        const seen = yield* balancer.use(
          (lease) => Effect.sync(() => [lease.candidate.credit, lease.context.estimate]),
          {
            estimate: 3,
            outcome: () => Outcome.success(0.5)
          }
        )
        assert.deepStrictEqual(seen, [7, 3])
        assert.strictEqual(yield* creditOf(pool), 9.5)
      })
    )
    it.effect("a use of unknown cost stays debited by its estimate, and one known to be free does not", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 10, requestedAt: 0 })
        const fiber = yield* start(balancer.use(() => Effect.never, { estimate: 1 }))
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* creditOf(pool), 9)
        yield* balancer.use(() => ok, { estimate: 1 })
        assert.strictEqual(yield* creditOf(pool), 8)
        yield* Effect.exit(balancer.use(() => fault("key", "unavailable"), { estimate: 1 }))
        assert.strictEqual(yield* creditOf(pool), 8)
        yield* Effect.exit(
          balancer.use(() => Effect.fail("no"), { estimate: 1, outcome: () => Outcome.ignored(0) })
        )
        assert.strictEqual(yield* creditOf(pool), 8)
        assert.strictEqual((yield* stateOf(pool, "a")).spent, 0)
      })
    )
    it.effect(
      "Credits gives the estimate when the request has none, and is told of what contradicts its readings",
      () => {
        const doubted: Array<string> = []
        const observed: Array<number> = []
        const credits = {
          estimate: (context: { readonly upstream: string | undefined }) =>
            context.upstream === "dear" ? 4 : undefined,
          observe: (_: unknown, cost: number) => void observed.push(cost),
          doubt: (id: string) => void doubted.push(id)
        }
        return using({ keys: keys("a b"), credits }, function* ({ balancer, pool }) {
          yield* pool.credit("a", { remaining: 10, requestedAt: 0 })
          const seen = (options: object) =>
            balancer.use((lease) => Effect.sync(() => lease.candidate.credit), {
              ...options,
              outcome: () => Outcome.success(0)
            })
          assert.strictEqual(yield* seen({ upstream: "dear" }), 6)
          assert.strictEqual(yield* seen({ upstream: "dear", estimate: 1 }), 9)
          assert.strictEqual(yield* seen({ upstream: "cheap" }), 10)
          yield* Effect.exit(balancer.use(() => fault("key", "throttled", { retryAfter: 1 })))
          yield* Effect.exit(balancer.use(() => fault("key", "insufficient")))
          yield* TestClock.adjust(1)
          yield* Effect.exit(balancer.use(() => fault("key", "exhausted")))
          assert.deepStrictEqual(doubted, ["b", "a"])
          assert.deepStrictEqual(observed, [0, 0, 0])
        })
      }
    )
    it.effect(
      "a reading drops debits settled before it was asked for, and keeps later ones and what is in flight",
      () =>
        using({ keys: keys("a") }, function* ({ balancer, pool }) {
          const spend = (usd: number) => balancer.use(() => ok, { outcome: () => Outcome.success(usd) })
          yield* pool.credit("a", { remaining: 100, requestedAt: 0 })
          yield* spend(1)
          yield* TestClock.adjust(10_000)
          yield* start(balancer.use(() => Effect.never, { estimate: 8 }))
          yield* TestClock.adjust(10_000)
          yield* spend(2)
          yield* pool.credit("a", { remaining: 99, requestedAt: 10_000 })
          assert.strictEqual(yield* creditOf(pool), 99 - 2 - 8)
          yield* pool.credit("a", { remaining: 1000, requestedAt: 9999 })
          assert.strictEqual(yield* creditOf(pool), 99 - 2 - 8)
          yield* TestClock.adjust(10_000)
          yield* pool.credit("a", { remaining: 97, requestedAt: 30_000, lag: 20_000 })
          assert.strictEqual(yield* creditOf(pool), 97 - 2 - 8)
          yield* pool.credit("a", { remaining: 97, requestedAt: 30_000 })
          assert.strictEqual(yield* creditOf(pool), 97 - 8)
        })
    )
    it.effect("a key without a cap is never out of credit", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: undefined, requestedAt: 0 })
        yield* balancer.use(() => ok, { estimate: 1e9 })
        assert.strictEqual(yield* creditOf(pool), undefined)
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
      })
    )
    it.effect("a key without credit is exhausted until its cap is filled up, and serves again then", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* TestClock.adjust(1000)
        for (const remaining of [0, -0.5]) {
          yield* pool.credit("a", { remaining, requestedAt: 1000, resetsAt: minute })
          const error = yield* refusalOf(balancer.use(() => ok))
          assert.deepStrictEqual(error.keys, [
            {
              ...numbers,
              eligible: false,
              keyId: "a",
              credit: remaining,
              reason: "exhausted",
              scope: "key",
              since: 1000,
              until: minute
            }
          ])
          assert.strictEqual(error.retryAt, minute)
        }
        yield* TestClock.adjust(minute - 1001)
        yield* refusalOf(balancer.use(() => ok))
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
      })
    )
    it.effect("a request that may cost more than is left is insufficient, and a smaller one passes", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 1, requestedAt: 0 })
        const error = yield* refusalOf(balancer.use(() => ok, { estimate: 1.01 }))
        assert.deepStrictEqual(
          error.keys.map((no) => [no.reason, no.until]),
          [["insufficient", undefined]]
        )
        assert.deepStrictEqual(yield* idsOf(balancer, 1, { estimate: 1 }), ["a"])
      })
    )
    it.effect("concurrent requests do not overrun a cap between them", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 10, requestedAt: 0 })
        yield* pool.credit("b", { remaining: 5, requestedAt: 0 })
        const exits = yield* Effect.forEach(Array.from({ length: 100 }), () =>
          Effect.map(start(Effect.exit(balancer.use(() => Effect.never, { estimate: 1 }))), (fiber) =>
            fiber.pollUnsafe()
          )
        )
        assert.deepStrictEqual(yield* inFlight(pool), [10, 5])
        assert.strictEqual(exits.filter((exit) => exit !== undefined).length, 85)
      })
    )
    it.effect("a reading that is too old is gone by no more, and the key is eligible again", () =>
      using({ keys: keys("a"), pool: { creditMaxAge: Duration.minutes(2) } }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 0, requestedAt: 0 })
        yield* TestClock.adjust(2 * minute)
        yield* refusalOf(balancer.use(() => ok))
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
        assert.strictEqual(yield* creditOf(pool), undefined)
      })
    )
    it.effect("the default age of a reading is 15 minutes", () =>
      using({ keys: keys("a") }, function* ({ pool }) {
        yield* pool.credit("a", { remaining: 5, requestedAt: 0 })
        yield* TestClock.adjust(15 * minute)
        assert.strictEqual(yield* creditOf(pool), 5)
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* creditOf(pool), undefined)
      })
    )
    it.effect("a later reading with headroom ends the exhaustion of a key, and no other bench", () =>
      using({ keys: keys("a", { account: "A" }) }, function* ({ balancer, pool }) {
        const out = Effect.map(stateOf(pool, "a"), (state) => state.ineligible?.reason)
        const read = (remaining: number | undefined, requestedAt: number) =>
          pool.credit("a", { remaining, requestedAt })
        yield* TestClock.adjust(1000)
        yield* failureOf(balancer.use(() => fault("key", "exhausted")))
        yield* read(5, 1000)
        assert.strictEqual(yield* out, "exhausted", "asked for no later than the answer that benched it")
        yield* read(0, 1001)
        assert.strictEqual(yield* out, "exhausted", "no headroom")
        yield* read(0.01, 1002)
        assert.strictEqual(yield* out, undefined)
        yield* failureOf(balancer.use(() => fault("key", "exhausted")))
        yield* read(undefined, 2000)
        assert.strictEqual(yield* out, undefined, "uncapped")
        yield* failureOf(balancer.use(() => fault("account", "exhausted")))
        yield* read(5, 3000)
        assert.strictEqual(yield* out, "exhausted", "the account's")
        yield* pool.readmit("account", "A")
        yield* failureOf(balancer.use(() => fault("key", "rejected")))
        yield* read(5, 4000)
        assert.strictEqual(yield* out, "rejected")
      })
    )
    it.effect("what was too dear for a key goes elsewhere for a minute, and cheaper requests do not", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        yield* failureOf(balancer.use(() => fault("key", "insufficient"), { estimate: 2 }))
        assert.deepStrictEqual((yield* stateOf(pool, "a")).shortage, {
          reason: "insufficient",
          scope: "key",
          since: 0,
          until: minute,
          estimate: 2
        })
        const at = (estimate: number) => Effect.map(idsOf(balancer, 1, { estimate }), (ids) => ids[0])
        assert.deepStrictEqual(
          [yield* at(2), yield* at(3), yield* at(1.99), (yield* idsOf(balancer, 1))[0]],
          ["b", "b", "a", "a"]
        )
        yield* failureOf(balancer.use(() => fault("key", "insufficient"), { estimate: 1 }))
        assert.deepStrictEqual([yield* at(1), yield* at(0.99)], ["b", "a"])
        yield* pool.drain("b")
        const error = yield* refusalOf(balancer.use(() => ok, { estimate: 1 }))
        assert.deepStrictEqual(
          [error.keys[0]?.reason, error.keys[0]?.until, error.retryAt],
          ["insufficient", minute, minute]
        )
        yield* TestClock.adjust(minute)
        assert.strictEqual(yield* at(5), "a")
      })
    )
    it.effect("what was too dear for an account is so for all its keys", () =>
      using({ keys: [...keys("a1 a2", { account: "A" }), key("b1")] }, function* ({ balancer }) {
        yield* failureOf(balancer.use(() => fault("account", "insufficient"), { estimate: 2 }))
        assert.deepStrictEqual(yield* idsOf(balancer, 1, { estimate: 2 }), ["b1"])
        assert.deepStrictEqual(yield* idsOf(balancer, 1, { estimate: 1 }), ["a1"])
      })
    )
    it.effect("a top-up ends the shortage of a key", () =>
      using({ keys: keys("a b") }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 3, requestedAt: 0 })
        yield* failureOf(balancer.use(() => fault("key", "insufficient"), { estimate: 2 }))
        yield* pool.credit("a", { remaining: 3, requestedAt: 1 })
        assert.deepStrictEqual(yield* idsOf(balancer, 1, { estimate: 2 }), ["b"])
        yield* pool.credit("a", { remaining: 10, requestedAt: 2 })
        assert.deepStrictEqual(yield* idsOf(balancer, 1, { estimate: 2 }), ["a"])
      })
    )
    it.effect("an estimate that is no amount does no lasting harm", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        for (const estimate of [NaN, Infinity, -5]) yield* balancer.use(() => ok, { estimate })
        yield* balancer.use(() => ok, { outcome: () => Outcome.success(NaN) })
        yield* pool.credit("a", { remaining: 5, requestedAt: 0 })
        const { credit, spent } = yield* stateOf(pool, "a")
        assert.deepStrictEqual([credit, spent], [5, 0])
      })
    )
  })

  describe("domains", () => {
    it.effect("a fault within some upstreams benches the account for those alone", () =>
      using({ keys: keys("a b", { account: "A" }) }, function* ({ balancer, pool }) {
        const free = { upstream: "meta/llama:free" }
        yield* failureOf(
          balancer.use(() => fault("account", "throttled", { retryAfter: 1000, within: ":free" }), free)
        )
        const refused = yield* failureOf(balancer.use(() => ok, free))
        assert.strictEqual((refused as Errors.NoEligibleKey).retryAt, 1000)
        // Another free model shares the limit; paid ones, and uses of no known upstream, do not.
        yield* failureOf(balancer.use(() => ok, { upstream: "google/gemma:free" }))
        yield* balancer.use(() => ok, { upstream: "meta/llama" })
        yield* balancer.use(() => ok)
        yield* TestClock.adjust(1000)
        yield* balancer.use(() => ok, free)
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
      })
    )
    it.effect(
      "a key whose account is not known shares its account's fault with no other, whatever their names",
      () =>
        using({ keys: [key("acme"), key("b", { account: "acme" })] }, function* ({ balancer, pool }) {
          yield* failureOf(
            balancer.use((lease) => (lease.key.id === "acme" ? fault("account", "exhausted") : ok), {
              affinity: "x"
            })
          ).pipe(Effect.eventually)
          const state = yield* pool.snapshot
          assert.deepStrictEqual(
            state.keys.map(({ id, ineligible }) => [id, ineligible?.reason, ineligible?.scope]),
            [
              ["acme", "exhausted", "account"],
              ["b", undefined, undefined]
            ]
          )
        })
    )
    it.effect(
      "an answer that names the account of a key makes it one of that account's, unless the user has",
      () =>
        using({ keys: [key("a"), key("b", { account: "mine" })] }, function* ({ balancer, pool }) {
          const named = { account: "org_1", retryAfter: 1000 }
          yield* failureOf(balancer.use(() => fault("account", "throttled", named)))
          yield* failureOf(balancer.use(() => fault("account", "throttled", named)))
          const { keys: states } = yield* pool.snapshot
          assert.deepStrictEqual(
            states.map(({ account, ineligible }) => [account, ineligible?.reason]),
            [
              ["org_1", "throttled"],
              ["mine", "throttled"]
            ]
          )
          // A key that joins the account shares its fate.
          yield* pool.add(key("c", { account: "org_1" }))
          assert.strictEqual((yield* stateOf(pool, "c")).ineligible?.reason, "throttled")
        })
    )
    it.effect(
      "a bench by hand within some upstreams shows in the snapshot, and is lifted with the rest",
      () =>
        using({ keys: keys("a", { account: "A" }) }, function* ({ balancer, pool }) {
          yield* pool.bench({ scope: "account", id: "A", within: ":free", reason: "throttled", for: 1000 })
          const { benches } = yield* pool.snapshot
          assert.deepStrictEqual(
            benches.map(({ id, reason, scope, within }) => [scope, id, within, reason]),
            [["account", "A", ":free", "throttled"]]
          )
          yield* failureOf(balancer.use(() => ok, { upstream: "x:free" }))
          assert.isTrue(yield* pool.readmit("account", "A"))
          yield* balancer.use(() => ok, { upstream: "x:free" })
        })
    )
    it.effect("a credit reading does not lift what the account owes", () =>
      using({ keys: [key("a")] }, function* ({ balancer, pool }) {
        yield* failureOf(balancer.use(() => fault("account", "exhausted")))
        yield* TestClock.adjust(1)
        yield* pool.credit("a", { remaining: 5 })
        const { ineligible } = yield* stateOf(pool, "a")
        assert.deepStrictEqual([ineligible?.reason, ineligible?.scope], ["exhausted", "account"])
      })
    )
    it.effect("a reading that is none is refused, and names the field", () =>
      using({ keys: keys("a") }, function* ({ pool }) {
        const error = yield* failureOf(pool.credit("a", { remaining: Number.NaN }))
        assert.include((error as Error).message, "remaining must be a finite number of USD")
      })
    )
  })

  describe("memory", () => {
    it.effect("100,000 uses leave nothing behind in the pool", () =>
      using({ keys: keys("a b c", { account: "A", workspace: "w" }) }, function* ({ balancer, pool }) {
        const sizes = () =>
          ["byId", "accounts", "workspaces", "upstreams", "byKey", "answered", "strategies"].map((name) =>
            sizeOf(pool, name)
          )
        const before = sizes()
        assert.deepStrictEqual(before, [3, 1, 1, 0, 0, 0, 1])
        const ends: ReadonlyArray<Effect.Effect<string, unknown>> = [
          ok,
          Effect.fail("no"),
          fault("key", "throttled", { retryAfter: 0 }),
          fault("account", "unavailable"),
          fault("upstream", "unavailable")
        ]
        for (let n = 0; n < 100_000; n++) {
          yield* Effect.exit(
            balancer.use(() => ends[n % ends.length]!, { upstream: `model-${n}`, affinity: `session-${n}` })
          )
        }
        assert.deepStrictEqual(sizes(), before)
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0, 0])
      })
    )
    it.effect("of 5,000 benched upstreams the 1,024 are kept that return last", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        for (let n = 0; n < 5000; n++) {
          const retryAfter = 1000 + ((n * 7919) % 5000)
          yield* Effect.exit(
            balancer.use(() => fault("upstream", "throttled", { retryAfter }), { upstream: `model-${n}` })
          )
        }
        const { benches } = yield* pool.snapshot
        assert.strictEqual(benches.length, 1024)
        // The newest is among them in any case, however soon it returns.
        const until = benches.map((bench) => bench.until!).toSorted((a, b) => a - b)
        assert.isAtLeast(until[1]!, 6000 - 1025)
      })
    )
    it.effect("upstreams whose time is up make room before any other", () =>
      using({ keys: keys("a") }, function* ({ balancer, pool }) {
        const bench = (name: string, retryAfter: number) =>
          Effect.exit(balancer.use(() => fault("upstream", "throttled", { retryAfter }), { upstream: name }))
        for (let n = 0; n < 1000; n++) yield* bench(`old-${n}`, 1000)
        yield* TestClock.adjust(1000)
        for (let n = 0; n < 1024; n++) yield* bench(`new-${n}`, 1000 + n)
        assert.strictEqual((yield* pool.snapshot).benches.length, 1024)
      })
    )
    it.effect("accounts and workspaces go with their last key", () =>
      using({ keys: keys("keep") }, function* ({ pool }) {
        for (let n = 0; n < 200; n++) {
          yield* pool.add(key(`k${n}`, { account: `A${n}`, workspace: `w${n}` }))
          yield* pool.change(`k${n}`, { account: `B${n}`, workspace: undefined })
          yield* pool.bench({ scope: "account", id: `B${n}`, reason: "throttled", for: minute })
          yield* pool.remove(`k${n}`)
        }
        assert.deepStrictEqual(
          ["byId", "accounts", "workspaces"].map((name) => sizeOf(pool, name)),
          // The key that stays is an account and a workspace of its own.
          [1, 1, 1]
        )
      })
    )
  })
})
