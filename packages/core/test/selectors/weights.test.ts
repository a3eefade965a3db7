import { Outcome, Selector } from "@evenkeel/core"
import type { Candidate, Errors, Lease } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, pipe } from "effect"
import { TestClock } from "effect/testing"
import { candidate, fault, keys, using } from "../utils.ts"
import {
  assertShares,
  context,
  countsOf,
  lives,
  logging,
  offer,
  pickerOf,
  success,
  timing,
  weighted,
  type Live
} from "./support.ts"

/** Keeps what the inner selector is given. */
const seeing = (seen: Array<ReadonlyArray<Candidate.Candidate>>, inner = weighted): Selector.Selector => ({
  ...inner,
  make: Effect.map(inner.make, (picker) => ({
    ...picker,
    pick: (candidates, context) => {
      seen.push(candidates)
      return picker.pick(candidates, context)
    }
  }))
})

describe("Selector.weightedBy", () => {
  it("multiplies the weights, and gives back the original", () => {
    const candidates = [candidate("a", { weight: 1 }), candidate("b", { weight: 2 })]
    const selector = pipe(
      weighted,
      Selector.weightedBy(({ id }) => (id === "a" ? 6 : 1))
    )
    assertShares(countsOf(pickerOf(selector), candidates, 20_000), [0.75, 0.25])
    const picker = pickerOf(selector)
    for (let n = 0; n < 50; n++) {
      assert.include(candidates, picker.pick(offer(candidates), context({ random: () => n / 50 })))
    }
    assert.deepStrictEqual(
      candidates.map(({ weight }) => weight),
      [1, 2]
    )
    assert.deepStrictEqual(
      picker.rank!(offer(candidates), context()).map((one) => candidates.indexOf(one)),
      [0, 1]
    )
  })

  it("cheapest first: accounts with different discounts", () => {
    const prices: Readonly<Record<string, number>> = { list: 1, partner: 0.8, reseller: 0.9 }
    const candidates = Object.keys(prices).map((account) => candidate(account, { account }))
    const selector = Selector.weightedBy(weighted, ({ account }) => prices[account!]! ** -20)
    const shares = Object.values(prices).map((price) => price ** -20)
    const total = shares.reduce((a, b) => a + b)
    assertShares(
      countsOf(pickerOf(selector), candidates, 20_000),
      shares.map((share) => share / total)
    )
  })

  it("vector 15: twice the weight gets two thirds when idle, and a half with one in flight", () => {
    const load = Selector.make("ready", (candidates, { random }) => {
      // Envoy's weights with active requests: weight / (active + 1).
      const shares = candidates.map(({ inFlight, weight }) => weight / (inFlight + 1))
      let left = random() * shares.reduce((a, b) => a + b)
      return candidates.find((_, index) => (left -= shares[index]!) < 0) ?? candidates[0]
    })
    const selector = Selector.weightedBy(load, ({ labels }) => Number(labels["times"]))
    const [a, b] = [
      candidate("a", { labels: { times: "2" } }) as Live,
      candidate("b", { labels: { times: "1" } })
    ]
    const picker = pickerOf(selector)
    assertShares(countsOf(picker, [a, b], 20_000), [2 / 3, 1 / 3])
    a.inFlight = 1
    assertShares(countsOf(picker, [a, b], 20_000), [0.5, 0.5])
  })

  it("what the inner selector sees stays live, also for keys that are not offered any more", () => {
    const seen: Array<ReadonlyArray<Candidate.Candidate>> = []
    const { pick } = pickerOf(Selector.weightedBy(seeing(seen), () => 2))
    const [a, b] = lives("a b") as [Live, Live]
    pick([a, b], context())
    const [view] = seen[0]! as [Candidate.Candidate]
    pick([b], context())
    const changed: Omit<Candidate.Candidate, "id" | "weight"> = {
      account: "mine",
      workspace: "ours",
      tier: 3,
      labels: { one: "1" },
      inFlight: 7,
      maxInFlight: 9,
      credit: 12,
      creditResetsAt: 99,
      includesByok: true,
      latency: 17
    }
    Object.assign(a, changed)
    // A copy has all there is to a candidate, and nothing else.
    assert.deepStrictEqual({ ...view }, { id: "a", weight: 2, ...changed })
    pick([b, a], context())
    assert.strictEqual(seen[2]![1], view)
  })

  it("as long as the same are offered, the inner selector gets the same array", () => {
    const seen: Array<ReadonlyArray<Candidate.Candidate>> = []
    const { pick } = pickerOf(Selector.weightedBy(seeing(seen), () => 2))
    const [a, b] = lives("a b") as [Live, Live]
    pick([a, b], context())
    pick([a, b], context())
    pick([b, a], context())
    assert.strictEqual(seen[1], seen[0])
    assert.deepStrictEqual(
      seen[2]!.map(({ id }) => id),
      ["b", "a"]
    )
    assert.deepStrictEqual(
      seen[0]!.map(({ id }) => id),
      ["a", "b"]
    )
  })

  it("a factor that is out of all reason leaves weights above 0 and finite", () => {
    const seen: Array<ReadonlyArray<Candidate.Candidate>> = []
    const factors = [0, -1, NaN, -Infinity, Infinity, 1e300]
    const { pick } = pickerOf(Selector.weightedBy(seeing(seen), ({ tier }) => factors[tier]!))
    pick(offer(factors.map((_, tier) => candidate(`k${tier}`, { tier }))), context())
    assert.deepStrictEqual(
      seen[0]!.map(({ weight }) => weight),
      [1e-9, 1e-9, 1e-9, 1e-9, 1e9, 1e9]
    )
  })

  it("weights of weights multiply", () => {
    const seen: Array<ReadonlyArray<Candidate.Candidate>> = []
    const twice = pipe(
      seeing(seen),
      Selector.weightedBy(() => 2),
      Selector.weightedBy(() => 5)
    )
    const [a] = lives("a") as [Live]
    assert.strictEqual(pickerOf(twice).pick([a], context()), a)
    assert.strictEqual(seen[0]![0]!.weight, 10)
  })

  it("the inner picker is told of the views it knows, and a forgotten key starts anew", () => {
    const seen: Array<ReadonlyArray<Candidate.Candidate>> = []
    const told: Array<Candidate.Candidate> = []
    const inner: Selector.Selector = {
      name: "inner",
      make: Effect.map(seeing(seen).make, (picker) => ({
        pick: picker.pick,
        settled: (one) => void told.push(one)
      }))
    }
    const picker = pickerOf(Selector.weightedBy(inner, () => 3))
    const [a] = lives("a") as [Live]
    const asked = context()
    picker.pick([a], asked)
    picker.settled!(a, success, timing, asked)
    assert.strictEqual(told[0], seen[0]![0])
    picker.forget!("a")
    // The use of a key that has left keeps nothing of it.
    picker.settled!(a, success, timing, asked)
    picker.pick([a], asked)
    assert.notStrictEqual(seen[1]![0], seen[0]![0])
    assert.notStrictEqual(seen[1]![0], told[1])
  })
})

describe("Selector.slowStart", () => {
  /** The weights that the inner selector sees. */
  const watch = (window: "10 seconds") => {
    const seen: Array<ReadonlyArray<Candidate.Candidate>> = []
    const picker = pickerOf(Selector.slowStart(seeing(seen), window))
    const at = (seconds: number, candidates: ReadonlyArray<Candidate.Candidate>) => {
      picker.pick(offer(candidates), context({ nowMillis: seconds * 1000 }))
      return seen.at(-1)!.map(({ weight }) => Number(weight.toFixed(6)))
    }
    const fails = (one: Candidate.Candidate, scope: Outcome.FaultScope, within?: string) =>
      picker.settled!(one, Outcome.faulted({ scope, reason: "throttled", within }), timing, context())
    return { picker, at, fails }
  }

  it("those of the first pick have their weight, and a newcomer gets it little by little", () => {
    const { at } = watch("10 seconds")
    const [a, b] = lives("a b", { weight: 4 }) as [Live, Live]
    assert.deepStrictEqual(at(100, [a]), [4])
    // Envoy: weight · max(10 %, t / window).
    assert.deepStrictEqual(at(200, [a, b]), [4, 0.4])
    assert.deepStrictEqual(at(200.5, [a, b]), [4, 0.4])
    assert.deepStrictEqual(at(202.5, [a, b]), [4, 1])
    assert.deepStrictEqual(at(209, [a, b]), [4, 3.6])
    assert.deepStrictEqual(at(210, [a, b]), [4, 4])
    assert.deepStrictEqual(at(1000, [a, b]), [4, 4])
  })

  it("a key that met a fault starts anew when it is offered again", () => {
    const { at, fails } = watch("10 seconds")
    const [a, b] = lives("a b") as [Live, Live]
    at(0, [a, b])
    fails(a, "key")
    assert.deepStrictEqual(at(5, [b]), [1])
    assert.deepStrictEqual(at(60, [a, b]), [0.1, 1])
    assert.deepStrictEqual(at(65, [a, b]), [0.5, 1])
    fails(a, "key")
    assert.deepStrictEqual(at(66, [a, b]), [0.1, 1])
    assert.deepStrictEqual(at(76, [a, b]), [1, 1])
  })

  it("a fault of the owner is one of all its keys, and one behind the keys is of none", () => {
    const { at, fails } = watch("10 seconds")
    const all = [
      candidate("a", { account: "one", workspace: "x" }),
      candidate("b", { account: "one", workspace: "y" }),
      candidate("c", { account: "two", workspace: "y" }),
      candidate("d")
    ]
    at(0, all)
    fails(all[0]!, "upstream")
    fails(all[0]!, "host")
    fails(all[0]!, "account", ":free")
    assert.deepStrictEqual(at(1, all), [1, 1, 1, 1])
    fails(all[0]!, "account")
    assert.deepStrictEqual(at(2, all), [0.1, 0.1, 1, 1])
    fails(all[2]!, "workspace")
    assert.deepStrictEqual(at(12, all), [1, 0.1, 0.1, 1])
    fails(all[3]!, "account")
    assert.deepStrictEqual(at(22, all), [1, 1, 1, 0.1])
  })

  it("a success, and what is ignored, change nothing", () => {
    const { at, picker } = watch("10 seconds")
    const [a] = lives("a") as [Live]
    at(0, [a])
    picker.settled!(a, success, timing, context())
    picker.settled!(a, Outcome.ignored(), timing, context())
    assert.deepStrictEqual(at(1, [a]), [1])
  })

  it("a key that left and came back is new", () => {
    const { at, picker } = watch("10 seconds")
    const [a, b] = lives("a b") as [Live, Live]
    at(0, [a, b])
    picker.forget!("a")
    assert.deepStrictEqual(at(20, [a, b]), [0.1, 1])
  })

  it("explain starts nothing", () => {
    const { at, picker } = watch("10 seconds")
    const [a, b] = lives("a b") as [Live, Live]
    picker.rank!([a, b], context())
    assert.deepStrictEqual(at(0, [a]), [1])
    picker.rank!([a, b], context({ nowMillis: 1000 }))
    assert.deepStrictEqual(at(20, [a, b]), [1, 0.1])
  })

  it("passes on what it hears", () => {
    const [inner, log] = logging(weighted)
    const picker = pickerOf(Selector.slowStart("1 minute")(inner))
    const [a] = lives("a") as [Live]
    picker.pick([a], context())
    picker.settled!(a, success, timing, context())
    picker.forget!("a")
    assert.deepStrictEqual(log, { picked: ["a"], settled: ["a"], forgotten: ["a"] })
  })

  it("refuses a window out of its range", () => {
    for (const window of [0, -1, Infinity, NaN, "no time" as never]) {
      assert.throws(
        () => Selector.slowStart(weighted, window),
        RangeError,
        "window must be a finite duration"
      )
    }
  })

  it.effect("through a balancer, a key that comes back gets a tenth at first", () =>
    using(
      { keys: keys("a b"), selector: Selector.slowStart(weighted, "100 seconds") },
      function* ({ balancer }) {
        // Both are used, so that neither is new, and then one meets a fault.
        yield* Effect.replicateEffect(
          balancer.use(() => Effect.void),
          20
        )
        const use = ({ key }: Lease.Lease): Effect.Effect<boolean, Errors.Fault> =>
          key.id === "a" ? fault("key", "throttled", { retryAfter: "30 seconds" }) : Effect.succeed(false)
        const failed = balancer.use(use).pipe(Effect.catchTag("Fault", () => Effect.succeed(true)))
        yield* Effect.repeat(failed, { until: (done) => done })
        const shareOf = (count: number) =>
          Effect.map(
            Effect.replicateEffect(
              balancer.use(({ key }) => Effect.succeed(key.id)),
              count
            ),
            (ids) => ids.filter((id) => id === "a").length
          )
        assert.strictEqual(yield* shareOf(20), 0)
        yield* TestClock.adjust("30 seconds")
        const counts = yield* shareOf(2000)
        assertShares([counts, 2000 - counts], [0.1 / 1.1, 1 / 1.1])
        yield* TestClock.adjust("100 seconds")
        const later = yield* shareOf(2000)
        assertShares([later, 2000 - later], [0.5, 0.5])
      }
    )
  )
})
