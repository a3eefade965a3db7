import { Filter } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, pipe, Schema } from "effect"
import { candidate, idsOf, keys, refusalOf, using } from "../utils.ts"
import { context } from "./support.ts"

const no = (reason: string, fields: Partial<Filter.Ineligible> = {}): Filter.Ineligible => ({
  reason,
  scope: "key",
  since: undefined,
  until: undefined,
  ...fields
})
const says =
  (verdict: Filter.Ineligible | undefined): Filter.Filter =>
  () =>
    verdict
const verdictOf = (filter: Filter.Filter) => filter(candidate("a"), context())

describe("Filter.all", () => {
  it("a guess does not hide a fact that comes after it", () => {
    const [guess, fact] = [no("guess", { soft: true }), no("fact")]
    assert.strictEqual(verdictOf(Filter.all(says(guess), says(fact))), fact)
    assert.strictEqual(verdictOf(Filter.all(says(fact), says(guess))), fact)
    assert.strictEqual(verdictOf(Filter.all(says(undefined), says(guess), says(undefined))), guess)
    const other = no("other", { soft: true })
    assert.strictEqual(verdictOf(Filter.all(says(guess), says(other))), guess)
  })
})

describe("Filter.any", () => {
  it("one that agrees is enough, and the rest is not asked", () => {
    let asked = 0
    const counting: Filter.Filter = () => {
      asked++
      return undefined
    }
    assert.isUndefined(verdictOf(Filter.any(says(no("one")), counting, counting)))
    assert.strictEqual(asked, 1)
    assert.isUndefined(verdictOf(Filter.any(counting, says(no("one")))))
  })

  it("tells the verdict that ends first, a guess before a fact, and else the first", () => {
    const early = no("early", { until: 10 })
    const late = no("late", { until: 20 })
    const open = no("open")
    const guess = no("guess", { soft: true })
    const table: ReadonlyArray<
      readonly [readonly [Filter.Ineligible, ...Array<Filter.Ineligible>], Filter.Ineligible]
    > = [
      [[late, early], early],
      [[early, late], early],
      [[open, late], late],
      [[open, no("other")], open],
      [[early, guess], guess],
      [[guess, early], guess],
      [[guess, no("sooner", { soft: true, until: 5 })], no("sooner", { soft: true, until: 5 })],
      [[open], open]
    ]
    for (const [[first, ...others], told] of table) {
      assert.deepStrictEqual(verdictOf(Filter.any(says(first), ...others.map(says))), told)
    }
  })
})

describe("Filter.not", () => {
  it("refuses what passes, and lets pass what is refused", () => {
    const verdict = no("rich")
    const poor = Filter.not(Filter.creditAtLeast(10), verdict)
    assert.strictEqual(poor(candidate("a", { credit: 10 }), context()), verdict)
    assert.isUndefined(poor(candidate("a", { credit: 9 }), context()))
    assert.strictEqual(verdictOf(pipe(says(undefined), Filter.not(verdict))), verdict)
    assert.isUndefined(verdictOf(Filter.not(says(no("guess", { soft: true })), verdict)))
  })
})

const Verdicts = Schema.Array(Schema.Literals(["pass", "fact", "guess"])).check(Schema.isMinLength(1))

it.effect.prop(
  "they obey De Morgan: not all is any of the nots, and all and any agree with every and some",
  { verdicts: Verdicts },
  ({ verdicts }) =>
    Effect.sync(() => {
      const filters = verdicts.map((verdict) =>
        says(verdict === "pass" ? undefined : no(verdict, { soft: verdict === "guess" }))
      )
      const [first, ...others] = filters
      const passes = (filter: Filter.Filter) => verdictOf(filter) === undefined
      const other = no("other")
      assert.strictEqual(passes(Filter.all(...filters)), filters.every(passes))
      assert.strictEqual(passes(Filter.any(first!, ...others)), filters.some(passes))
      const nots = filters.map(Filter.not(other))
      assert.strictEqual(
        passes(Filter.not(Filter.all(...filters), other)),
        passes(Filter.any(nots[0]!, ...nots.slice(1)))
      )
      assert.strictEqual(
        passes(Filter.not(Filter.any(first!, ...others), other)),
        passes(Filter.all(...nots))
      )
      // All is a guess where only guesses speak against it, any where a guess is among what does.
      const facts = verdicts.includes("fact")
      const guesses = verdicts.includes("guess")
      assert.strictEqual(verdictOf(Filter.all(...filters))?.soft === true, guesses && !facts)
      assert.strictEqual(
        verdictOf(Filter.any(first!, ...others))?.soft === true,
        guesses && !verdicts.includes("pass")
      )
    }),
  { arbitrary: { runs: 200, seed: 1 } }
)

describe("Filter.soft", () => {
  it("marks a verdict as a guess, and leaves the rest of it", () => {
    const verdict = no("late", { since: 1, until: 2, scope: "account" })
    assert.deepStrictEqual(verdictOf(Filter.soft(says(verdict))), { ...verdict, soft: true })
    assert.isUndefined(verdictOf(Filter.soft(says(undefined))))
    const guess = no("guess", { soft: true })
    assert.strictEqual(verdictOf(Filter.soft(says(guess))), guess)
  })

  const notA: Filter.Filter = ({ id }) => (id === "a" ? no("suspect") : undefined)

  it.effect("it is overlooked when no other key can serve, and a hard one is not", () =>
    Effect.gen(function* () {
      yield* using(
        { keys: keys("a b"), balancer: { filters: [Filter.soft(notA)] } },
        function* ({ balancer, pool }) {
          assert.deepStrictEqual(yield* idsOf(balancer, 2), ["b", "b"])
          yield* pool.remove("b")
          assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
        }
      )
      yield* using({ keys: keys("a"), balancer: { filters: [notA] } }, function* ({ balancer }) {
        const { keys } = yield* refusalOf(balancer.use(() => Effect.void))
        assert.strictEqual(keys[0]!.reason, "suspect")
      })
    })
  )

  it.effect("it does not let a request onto a key that a fact speaks against", () =>
    using(
      { keys: keys("a"), balancer: { filters: [Filter.soft(notA), Filter.creditAtLeast(5)] } },
      function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 1 })
        const { keys } = yield* refusalOf(balancer.use(() => Effect.void))
        assert.strictEqual(keys[0]!.reason, "below-floor")
      }
    )
  )
})
