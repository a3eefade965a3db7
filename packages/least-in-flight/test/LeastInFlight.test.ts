import type { Candidate } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, Fiber, Random, Schema } from "effect"
import {
  idsOf,
  inFlight,
  key,
  keys,
  type Parts,
  type Setup,
  start as fork,
  using
} from "../../core/test/utils.ts"
import { SelectorLaws } from "@evenkeel/testkit"
import { LeastInFlight } from "../src/index.ts"

const { candidate } = SelectorLaws

const some = <A>(candidates: ReadonlyArray<A>): Arr.NonEmptyReadonlyArray<A> => {
  if (!Arr.isReadonlyArrayNonEmpty(candidates)) throw new Error("no candidates")
  return candidates
}

const loaded = (...loads: ReadonlyArray<number>) =>
  some(loads.map((inFlight, i) => candidate(`k${i}`, { inFlight })))

const load = (one: Candidate.Candidate) => one.inFlight / one.weight

/** How often each of `candidates` is chosen in `n` picks. */
const counts = (
  candidates: Arr.NonEmptyReadonlyArray<Candidate.Candidate>,
  n: number,
  options?: LeastInFlight.Options
) => SelectorLaws.counts(LeastInFlight.make(options), candidates, n)

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

const repeated = (times: number, n: number) => Array.from({ length: times }, () => n)
const ten = repeated(10, 0).map((_, i) => key(`k${i}`))
const hundred = repeated(100, 0).map((_, i) => key(`k${i}`))

describe("LeastInFlight", () => {
  it.effect("keeps the laws of selectors, fair and by weight", () =>
    SelectorLaws.check(LeastInFlight.make(), { fair: true, weighted: true })
  )

  it.effect("keeps the laws of selectors with two choices, and is fair", () =>
    SelectorLaws.check(LeastInFlight.make({ choices: "two" }), { fair: true })
  )

  // Vector 12, Envoy `least_request_lb_test.cc`.
  it.effect("loads 4, 3, 2, 1, 5: the fourth", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* counts(loaded(4, 3, 2, 1, 5), 100), [0, 0, 0, 100, 0])
    }).pipe(Random.withSeed("envoy"))
  )

  // Vector 13, Envoy `least_request_lb_test.cc`, which allows 5,000 either way.
  it.effect("loads 3, 3, 1, 1, 1: the least three a third each, the others never (1,000,000 picks)", () =>
    Effect.gen(function* () {
      const [a, b, ...tied] = yield* counts(loaded(3, 3, 1, 1, 1), 1_000_000)
      assert.deepStrictEqual([a, b], [0, 0])
      for (const n of tied) near(n, 1_000_000, 1 / 3)
    }).pipe(Random.withSeed("envoy"))
  )

  // Vector 21.
  it.effect("4 idle keys, one request at a time: 2,500 of 10,000 each", () =>
    Effect.gen(function* () {
      for (const n of yield* counts(loaded(0, 0, 0, 0), 10_000)) near(n, 10_000, 1 / 4)
      for (const n of yield* counts(loaded(0, 0, 0, 0), 10_000, { choices: "two" })) near(n, 10_000, 1 / 4)
    }).pipe(Random.withSeed("ties"))
  )

  // Vector 15, Envoy `least_request_lb_simulation_test.cc`. Of its two, the half with weight 2 and one in flight is another
  // here: Envoy draws 2/(1+1) against 1 at random, a scan of loads takes the idle key.
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

  // Vector 14, Envoy `least_request_lb_simulation_test.cc`: 44, 44 and 11 % there, where the two may be the same.
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

  // Vector 14, with two keys: 75 and 25 % there.
  it.effect("two choices of 2, one busy: always the other", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* counts(loaded(3, 0), 1000, { choices: "two" }), [0, 1000])
    }).pipe(Random.withSeed("two of two"))
  )

  it.effect.prop(
    "of all it chooses the least; of two not the one most loaded alone",
    [Loads, Choices],
    ([loads, choices]) =>
      Effect.gen(function* () {
        const candidates = some(loads.map((traits, i) => candidate(`k${i}`, traits)))
        const found = yield* counts(candidates, 20, { choices })
        const chosen = candidates.filter((_, i) => found[i]! > 0)
        const sorted = candidates.map(load).toSorted((a, b) => a - b)
        for (const one of chosen) {
          if (choices === "all") assert.strictEqual(load(one), sorted[0])
          else assert.isAtMost(load(one), sorted.at(-2) ?? Infinity)
        }
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
    /** Requests that never end by themselves. */
    const start = ({ balancer }: Parts, n: number) =>
      Effect.replicateEffect(fork(balancer.use(() => Effect.never)), n)
    const balanced = (keys: Setup["keys"], options?: LeastInFlight.Options): Setup => ({
      selector: LeastInFlight.make(options),
      keys
    })

    // Vector 22.
    it.effect("1,000 requests at once over 4 keys: 250 each, and 0 after their interruption", () =>
      using(balanced(keys("a b c d")), function* (parts) {
        const fibers = yield* start(parts, 1000)
        assert.deepStrictEqual(yield* inFlight(parts.pool), [250, 250, 250, 250])
        yield* Fiber.interruptAll(fibers)
        assert.deepStrictEqual(yield* inFlight(parts.pool), [0, 0, 0, 0])
      }).pipe(Random.withSeed("herd"))
    )

    it.effect("1,000 requests at once by two choices: within 10 of the mean", () =>
      using(balanced(keys("a b c d"), { choices: "two" }), function* (parts) {
        yield* start(parts, 1000)
        for (const n of yield* inFlight(parts.pool)) assert.approximately(n, 250, 10)
      }).pipe(Random.withSeed("herd"))
    )

    // Vector 18, Finagle `p2c/P2CLeastLoadedTest.scala`, with a fifth of the requests.
    it.effect("20,000 requests held open by two choices of 100 keys: each within 10 of the mean", () =>
      using(balanced(hundred, { choices: "two" }), function* (parts) {
        const leases = yield* Effect.replicateEffect(parts.balancer.lease(), 20_000)
        assert.strictEqual(leases.length, 20_000)
        for (const n of yield* inFlight(parts.pool)) assert.approximately(n, 200, 10)
      }).pipe(Effect.scoped, Random.withSeed("finagle"))
    )

    it.effect("requests in flight come out in proportion to weight", () =>
      using(balanced([1, 2, 3].map((weight) => key(`w${weight}`, { weight }))), function* (parts) {
        yield* start(parts, 600)
        assert.deepStrictEqual(yield* inFlight(parts.pool), [100, 200, 300])
      }).pipe(Random.withSeed("weights"))
    )

    // Vector 17, grpc-go `leastrequest_test.go`.
    it.effect("a key added to two with 25 each gets the next 25, and then one of three each", () =>
      using(balanced(keys("a b")), function* (parts) {
        yield* start(parts, 50)
        assert.deepStrictEqual(yield* inFlight(parts.pool), [25, 25])
        yield* parts.pool.add(key("new"))
        yield* start(parts, 25)
        assert.deepStrictEqual(yield* inFlight(parts.pool), [25, 25, 25])
        yield* start(parts, 3)
        assert.deepStrictEqual(yield* inFlight(parts.pool), [26, 26, 26])
      }).pipe(Random.withSeed("new"))
    )

    // Vector 19, Finagle `heap/HeapLeastLoadedTest.scala`, from here on.
    it.effect("10 keys at 2 each: the one whose request ends is the next", () =>
      using(balanced(ten), function* (parts) {
        const fibers = yield* start(parts, 20)
        assert.deepStrictEqual(yield* inFlight(parts.pool), repeated(10, 2))
        yield* Fiber.interrupt(fibers[7]!)
        const idle = (yield* inFlight(parts.pool)).indexOf(1)
        assert.deepStrictEqual(yield* idsOf(parts.balancer, 1), [`k${idle}`])
      }).pipe(Random.withSeed("finagle"))
    )

    it.effect(
      "10 keys at 1, two of them out: 16 more are 2 for each of the others; a new one gets the next 2",
      () =>
        using(balanced(ten), function* (parts) {
          yield* start(parts, 10)
          for (const id of ["k0", "k1"]) {
            yield* Effect.forkChild(parts.pool.drain(id), { startImmediately: true })
          }
          yield* start(parts, 16)
          assert.deepStrictEqual(yield* inFlight(parts.pool), [1, 1, ...repeated(8, 3)])
          yield* parts.pool.add(key("new"))
          yield* start(parts, 2)
          assert.deepStrictEqual(yield* inFlight(parts.pool), [1, 1, ...repeated(8, 3), 2])
        }).pipe(Random.withSeed("finagle"))
    )

    it.effect("one at a time over two idle keys: half each", () =>
      using(balanced(keys("a b")), function* ({ balancer }) {
        const ids = yield* idsOf(balancer, 10_000)
        near(ids.filter((id) => id === "a").length, 10_000, 1 / 2)
      }).pipe(Random.withSeed("one at a time"))
    )
  })
})
