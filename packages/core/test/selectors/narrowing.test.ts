import { Selector } from "@evenkeel/core"
import type { Filter } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, pipe } from "effect"
import { candidate, contextOf, idsOf as servedBy, inFlight, keys, using } from "../utils.ts"
import { context, countsOf, first, idsOf, lives, offer, pickerOf } from "./support.ts"

const slow: Filter.Ineligible = { reason: "slow", scope: "key", since: undefined, until: undefined }
const quick: Filter.Filter = ({ latency }) => (latency !== undefined && latency > 1000 ? slow : undefined)

describe("Selector.prefer", () => {
  const inEurope = Selector.prefer(({ labels }) => labels["region"] === "eu")
  const [a, b, c] = [
    candidate("a"),
    candidate("b", { labels: { region: "eu" } }),
    candidate("c", { labels: { region: "eu" } })
  ]

  it("narrows when something is left, and otherwise passes all", () => {
    const { pick } = pickerOf(inEurope(first))
    assert.strictEqual(pick([a, b, c], context()), b)
    assert.strictEqual(pick([a], context()), a)
  })

  it("gives the inner selector the very array when nothing is left out", () => {
    const seen: Array<unknown> = []
    const watching = Selector.make("watching", (candidates) => {
      seen.push(candidates)
      return candidates[0]
    })
    const { pick } = pickerOf(inEurope(watching))
    const [preferred, others, mixed] = [[b, c] as const, [a] as const, [b, a, c] as const]
    for (const candidates of [preferred, others, mixed]) pick(candidates, context())
    assert.strictEqual(seen[0], preferred)
    assert.strictEqual(seen[1], others)
    assert.deepStrictEqual(seen[2], [b, c])
  })

  it("ranks the preferred ones first, each part as the inner selector does", () => {
    const order = pickerOf(inEurope(first)).rank!([a, b, c], context())
    assert.strictEqual(idsOf(order), "b c a")
    const unranked = Selector.make("unranked", (candidates) => candidates[0])
    assert.strictEqual(pickerOf(inEurope(unranked)).rank, undefined)
  })

  it("the predicate sees the circumstances", () => {
    const own = Selector.prefer(first, (one, { upstream }) => one.labels["only"] === upstream)
    const special = candidate("special", { labels: { only: "model" } })
    assert.strictEqual(pickerOf(own).pick([a, special], context({ upstream: "model" })), special)
  })

  it("can be applied again and again, the outermost wish first", () => {
    const both = pipe(
      first,
      Selector.prefer(({ id }) => id === "c"),
      inEurope
    )
    assert.strictEqual(both.name, "prefer(prefer(first))")
    assert.strictEqual(pickerOf(both).pick([a, b, c], context()), c)
    assert.strictEqual(pickerOf(both).pick([a, candidate("c"), b], context()), b)
  })
})

describe("Selector.unlessFewerThan", () => {
  const withLatencies = (...latencies: ReadonlyArray<number>) =>
    latencies.map((latency, index) => candidate(`k${index}`, { latency }))
  const picks = (selector: Selector.Selector, latencies: ReadonlyArray<number>) =>
    countsOf(pickerOf(selector), withLatencies(...latencies), 100).map((count) => count > 0)
  const [fast, late] = [10, 2000]

  it("vector 29: 2 of 6 left under a threshold of a half serve with all others, and without one alone", () => {
    const latencies = [fast, fast, late, late, late, late]
    const half = Selector.unlessFewerThan(Selector.random, { fraction: 0.5 }, quick)
    assert.deepStrictEqual(picks(half, latencies), [true, true, true, true, true, true])
    const none = Selector.unlessFewerThan(Selector.random, { count: 1 }, quick)
    assert.deepStrictEqual(picks(none, latencies), [true, true, false, false, false, false])
  })

  it("exactly enough are enough", () => {
    const half = Selector.unlessFewerThan(Selector.random, { fraction: 0.5 }, quick)
    assert.deepStrictEqual(picks(half, [fast, fast, late, late]), [true, true, false, false])
    const two = pipe(Selector.random, Selector.unlessFewerThan({ count: 2 }, quick))
    assert.deepStrictEqual(picks(two, [fast, fast, late]), [true, true, false])
    assert.deepStrictEqual(picks(two, [fast, late, late]), [true, true, true])
  })

  it("when the filter refuses all, all can be chosen", () => {
    const one = Selector.unlessFewerThan(Selector.random, { count: 1 }, quick)
    assert.deepStrictEqual(picks(one, [late, late]), [true, true])
  })

  it("refuses numbers out of their range, by name", () => {
    for (const count of [0, 1.5, NaN, Infinity]) {
      assert.throws(
        () => Selector.unlessFewerThan(first, { count }, quick),
        RangeError,
        "count must be a whole number"
      )
    }
    for (const fraction of [0, -1, 1.1, NaN]) {
      assert.throws(
        () => Selector.unlessFewerThan(first, { fraction }, quick),
        RangeError,
        "fraction must be above 0"
      )
    }
  })
})

describe("Selector.tiered", () => {
  const [a, b, c, d] = [
    candidate("a", { tier: 2 }),
    candidate("b", { tier: 1 }),
    candidate("c", { tier: 0 }),
    candidate("d", { tier: 0 })
  ]

  it("chooses among the lowest tier that is offered", () => {
    const { pick } = pickerOf(pipe(first, Selector.tiered()))
    assert.strictEqual(pick([a, b, c, d], context()), c)
    assert.strictEqual(pick([a, b], context()), b)
    assert.strictEqual(pick([a], context()), a)
  })

  it("can be called in all styles", () => {
    for (const selector of [
      Selector.tiered(first),
      Selector.tiered(first, {}),
      Selector.tiered()(first),
      Selector.tiered({})(first),
      pipe(first, Selector.tiered)
    ]) {
      assert.strictEqual(selector.name, "tiered(first)")
      assert.strictEqual(pickerOf(selector).pick([a, b, c], context()), c)
    }
  })

  it("ranks tier by tier", () => {
    const order = pickerOf(Selector.tiered(first)).rank!([a, b, c, d], context())
    assert.strictEqual(idsOf(order), "c d b a")
  })

  it("spills over by the share of what may be in flight, tier after tier", () => {
    const selector = Selector.tiered(Selector.random, { spillAt: { share: 0.8 } })
    const table: ReadonlyArray<readonly [ReadonlyArray<number>, string]> = [
      [[0, 0, 0, 0], "a b"],
      [[8, 7, 0, 0], "a b"],
      [[8, 8, 0, 0], "a b c"],
      // Of the three together 24 of 30 are 80 %.
      [[8, 8, 7, 0], "a b c"],
      [[8, 8, 8, 0], "a b c d"],
      [[10, 10, 10, 10], "a b c d"]
    ]
    for (const [loads, joined] of table) {
      const keys = lives("a b c d", { maxInFlight: 10 })
      for (const [index, key] of keys.entries()) {
        key.inFlight = loads[index]!
        key.tier = Math.max(0, index - 1)
      }
      const counts = countsOf(pickerOf(selector), keys, 200)
      assert.strictEqual(idsOf(keys.filter((_, index) => counts[index]! > 0)), joined, loads.join(" "))
    }
  })

  it("spills over by requests in flight for each unit of weight", () => {
    const selector = Selector.tiered(first, { spillAt: { perWeight: 3 } })
    const reserve = candidate("reserve", { tier: 1 })
    const at = (inFlight: number) =>
      idsOf(pickerOf(selector).rank!([reserve, candidate("own", { weight: 2, inFlight })], context()))
    assert.deepStrictEqual([at(5), at(6)], ["own reserve", "reserve own"])
  })

  it("keys without a bound never have a full share", () => {
    const selector = Selector.tiered(first, { spillAt: { share: 0.01 } })
    const busy = candidate("busy", { inFlight: 1e6 })
    assert.strictEqual(pickerOf(selector).pick([candidate("next", { tier: 1 }), busy], context()), busy)
  })

  it("refuses numbers out of their range, by name", () => {
    for (const share of [0, 1.01, NaN, -1]) {
      assert.throws(
        () => Selector.tiered(first, { spillAt: { share } }),
        RangeError,
        "spillAt.share must be above 0"
      )
    }
    for (const perWeight of [0, Infinity, NaN, -1]) {
      assert.throws(
        () => Selector.tiered(first, { spillAt: { perWeight } }),
        RangeError,
        "spillAt.perWeight must be finite"
      )
    }
  })

  it.effect("vector 30: when all of the first tier are exhausted the second serves", () =>
    using(
      {
        keys: [...keys("own also", { tier: 0 }), ...keys("reserve", { tier: 1 })],
        selector: Selector.tiered(first)
      },
      function* ({ balancer, pool }) {
        assert.deepStrictEqual(yield* servedBy(balancer, 2), ["own", "own"])
        yield* pool.credit("own", { remaining: 0 })
        assert.deepStrictEqual(yield* servedBy(balancer, 1), ["also"])
        yield* pool.credit("also", { remaining: 0 })
        assert.deepStrictEqual(yield* servedBy(balancer, 1), ["reserve"])
      }
    )
  )

  it.effect("through a balancer, what does not fit in the first tier flows to the second", () =>
    using(
      {
        keys: [...keys("own", { tier: 0, maxInFlight: 2 }), ...keys("reserve", { tier: 1 })],
        selector: Selector.tiered(first)
      },
      function* ({ balancer, pool }) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* Effect.replicateEffect(balancer.lease(), 5)
            assert.deepStrictEqual(yield* inFlight(pool), [2, 3])
          })
        )
      }
    )
  )
})

it("narrowing is by the candidates alone: nothing is drawn for it", () => {
  const noRandom = contextOf(() => {
    throw new Error("A number was drawn")
  })
  for (const selector of [
    Selector.prefer(first, () => false),
    Selector.tiered(first, { spillAt: { perWeight: 1 } }),
    Selector.unlessFewerThan(first, { count: 2 }, quick)
  ]) {
    assert.strictEqual(pickerOf(selector).pick(offer(lives("a b c")), noRandom).id, "a")
  }
})
