import { Balancer, type Candidate, type Key, KeyPool, type Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, Fiber, Layer, Random, Schema } from "effect"
import { LeastInFlight } from "../src/index.ts"

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

/** A context whose randomness is that of the fiber, so that `Random.withSeed` fixes it. */
const chance = Effect.map(Random.Random, (random): Candidate.PickContext => ({
  ...context,
  random: () => random.nextDoubleUnsafe()
}))

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

const loaded = (...loads: ReadonlyArray<number>): Candidates =>
  some(loads.map((inFlight, i) => candidate(`k${i}`, { inFlight })))

const load = (one: Candidate.Candidate) => one.inFlight / one.weight

/** How often each of `candidates` is chosen in `n` picks. */
const counts = (candidates: Candidates, n: number, options?: LeastInFlight.Options) =>
  Effect.gen(function* () {
    const picker = yield* LeastInFlight.make(options).make
    const seeded = yield* chance
    const byId = new Map(candidates.map(({ id }) => [id, 0]))
    for (let i = 0; i < n; i++) {
      const { id } = picker.pick(candidates, seeded)
      byId.set(id, byId.get(id)! + 1)
    }
    return [...byId.values()]
  })

/** Within 4 standard deviations of the share `p` of `n` draws; the seed keeps a pass a pass. */
const near = (actual: number, n: number, p: number) =>
  assert.approximately(actual, n * p, 4 * Math.sqrt(n * p * (1 - p)))

const Loads = Schema.Array(
  Schema.Struct({
    weight: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })),
    inFlight: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
  })
).check(Schema.isBetweenLength(1, 12))
const Choices = Schema.Literals(["all", "two"])

describe("LeastInFlight", () => {
  it.effect("loads 4, 3, 2, 1, 5: the fourth", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* counts(loaded(4, 3, 2, 1, 5), 100), [0, 0, 0, 100, 0])
    }).pipe(Random.withSeed("envoy"))
  )

  it.effect("loads 3, 3, 1, 1, 1: the least three a third each, the others never (1,000,000 picks)", () =>
    Effect.gen(function* () {
      const [a, b, ...tied] = yield* counts(loaded(3, 3, 1, 1, 1), 1_000_000)
      assert.deepStrictEqual([a, b], [0, 0])
      for (const n of tied) near(n, 1_000_000, 1 / 3)
    }).pipe(Random.withSeed("envoy"))
  )

  it.effect("4 idle keys, one request at a time: 2,500 of 10,000 each", () =>
    Effect.gen(function* () {
      for (const n of yield* counts(loaded(0, 0, 0, 0), 10_000)) near(n, 10_000, 1 / 4)
      for (const n of yield* counts(loaded(0, 0, 0, 0), 10_000, { choices: "two" })) near(n, 10_000, 1 / 4)
    }).pipe(Random.withSeed("ties"))
  )

  it.effect("weights 2 and 1: two thirds and one third when idle; the idle one when the other is busy", () =>
    Effect.gen(function* () {
      const idle = yield* counts(some([candidate("a", { weight: 2 }), candidate("b")]), 30_000)
      near(idle[0]!, 30_000, 2 / 3)
      const busy = some([candidate("a", { weight: 2, inFlight: 1 }), candidate("b")])
      assert.deepStrictEqual(yield* counts(busy, 100), [0, 100])
    }).pipe(Random.withSeed("weights"))
  )

  it.effect("ties by weight in whatever order the weights come", () =>
    Effect.gen(function* () {
      const tied = [1, 5, 2, 4].map((weight, i) => candidate(`k${i}`, { weight, inFlight: 3 * weight }))
      for (const order of [tied, tied.toReversed()]) {
        const seen = yield* counts(some([candidate("busy", { inFlight: 9 }), ...order]), 24_000)
        assert.strictEqual(seen[0], 0)
        for (const [i, { weight }] of order.entries()) near(seen[i + 1]!, 24_000, weight / 12)
      }
    }).pipe(Random.withSeed("reservoir"))
  )

  it.effect("two choices of 3, one busy: the busy one never, because the two are distinct", () =>
    Effect.gen(function* () {
      const [a, b, busy] = yield* counts(loaded(0, 0, 10), 20_000, { choices: "two" })
      assert.strictEqual(busy, 0)
      near(a!, 20_000, 1 / 2)
      near(b!, 20_000, 1 / 2)
    }).pipe(Random.withSeed("two"))
  )

  it.effect("two choices of 4 see only two: the least loaded gets half, the most loaded nothing", () =>
    Effect.gen(function* () {
      const seen = yield* counts(loaded(0, 1, 2, 3), 24_000, { choices: "two" })
      for (const [i, share] of [3 / 6, 2 / 6, 1 / 6].entries()) near(seen[i]!, 24_000, share)
      assert.strictEqual(seen[3], 0)
    }).pipe(Random.withSeed("two of four"))
  )

  it.effect.prop(
    "chooses one of the candidates; of all the least; of two not the one most loaded alone",
    [Loads, Choices],
    ([loads, choices]) =>
      Effect.gen(function* () {
        const candidates = some(loads.map((traits, i) => candidate(`k${i}`, traits)))
        const { pick } = yield* LeastInFlight.make({ choices }).make
        const seeded = yield* chance
        const sorted = candidates.map(load).toSorted((a, b) => a - b)
        for (let n = 0; n < 20; n++) {
          const chosen = pick(candidates, seeded)
          assert.include(candidates, chosen)
          if (choices === "all") assert.strictEqual(load(chosen), sorted[0])
          else assert.isAtMost(load(chosen), sorted.at(-2) ?? Infinity)
        }
      })
  )

  it.effect.prop("a seed fixes the choices", [Loads, Choices, Schema.Int], ([loads, choices, seed]) =>
    Effect.gen(function* () {
      const candidates = some(loads.map((traits, i) => candidate(`k${i}`, traits)))
      const { pick } = yield* LeastInFlight.make({ choices }).make
      const run = Effect.map(chance, (seeded) =>
        Array.from({ length: 30 }, () => pick(candidates, seeded).id)
      )
      const seeded = Random.withSeed(run, seed)
      assert.deepStrictEqual(yield* seeded, yield* seeded)
    })
  )

  it("a choice that is none is refused, by name and with what is allowed", () => {
    // @ts-expect-error
    const wrong: LeastInFlight.Options = { choices: "three" }
    for (const build of [LeastInFlight.make, LeastInFlight.layer]) {
      assert.throws(() => build(wrong), RangeError, 'choices must be "all" or "two", and is three')
    }
  })

  describe("in a balancer", () => {
    const four = ["a", "b", "c", "d"].map((id) => ({ id }))
    const forever = Effect.flatMap(Balancer.Balancer, (balancer) => balancer.use(() => Effect.never))
    const start = (n: number) =>
      Effect.replicateEffect(Effect.forkChild(forever, { startImmediately: true }), n)
    const inFlight = Effect.flatMap(KeyPool.KeyPool, (pool) =>
      Effect.map(pool.snapshot, (snapshot) => snapshot.keys.map((key) => key.inFlight))
    )

    it.effect("1,000 requests at once over 4 keys: 250 each, and 0 after their interruption", () =>
      Effect.gen(function* () {
        const fibers = yield* start(1000)
        assert.deepStrictEqual(yield* inFlight, [250, 250, 250, 250])
        yield* Fiber.interruptAll(fibers)
        assert.deepStrictEqual(yield* inFlight, [0, 0, 0, 0])
      }).pipe(Effect.provide(running(LeastInFlight.layer(), four)), Random.withSeed("herd"))
    )

    it.effect("1,000 requests at once by two choices: within 10 of the mean", () =>
      Effect.gen(function* () {
        yield* start(1000)
        for (const n of yield* inFlight) assert.approximately(n, 250, 10)
      }).pipe(Effect.provide(running(LeastInFlight.layer({ choices: "two" }), four)), Random.withSeed("herd"))
    )

    it.effect("requests in flight come out in proportion to weight", () =>
      Effect.gen(function* () {
        yield* start(600)
        assert.deepStrictEqual(yield* inFlight, [100, 200, 300])
      }).pipe(
        Effect.provide(
          running(
            LeastInFlight.layer(),
            [1, 2, 3].map((weight) => ({ id: `w${weight}`, weight }))
          )
        ),
        Random.withSeed("weights")
      )
    )

    it.effect("a key added to two with 25 each gets the next 25, and then one of three each", () =>
      Effect.gen(function* () {
        const pool = yield* KeyPool.KeyPool
        yield* start(50)
        assert.deepStrictEqual(yield* inFlight, [25, 25])
        yield* pool.add({ id: "new", secret: "sk-or-v1-999999" })
        yield* start(25)
        assert.deepStrictEqual(yield* inFlight, [25, 25, 25])
        yield* start(3)
        assert.deepStrictEqual(yield* inFlight, [26, 26, 26])
      }).pipe(
        Effect.provide(running(LeastInFlight.layer(), [{ id: "a" }, { id: "b" }])),
        Random.withSeed("new")
      )
    )

    it.effect("10 keys at 2 each: the one whose request ends is the next", () =>
      Effect.gen(function* () {
        const balancer = yield* Balancer.Balancer
        const fibers = yield* start(20)
        assert.deepStrictEqual(
          yield* inFlight,
          Array.from({ length: 10 }, () => 2)
        )
        yield* Fiber.interrupt(fibers[7]!)
        const idle = (yield* inFlight).indexOf(1)
        assert.strictEqual((yield* balancer.lease()).key.id, `k${idle}`)
      }).pipe(
        Effect.provide(
          running(
            LeastInFlight.layer(),
            Array.from({ length: 10 }, (_, i) => ({ id: `k${i}` }))
          )
        ),
        Random.withSeed("finagle")
      )
    )

    it.effect("one at a time over idle keys: 2,500 of 10,000 each", () =>
      Effect.gen(function* () {
        const ids = yield* Effect.replicateEffect(served, 10_000)
        for (const { id } of four) near(ids.filter((other) => other === id).length, 10_000, 1 / 4)
      }).pipe(Effect.provide(running(LeastInFlight.layer(), four)), Random.withSeed("one at a time"))
    )
  })
})
