// What every combinator keeps, whatever it is applied to: it chooses one of the candidates, changes none, is fixed by a seed,
// passes on what it is told, and keeps nothing of keys that have left.
import { Filter, Selector } from "@evenkeel/core"
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, pipe, Schema } from "effect"
import { candidate, rngOf } from "../utils.ts"
import {
  context,
  first,
  idsOf,
  lives,
  logging,
  offer,
  pickerOf,
  success,
  timing,
  weighted,
  type Offered
} from "./support.ts"

type Combinator = (inner: Selector.Selector) => Selector.Selector

const notB: Filter.Filter = ({ id }) =>
  id === "k1" ? { reason: "test", scope: "key", since: undefined, until: undefined } : undefined

const switchable: Combinator = (inner) => Effect.runSync(Selector.switchable(inner)).selector

const combinators: Readonly<Record<string, Combinator>> = {
  prefer: Selector.prefer(({ tier }) => tier === 1),
  unlessFewerThan: Selector.unlessFewerThan({ fraction: 0.5 }, notB),
  tiered: Selector.tiered(),
  "tiered with spill-over": Selector.tiered({ spillAt: { perWeight: 2 } }),
  sticky: Selector.sticky,
  affinity: Selector.affinity(),
  "affinity by key": Selector.affinity({ by: "key", factor: 1 }),
  slowStart: Selector.slowStart("1 minute"),
  weightedBy: Selector.weightedBy(({ credit }) => credit ?? NaN),
  split: (inner) =>
    Selector.split({
      canary: { percent: 10, selector: { ...Selector.random, eligible: notB } },
      rest: { percent: 90, selector: inner }
    }),
  shadow: (inner) => Selector.shadow(inner, Selector.random, () => {}),
  "shadow of another": (inner) => Selector.shadow(Selector.random, inner, () => {}),
  switchable,
  "all of them": (inner) =>
    pipe(
      inner,
      Selector.weightedBy(({ tier }) => 1 / (tier + 1)),
      Selector.slowStart("1 minute"),
      Selector.tiered({ spillAt: { share: 0.5 } }),
      Selector.prefer(({ credit }) => credit !== undefined),
      Selector.unlessFewerThan({ count: 2 }, notB),
      Selector.affinity(),
      Selector.shadow(Selector.random, () => {}),
      switchable
    )
}

const Keys = Schema.Array(
  Schema.Struct({
    id: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })),
    account: Schema.UndefinedOr(Schema.Literals(["A", "B"])),
    weight: Schema.Literals([0.1, 1, 3]),
    tier: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 })),
    inFlight: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 })),
    maxInFlight: Schema.UndefinedOr(Schema.Literals([1, 5])),
    credit: Schema.UndefinedOr(Schema.Literals([0, 7]))
  })
).check(Schema.isMinLength(1))

/** One pick after the other, each with other candidates. */
const Run = Schema.Struct({
  offers: Schema.Array(Keys).check(Schema.isMinLength(1)),
  affinities: Schema.Array(Schema.UndefinedOr(Schema.Literals(["one", "two", ""]))).check(
    Schema.isMinLength(1)
  ),
  seed: Schema.Int
})

const offersOf = (run: typeof Run.Type): ReadonlyArray<Offered> =>
  run.offers.map((keys) => {
    const byId = new Map(keys.map((key) => [key.id, key]))
    return offer(
      Array.from(byId.values(), ({ id, maxInFlight = Infinity, ...fields }) =>
        Object.freeze(candidate(`k${id}`, { ...fields, maxInFlight }))
      )
    )
  })

describe.each(Object.entries(combinators))("%s", (name, combinator) => {
  it.effect.prop(
    "always chooses one of the candidates, changes none, and a seed fixes what it chooses",
    { run: Run },
    ({ run }) =>
      Effect.sync(() => {
        const offers = offersOf(run)
        const choices = () => {
          const picker = pickerOf(combinator(weighted))
          const random = rngOf(run.seed)
          return offers.map((candidates, n) => {
            const affinity = run.affinities[n % run.affinities.length]
            const asked = Object.freeze(context({ random, affinity, attempt: n % 3, nowMillis: n * 10_000 }))
            const order = picker.rank?.(candidates, asked) ?? []
            // An order is one of all candidates, unless there is none, or facts of an arm leave some out.
            assert.isTrue(order.every((one) => candidates.includes(one)))
            assert.strictEqual(new Set(order).size, order.length)
            const chosen = picker.pick(candidates, asked)
            assert.include(candidates, chosen)
            picker.settled?.(chosen, success, timing, asked)
            return chosen.id
          })
        }
        const chosen = choices()
        assert.deepStrictEqual(choices(), chosen)
      }),
    { arbitrary: { runs: 150, seed: 1 } }
  )

  it("a lone candidate is chosen", () => {
    const [only] = lives("only")
    const picker = pickerOf(combinator(weighted))
    assert.strictEqual(picker.pick([only!], context()), only)
    assert.strictEqual(picker.pick([only!], context({ affinity: "session" })), only)
  })

  it("the inner picker is told of settlements and of keys that leave, as often as they happen", () => {
    const [inner, log] = logging(first)
    const picker = pickerOf(combinator(inner))
    const keys = offer(lives("k0 k2 k3"))
    for (let n = 0; n < 200; n++) {
      const asked = context({ random: rngOf(n) })
      const picked = log.picked.length
      const settled = log.settled.length
      const { id } = picker.pick(keys, asked)
      picker.settled!(
        keys.find((key) => key.id === id)!,
        success,
        timing,
        asked
      )
      if (log.picked.length > picked) assert.strictEqual(log.settled.length, settled + 1)
    }
    assert.isAbove(log.settled.length, 150)
    for (const { id } of keys) picker.forget!(id)
    assert.deepStrictEqual(log.forgotten, ["k0", "k2", "k3"])
  })

  it("keeps nothing of keys that have left", () => {
    const maps: Array<Map<unknown, unknown>> = []
    class Watched<K, V> extends Map<K, V> {
      constructor() {
        super()
        maps.push(this)
      }
    }
    vi.stubGlobal("Map", Watched)
    const picker = pickerOf(combinator(weighted))
    vi.unstubAllGlobals()
    for (let n = 0; n < 500; n++) {
      const keys = offer(lives(`new-${n} new-${n + 1}`, { account: `account-${n}` }))
      const asked = context({ affinity: n % 2 === 0 ? `session-${n}` : undefined })
      picker.settled?.(picker.pick(keys, asked), success, timing, asked)
      picker.forget?.(`new-${n}`)
      // A straggler, of a key that has left.
      picker.settled?.(keys[0], success, timing, asked)
    }
    for (const map of maps) assert.isAtMost(map.size, 2)
    if (/affinity|slowStart|weightedBy|all/.test(name)) assert.isAbove(maps.length, 0)
  })
})

it("eligible of the inner selector joins that of the whole", () => {
  const floor = { ...first, eligible: Filter.creditAtLeast(5) }
  for (const [name, combinator] of Object.entries(combinators)) {
    if (["split", "shadow of another"].includes(name)) continue
    const verdict = combinator(floor).eligible?.(candidate("poor", { credit: 1 }), context())
    assert.strictEqual(verdict?.reason, "below-floor", name)
  }
  // An arm's facts are its own, and a shadow has no say.
  assert.isUndefined(combinators["shadow of another"]!(floor).eligible)
})

it("they order as they choose: the first of the order is what a selector that chooses by it takes", () => {
  const least = Selector.leastBy(({ inFlight }) => inFlight)
  const keys = offer(
    lives("k0 k1 k2 k3 k4").map((key, n) => ({ ...key, inFlight: (n * 3) % 5, tier: n % 2 }))
  )
  for (const name of [
    "prefer",
    "unlessFewerThan",
    "tiered",
    "sticky",
    "affinity",
    "slowStart",
    "shadow",
    "switchable"
  ]) {
    const picker = pickerOf(combinators[name]!(least))
    for (const affinity of [undefined, "one", "two", "three"]) {
      const order = picker.rank!(keys, context({ affinity }))
      assert.strictEqual(idsOf(order.slice(0, 1)), picker.pick(keys, context({ affinity })).id, name)
      assert.strictEqual(order.length, keys.length, name)
    }
  }
})
