import { Balancer, Errors, KeyPool, Outcome, SharedFacts } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, PubSub, Stream } from "effect"
import { TestClock } from "effect/testing"
import { failureOf, fault, holding, key, layerOf, ok, start, stateOf, type Parts } from "./utils.ts"

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

/** Two processes that share keys, and their wire. */
const two = Effect.gen(function* () {
  const { member, said } = yield* wire
  const keys = [key("a", { account: "A" }), key("b", { account: "A" }), key("c")]
  const process = (name: string) =>
    Effect.map(Layer.build(Layer.fresh(layerOf({ keys, shared: member(name) }))), (context): Parts => ({
      balancer: context.mapUnsafe.get(Balancer.Balancer.key) as Parts["balancer"],
      pool: context.mapUnsafe.get(KeyPool.KeyPool.key) as Parts["pool"]
    }))
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
      const { one, other } = yield* two
      yield* other.pool.remove("a")
      yield* failureOf(one.balancer.use(() => fault("key", "rejected")))
      yield* spread
      assert.deepStrictEqual(yield* benched(other), [])
    })
  )

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
