import { Outcome } from "@evenkeel/core"
import type { Candidate } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Clock, Effect, Random, Schema } from "effect"
import { TestClock } from "effect/testing"
import {
  idsOf,
  key as keyOf,
  keys as keysOf,
  type Parts,
  refusalOf,
  type Setup,
  using
} from "../../core/test/utils.ts"
import { SelectorLaws } from "@evenkeel/testkit"
import { Threshold } from "../src/index.ts"

const { candidate } = SelectorLaws

// A context without chance: this strategy must not need any.
const context = SelectorLaws.context()

const some = <A>(candidates: ReadonlyArray<A>): Arr.NonEmptyReadonlyArray<A> => {
  if (!Arr.isReadonlyArrayNonEmpty(candidates)) throw new Error("no candidates")
  return candidates
}

const key = (id: string, credit: number | undefined, traits: Partial<Candidate.Candidate> = {}) =>
  candidate(id, { credit, ...traits })

/** What a new picker serves when it is offered these sets, one after the other. */
const serve = (options: Threshold.Options, ...sets: ReadonlyArray<ReadonlyArray<Candidate.Candidate>>) =>
  Effect.map(Threshold.make(options).make, (picker) =>
    sets.map((set) => picker.pick(some(set), context).id).join("")
  )

const read = ({ pool }: Parts, id: string, remaining: number | undefined) =>
  Effect.flatMap(Clock.currentTimeMillis, (requestedAt) => pool.credit(id, { remaining, requestedAt }))

const Credit = Schema.UndefinedOr(Schema.Int.check(Schema.isBetween({ minimum: -2, maximum: 20 })))
const Keys = Schema.Array(
  Schema.Struct({ credit: Credit, tier: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 })) })
).check(Schema.isBetweenLength(1, 10))
const WhenAllBelow = Schema.Literals(["fail", "richest"])

describe("Threshold", () => {
  // The order of the pool is the order of use: that is what the strategy is for.
  for (const whenAllBelow of ["fail", "richest"] as const) {
    it.effect(`keeps the laws of selectors, in the order of the pool: ${whenAllBelow}`, () =>
      SelectorLaws.check(Threshold.make({ floor: 10, whenAllBelow }), { ordered: true })
    )
  }

  it.effect("stays on a key down to the floor, then takes the next", () =>
    Effect.gen(function* () {
      const sequence = yield* serve(
        { floor: 10 },
        [key("a", 30), key("b", 99)],
        [key("a", 10), key("b", 99)],
        [key("a", 9.99), key("b", 99)],
        [key("a", 9.99), key("b", 98)]
      )
      assert.strictEqual(sequence, "aabb")
    })
  )

  it.effect("the default floor is 10 USD", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* serve({}, [key("a", 10), key("b", 99)], [key("a", 9.99), key("b", 99)]), "ab")
    })
  )

  it.effect("a key that recovers is taken back when the current one is below the floor, not before", () =>
    Effect.gen(function* () {
      const sequence = yield* serve(
        { floor: 10 },
        [key("a", 9), key("b", 20), key("c", 50)],
        [key("a", 50), key("b", 11), key("c", 50)],
        [key("a", 50), key("b", 9), key("c", 50)]
      )
      assert.strictEqual(sequence, "bba")
    })
  )

  it.effect("a key that is not offered stays the current one while it has credit: the next stands in", () =>
    Effect.gen(function* () {
      const [a, b, c] = [key("a", 30), key("b", 30), key("c", 30)]
      assert.strictEqual(yield* serve({}, [b, c], [a, c], [a, b, c], [b, a, c]), "babb")
    })
  )

  it.effect("a key that is not offered because it is below the floor is left, and not gone back to", () =>
    Effect.gen(function* () {
      // The view of a key is live: the same object, with another credit each time.
      const live: { credit: number | undefined } & Candidate.Candidate = { ...key("a", 30) }
      const b = key("b", 30)
      const { pick } = yield* Threshold.make().make
      assert.strictEqual(pick(some([live, b]), context).id, "a")
      live.credit = 9
      assert.strictEqual(pick(some([b]), context).id, "b")
      live.credit = 30
      assert.strictEqual(pick(some([live, b]), context).id, "b")
    })
  )

  it.effect("unknown credit counts as above the floor", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* serve({}, [key("a", 1), key("b", undefined), key("c", 50)]), "b")
    })
  )

  it.effect("the lowest tier goes first, and within it the order of the pool", () =>
    Effect.gen(function* () {
      const set = [key("a", 50, { tier: 1 }), key("b", 5), key("c", 50), key("d", 50)]
      assert.strictEqual(yield* serve({}, set), "c")
    })
  )

  it.effect("all below the floor: the richest, until one is above it again", () =>
    Effect.gen(function* () {
      const sequence = yield* serve(
        { floor: 10, whenAllBelow: "richest" },
        [key("a", 30), key("b", 5), key("c", 7)],
        [key("a", 6), key("b", 5), key("c", 7)],
        [key("a", 6), key("b", 8), key("c", 7)],
        [key("a", 6), key("b", 8), key("c", 12)]
      )
      assert.strictEqual(sequence, "acbc")
    })
  )

  it.effect("a forgotten key is not the current one when its id comes back", () =>
    Effect.gen(function* () {
      const picker = yield* Threshold.make().make
      const [a, b] = [key("a", 30), key("b", 30)]
      assert.strictEqual(picker.pick(some([b, a]), context).id, "b")
      picker.forget!("a")
      assert.strictEqual(picker.pick(some([a, b]), context).id, "b")
      picker.forget!("b")
      assert.strictEqual(picker.pick(some([a, b]), context).id, "a")
    })
  )

  it.effect.prop(
    "chooses one above the floor if there is one, and otherwise the richest",
    [Schema.Array(Keys).check(Schema.isBetweenLength(1, 8)), WhenAllBelow],
    ([sets, whenAllBelow]) =>
      Effect.gen(function* () {
        const { pick } = yield* Threshold.make({ floor: 10, whenAllBelow }).make
        for (const set of sets) {
          const candidates = some(set.map((traits, i) => candidate(`k${i}`, traits)))
          const chosen = pick(candidates, context)
          const most = Math.max(...candidates.map(({ credit }) => credit ?? Infinity))
          const credit = chosen.credit ?? Infinity
          if (most >= 10) assert.isAtLeast(credit, 10)
          else assert.strictEqual(credit, most)
          // Nothing has changed, so nothing is chosen anew.
          assert.strictEqual(pick(candidates, context), chosen)
        }
      })
  )

  it.effect.prop(
    "does not leave its key while that is above the floor, whatever the order of the others",
    [Keys, Schema.Int],
    ([keys, seed]) =>
      Effect.gen(function* () {
        const { pick } = yield* Threshold.make({ floor: 10 }).make
        const candidates = keys.map((traits, i) => candidate(`k${i}`, { ...traits, credit: 10 + i }))
        const { id } = pick(some([...candidates]), context)
        for (let n = 0; n < 10; n++) {
          const shuffled = yield* Random.shuffle(candidates)
          assert.strictEqual(pick(some([...shuffled]), context).id, id)
        }
      }).pipe(Random.withSeed(seed))
  )

  it("options out of range are refused, by name and with what is allowed", () => {
    // @ts-expect-error
    const wrong: Threshold.Options = { whenAllBelow: "wait" }
    for (const build of [Threshold.make, Threshold.layer]) {
      for (const floor of [-0.01, NaN, Infinity]) {
        assert.throws(
          () => build({ floor }),
          RangeError,
          `floor must be a finite number of USD from 0 up, and is ${floor}`
        )
      }
      assert.throws(() => build(wrong), RangeError, 'whenAllBelow must be "fail" or "richest", and is wait')
    }
  })

  describe("in a balancer", () => {
    const abc = [keyOf("a", { maxInFlight: 2 }), ...keysOf("b c")]
    const ids = ["a", "b", "c"]
    const balanced = (options?: Threshold.Options): Setup => ({
      selector: Threshold.make(options),
      keys: abc
    })
    /** One use that costs a dollar. */
    const dollar = ({ balancer }: Parts) =>
      balancer.use((lease) => Effect.succeed(lease.key.id), { outcome: () => Outcome.success(1) })

    it.effect("uses keys up one after the other, each down to the floor, and then says why", () =>
      using(balanced({ floor: 10 }), function* (parts) {
        yield* Effect.forEach(ids, (id) => read(parts, id, 12))
        assert.strictEqual((yield* Effect.replicateEffect(dollar(parts), 9)).join(""), "aaabbbccc")
        const error = yield* refusalOf(dollar(parts))
        assert.deepStrictEqual(
          error.keys.map(({ keyId, reason }) => [keyId, reason]),
          ids.map((id) => [id, "below-floor"])
        )
        yield* TestClock.adjust("1 minute")
        yield* read(parts, "b", 11)
        assert.strictEqual(yield* dollar(parts), "b")
      })
    )

    it.effect("richest goes on below the floor, down to nothing", () =>
      using(balanced({ floor: 10, whenAllBelow: "richest" }), function* (parts) {
        yield* Effect.forEach(ids, (id) => read(parts, id, 3))
        assert.strictEqual((yield* Effect.replicateEffect(dollar(parts), 9)).join(""), "abcabcabc")
        const error = yield* refusalOf(dollar(parts))
        assert.deepStrictEqual(
          error.keys.map(({ reason }) => reason),
          ["exhausted", "exhausted", "exhausted"]
        )
      })
    )

    it.effect("the surplus of a saturated key goes to the next, and the key goes on when it has room", () =>
      using(balanced(), function* ({ balancer }) {
        const leases = yield* Effect.replicateEffect(balancer.lease(), 4)
        assert.strictEqual(leases.map((lease) => lease.key.id).join(""), "aabb")
        yield* leases[0]!.settle(Outcome.success())
        assert.deepStrictEqual(yield* idsOf(balancer, 1), ["a"])
      })
    )

    it.effect("a reading below the floor moves on, a later top-up does not move back", () =>
      using(balanced(), function* (parts) {
        const served = idsOf(parts.balancer, 1)
        assert.deepStrictEqual(yield* served, ["a"])
        yield* read(parts, "a", 9)
        assert.deepStrictEqual(yield* served, ["b"])
        yield* read(parts, "a", 500)
        assert.deepStrictEqual(yield* served, ["b"])
        yield* read(parts, "b", 0.5)
        assert.deepStrictEqual(yield* served, ["a"])
      })
    )

    it.effect("estimates of requests in flight count against the floor", () =>
      using(balanced(), function* (parts) {
        yield* Effect.forEach(ids, (id) => read(parts, id, 10.5))
        const leases = yield* Effect.replicateEffect(parts.balancer.lease({ estimate: 1 }), 3)
        assert.strictEqual(leases.map((lease) => lease.key.id).join(""), "abc")
      })
    )

    it.effect("removing the current key moves on, and adding it again does not move back", () =>
      using(balanced(), function* ({ balancer, pool }) {
        const served = idsOf(balancer, 1)
        assert.deepStrictEqual(yield* served, ["a"])
        yield* pool.remove("a")
        assert.deepStrictEqual(yield* served, ["b"])
        yield* pool.add(keyOf("a"))
        assert.deepStrictEqual(yield* served, ["b"])
      })
    )
  })
})
