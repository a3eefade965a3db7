import { Balancer, Errors, KeyPool, Outcome, Selector, SharedFacts, type Filter } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, PubSub, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Unowned } from "../src/internal/unowned.ts"
import {
  failureOf,
  fault,
  holding,
  key,
  layerOf,
  ok,
  start,
  stateOf,
  type Parts,
  type Setup
} from "./utils.ts"

const minute = 60_000

/** A wire between processes: each hears what the others say. */
const wire = Effect.gen(function* () {
  const all = yield* PubSub.unbounded<readonly [string, SharedFacts.Fact]>()
  const said: Array<readonly [string, SharedFacts.Fact]> = []
  const member = (name: string): SharedFacts.SharedFacts => ({
    name,
    publish: (fact) => {
      said.push([name, fact])
      PubSub.publishUnsafe(all, [name, fact] as const)
    },
    facts: Stream.fromPubSub(all).pipe(
      Stream.filter(([from]) => from !== name),
      Stream.map(([, fact]) => fact)
    )
  })
  return { member, said }
})

const spread = Effect.gen(function* () {
  for (let n = 0; n < 10; n++) yield* Effect.yieldNow
})

const build = (setup: Setup) =>
  Effect.map(Layer.build(Layer.fresh(layerOf(setup))), (context): Parts => ({
    balancer: context.mapUnsafe.get(Balancer.Balancer.key) as Parts["balancer"],
    pool: context.mapUnsafe.get(KeyPool.KeyPool.key) as Parts["pool"]
  }))

const only =
  (id: string): Filter.Filter =>
  (candidate) =>
    candidate.id === id
      ? undefined
      : { reason: "other", scope: "request", since: undefined, until: undefined }

/** Two processes that share keys, and their wire. */
const two = Effect.gen(function* () {
  const { member, said } = yield* wire
  const keys = [key("a", { account: "A" }), key("b", { account: "A" }), key("c")]
  const process = (name: string) => build({ keys, shared: member(name) })
  const one = yield* process("one")
  const other = yield* process("other")
  yield* spread
  return { one, other, said }
})

const benched = ({ pool }: Parts) =>
  Effect.map(pool.snapshot, ({ keys, benches }) => [
    ...keys
      .filter((one) => one.ineligible !== undefined && benches.length === 0)
      .map((one) => `${one.id} ${one.ineligible!.until}`),
    ...benches.map((bench) => `${bench.scope} ${bench.id} ${bench.until}`)
  ])

describe("SharedFacts", () => {
  it.effect("a fault met by one process benches its scope in the other, until the same time", () =>
    Effect.gen(function* () {
      const { one, other } = yield* two
      yield* failureOf(one.balancer.use(() => fault("account", "throttled", { retryAfter: 30_000 })))
      yield* spread
      assert.deepStrictEqual(yield* benched(other), ["a 30000", "b 30000"])
      assert.deepStrictEqual(
        (yield* stateOf(other.pool, "a")).ineligible,
        (yield* stateOf(one.pool, "a")).ineligible
      )
      yield* failureOf(
        other.balancer.use(() => fault("upstream", "throttled", { retryAfter: 40_000 }), { upstream: "x" })
      )
      yield* spread
      assert.deepStrictEqual(yield* benched(one), ["upstream x 40000"])
    })
  )

  it.effect("readmission reaches the other, by hand and by a success", () =>
    Effect.gen(function* () {
      const { one, other } = yield* two
      yield* failureOf(one.balancer.use(() => fault("key", "rejected")))
      yield* spread
      assert.isTrue(yield* other.pool.readmit("key", "a"))
      yield* spread
      assert.deepStrictEqual([yield* benched(one), yield* benched(other)], [[], []])
      yield* failureOf(one.balancer.use(() => fault("account", "exhausted")))
      yield* spread
      assert.deepStrictEqual(yield* benched(other), [`a ${5 * minute}`, `b ${5 * minute}`])
      yield* TestClock.adjust(5 * minute)
      yield* other.balancer.use(() => ok)
      yield* spread
      assert.isFalse(yield* one.pool.readmit("account", "A"))
      // What is benched for some upstreams only, too.
      yield* one.pool.bench({ scope: "key", id: "a", reason: "throttled", for: minute, within: ":free" })
      yield* spread
      assert.strictEqual((yield* other.pool.snapshot).benches.length, 1)
      assert.isTrue(yield* one.pool.readmit("key", "a"))
      yield* spread
      assert.deepStrictEqual((yield* other.pool.snapshot).benches, [])
    })
  )

  it.effect("of two deadlines the later one holds in both, in whichever order they are told", () =>
    Effect.gen(function* () {
      const { one, other } = yield* two
      // The uses of both are under way before either hears of the other's fault.
      const uses = [one, other, one].map(({ balancer }, n) => {
        const { held, use } = holding<void, Errors.Fault>()
        return { held, use: Effect.ignore(balancer.use(use)), retryAfter: [10_000, 50_000, 20_000][n]! }
      })
      for (const { use } of uses) yield* start(use)
      for (const { held, retryAfter } of uses) {
        const outcome = {
          scope: "key",
          reason: "throttled",
          retryAfter: Duration.millis(retryAfter)
        } as const
        held[0]!.end(Exit.fail(new Errors.Fault({ outcome: Outcome.faulted(outcome) })))
        yield* spread
      }
      yield* spread
      assert.deepStrictEqual([yield* benched(one), yield* benched(other)], [["a 50000"], ["a 50000"]])
    })
  )

  it.effect("what is heard is not said again", () =>
    Effect.gen(function* () {
      const { one, other, said } = yield* two
      yield* failureOf(one.balancer.use(() => fault("key", "throttled", { retryAfter: 10_000 })))
      yield* spread
      yield* other.pool.readmit("key", "a")
      yield* spread
      assert.deepStrictEqual(said, [
        [
          "one",
          {
            _tag: "Benched",
            scope: "key",
            id: "a",
            within: undefined,
            reason: "throttled",
            since: 0,
            until: 10_000
          }
        ],
        ["other", { _tag: "Readmitted", scope: "key", id: "a", within: undefined }]
      ])
    })
  )

  it.effect("a fact about what this process does not have changes nothing", () =>
    Effect.gen(function* () {
      const { member, said } = yield* wire
      const { pool } = yield* build({ keys: [key("b")], shared: member("one") })
      yield* spread
      const shared = member("other")
      shared.publish({ _tag: "Draining", keyId: "a" })
      shared.publish({ _tag: "Learnt", keyId: "a", account: "A", workspace: undefined })
      shared.publish({ _tag: "CreditRead", keyId: "a", reading: { remaining: 1 }, debited: 0 })
      shared.publish({ _tag: "Debited", keyId: "a", usd: 1 })
      yield* spread
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map(({ id, ineligible }) => [id, ineligible]),
        [["b", undefined]]
      )
      assert.strictEqual(said.length, 4)
    })
  )

  it.effect(
    "a bench of what is not known here yet holds as soon as it is, and if it was not lifted by then",
    () =>
      Effect.gen(function* () {
        const { member } = yield* wire
        const { pool } = yield* build({ keys: [key("a"), key("b")], shared: member("one") })
        yield* spread
        const other = member("other")
        const bench = (scope: "key" | "account" | "workspace", id: string, until: number, within?: string) =>
          other.publish({ _tag: "Benched", scope, id, within, reason: "throttled", since: 0, until })
        bench("account", "A", 20_000)
        bench("account", "A", 10_000)
        bench("workspace", "W", 30_000, ":free")
        bench("key", "c", 40_000)
        bench("account", "B", 50_000)
        bench("key", "d", 60_000)
        other.publish({ _tag: "Readmitted", scope: "account", id: "B", within: undefined })
        yield* spread
        other.publish({ _tag: "Learnt", keyId: "a", account: "A", workspace: "W" })
        other.publish({ _tag: "Learnt", keyId: "b", account: "B", workspace: undefined })
        yield* spread
        yield* pool.add(key("c"))
        assert.isTrue(yield* pool.readmit("key", "d"))
        assert.isFalse(yield* pool.readmit("key", "d"))
        yield* pool.add(key("d"))
        const { benches, keys } = yield* pool.snapshot
        assert.deepStrictEqual(
          keys.map(({ id, ineligible }) => [id, ineligible?.scope, ineligible?.until]),
          [
            ["a", "account", 20_000],
            ["b", undefined, undefined],
            ["c", "key", 40_000],
            ["d", undefined, undefined]
          ]
        )
        assert.deepStrictEqual(
          benches.map(({ id, until, within }) => [id, until, within]),
          [["W", 30_000, ":free"]]
        )
      })
  )

  it.effect("no more than 1,024 names are kept for it", () => {
    const unowned = new Unowned()
    const bench = (n: number) => ({ scope: "account", id: `${n}`, within: undefined, until: 1 }) as const
    for (let n = 0; n < 1025; n++)
      unowned.put({ _tag: "Benched", reason: "throttled", since: 0, ...bench(n) })
    const kept = [0, 1, 1024].map((n) => unowned.take("account", `${n}`).length)
    return Effect.sync(() => assert.deepStrictEqual(kept, [0, 1, 1]))
  })

  it.effect(
    "draining, resuming, removing and adding keys reach the other, and so does what is learnt of an owner",
    () =>
      Effect.gen(function* () {
        const { one, other, said } = yield* two
        const events: Array<unknown> = []
        yield* start(Stream.runForEach(other.pool.changes, (event) => Effect.sync(() => events.push(event))))
        yield* start(one.pool.drain("a"))
        yield* one.pool.learn("c", { account: "C" })
        yield* spread
        assert.strictEqual((yield* stateOf(other.pool, "a")).ineligible?.reason, "draining")
        assert.strictEqual((yield* stateOf(other.pool, "c")).account, "C")
        yield* other.pool.resume("a")
        yield* one.pool.remove("b")
        yield* one.pool.add(key("d"))
        yield* spread
        assert.strictEqual((yield* stateOf(one.pool, "a")).ineligible, undefined)
        assert.deepStrictEqual(
          (yield* other.pool.snapshot).keys.map(({ id }) => id),
          ["a", "c"]
        )
        assert.deepInclude(events, { _tag: "KeyMissing", keyId: "d" })
        // Each was said once, by the one whose doing it was.
        assert.deepStrictEqual(
          said.map(([name, { _tag }]) => `${name} ${_tag}`),
          ["one Draining", "one Learnt", "other Resumed", "one Removed", "one Added"]
        )
      })
  )

  it.effect("a reading reaches the other, and is debited with what it does not contain", () =>
    Effect.gen(function* () {
      const { one, other } = yield* two
      yield* TestClock.adjust(minute)
      yield* one.balancer.use(() => ok, { filter: only("a"), outcome: () => Outcome.success(2) })
      yield* one.pool.credit("a", { remaining: 10, lag: 30_000 })
      yield* spread
      assert.strictEqual((yield* stateOf(one.pool, "a")).credit, 8)
      assert.strictEqual((yield* stateOf(other.pool, "a")).credit, 8)
    })
  )

  describe("the load of the others", () => {
    const load = (keys: ReadonlyArray<SharedFacts.FleetLoad>, alone = false): SharedFacts.Fact => ({
      _tag: "Load",
      keys,
      alone
    })
    const own = (told: ReadonlyArray<() => ReadonlyArray<SharedFacts.OwnLoad>>) => told[0]!()[0]!

    /** A pool that hears what the test says, and tells what it has when it is asked. */
    const listening = Effect.gen(function* () {
      const facts = yield* Queue.unbounded<SharedFacts.Fact>()
      const loads: Array<() => ReadonlyArray<SharedFacts.OwnLoad>> = []
      const shared: SharedFacts.SharedFacts = {
        name: "test",
        publish: () => {},
        facts: Stream.fromQueue(facts),
        attach: (load) => {
          loads.push(load)
          return () => void loads.splice(loads.indexOf(load), 1)
        }
      }
      const keys = [key("a", { maxInFlight: 3 })]
      const parts = yield* build({ keys, shared })
      const hear = (fact: SharedFacts.Fact) => Effect.andThen(Queue.offer(facts, fact), spread)
      return { ...parts, hear, loads }
    })

    it.effect(
      "counts against maxInFlight, goes when it goes, and serves who waits; draining goes by own uses",
      () =>
        Effect.gen(function* () {
          const { balancer, hear, pool } = yield* listening
          const { held, use } = holding()
          yield* hear(load([{ keyId: "a", inFlight: 2, held: 0, aside: 0, users: 1 }]))
          yield* start(balancer.use(use))
          yield* start(balancer.use(use))
          assert.deepStrictEqual([held.length, (yield* stateOf(pool, "a")).inFlight], [1, 3])
          yield* hear(load([]))
          assert.deepStrictEqual([held.length, (yield* stateOf(pool, "a")).inFlight], [2, 2])
          yield* hear(load([{ keyId: "a", inFlight: 9, held: 0, aside: 0, users: 1 }]))
          const drained = yield* start(pool.drain("a"))
          for (const { end } of held) end(Exit.void)
          yield* Fiber.join(drained)
          assert.strictEqual((yield* stateOf(pool, "a")).inFlight, 9)
        })
    )

    it.effect(
      "strategies go by what is expected by now, and caps by what was told; who may not serve is left out",
      () =>
        Effect.gen(function* () {
          const seen: Array<ReadonlyArray<number>> = []
          const selector = Selector.make("watching", (candidates) => {
            seen.push(candidates.map(({ inFlight }) => inFlight))
            return candidates[0]
          })
          const facts = yield* Queue.unbounded<SharedFacts.Fact>()
          const shared = { name: "test", publish: () => {}, facts: Stream.fromQueue(facts) }
          const { balancer, pool } = yield* build({
            keys: [key("a"), key("b", { maxInFlight: 3 }), key("c")],
            selector,
            shared
          })
          yield* pool.bench({ scope: "key", id: "c", reason: "throttled", for: minute })
          const loads = [
            { keyId: "a", inFlight: 4, held: 0, aside: 0, users: 1 },
            { keyId: "b", inFlight: 2, held: 0, aside: 0, users: 1 }
          ]
          yield* Queue.offer(facts, { _tag: "Load", keys: loads, arrivals: 1000, alone: false })
          yield* spread
          const pick = balancer.use(() => ok)
          yield* pick
          assert.deepStrictEqual(seen, [[3, 3].map((count) => count - 1 / 64)])
          const counts = Effect.map(pool.snapshot, ({ keys }) => keys.map(({ inFlight }) => inFlight))
          assert.deepStrictEqual(yield* counts, [4, 2, 0])
          assert.deepStrictEqual(
            (yield* balancer.explain()).keys.map(({ inFlight }) => inFlight),
            [4, 2, 0]
          )
          yield* Queue.offer(facts, { _tag: "Load", keys: loads, alone: false })
          yield* spread
          yield* pick
          assert.deepStrictEqual(seen[1], [4, 2])
        })
    )

    it.effect("what is set aside is told first and spent then; without the others all may be spent", () =>
      Effect.gen(function* () {
        const { balancer, hear, loads, pool } = yield* listening
        const { held, use } = holding()
        yield* hear(load([{ keyId: "a", inFlight: 0, held: 0, aside: 0, users: 1 }]))
        yield* pool.credit("a", { remaining: 6 })
        // Nothing is set aside yet.
        yield* start(balancer.use(use, { estimate: 1 }))
        assert.strictEqual(held.length, 0)
        assert.deepStrictEqual(own(loads), {
          keyId: "a",
          inFlight: 0,
          held: 0,
          aside: 2,
          begun: 0,
          capped: true,
          spent: 0
        })
        yield* hear(load([{ keyId: "a", inFlight: 0, held: 0, aside: 2, users: 1 }]))
        assert.strictEqual(held.length, 1)
        // 6, less 2 of the other and 1 of its own; 2 were told, and 1 of them is held.
        yield* start(balancer.use(use, { estimate: 1.5 }))
        assert.strictEqual(held.length, 1)
        const refused = yield* failureOf(balancer.use(use, { estimate: 3.5 }))
        assert.strictEqual(refused._tag, "NoEligibleKey")
        // What was wanted is set aside next.
        assert.isAtLeast(own(loads).aside, 1.5)
        yield* hear(load([{ keyId: "a", inFlight: 0, held: 0, aside: 2, users: 1 }]))
        assert.strictEqual(held.length, 2)
        yield* hear(load([], true))
        yield* start(balancer.use(use, { estimate: 3.5 }))
        assert.strictEqual(held.length, 3)
      })
    )

    it.effect("what others have spent is debited", () =>
      Effect.gen(function* () {
        const { hear, pool } = yield* listening
        yield* pool.credit("a", { remaining: 6 })
        yield* hear({ _tag: "Debited", keyId: "a", usd: 2 })
        assert.strictEqual((yield* stateOf(pool, "a")).credit, 4)
      })
    )

    it.effect("it is read no more once the pool is gone", () =>
      Effect.gen(function* () {
        const { loads } = yield* Effect.scoped(listening)
        assert.strictEqual(loads.length, 0)
      })
    )
  })

  it.effect("facts from elsewhere stop with the pool's scope", () =>
    Effect.gen(function* () {
      const { said } = yield* Effect.scoped(two)
      assert.deepStrictEqual(said, [])
    })
  )

  it.effect("by default nothing is told to anyone, and nothing heard", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* SharedFacts.SharedFacts, SharedFacts.local)
      assert.deepStrictEqual(yield* Stream.runCollect(SharedFacts.local.facts), [])
    })
  )
})
