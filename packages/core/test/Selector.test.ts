import { Selector } from "@evenkeel/core"
import type { Candidate } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random, Schema } from "effect"
import { candidate, contextOf, idsOf, keys, rngOf, using } from "./utils.ts"

type Metric = (candidate: Candidate.Candidate) => number

const pickerOf = (selector: Selector.Selector) => Effect.runSync(Effect.scoped(selector.make))

/** How often each of the candidates is picked. */
const countsOf = (
  selector: Selector.Selector,
  candidates: ReadonlyArray<Candidate.Candidate>,
  picks: number,
  seed = 1
): ReadonlyArray<number> => {
  const { pick } = pickerOf(selector)
  const context = contextOf(rngOf(seed))
  const counts = new Map(candidates.map((one) => [one, 0]))
  for (let n = 0; n < picks; n++) {
    const chosen = pick(candidates as never, context)
    counts.set(chosen, counts.get(chosen)! + 1)
  }
  return [...counts.values()]
}

/** Within 4 standard deviations of the expected shares: a right selector fails once in 16,000 seeds, and not for this one. */
const assertShares = (counts: ReadonlyArray<number>, shares: ReadonlyArray<number>) => {
  const total = counts.reduce((a, b) => a + b)
  for (const [index, share] of shares.entries()) {
    const sigma = Math.sqrt(total * share * (1 - share))
    assert.approximately(
      counts[index]!,
      total * share,
      4 * sigma,
      `${counts.join(" ")} for ${shares.join(" ")}`
    )
  }
}

const byInFlight: Metric = (one) => one.inFlight
const loads = (...inFlight: ReadonlyArray<number>) =>
  inFlight.map((n, index) => candidate(`k${index}`, { inFlight: n }))
const credits = (...credit: ReadonlyArray<number | undefined>) =>
  credit.map((usd, index) => candidate(`k${index}`, { credit: usd }))
const byCredit = Selector.proportional((one) => one.credit)

describe("Selector", () => {
  describe("leastBy", () => {
    it("picks the least of all", () => {
      assert.deepStrictEqual(
        countsOf(Selector.leastBy(byInFlight), loads(4, 3, 2, 1, 5), 100),
        [0, 0, 0, 100, 0]
      )
    })
    it("breaks ties evenly among those that tie, wherever they stand", () => {
      assertShares(
        countsOf(Selector.leastBy(byInFlight), loads(0, 0, 0, 0), 10_000),
        [0.25, 0.25, 0.25, 0.25]
      )
      const third = 1 / 3
      assertShares(countsOf(Selector.leastBy(byInFlight), loads(3, 3, 1, 1, 1), 100_000), [
        0,
        0,
        third,
        third,
        third
      ])
      assertShares(countsOf(Selector.leastBy(byInFlight), loads(1, 3, 1, 3), 10_000), [0.5, 0, 0.5, 0])
    })
    it("takes a metric that is not a number for the greatest", () => {
      const metric: Metric = (one) => (one.inFlight === 9 ? NaN : one.inFlight)
      assert.deepStrictEqual(countsOf(Selector.leastBy(metric), loads(9, 1, 9), 100), [0, 100, 0])
      assertShares(
        countsOf(
          Selector.leastBy(() => NaN),
          loads(1, 2),
          1000
        ),
        [0.5, 0.5]
      )
    })
    it("takes infinite metrics as they are", () => {
      const metric: Metric = (one) => [Infinity, 5, -Infinity][one.inFlight]!
      assert.deepStrictEqual(countsOf(Selector.leastBy(metric), loads(0, 1, 2), 10), [0, 0, 10])
    })
  })

  describe("powerOfTwo", () => {
    const two = Selector.powerOfTwo(byInFlight)
    it("never picks the busiest, because its two are distinct", () => {
      const counts = countsOf(two, loads(0, 0, 10), 10_000)
      assertShares(counts, [0.5, 0.5, 0])
    })
    it("of two keys of which one is busy it always picks the other", () => {
      assert.deepStrictEqual(countsOf(two, loads(7, 0), 1000), [0, 1000])
      assert.deepStrictEqual(countsOf(two, loads(0, 7), 1000), [1000, 0])
    })
    it("spreads evenly over equals", () => {
      assertShares(countsOf(two, loads(1, 1, 1, 1, 1), 50_000), [0.2, 0.2, 0.2, 0.2, 0.2])
    })
    it("takes a metric that is not a number for the greatest", () => {
      const metric: Metric = (one) => (one.inFlight === 1 ? NaN : 5)
      assert.deepStrictEqual(countsOf(Selector.powerOfTwo(metric), loads(1, 2), 200), [0, 200])
    })
    it("draws the pairs that a script of random numbers says", () => {
      // Of 4: first index floor(4r), then one of the other three.
      const pairs: ReadonlyArray<readonly [number, number, string]> = [
        [0, 0, "k0"],
        [0, 0.99, "k0"],
        [0.99, 0.99, "k2"],
        [0.5, 0.4, "k1"]
      ]
      const { pick } = pickerOf(two)
      for (const [first, second, expected] of pairs) {
        const numbers = [first, second]
        assert.strictEqual(
          pick(
            loads(0, 1, 2, 3) as never,
            contextOf(() => numbers.shift()!)
          ).id,
          expected
        )
      }
    })
  })

  describe("proportional", () => {
    it("credit of 100, 60 and 40 gives shares of .5, .3 and .2", () => {
      assertShares(countsOf(byCredit, credits(100, 60, 40), 20_000), [0.5, 0.3, 0.2])
    })
    it("an unknown weight counts as the mean of the known ones", () => {
      assertShares(countsOf(byCredit, credits(10, 10, undefined), 20_000), [1 / 3, 1 / 3, 1 / 3])
      assertShares(countsOf(byCredit, credits(30, 10, undefined, undefined), 20_000), [
        3 / 8,
        1 / 8,
        2 / 8,
        2 / 8
      ])
      assertShares(countsOf(byCredit, credits(undefined, undefined), 10_000), [0.5, 0.5])
    })
    it("with no weight left all are equally likely", () => {
      assertShares(countsOf(byCredit, credits(0, 0, 0), 10_000), [1 / 3, 1 / 3, 1 / 3])
      assertShares(countsOf(byCredit, credits(-5, NaN, Infinity, 0), 10_000), [0.25, 0.25, 0.25, 0.25])
    })
    it("weights that are negative, infinite or no number count as 0", () => {
      assertShares(countsOf(byCredit, credits(NaN, Infinity, -1, 3, 1), 10_000), [0, 0, 0, 0.75, 0.25])
    })
    it("an unknown weight among zeros has no weight either", () => {
      assertShares(countsOf(byCredit, credits(0, undefined), 10_000), [0.5, 0.5])
    })
    it("a rest that rounding leaves goes to the last that has a weight", () => {
      const { pick } = pickerOf(byCredit)
      assert.strictEqual(
        pick(
          credits(0.1, 0.2, 0.3, 0) as never,
          contextOf(() => 1)
        ).id,
        "k2"
      )
    })
  })

  it("random picks all equally often", () => {
    assertShares(countsOf(Selector.random, loads(0, 5, 9, 100), 20_000), [0.25, 0.25, 0.25, 0.25])
  })

  const odd = [undefined, 0, 0.01, 5, -1, NaN, Infinity]
  const Candidates = Schema.Array(
    Schema.Struct({
      inFlight: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 })),
      weight: Schema.Literals([0.5, 1, 3]),
      credit: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: odd.length - 1 }))
    })
  ).check(Schema.isMinLength(1))
  const all: ReadonlyArray<Selector.Selector> = [
    Selector.leastBy((one) => one.inFlight / one.weight),
    Selector.leastBy((one) => one.credit ?? NaN),
    Selector.powerOfTwo(byInFlight),
    byCredit,
    Selector.random
  ]
  for (const selector of all) {
    it.effect.prop(
      `${selector.name} always picks one of the candidates, changes none, and a seed fixes what it picks`,
      { given: Candidates, seed: Schema.Int },
      ({ given, seed }) =>
        Effect.sync(() => {
          const candidates = given.map((fields, index) =>
            Object.freeze(candidate(`k${index}`, { ...fields, credit: odd[fields.credit] }))
          )
          Object.freeze(candidates)
          const run = () => {
            const { pick } = pickerOf(selector)
            const context = Object.freeze(contextOf(rngOf(seed)))
            return Array.from({ length: 20 }, () => candidates.indexOf(pick(candidates as never, context)))
          }
          const chosen = run()
          assert.isFalse(chosen.includes(-1))
          assert.deepStrictEqual(run(), chosen)
          const alone = candidates.slice(0, 1)
          assert.strictEqual(pickerOf(selector).pick(alone as never, contextOf(rngOf(seed))), alone[0])
        }),
      { arbitrary: { runs: 200, seed: 1 } }
    )
  }

  it.effect("through a balancer, Random decides the ties", () => {
    const run = using(
      { keys: keys("a b c d"), selector: Selector.leastBy(() => 0) },
      function* ({ balancer }) {
        return yield* idsOf(balancer, 400)
      }
    )
    return Effect.gen(function* () {
      const one = yield* run.pipe(Random.withSeed(1))
      assert.deepStrictEqual(yield* run.pipe(Random.withSeed(1)), one)
      assertShares(
        ["a", "b", "c", "d"].map((id) => one.filter((chosen) => chosen === id).length),
        [0.25, 0.25, 0.25, 0.25]
      )
    })
  })

  it("make gives its name and its pick", () => {
    const last = Selector.make("last", (candidates) => candidates.at(-1)!)
    assert.strictEqual(last.name, "last")
    assert.deepStrictEqual(countsOf(last, loads(0, 0), 5), [0, 5])
  })
})
