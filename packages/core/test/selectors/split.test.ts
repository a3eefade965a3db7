import { Filter, Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { candidate, keys, refusalOf, using } from "../utils.ts"
import {
  assertShares,
  context,
  countsOf,
  first,
  idsOf,
  last,
  lives,
  logging,
  offer,
  pickerOf,
  success,
  timing
} from "./support.ts"

const byLast = (percent: number) =>
  Selector.split({ canary: { percent, selector: last }, rest: { percent: 100 - percent, selector: first } })
const [a, b] = [candidate("a"), candidate("b")]
const sessions = Array.from({ length: 4000 }, (_, i) => `session-${i}`)

/** The sessions that are in the arm which chooses the last. */
const inCanary = (selector: Selector.Selector) => {
  const { pick } = pickerOf(selector)
  return sessions.filter((affinity) => pick([a, b], context({ affinity })) === b)
}

describe("Selector.split", () => {
  it("requests go to the arms by percentages", () => {
    assertShares(countsOf(pickerOf(byLast(5)), [a, b], 20_000), [0.95, 0.05])
    assertShares(countsOf(pickerOf(byLast(70)), [a, b], 20_000), [0.3, 0.7])
  })

  it("sessions are split by the same percentages, and each stays in its arm", () => {
    const canary = inCanary(byLast(5))
    assertShares([canary.length, sessions.length - canary.length], [0.05, 0.95])
    assert.deepStrictEqual(inCanary(byLast(5)), canary)
  })

  it("when the canary grows, its sessions stay in it", () => {
    const after = new Set(inCanary(byLast(10)))
    assert.isTrue(inCanary(byLast(5)).every((session) => after.has(session)))
    assertShares([after.size, sessions.length - after.size], [0.1, 0.9])
  })

  it("another name splits other sessions off, so that a split within a split is one", () => {
    const inner = (name: string) =>
      Selector.split({ one: { percent: 50, selector: last }, two: { percent: 50, selector: first } }, name)
    const outer = (name: string) =>
      Selector.split({
        canary: { percent: 10, selector: inner(name) },
        rest: { percent: 90, selector: first }
      })
    // A half of the tenth.
    const count = inCanary(outer("trial")).length
    assertShares([count, sessions.length - count], [0.05, 0.95])
  })

  it("does not choose sessions as affinity does", () => {
    const { pick } = pickerOf(Selector.affinity(first, { factor: Infinity }))
    const canary = inCanary(byLast(50))
    const atA = canary.filter((affinity) => pick([a, b], context({ affinity })) === a).length
    assertShares([atA, canary.length - atA], [0.5, 0.5])
  })

  it("an arm of 100 % is all there is, and one of 0 % nothing", () => {
    const [canary, log] = logging(last)
    const selector = Selector.split({
      none: { percent: 0, selector: { ...canary, eligible: () => undefined } },
      all: { percent: 100, selector: { ...first, eligible: Filter.creditAtLeast(1) } }
    })
    assert.deepStrictEqual(countsOf(pickerOf(selector), [candidate("poor", { credit: 0 }), b], 100), [0, 100])
    assert.deepStrictEqual(log.picked, [])
    assert.isDefined(selector.eligible)
  })

  describe("each arm's picker", () => {
    const [one, ones] = logging(first)
    const [two, twos] = logging(last)
    const picker = pickerOf(
      Selector.split({ one: { percent: 50, selector: one }, two: { percent: 50, selector: two } })
    )

    it("is told of its own uses, whatever their order", () => {
      const contexts = Array.from({ length: 20 }, (_, n) =>
        context({ random: () => (n % 2 === 0 ? 0.1 : 0.9) })
      )
      const chosen = contexts.map((asked) => picker.pick([a], asked))
      assert.strictEqual(ones.picked.length, 10)
      const half = contexts.filter((_, n) => n % 2 === 0)
      // Those of the first arm settle last.
      for (const asked of contexts) {
        if (!half.includes(asked)) picker.settled!(chosen[0]!, success, timing, asked)
      }
      assert.deepStrictEqual([ones.settled.length, twos.settled.length], [0, 10])
      for (const asked of half) picker.settled!(chosen[0]!, success, timing, asked)
      assert.deepStrictEqual([ones.settled.length, twos.settled.length], [10, 10])
    })

    it("is told of every key that leaves", () => {
      picker.forget!("a")
      assert.deepStrictEqual([ones.forgotten, twos.forgotten], [["a"], ["a"]])
    })

    it("ranks its own requests, and the largest arm those that are drawn at random", () => {
      const order = (selector: Selector.Selector, affinity?: string) =>
        idsOf(pickerOf(selector).rank!([a, b], context({ affinity })))
      const backwards = Selector.make(
        "backwards",
        (candidates) => candidates[0],
        (candidates) => candidates.toReversed()
      )
      const selector = Selector.split({
        canary: { percent: 5, selector: backwards },
        rest: { percent: 95, selector: first }
      })
      assert.strictEqual(order(selector), "a b")
      const orders = sessions.map((affinity) => order(selector, affinity))
      const back = orders.filter((ids) => ids === "b a").length
      assertShares([back, orders.length - back], [0.05, 0.95])
      const unranked = Selector.split({ only: { percent: 100, selector: last } })
      assert.strictEqual(order(unranked), "")
    })
  })

  describe("facts of the arms", () => {
    const [poor, rich] = [candidate("poor", { credit: 1 }), candidate("rich", { credit: 100 })]
    const floor = (usd: number, selector = Selector.random) => ({
      ...selector,
      eligible: Filter.creditAtLeast(usd)
    })
    const halves = (one: Selector.Selector, two: Selector.Selector) =>
      Selector.split({ one: { percent: 50, selector: one }, two: { percent: 50, selector: two } })

    it("hold for the requests of their arm alone", () => {
      const selector = halves(floor(50), Selector.random)
      assert.isUndefined(selector.eligible)
      // The half of the first arm all goes to the rich one.
      assertShares(countsOf(pickerOf(selector), [poor, rich], 20_000), [0.25, 0.75])
    })

    it("an arm that has no key left gives the request to the next", () => {
      const [strict, log] = logging(floor(500))
      const picker = pickerOf(halves(strict, first))
      assert.deepStrictEqual(countsOf(picker, [poor, rich], 100), [100, 0])
      assert.deepStrictEqual(log.picked, [])
    })

    it("only what speaks against a key in all arms is told", () => {
      const { eligible } = halves(floor(50), floor(500))
      const verdict = (credit: number) => eligible!(candidate("k", { credit }), context())?.reason
      assert.deepStrictEqual([1, 50, 500].map(verdict), ["below-floor", undefined, undefined])
    })

    it("when all that is left was overlooked as a guess, the arm still chooses", () => {
      const unsure = { ...first, eligible: Filter.soft(Filter.creditAtLeast(50)) }
      const picker = pickerOf(halves(unsure, unsure))
      assert.strictEqual(picker.pick([poor], context()), poor)
    })

    it.effect("through a balancer, a request fails when no arm has a key for it", () =>
      using({ keys: keys("a"), selector: halves(floor(50), floor(500)) }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 100 })
        for (let n = 0; n < 20; n++) yield* balancer.use(() => Effect.void)
        yield* pool.credit("a", { remaining: 10 })
        const { keys } = yield* refusalOf(balancer.use(() => Effect.void))
        assert.deepStrictEqual(
          keys.map(({ reason }) => reason),
          ["below-floor"]
        )
      })
    )
  })

  it("refuses percentages out of their range, by name, and those that do not add up", () => {
    const arms = (one: number, two: number) => () =>
      Selector.split({ one: { percent: one, selector: first }, two: { percent: two, selector: last } })
    for (const percent of [-1, 101, NaN, Infinity]) {
      assert.throws(arms(percent, 50), RangeError, "one.percent must be from 0 to 100")
    }
    assert.throws(arms(50, 49), RangeError, "must add up to 100, and adds up to 99")
    assert.throws(() => Selector.split({} as never), RangeError, "arms must be at least one")
    const third = { percent: 100 / 3, selector: first }
    assert.strictEqual(Selector.split({ x: third, y: third, z: third }).name, "split(x, y, z)")
  })

  it("a seed fixes the arms", () => {
    assert.deepStrictEqual(
      countsOf(pickerOf(byLast(30)), lives("a b"), 500),
      countsOf(pickerOf(byLast(30)), lives("a b"), 500)
    )
    assert.strictEqual(pickerOf(byLast(30)).pick(offer([a]), context()), a)
  })

  it.effect("in a balancer each arm hears of its own picks alone, whichever key they share", () => {
    const told = { canary: 0, rest: 0 }
    const counting = (arm: keyof typeof told): Selector.Selector => ({
      name: arm,
      make: Effect.succeed({ pick: ([one]) => one, settled: () => void told[arm]++ })
    })
    const selector = Selector.split({
      canary: { percent: 20, selector: counting("canary") },
      rest: { percent: 80, selector: counting("rest") }
    })
    return using({ keys: keys("a"), selector }, function* ({ balancer }) {
      yield* Effect.replicateEffect(
        balancer.use(() => Effect.void),
        2000
      )
      assertShares([told.canary, told.rest], [0.2, 0.8])
      assert.strictEqual(told.canary + told.rest, 2000)
    }).pipe(Random.withSeed("split"))
  })
})
