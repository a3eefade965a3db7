import { Filter, Outcome, Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, pipe, Random } from "effect"
import { candidate, idsOf as servedBy, keys, rngOf, using } from "../utils.ts"
import { context, first, last, lives, logging, offer, pickerOf, success, timing } from "./support.ts"

const [a, b, c] = [candidate("a"), candidate("b"), candidate("c")]

describe("Selector.shadow", () => {
  it("the first selector decides, and the choice of the other is told and counted", () => {
    const seen: Array<Selector.Comparison> = []
    const picker = pickerOf(
      pipe(
        first,
        Selector.shadow(last, (comparison) => void seen.push(comparison))
      )
    )
    const asked = context()
    assert.strictEqual(picker.pick([a, b, c], asked), a)
    assert.strictEqual(picker.pick([b], asked), b)
    assert.deepStrictEqual(seen, [
      { context: asked, chosen: a, shadow: c, error: undefined, picks: 1, agreed: 0 },
      { context: asked, chosen: b, shadow: b, error: undefined, picks: 2, agreed: 1 }
    ])
  })

  it.effect("with a shadow or without, the choices under a seed are the same", () => {
    const chosen = (selector: Selector.Selector) =>
      using({ keys: keys("a b c d"), selector }, ({ balancer }) =>
        (function* () {
          return yield* servedBy(balancer, 200)
        })()
      ).pipe(Random.withSeed(5))
    return Effect.gen(function* () {
      const alone = yield* chosen(Selector.random)
      const shadowed = Selector.shadow(Selector.random, Selector.random, () => {})
      assert.deepStrictEqual(yield* chosen(shadowed), alone)
    })
  })

  it("its random numbers are fixed, and even", () => {
    const run = (seed: number) => {
      const ids: Array<string> = []
      const picker = pickerOf(
        Selector.shadow(first, Selector.random, ({ shadow }) => void ids.push(shadow!.id))
      )
      for (let n = 0; n < 3000; n++) picker.pick([a, b, c], context({ random: rngOf(seed) }))
      return ids
    }
    const ids = run(1)
    assert.deepStrictEqual(run(2), ids)
    for (const id of ["a", "b", "c"]) {
      assert.approximately(ids.filter((one) => one === id).length, 1000, 4 * Math.sqrt(3000 * (2 / 9)))
    }
  })

  it("facts of the shadow's own narrow its choice, and no request's", () => {
    const seen: Array<string | undefined> = []
    const strict = { ...last, eligible: Filter.creditAtLeast(5) }
    const selector = Selector.shadow(first, strict, ({ shadow }) => void seen.push(shadow?.id))
    assert.isUndefined(selector.eligible)
    const picker = pickerOf(selector)
    const poor = candidate("poor", { credit: 1 })
    assert.strictEqual(picker.pick([poor, a, poor], context()), poor)
    assert.strictEqual(picker.pick([poor], context()), poor)
    assert.deepStrictEqual(seen, ["a", undefined])
    const facts = Filter.creditAtLeast(5)
    assert.strictEqual(Selector.shadow({ ...first, eligible: facts }, last, () => {}).eligible, facts)
  })

  it("both are told of all uses, and of keys that leave", () => {
    const [main, mains] = logging(first)
    const [other, others] = logging(last)
    const picker = pickerOf(Selector.shadow(main, other, () => {}))
    const asked = context()
    picker.settled!(picker.pick([a, b], asked), success, timing, asked)
    picker.forget!("b")
    assert.deepStrictEqual(mains, { picked: ["a"], settled: ["a"], forgotten: ["b"] })
    assert.deepStrictEqual(others, { picked: ["b"], settled: ["a"], forgotten: ["b"] })
  })

  it("a split in the shadow is told by the arm that would have chosen", () => {
    const [one, ones] = logging(first)
    const [two, twos] = logging(last)
    const other = Selector.split({ one: { percent: 50, selector: one }, two: { percent: 50, selector: two } })
    const picker = pickerOf(Selector.shadow(first, other, () => {}))
    const contexts = Array.from({ length: 50 }, () => context())
    for (const asked of contexts) picker.pick([a], asked)
    for (const asked of contexts) picker.settled!(a, success, timing, asked)
    assert.isAbove(ones.picked.length, 5)
    assert.isAbove(twos.picked.length, 5)
    assert.strictEqual(ones.settled.length, ones.picked.length)
    assert.strictEqual(twos.settled.length, twos.picked.length)
  })

  it("nothing that the shadow throws, or the record, reaches the request", () => {
    const bug = (what: string) => () => {
      throw new Error(what)
    }
    const broken: Selector.Selector = {
      name: "broken",
      make: Effect.succeed({
        pick: bug("pick"),
        settled: bug("settled"),
        forget: bug("forget"),
        rank: bug("rank")
      })
    }
    const seen: Array<Selector.Comparison> = []
    const picker = pickerOf(
      Selector.shadow(first, broken, (comparison) => {
        seen.push(comparison)
        throw new Error("record")
      })
    )
    const asked = context()
    assert.strictEqual(picker.pick([a, b], asked), a)
    assert.strictEqual((seen[0]!.error as Error).message, "pick")
    assert.strictEqual(seen[0]!.shadow, undefined)
    picker.settled!(a, success, timing, asked)
    picker.forget!("a")
    assert.deepStrictEqual(picker.rank!([a, b], asked), [a, b])
  })

  it("a shadow that chooses what it was not offered has failed", () => {
    const seen: Array<Selector.Comparison> = []
    const cheat = Selector.make("cheat", () => c)
    const picker = pickerOf(Selector.shadow(first, cheat, (comparison) => void seen.push(comparison)))
    picker.pick([a, b], context())
    assert.strictEqual(seen[0]!.shadow, undefined)
    assert.include((seen[0]!.error as Error).message, '"cheat" chose a key that it was not offered')
  })

  it("what the first selector throws is heard", () => {
    const broken: Selector.Selector = {
      name: "broken",
      make: Effect.succeed({
        pick: ([one]) => one,
        settled: () => {
          throw new Error("settled")
        }
      })
    }
    const [other, log] = logging(first)
    const picker = pickerOf(Selector.shadow(broken, other, () => {}))
    const at = context()
    picker.pick(offer(lives("a")), at)
    assert.throws(() => picker.settled!(a, Outcome.success(), timing, at), "settled")
    assert.deepStrictEqual(log.settled, ["a"])
  })

  it("has an order where the first selector has", () => {
    assert.isUndefined(pickerOf(Selector.shadow(last, first, () => {})).rank)
    assert.deepStrictEqual(
      pickerOf(Selector.shadow(first, last, () => {})).rank!(offer(lives("a")), context()),
      [a]
    )
  })
})
