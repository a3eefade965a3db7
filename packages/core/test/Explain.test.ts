import {
  type BalancerEvent,
  Breaker,
  Errors,
  type Explanation,
  type Filter,
  Limiter,
  Selector
} from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Option, Random, Stream, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { fault, key, keys, leastInFlight, ok, patient, refusalOf, rngOf, start, using } from "./utils.ts"

const eligibleOf = ({ keys }: Explanation.Explanation) =>
  keys.flatMap((one) => (one.eligible ? [one.keyId] : []))
const reasonsOf = ({ keys }: Explanation.Explanation) =>
  keys.map((one) => (one.eligible ? undefined : one.reason))

describe("Explain", () => {
  it.effect("tells of each key, in the order of the pool, whether it could serve, and its numbers", () =>
    using(
      {
        keys: [
          key("a", { account: "A", workspace: "w", tier: 2, weight: 3 }),
          key("b", { maxInFlight: 1 }),
          key("c"),
          key("d")
        ],
        selector: leastInFlight
      },
      function* ({ balancer, pool }) {
        yield* TestClock.adjust(1000)
        yield* pool.credit("a", { remaining: 5 })
        yield* start(balancer.use(() => Effect.never, { filter: only("b") }))
        yield* start(balancer.use(() => Effect.never, { filter: only("c") }))
        yield* pool.bench({ scope: "key", id: "d", reason: "throttled", for: 9000 })
        const shared = { account: undefined, workspace: undefined, credit: undefined, latency: undefined }
        const plain = { ...shared, tier: 0, weight: 1, maxInFlight: Infinity }
        const out = { eligible: false, scope: "key" } as const
        assert.deepStrictEqual(yield* balancer.explain(), {
          at: 1000,
          upstream: undefined,
          keys: [
            {
              ...shared,
              keyId: "a",
              account: "A",
              workspace: "w",
              tier: 2,
              weight: 3,
              inFlight: 0,
              maxInFlight: Infinity,
              credit: 5,
              eligible: true,
              rank: 1,
              overlooked: undefined
            },
            {
              ...plain,
              ...out,
              keyId: "b",
              inFlight: 1,
              maxInFlight: 1,
              reason: "saturated",
              since: undefined,
              until: undefined
            },
            { ...plain, keyId: "c", inFlight: 1, eligible: true, rank: 2, overlooked: undefined },
            { ...plain, ...out, keyId: "d", inFlight: 0, reason: "throttled", since: 1000, until: 10_000 }
          ],
          retryAt: 10_000,
          waiting: 0
        })
      }
    )
  )
  it.effect("counts who waits, and takes the request's own facts and size into account", () =>
    using({ keys: [key("a", { maxInFlight: 1 }), key("b")] }, function* ({ balancer, pool }) {
      yield* pool.credit("b", { remaining: 1 })
      const dear = yield* balancer.explain({ estimate: 2 })
      assert.deepStrictEqual(reasonsOf(dear), [undefined, "insufficient"])
      assert.deepStrictEqual(reasonsOf(yield* balancer.explain({ filter: only("b") })), [
        "elsewhere",
        undefined
      ])
      yield* Effect.forEach([1, 2, 3], () => start(balancer.use(() => Effect.never, { filter: only("a") })))
      assert.strictEqual((yield* balancer.explain()).waiting, 2)
    })
  )
  it.effect("a strategy without an order gives no places", () =>
    using({ keys: keys("a b"), selector: Selector.random }, function* ({ balancer }) {
      const { keys } = yield* balancer.explain()
      assert.deepStrictEqual(
        keys.map((one) => one.eligible && one.rank),
        [undefined, undefined]
      )
    })
  )
  it.effect(
    "changes nothing: no pick, no random number, no admission, no count, no reading, no event",
    () => {
      const touched: Array<string> = []
      const touch = (name: string) => () => void touched.push(name)
      const gate = (name: string) => ({
        name,
        filter: () => undefined,
        admit: () => {
          touched.push(`${name} admit`)
          return 0
        },
        record: touch(`${name} record`),
        forget: touch(`${name} forget`)
      })
      const selector: Selector.Selector = {
        name: "spy",
        make: Effect.succeed({
          pick: (candidates, context) => {
            touched.push(`pick ${context.random()}`)
            return candidates[0]
          },
          rank: (candidates) => candidates.toReversed(),
          settled: touch("settled")
        })
      }
      const random: (typeof Random.Random)["Service"] = {
        nextIntUnsafe: () => touched.push("random"),
        nextDoubleUnsafe: () => touched.push("random")
      }
      return using(
        {
          keys: keys("a b c", { account: "A" }),
          selector,
          breaker: gate("breaker"),
          limiter: gate("limiter")
        },
        function* ({ balancer, pool }) {
          yield* pool.credit("a", { remaining: 5 })
          yield* pool.bench({ scope: "key", id: "b", reason: "rejected", for: 1000 })
          yield* pool.bench({ scope: "upstream", id: "m", reason: "throttled", for: 5000 })
          yield* start(Stream.runForEach(balancer.events, (event) => Effect.sync(touch(event._tag))))
          yield* Effect.yieldNow
          for (const after of [0, 1000, 4000, 3_600_000]) {
            yield* TestClock.adjust(after)
            touched.length = 0
            const before = yield* pool.snapshot
            const one = yield* balancer.explain({ upstream: "m", alternatives: ["n"], estimate: 9 })
            assert.deepStrictEqual(
              yield* balancer.explain({ upstream: "m", alternatives: ["n"], estimate: 9 }),
              one
            )
            assert.deepStrictEqual(yield* pool.snapshot, before)
            for (let n = 0; n < 10; n++) yield* Effect.yieldNow
            assert.deepStrictEqual(touched, [])
          }
          yield* balancer.use(() => ok)
          assert.isAbove(touched.length, 3)
        }
      ).pipe(Effect.provideService(Random.Random, random))
    }
  )
  it.effect("is a copy: what happens later does not change it", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 1000 })
      const early = yield* balancer.explain()
      const copy = structuredClone(early)
      yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 9000 })
      assert.deepStrictEqual(early, copy)
    })
  )
  it.effect("agrees with what a use then does, in 2,000 random states", () => {
    let offered: ReadonlyArray<string> = []
    const selector = Selector.make("spy", (candidates) => {
      offered = candidates.map(({ id }) => id)
      return candidates[0]
    })
    const upstreams = ["x", "y", "z"]
    return using({ keys: keys("a b c d", { account: "A" }), selector }, function* ({ balancer, pool }) {
      const random = rngOf(7)
      const roll = (n: number) => Math.floor(random() * n)
      const pickOf = <A>(items: ReadonlyArray<A>): A => items[roll(items.length)]!
      let served = 0
      for (let n = 0; n < 2000; n++) {
        yield* TestClock.adjust(roll(200))
        const reason = pickOf(["throttled", "rejected", "exhausted"] as const)
        const what = roll(6)
        const id = pickOf(["a", "b", "c", "d"])
        const millis = roll(1500)
        if (what < 3) yield* pool.bench({ scope: "key", id, reason, for: millis })
        else if (what === 3)
          yield* pool.bench({ scope: "upstream", id: pickOf(upstreams), reason, for: millis })
        else if (what === 4) yield* pool.change(id, { maxInFlight: pickOf([1, Infinity]) })
        else yield* Effect.exit(balancer.use(() => fault("key", reason, { retryAfter: millis })))
        const options = {
          upstream: pickOf(upstreams),
          alternatives: pickOf([undefined, upstreams.filter(() => random() < 0.6)]),
          maxWait: 0
        }
        offered = []
        const told = yield* balancer.explain(options)
        const exit = yield* Effect.exit(
          balancer.use((lease) => Effect.succeed(lease.context.upstream), options)
        )
        assert.deepStrictEqual(offered, eligibleOf(told), `state ${n}`)
        if (exit._tag === "Success") {
          served++
          assert.strictEqual(exit.value, told.upstream)
          continue
        }
        const error = exit.cause.reasons[0]
        const refusal = error?._tag === "Fail" ? error.error : undefined
        assert.instanceOf(refusal, Errors.NoEligibleKey)
        assert.deepStrictEqual([refusal!.keys, refusal!.retryAt], [told.keys, told.retryAt] as never)
      }
      assert.isAbove(served, 200)
      assert.isBelow(served, 1800)
    })
  })
  it.effect("its record is that of the refusal, of its event and of the span", () =>
    using({ keys: keys("a b", { account: "A" }), retry: patient(0) }, function* ({ balancer, pool }) {
      yield* pool.bench({ scope: "account", id: "A", reason: "exhausted", for: 5000 })
      yield* pool.drain("b")
      const events: Array<BalancerEvent.BalancerEvent> = []
      yield* start(
        Stream.runForEach(balancer.events, (event) =>
          Effect.sync(() => void events.push(event as BalancerEvent.BalancerEvent))
        )
      )
      yield* Effect.yieldNow
      const span = new Tracer.NativeSpan({
        name: "request",
        parent: Option.none(),
        annotations: Context.empty(),
        links: [],
        startTime: 0n,
        kind: "internal",
        sampled: true
      })
      const { keys, retryAt } = yield* balancer.explain()
      const fiber = yield* start(
        refusalOf(
          Effect.withParentSpan(
            balancer.use(() => ok),
            span
          )
        )
      )
      const error = yield* Fiber.join(fiber)
      for (let n = 0; n < 10; n++) yield* Effect.yieldNow
      assert.deepStrictEqual(error.keys, keys as never)
      assert.deepStrictEqual(events, [
        { _tag: "Refused", at: 0, upstream: undefined, attempts: 0, keys: keys as never, retryAt },
        {
          _tag: "Finished",
          at: 0,
          upstream: undefined,
          result: "refused",
          outcome: undefined,
          elapsedMillis: 0
        }
      ])
      assert.deepStrictEqual(span.events[0]?.[2]["evenkeel.keys"], JSON.stringify(keys))
    })
  )
  it.effect("takes the alternative that a use would, and none that it would not", () => {
    // With z alone there is room, but while y is merely busy a use waits for that.
    const filter: Filter.Filter = (_, { upstream }) =>
      upstream === "y"
        ? { reason: "saturated", scope: "upstream", since: undefined, until: undefined }
        : undefined
    return using(
      { keys: keys("a"), breaker: Breaker.closed, limiter: { ...Limiter.unlimited, filter } },
      function* ({ balancer, pool }) {
        yield* pool.bench({ scope: "upstream", id: "x", reason: "throttled", for: 1000 })
        const asked = { upstream: "x", alternatives: ["y", "z"] }
        const told = yield* balancer.explain(asked)
        assert.deepStrictEqual([told.upstream, reasonsOf(told)], ["x", ["throttled"]])
        const waiter = yield* start(balancer.use(() => ok, asked))
        assert.isUndefined(waiter.pollUnsafe())
        const other = yield* balancer.explain({ upstream: "x", alternatives: ["z", "y"] })
        assert.deepStrictEqual([other.upstream, eligibleOf(other)], ["z", ["a"]])
        yield* Fiber.interrupt(waiter)
      }
    )
  })
})

const only =
  (id: string): Filter.Filter =>
  (candidate) =>
    candidate.id === id
      ? undefined
      : { reason: "elsewhere", scope: "request", since: undefined, until: undefined }
