import { Balancer, Filter, KeyPool, Outcome } from "@evenkeel/core"
import type { Candidate } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, Layer, Random, Schema } from "effect"
import { inFlight, keys as keysOf, layerOf, type Parts, refusalOf, using } from "../../core/test/utils.ts"
import { SelectorLaws } from "@evenkeel/testkit"
import { CreditAware } from "../src/index.ts"

const { candidate } = SelectorLaws

type Candidates = Arr.NonEmptyReadonlyArray<Candidate.Candidate>

const some = (candidates: ReadonlyArray<Candidate.Candidate>): Candidates => {
  if (!Arr.isReadonlyArrayNonEmpty(candidates)) throw new Error("no candidates")
  return candidates
}

const rich = (...credits: ReadonlyArray<number | undefined>): Candidates =>
  some(credits.map((credit, i) => candidate(`k${i}`, { credit })))

const counts = (candidates: Candidates, n: number, options?: CreditAware.Options) =>
  SelectorLaws.counts(CreditAware.make(options), candidates, n)

const runs = 20_000

/** Each count within 4 standard deviations of its share; the seed keeps a pass a pass. */
const shares = (actual: ReadonlyArray<number>, expected: ReadonlyArray<number>) => {
  for (const [i, p] of expected.entries()) {
    assert.approximately(actual[i]!, runs * p, 4 * Math.sqrt(runs * p * (1 - p)), `share of k${i}`)
  }
}

/** Uses that cost a cent each, with the same estimate held while they run. */
const spend = ({ balancer }: Parts, n: number) =>
  Effect.replicateEffect(
    balancer.use(() => Effect.void, { estimate: 0.01, outcome: () => Outcome.success(0.01) }),
    n
  )

const Credit = Schema.UndefinedOr(
  Schema.Union([
    Schema.Int.check(Schema.isBetween({ minimum: -5, maximum: 5 })),
    Schema.Number.check(Schema.isBetween({ minimum: -100, maximum: 1e6 })),
    Schema.Number.check(Schema.isGreaterThan(1e300))
  ])
)
const Keys = Schema.Array(
  Schema.Struct({
    credit: Credit,
    weight: Schema.Number.check(Schema.isBetween({ minimum: 0.01, maximum: 100 }))
  })
).check(Schema.isBetweenLength(1, 12))
const Options = Schema.Struct({
  mode: Schema.Literals(["proportional", "richest", "expiring"]),
  reserve: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
})

describe("CreditAware", () => {
  for (const mode of ["proportional", "expiring"] as const) {
    it.effect(`keeps the laws of selectors, fair and by weight: ${mode}`, () =>
      SelectorLaws.check(CreditAware.make({ mode, reserve: 1 }), { fair: true, weighted: true })
    )
  }

  it.effect("keeps the laws of selectors, and is fair: richest", () =>
    SelectorLaws.check(CreditAware.make({ mode: "richest" }), { fair: true })
  )

  const cases: ReadonlyArray<readonly [string, Candidates, CreditAware.Options, ReadonlyArray<number>]> = [
    // Vector 62.
    ["credit 100, 60, 40", rich(100, 60, 40), {}, [0.5, 0.3, 0.2]],
    ["the same in another order", rich(40, 100, 60), {}, [0.2, 0.5, 0.3]],
    ["with a reserve of 40", rich(100, 60, 40), { reserve: 40 }, [0.75, 0.25, 0]],
    ["overdrawn keys count as empty", rich(30, -50, 10), {}, [0.75, 0, 0.25]],
    [
      "unknown credit counts as the most known",
      rich(100, 60, undefined, 40),
      {},
      [1 / 3, 0.2, 1 / 3, 0.4 / 3]
    ],
    ["an infinite reading is an uncapped key", rich(100, 100, Infinity), {}, [1 / 3, 1 / 3, 1 / 3]],
    ["unknown credit against keys at their reserve", rich(5, undefined, 3), { reserve: 5 }, [0, 1, 0]],
    [
      "nothing known: all alike",
      rich(undefined, undefined, undefined, undefined),
      {},
      [0.25, 0.25, 0.25, 0.25]
    ],
    ["nobody above the reserve: the richest", rich(3, 4, 4, 1), { reserve: 5 }, [0, 0.5, 0.5, 0]],
    ["all empty: all alike", rich(0, 0, 0, 0), {}, [0.25, 0.25, 0.25, 0.25]],
    ["richest: the one with most", rich(60, 100, 40), { mode: "richest" }, [0, 1, 0]],
    ["richest: ties are fair", rich(100, 40, 100, 100), { mode: "richest" }, [1 / 3, 0, 1 / 3, 1 / 3]],
    [
      "richest: unknown ties with the most known",
      rich(100, undefined, 40),
      { mode: "richest" },
      [0.5, 0.5, 0]
    ],
    ["richest: unknown before spent", rich(0, undefined, -1), { mode: "richest" }, [0, 1, 0]],
    ["richest: an infinite reading is an uncapped key", rich(9, Infinity), { mode: "richest" }, [0.5, 0.5]],
    ["richest: nothing known", rich(undefined, undefined), { mode: "richest" }, [0.5, 0.5]],
    ["richest: overdrawn ones too", rich(-3, -1, -2), { mode: "richest" }, [0, 1, 0]]
  ]
  for (const [name, candidates, options, expected] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        shares(yield* counts(candidates, runs, options), expected)
      }).pipe(Random.withSeed(name))
    )
  }

  it.effect(
    "expiring: what resets first, in proportion; then what resets never; a reserve is nothing to lose",
    () =>
      Effect.gen(function* () {
        const soon = { credit: 30, creditResetsAt: 1000 }
        const late = { credit: 90, creditResetsAt: 2000 }
        const keys = [soon, { ...soon, credit: 10 }, late, { credit: 100 }, {}]
        const candidates = some(keys.map((key, i) => candidate(`k${i}`, key)))
        const at = (nowMillis: number, reserve = 0) =>
          SelectorLaws.counts(CreditAware.make({ mode: "expiring", reserve }), candidates, runs, {
            nowMillis
          })
        shares(yield* at(0), [0.75, 0.25, 0, 0, 0])
        shares(yield* at(0, 10), [1, 0, 0, 0, 0])
        shares(yield* at(0, 30), [0, 0, 1, 0, 0])
        shares(yield* at(1000), [0, 0, 1, 0, 0])
        // All resets are past: as in proportion.
        shares(yield* at(2000), [30 / 330, 10 / 330, 90 / 330, 100 / 330, 100 / 330])
      }).pipe(Random.withSeed("expiring"))
  )

  it.effect("the weight of a key multiplies its credit, known or not", () =>
    Effect.gen(function* () {
      const candidates = some([
        candidate("k0", { credit: 10, weight: 2 }),
        candidate("k1", { credit: 20 }),
        candidate("k2", { weight: 3 })
      ])
      shares(yield* counts(candidates, runs), [0.2, 0.2, 0.6])
    }).pipe(Random.withSeed("weights"))
  )

  it.effect.prop("never chooses a spent key beside one that is not", [Keys, Options], ([keys, options]) =>
    Effect.gen(function* () {
      const candidates = some(keys.map((key, i) => candidate(`k${i}`, key)))
      const found = yield* counts(candidates, 20, options)
      // The richest is the richest, whatever the reserve.
      const reserve = options.mode === "richest" ? 0 : options.reserve
      const left = (c: Candidate.Candidate) => (c.credit === undefined ? Infinity : c.credit - reserve)
      const most = Math.max(...candidates.map(left))
      for (const chosen of candidates.filter((_, i) => found[i]! > 0)) {
        if (most > 0) assert.isAbove(left(chosen), 0)
        else assert.strictEqual(left(chosen), most)
      }
    })
  )

  it.effect.prop("even a draw at the very end finds a key with credit", [Keys], ([keys]) =>
    Effect.gen(function* () {
      const candidates = some([
        ...keys.map((key, i) => candidate(`k${i}`, key)),
        candidate("empty", { credit: 0 })
      ])
      const { pick } = yield* CreditAware.make().make
      const chosen = pick(candidates, SelectorLaws.context({ random: () => 1 - Number.EPSILON / 2 }))
      if (keys.some(({ credit }) => credit === undefined || credit > 0)) assert.isAbove(chosen.credit ?? 1, 0)
    })
  )

  it("options out of range are refused, by name and with what is allowed", () => {
    // @ts-expect-error
    const wrong: CreditAware.Options = { mode: "poorest" }
    for (const build of [CreditAware.make, CreditAware.layer]) {
      for (const reserve of [-0.01, NaN, Infinity]) {
        assert.throws(
          () => build({ reserve }),
          RangeError,
          `reserve must be a finite number of USD from 0 up, and is ${reserve}`
        )
      }
      assert.throws(
        () => build(wrong),
        RangeError,
        'mode must be "proportional", "richest" or "expiring", and is poorest'
      )
    }
  })

  describe("in a balancer", () => {
    const credits = { a: 100, b: 60, c: 40, d: 20 }
    const keys = keysOf("a b c d")
    const readAll = ({ pool }: Parts, usd: Readonly<Record<string, number>> = credits) =>
      Effect.forEach(Object.entries(usd), ([id, remaining]) => pool.credit(id, { remaining, requestedAt: 0 }))
    const left = ({ pool }: Parts) =>
      Effect.map(pool.snapshot, (snapshot) => snapshot.keys.map((key) => key.credit!))
    const alike = (usd: number) => ({ a: usd, b: usd, c: usd, d: usd })

    // The share of vector 63 that one process can show.
    it.effect(
      "all keys run dry together: Jain's index of spent / initial is above .99 when half is gone",
      () =>
        using({ selector: CreditAware.make(), keys }, function* (parts) {
          yield* readAll(parts)
          yield* spend(parts, 11_000)
          const spent = (yield* left(parts)).map((credit, i) => 1 - credit / Object.values(credits)[i]!)
          const sum = spent.reduce((a, b) => a + b)
          const squares = spent.reduce((total, x) => total + x * x, 0)
          assert.isAbove((sum * sum) / (spent.length * squares), 0.99)
        }).pipe(Random.withSeed("drain"))
    )

    it.effect("$219 of the $220 can be spent without overrunning a cap", () =>
      using({ selector: CreditAware.make(), keys }, function* (parts) {
        yield* readAll(parts)
        yield* spend(parts, 21_900)
        for (const credit of yield* left(parts)) assert.isAbove(credit, -1e-9)
      }).pipe(Random.withSeed("drain"))
    )

    it.effect("richest levels the keys: it sees what the picks before it have spent", () =>
      using({ selector: CreditAware.make({ mode: "richest" }), keys }, function* (parts) {
        yield* readAll(parts)
        yield* spend(parts, 8_000)
        for (const [i, credit] of (yield* left(parts)).entries())
          assert.approximately(credit, [40, 40, 40, 20][i]!, 0.02)
      }).pipe(Random.withSeed("level"))
    )

    it.effect("holds of requests in flight count: 40 at once from equal keys are 10 each", () =>
      using({ selector: CreditAware.make({ mode: "richest" }), keys }, function* (parts) {
        yield* readAll(parts, alike(50))
        yield* Effect.replicateEffect(parts.balancer.lease({ estimate: 0.5 }), 40)
        assert.deepStrictEqual(yield* inFlight(parts.pool), [10, 10, 10, 10])
      }).pipe(Random.withSeed("holds"))
    )

    it.effect("the reserve is a preference, a filter is the wall", () =>
      Effect.gen(function* () {
        const walled = yield* Balancer.make({ filters: [Filter.creditAtLeast(5)] })
        const pool = yield* KeyPool.KeyPool
        const balancer = yield* Balancer.Balancer
        yield* readAll({ pool, balancer }, alike(2))
        assert.isString(yield* balancer.use((lease) => Effect.succeed(lease.key.id)))
        const error = yield* refusalOf(walled.use(() => Effect.void))
        assert.deepStrictEqual(
          error.keys.map((key) => key.reason),
          ["below-floor", "below-floor", "below-floor", "below-floor"]
        )
      }).pipe(
        Effect.provide(
          Layer.merge(
            layerOf({ selector: CreditAware.make({ reserve: 5 }), keys }),
            CreditAware.layer({ reserve: 5 })
          )
        ),
        Random.withSeed("reserve")
      )
    )
  })
})
