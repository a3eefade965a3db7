// What the lab finds about the strategies that are shipped: the reasons for their defaults.
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Selector } from "@evenkeel/core"
import { CreditAware } from "@evenkeel/credit-aware"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { Retry } from "@evenkeel/retry"
import { RoundRobin } from "@evenkeel/round-robin"
import { Lab, Scenarios } from "@evenkeel/testkit"
import { Effect, Layer } from "effect"
import { policies } from "./strategies.ts"

const shipped = (name: string) => Effect.provide(Scenarios.load(name), NodeFileSystem.layer)

/** The reports of a scenario by the names of the strategies. */
const simulate = Effect.fnUntraced(function* <Name extends string>(
  scenario: Lab.ScenarioInput,
  strategies: Record<Name, Layer.Layer<Selector.Selector>>,
  layer?: Layer.Layer<never>
) {
  const { strategies: reports } = yield* Lab.simulate({ scenario, strategies, policies: layer })
  for (const { failed, left, requests, succeeded } of reports) {
    assert.strictEqual(succeeded + failed, requests)
    assert.deepStrictEqual(left, { inFlight: 0, waiting: 0 })
  }
  return Object.fromEntries(reports.map((report) => [report.strategy, report])) as Record<
    Name,
    Lab.StrategyReport
  >
})

const mostInFlight = ({ keys }: Lab.StrategyReport) => Math.max(...keys.map((key) => key.mostInFlight))

const blackHole: Lab.ScenarioInput = {
  name: "black-hole",
  seconds: 300,
  arrivals: { kind: "poisson", perSecond: 20 },
  keys: [{ id: "a" }, { id: "b" }, { id: "c" }, { id: "bad" }],
  faults: [{ key: "bad", status: 500, answerSeconds: 0.05 }]
}

describe("findings of the lab", () => {
  it.effect("a key that fails fast draws most requests, and with a breaker at most 1 % of them", () =>
    Effect.gen(function* () {
      const breaker = CircuitBreaker.layer({
        key: { trip: CircuitBreaker.consecutive(3), cooldown: "30 seconds" }
      })
      const [scan, two] = [LeastInFlight.layer(), LeastInFlight.layer({ choices: "two" })]
      const reports = yield* simulate(blackHole, {
        scan,
        two,
        guardedScan: Layer.merge(scan, breaker),
        guardedTwo: Layer.merge(two, breaker)
      })
      const share = (name: keyof typeof reports) => reports[name].faults[0]!.share
      // Its fair share is a quarter. A key that is one of two that were drawn can take no more than a half.
      assert.isAbove(share("scan"), 0.8)
      assert.closeTo(share("two"), 0.5, 0.05)
      assert.isAtMost(share("guardedScan"), 0.01)
      assert.isAtMost(share("guardedTwo"), 0.01)
    })
  )

  for (const processes of [1, 4]) {
    it.effect(`caps drained in proportion run dry together and overrun by none of ${processes}`, () =>
      Effect.gen(function* () {
        const scenario = yield* shipped(`stale-credit-${processes}`)
        assert.strictEqual(scenario.processes, processes)
        const { proportional, rotating } = yield* simulate(scenario, {
          proportional: CreditAware.layer(),
          rotating: RoundRobin.layer()
        })
        assert.isUndefined(proportional.met["402"])
        assert.strictEqual(proportional.failed, 0)
        assert.isAtLeast(proportional.spentJain ?? 0, 0.999)
        assert.isAbove(proportional.cost, 200)
        assert.isBelow(rotating.spentJain ?? 1, proportional.spentJain ?? 0)
      })
    )
  }

  it.effect(
    "the richest by a stale reading draws a herd, two choices a smaller one, and own debits mend it for one process",
    () =>
      Effect.gen(function* () {
        const equal = (readings: Lab.ScenarioInput["readings"], processes: number): Lab.ScenarioInput => ({
          name: "equal",
          seconds: 600,
          processes,
          arrivals: { kind: "poisson", perSecond: 20 },
          requests: { seconds: 2, price: { request: 0.01 } },
          keys: ["a", "b", "c", "d"].map((id) => ({ id, cap: 50 })),
          ...(readings === undefined ? {} : { readings })
        })
        const richer = ({ credit }: { readonly credit: number | undefined }) => -(credit ?? Infinity)
        const strategies = {
          richest: CreditAware.layer({ mode: "richest" }),
          two: Selector.layer(Selector.powerOfTwo(richer)),
          proportional: CreditAware.layer()
        }
        const stale = yield* simulate(equal({ estimates: false, costs: false }, 1), strategies)
        assert.isAbove(mostInFlight(stale.richest), 1.3 * mostInFlight(stale.two))
        assert.isAbove(mostInFlight(stale.two), mostInFlight(stale.proportional))
        assert.isBelow(stale.richest.spentJain ?? 1, stale.proportional.spentJain ?? 0)
        const debited = yield* simulate(equal(undefined, 1), strategies)
        assert.isBelow(mostInFlight(debited.richest), 0.6 * mostInFlight(stale.richest))
        const several = yield* simulate(equal(undefined, 4), strategies)
        assert.isAbove(mostInFlight(several.richest), mostInFlight(debited.richest))
      })
  )

  it.effect("a total outage costs 31 % more attempts with a budget, and four times as many without", () =>
    Effect.gen(function* () {
      const outage: Lab.ScenarioInput = {
        name: "outage",
        seconds: 100,
        arrivals: { kind: "constant", perSecond: 100 },
        keys: [{ id: "a" }, { id: "b" }],
        faults: [{ status: 503 }]
      }
      const least = { least: LeastInFlight.layer() }
      const budgeted = yield* simulate(outage, least, Retry.layer())
      assert.isAtMost(budgeted.least.amplification, 1.31)
      assert.isAbove(budgeted.least.amplification, 1.2)
      const endless = yield* simulate(outage, least, Retry.layer({ budget: false }))
      assert.strictEqual(endless.least.amplification, 4)
    })
  )

  it.effect("a dead account costs a few refusals and no request", () =>
    Effect.gen(function* () {
      const { least } = yield* simulate(
        yield* shipped("one-account-of-three-dead"),
        { least: LeastInFlight.layer() },
        policies
      )
      assert.strictEqual(least.failed, 0)
      assert.isAtMost(least.met["402"] ?? 0, 10)
      assert.isBelow(least.faults[0]?.isolatedAfter ?? Infinity, 1)
    })
  )

  it.effect("caps that are filled up at midnight are best used before", () =>
    Effect.gen(function* () {
      const { expiring, proportional } = yield* simulate(
        yield* shipped("reset-at-midnight"),
        { expiring: CreditAware.layer({ mode: "expiring" }), proportional: CreditAware.layer() },
        policies
      )
      assert.strictEqual(expiring.failed, 0)
      assert.isAbove(proportional.failed / proportional.requests, 0.02)
    })
  )

  it.effect("sessions that return to their account find their prompts kept", () =>
    Effect.gen(function* () {
      const { home, least } = yield* simulate(yield* shipped("zipf-sessions"), {
        least: LeastInFlight.layer(),
        home: Selector.layer(Selector.affinity(LeastInFlight.make()))
      })
      assert.isAbove(home.cacheHits ?? 0, (least.cacheHits ?? 1) + 0.1)
      assert.isBelow(home.cost, 0.8 * least.cost)
    })
  )
})
