import { Balancer, Errors, KeyPool, Outcome, type Candidate } from "@evenkeel/core"
import { PeakEwma } from "@evenkeel/peak-ewma"
import { SelectorLaws } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Random } from "effect"
import { TestClock } from "effect/testing"
import { Estimate } from "../src/internal/estimate.ts"

/** Live views as the pool keeps them. */
const key = (id: string, fields: Partial<Candidate.Candidate> = {}) => ({
  id,
  account: undefined,
  workspace: undefined,
  weight: 1,
  tier: 0,
  labels: {},
  inFlight: 0,
  maxInFlight: Infinity,
  credit: undefined,
  latency: undefined,
  ...fields
})

const at = (nowMillis: number, random: () => number = () => 0): Candidate.PickContext => ({
  attempt: 0,
  nowMillis,
  random,
  affinity: undefined,
  upstream: undefined,
  tokens: undefined,
  estimate: undefined
})

const pickerOf = (options?: PeakEwma.Options) => Effect.runSync(Effect.scoped(PeakEwma.make(options).make))

const timing = (nowMillis: number, answerMillis: number, elapsedMillis = answerMillis) => ({
  nowMillis,
  answerMillis,
  elapsedMillis
})

const throttled = (seconds?: number) =>
  Outcome.faulted({
    scope: "account",
    reason: "throttled",
    retryAfter: seconds === undefined ? undefined : Duration.seconds(seconds)
  })

describe("PeakEwma", () => {
  describe("vectors", () => {
    it("23 (tower peak_ewma.rs, default_decay): 10 ms fade to 9..10 after 100 ms, and to 8..9 after 200", () => {
      const estimate = new Estimate(10, 0)
      assert.strictEqual(estimate.read(0, 1000), 10)
      assert.isTrue(estimate.read(100, 1000) > 9 && estimate.read(100, 1000) < 10)
      assert.isTrue(estimate.read(200, 1000) > 8 && estimate.read(200, 1000) < 9)
    })

    it("24 (tower peak_ewma.rs, compound_decay): peaks count at once, and fade", () => {
      const estimate = new Estimate(20, 0)
      // Load is latency times what is in flight and the one to come.
      const load = (nowMillis: number, pending: number) => estimate.read(nowMillis, 1000) * (pending + 1)
      assert.strictEqual(load(0, 0), 20)
      assert.closeTo(load(100, 1), 36.19, 0.01)
      assert.closeTo(load(200, 2), 49.12, 0.01)
      estimate.observe(200, 300, 1000)
      assert.strictEqual(load(300, 1), 400)
      estimate.observe(200, 400, 1000)
      assert.closeTo(load(400, 0), 200, 1e-9)
      assert.isBelow(load(1400, 0), 100)
      assert.isBelow(load(11_400, 0), 0.1)
    })

    it("25 (Finagle P2CPeakEwmaTest): a key nobody has heard of gets one probe, and no second before its answer", () => {
      const picker = pickerOf()
      const known = key("known")
      const fresh = key("fresh")
      picker.settled!(known, Outcome.success(), timing(0, 100), at(0))
      assert.strictEqual(picker.pick([known, fresh], at(1)).id, "fresh")
      fresh.inFlight++
      for (known.inFlight = 0; known.inFlight < 1000; known.inFlight++) {
        assert.strictEqual(picker.pick([known, fresh], at(1)).id, "known")
      }
    })

    it("25: of two keys the one that is twice as slow gets about half as many", () => {
      const picker = pickerOf({ decay: "1000 seconds" })
      const [fast, slow] = [key("fast"), key("slow")]
      picker.settled!(fast, Outcome.success(), timing(0, 100), at(0))
      picker.settled!(slow, Outcome.success(), timing(0, 200), at(0))
      // Nothing ends, so what is in flight is what was sent.
      for (let i = 0; i < 3000; i++) (picker.pick([fast, slow], at(0)).id === "fast" ? fast : slow).inFlight++
      assert.closeTo(slow.inFlight / fast.inFlight, 0.5, 0.01)
    })

    it("26 (Envoy peak_ewma): the cost of (20 ms, 5 pending) is 120, of (30, 0) it is 30", () => {
      const picker = pickerOf()
      const [a, b] = [key("a", { inFlight: 5 }), key("b")]
      picker.settled!(a, Outcome.success(), timing(0, 20), at(0))
      picker.settled!(b, Outcome.success(), timing(0, 119.9), at(0))
      assert.strictEqual(picker.pick([a, b], at(0)).id, "b")
      picker.settled!(b, Outcome.success(), timing(0, 120.1), at(0))
      assert.strictEqual(picker.pick([a, b], at(0)).id, "a")
    })

    it("27 (linkerd load-biaser): a throttle is 5 s slow, or as slow as it asks for, up to 300 s", () => {
      /** The latency that an outcome leaves, found by comparing it with a key of known latency. */
      const leaves = (outcome: Outcome.Outcome, nowMillis = 0) => {
        let [low, high] = [0, 1e9]
        for (let i = 0; i < 60; i++) {
          const picker = pickerOf()
          const middle = (low + high) / 2
          const [a, b] = [key("a"), key("b")]
          picker.settled!(a, outcome, timing(0, 10), at(0))
          picker.settled!(b, Outcome.success(), timing(nowMillis, middle), at(0))
          if (picker.pick([a, b], at(nowMillis)).id === "b") low = middle
          else high = middle
        }
        return low
      }
      assert.closeTo(leaves(throttled()), 5000, 1)
      assert.closeTo(leaves(throttled(30)), 30_000, 1)
      assert.closeTo(leaves(throttled(1)), 5000, 1)
      assert.closeTo(leaves(throttled(600)), 300_000, 1)
      assert.closeTo(leaves(throttled(), 10_000), 1839, 1)
    })

    it("27: a failure in 10 ms is dearer than a healthy key of seconds", () => {
      const picker = pickerOf()
      const [broken, healthy] = [key("broken"), key("healthy")]
      const down = Outcome.faulted({ scope: "upstream", reason: "unavailable" })
      picker.settled!(broken, down, timing(0, 10), at(0))
      picker.settled!(healthy, Outcome.success(), timing(0, 3000), at(0))
      assert.strictEqual(picker.pick([broken, healthy], at(0)).id, "healthy")
    })
  })

  it("what is ignored teaches nothing", () => {
    const picker = pickerOf()
    const [a, b] = [key("a"), key("b")]
    picker.settled!(a, Outcome.success(), timing(0, 100), at(0))
    picker.settled!(b, Outcome.success(), timing(0, 50), at(0))
    picker.settled!(b, Outcome.ignored(), timing(0, 60_000), at(0))
    assert.strictEqual(picker.pick([a, b], at(0)).id, "b")
  })

  it("a picker forgets a key that has left", () => {
    const picker = pickerOf()
    const [a, b] = [key("a"), key("b")]
    picker.settled!(a, Outcome.success(), timing(0, 100), at(0))
    picker.settled!(b, Outcome.success(), timing(0, 50), at(0))
    picker.forget!("a")
    assert.strictEqual(picker.pick([a, b], at(0)).id, "a")
  })

  it("ranks by cost, and changes nothing by it", () => {
    const picker = pickerOf()
    const [a, b, c] = [key("a"), key("b"), key("c", { inFlight: 1 })]
    picker.settled!(a, Outcome.success(), timing(0, 100), at(0))
    picker.settled!(b, Outcome.success(), timing(0, 50), at(0))
    const rank = () => picker.rank!([a, b, c], at(5)).map(({ id }) => id)
    assert.deepStrictEqual(rank(), ["b", "a", "c"])
    assert.deepStrictEqual(rank(), ["b", "a", "c"])
  })

  it.effect("a stream is as quick as its first content, and loads its key to the end", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const pool = yield* KeyPool.KeyPool
      const stream = balancer.use((lease) =>
        Effect.gen(function* () {
          yield* Effect.sleep("100 millis")
          lease.answeredUnsafe()
          yield* Effect.sleep("10 seconds")
        })
      )
      const fiber = yield* Effect.forkChild(stream, { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* pool.snapshot).keys[0]!.inFlight, 1)
      yield* TestClock.adjust("6 seconds")
      assert.isDefined(fiber.pollUnsafe())
      assert.strictEqual((yield* pool.snapshot).keys[0]!.latency, 100)
    }).pipe(
      Effect.provide(
        Balancer.layer.pipe(
          Layer.provide(PeakEwma.layer()),
          Layer.provideMerge(KeyPool.layer({ keys: [{ id: "a", secret: "sk-0000001" }] }))
        )
      )
    )
  )

  it.effect("a key that fails at once does not draw the traffic", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      let bad = 0
      const use = balancer.use((lease) => {
        if (lease.key.id !== "bad") return Effect.sleep("2 seconds")
        bad++
        const outcome = Outcome.faulted({ scope: "upstream", reason: "unavailable" })
        return Effect.andThen(Effect.sleep("50 millis"), new Errors.Fault({ outcome }))
      })
      // Two a second for five minutes.
      for (let i = 0; i < 600; i++) {
        yield* Effect.forkChild(Effect.ignore(use), { startImmediately: true })
        yield* TestClock.adjust("500 millis")
      }
      // A fair share would be 150, and least in flight would send half of all there.
      assert.isBelow(bad, 120)
    }).pipe(
      Effect.provide(
        Balancer.layer.pipe(
          Layer.provide(PeakEwma.layer()),
          Layer.provide(
            KeyPool.layer({
              keys: ["bad", "x", "y", "z"].map((id, i) => ({ id, secret: `sk-000000${i}` }))
            })
          )
        )
      ),
      Random.withSeed("peak")
    )
  )

  it("refuses options out of range, and names them", () => {
    assert.throws(
      () => PeakEwma.make({ decay: 0 }),
      /decay must be a finite duration of at least a millisecond/
    )
    assert.throws(() => PeakEwma.make({ decay: "Infinity" as never }), RangeError)
    assert.throws(() => PeakEwma.layer({ penalty: -1 }), /penalty must be a finite duration from 0 up/)
  })
})

describe("the laws", () => {
  it.effect("are kept", () => SelectorLaws.check(PeakEwma.make(), { fair: true }), 60_000)
})
