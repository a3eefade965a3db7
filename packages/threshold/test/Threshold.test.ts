import { Balancer, type Candidate, Errors, type Key, KeyPool, Outcome, type Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Clock, Effect, Layer, Random, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Threshold } from "../src/index.ts"

// Frozen: a strategy that wrote to a candidate, or to the list, would throw.
const candidate = (id: string, traits: Partial<Candidate.Candidate> = {}): Candidate.Candidate =>
  Object.freeze({
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
    ...traits
  })

type Candidates = Arr.NonEmptyReadonlyArray<Candidate.Candidate>

const some = (candidates: ReadonlyArray<Candidate.Candidate>): Candidates => {
  if (!Arr.isReadonlyArrayNonEmpty(candidates)) throw new Error("no candidates")
  return Object.freeze(candidates)
}

const context: Candidate.PickContext = {
  attempt: 0,
  nowMillis: 0,
  random: () => {
    throw new Error("this strategy must not need chance")
  },
  affinity: undefined,
  upstream: undefined,
  tokens: undefined,
  estimate: undefined
}

const running = (
  selector: Layer.Layer<Selector.Selector>,
  keys: ReadonlyArray<Key.Traits & { readonly id: string }>
) =>
  Balancer.layer.pipe(
    Layer.provide(selector),
    Layer.provideMerge(
      KeyPool.layer({ keys: keys.map((key, i) => ({ ...key, secret: `sk-or-v1-${100_000 + i}` })) })
    )
  )

const served = Effect.flatMap(Balancer.Balancer, (balancer) =>
  balancer.use((lease) => Effect.succeed(lease.key.id))
)

const key = (id: string, credit: number | undefined, traits: Partial<Candidate.Candidate> = {}) =>
  candidate(id, { credit, ...traits })

/** What a new picker serves when it is offered these sets, one after the other. */
const serve = (options: Threshold.Options, ...sets: ReadonlyArray<ReadonlyArray<Candidate.Candidate>>) =>
  Effect.map(Threshold.make(options).make, (picker) =>
    sets.map((set) => picker.pick(some(set), context).id).join("")
  )

const read = (id: string, remaining: number | undefined) =>
  Effect.gen(function* () {
    const pool = yield* KeyPool.KeyPool
    yield* pool.credit(id, { remaining, requestedAt: yield* Clock.currentTimeMillis })
  })

const Credit = Schema.UndefinedOr(Schema.Int.check(Schema.isBetween({ minimum: -2, maximum: 20 })))
const Keys = Schema.Array(
  Schema.Struct({ credit: Credit, tier: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 })) })
).check(Schema.isBetweenLength(1, 10))
const WhenAllBelow = Schema.Literals(["fail", "richest"])

describe("Threshold", () => {
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
    "chooses one of the candidates: one above the floor if there is one, and otherwise the richest",
    [Schema.Array(Keys).check(Schema.isBetweenLength(1, 8)), WhenAllBelow],
    ([sets, whenAllBelow]) =>
      Effect.gen(function* () {
        const { pick } = yield* Threshold.make({ floor: 10, whenAllBelow }).make
        for (const set of sets) {
          const candidates = some(set.map((traits, i) => candidate(`k${i}`, traits)))
          const chosen = pick(candidates, context)
          assert.include(candidates, chosen)
          const most = Math.max(...candidates.map(({ credit }) => credit ?? Infinity))
          const credit = chosen.credit ?? Infinity
          if (most >= 10) assert.isAtLeast(credit, 10)
          else assert.strictEqual(credit, most)
          // Nothing has changed, so nothing is chosen anew; and a lone candidate is chosen whatever it has.
          assert.strictEqual(pick(candidates, context), chosen)
          assert.strictEqual(pick(some([candidates.at(-1)!]), context), candidates.at(-1))
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
    const abc = [{ id: "a", maxInFlight: 2 }, { id: "b" }, { id: "c" }]
    /** One use that costs a dollar. */
    const dollar = Effect.flatMap(Balancer.Balancer, (balancer) =>
      balancer.use((lease) => Effect.succeed(lease.key.id), { outcome: () => Outcome.success(1) })
    )

    it.effect("uses keys up one after the other, each down to the floor, and then says why", () =>
      Effect.gen(function* () {
        yield* Effect.forEach(abc, ({ id }) => read(id, 12))
        const ids = yield* Effect.replicateEffect(dollar, 9)
        assert.strictEqual(ids.join(""), "aaabbbccc")
        const error = yield* Effect.flip(dollar)
        assert.instanceOf(error, Errors.NoEligibleKey)
        assert.deepStrictEqual(
          error.keys.map(({ keyId, reason }) => [keyId, reason]),
          [
            ["a", "below-floor"],
            ["b", "below-floor"],
            ["c", "below-floor"]
          ]
        )
        yield* TestClock.adjust("1 minute")
        yield* read("b", 11)
        assert.strictEqual(yield* dollar, "b")
      }).pipe(Effect.provide(running(Threshold.layer({ floor: 10 }), abc)))
    )

    it.effect("richest goes on below the floor, down to nothing", () =>
      Effect.gen(function* () {
        yield* Effect.forEach(abc, ({ id }) => read(id, 3))
        const ids = yield* Effect.replicateEffect(dollar, 9)
        assert.strictEqual(ids.join(""), "abcabcabc")
        const error = yield* Effect.flip(dollar)
        assert.deepStrictEqual(
          error.keys.map(({ reason }) => reason),
          ["exhausted", "exhausted", "exhausted"]
        )
      }).pipe(Effect.provide(running(Threshold.layer({ floor: 10, whenAllBelow: "richest" }), abc)))
    )

    it.effect("the surplus of a saturated key goes to the next, and the key goes on when it has room", () =>
      Effect.gen(function* () {
        const balancer = yield* Balancer.Balancer
        const leases = yield* Effect.replicateEffect(balancer.lease(), 4)
        assert.strictEqual(leases.map((lease) => lease.key.id).join(""), "aabb")
        yield* leases[0]!.settle(Outcome.success())
        assert.strictEqual(yield* served, "a")
      }).pipe(Effect.provide(running(Threshold.layer(), abc)))
    )

    it.effect("a reading below the floor moves on, a later top-up does not move back", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* served, "a")
        yield* read("a", 9)
        assert.strictEqual(yield* served, "b")
        yield* read("a", 500)
        assert.strictEqual(yield* served, "b")
        yield* read("b", 0.5)
        assert.strictEqual(yield* served, "a")
      }).pipe(Effect.provide(running(Threshold.layer(), abc)))
    )

    it.effect("estimates of requests in flight count against the floor", () =>
      Effect.gen(function* () {
        const balancer = yield* Balancer.Balancer
        yield* Effect.forEach(abc, ({ id }) => read(id, 10.5))
        const leases = yield* Effect.replicateEffect(balancer.lease({ estimate: 1 }), 3)
        assert.strictEqual(leases.map((lease) => lease.key.id).join(""), "abc")
      }).pipe(Effect.provide(running(Threshold.layer(), abc)))
    )

    it.effect("removing the current key moves on, and adding it again does not move back", () =>
      Effect.gen(function* () {
        const pool = yield* KeyPool.KeyPool
        assert.strictEqual(yield* served, "a")
        yield* pool.remove("a")
        assert.strictEqual(yield* served, "b")
        yield* pool.add({ id: "a", secret: "sk-or-v1-999999" })
        assert.strictEqual(yield* served, "b")
      }).pipe(Effect.provide(running(Threshold.layer(), abc)))
    )
  })
})
