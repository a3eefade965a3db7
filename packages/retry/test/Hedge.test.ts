import { Hedging, type Candidate } from "@evenkeel/core"
import { Hedge, RetryBudget } from "@evenkeel/retry"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { SlidingPercentile } from "../src/internal/slidingPercentile.ts"

const contextOf = (upstream?: string, nowMillis = 0): Candidate.PickContext => ({
  attempt: 0,
  nowMillis,
  random: () => 0,
  affinity: undefined,
  upstream,
  tokens: undefined,
  estimate: undefined
})

const learn = (hedging: Hedging.Hedging, upstream: string | undefined, ...times: ReadonlyArray<number>) => {
  for (const time of times) hedging.observe(contextOf(upstream), time)
}

const upTo = (n: number, unit = 1): Array<number> => Array.from({ length: n }, (_, i) => (i + 1) * unit)

describe("the delay", () => {
  it("is unknown until there are enough answers, and then their percentile", () => {
    const hedging = Hedge.make()
    assert.isUndefined(hedging.delay(contextOf("model")))
    learn(hedging, "model", ...upTo(19, 1000))
    assert.isUndefined(hedging.delay(contextOf("model")))
    learn(hedging, "model", 20_000)
    assert.strictEqual(hedging.delay(contextOf("model")), 19_000)
  })

  it("is each upstream's own, that of no name among them", () => {
    const hedging = Hedge.make({ minimumSamples: 1 })
    learn(hedging, "slow", 9000)
    learn(hedging, undefined, 3000)
    assert.strictEqual(hedging.delay(contextOf("slow")), 9000)
    assert.strictEqual(hedging.delay(contextOf()), 3000)
    assert.isUndefined(hedging.delay(contextOf("other")))
  })

  it("keeps between the least and the longest", () => {
    const hedging = Hedge.make({ minimumSamples: 1, minDelay: "2 seconds", maxDelay: "5 seconds" })
    const delays = [10, 3000, 60_000].map((time) => {
      const upstream = String(time)
      learn(hedging, upstream, time)
      return hedging.delay(contextOf(upstream))
    })
    assert.deepStrictEqual(delays, [2000, 3000, 5000])
  })

  it("follows an upstream that changes, after as many answers as are kept", () => {
    const hedging = Hedge.make({ samples: 100 })
    learn(hedging, "model", ...upTo(100).map(() => 2000))
    learn(hedging, "model", ...upTo(5).map(() => 8000))
    assert.strictEqual(hedging.delay(contextOf("model")), 2000)
    learn(hedging, "model", 8000)
    assert.strictEqual(hedging.delay(contextOf("model")), 8000)
    learn(hedging, "model", ...upTo(100).map(() => 2000))
    assert.strictEqual(hedging.delay(contextOf("model")), 2000)
  })

  it("of the upstream that was silent for longest is forgotten when there are too many", () => {
    const hedging = Hedge.make({ minimumSamples: 1, upstreams: 2 })
    for (const upstream of ["a", "b", "a", "c"]) learn(hedging, upstream, 3000)
    const known = ["a", "b", "c"].map((upstream) => hedging.delay(contextOf(upstream)))
    assert.deepStrictEqual(known, [3000, undefined, 3000])
  })
})

describe("the budget", () => {
  it("allows 5 % of the requests of the last minute by default", () => {
    const hedging = Hedge.make()
    const allowed = (nowMillis: number) => {
      let n = 0
      while (hedging.allow(contextOf("model", nowMillis))) n++
      return n
    }
    assert.strictEqual(allowed(0), 0)
    for (let i = 0; i < 1000; i++) hedging.delay(contextOf("model", i))
    assert.strictEqual(allowed(50_000), 50)
    assert.strictEqual(allowed(59_999), 0)
    for (let i = 0; i < 19; i++) hedging.delay(contextOf("model", 120_000))
    assert.strictEqual(allowed(120_000), 0)
    hedging.delay(contextOf("model", 120_000))
    assert.strictEqual(allowed(120_000), 1)
  })

  it("adds 5 % of load, and no more, where all requests hang", () => {
    const hedging = Hedge.make()
    learn(hedging, "model", ...upTo(100, 50))
    const due: Array<number> = []
    let sent = 0
    for (let now = 0; now < 600_000; now += 10) {
      for (; due[0]! <= now; due.shift()) if (hedging.allow(contextOf("model", now))) sent++
      due.push(now + hedging.delay(contextOf("model", now))!)
    }
    assert.isAtMost(sent, 60_000 * 0.05)
    assert.isAbove(sent, 60_000 * 0.05 * 0.95)
  })

  it("keeps the ratio where only the floor is given, and may be given, shared or none", () => {
    const patient = Hedge.make({ budget: { perSecond: 1 } })
    for (let i = 0; i < 100; i++) patient.delay(contextOf("model"))
    const allowed = upTo(100).filter(() => patient.allow(contextOf("model")))
    // One a second over the default minute, and the default ratio.
    assert.strictEqual(allowed.length, 60 + 5)
    const budget = RetryBudget.make({ ratio: 0, perSecond: 0.1 })
    const two = [Hedge.make({ budget }), Hedge.make({ budget })]
    assert.deepStrictEqual(
      two.map((hedging) => hedging.allow(contextOf())),
      [true, false]
    )
    const free = Hedge.make({ budget: false })
    assert.isTrue(upTo(1000).every(() => free.allow(contextOf())))
  })
})

describe("the layer", () => {
  it.effect("provides the port, and learns anew with each of its builds", () =>
    Effect.gen(function* () {
      const layer = Hedge.layer({ minimumSamples: 1 })
      const program = Effect.map(Hedging.Hedging, (hedging) => {
        const before = hedging.delay(contextOf("model"))
        learn(hedging, "model", 3000)
        return [hedging.name, before, hedging.delay(contextOf("model"))]
      })
      assert.deepStrictEqual(yield* Effect.provide(program, layer), ["hedge", undefined, 3000])
      assert.deepStrictEqual(yield* Effect.provide(program, layer), ["hedge", undefined, 3000])
      assert.deepStrictEqual(yield* program, ["never", undefined, undefined])
    })
  )
})

describe("the percentile", () => {
  it.effect("of any window is that of its samples, sorted", () =>
    Effect.gen(function* () {
      for (const capacity of [1, 2, 7, 100, 256]) {
        const percentile = new SlidingPercentile(capacity)
        const all: Array<number> = []
        for (let i = 0; i < 1000; i++) {
          // Few values, so that many are equal.
          const sample = Math.floor((yield* Random.next) * 50) / 8
          percentile.add(sample)
          all.push(sample)
          const sorted = all.slice(-capacity).toSorted((a, b) => a - b)
          assert.strictEqual(percentile.size, sorted.length)
          for (const percent of [1, 7, 50, 90, 95, 99]) {
            const expected = sorted[Math.ceil((percent * sorted.length) / 100) - 1]
            assert.strictEqual(percentile.at(percent / 100), expected)
          }
        }
      }
    }).pipe(Random.withSeed("percentile"))
  )
})

describe("options", () => {
  it("out of range are refused with the name of the field and the range", () => {
    for (const bad of [0, 1, -0.5, 95, NaN]) {
      assert.throws(
        () => Hedge.make({ percentile: bad }),
        RangeError,
        /Hedge: percentile must be a number between/
      )
    }
    for (const bad of [0, -1, 1.5, NaN, Infinity]) {
      assert.throws(
        () => Hedge.make({ minimumSamples: bad }),
        RangeError,
        /Hedge: minimumSamples must be a whole/
      )
      assert.throws(() => Hedge.make({ samples: bad }), RangeError, /Hedge: samples must be a whole/)
      assert.throws(() => Hedge.layer({ upstreams: bad }), RangeError, /Hedge: upstreams must be a whole/)
    }
    for (const bad of [0, -1, NaN, Infinity]) {
      assert.throws(
        () => Hedge.make({ minDelay: bad }),
        RangeError,
        /Hedge: minDelay must be a finite duration/
      )
      assert.throws(
        () => Hedge.make({ maxDelay: bad }),
        RangeError,
        /Hedge: maxDelay must be a finite duration/
      )
    }
    assert.throws(() => Hedge.make({ samples: 10 }), RangeError, /minimumSamples must not exceed samples, 10/)
    assert.throws(
      () => Hedge.make({ maxDelay: 999 }),
      RangeError,
      /maxDelay must not be less than minDelay, 1000 ms/
    )
    assert.throws(() => Hedge.make({ budget: { ratio: NaN } }), RangeError, /RetryBudget: ratio/)
    Hedge.make({ samples: 20, minDelay: 5, maxDelay: 5 })
  })
})
