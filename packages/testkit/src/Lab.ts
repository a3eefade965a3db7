/**
 * A laboratory for strategies: an hour of traffic in seconds, and what each strategy makes of it.
 *
 * The pool, the balancer, the selectors and the policies are the real ones. Only what lies outside of them is simulated:
 * the requests that come, the accounts and caps behind the keys, and time.
 *
 * Sources: J. Banks et al., "Discrete-Event System Simulation" (one heap of events, common random numbers, so that all
 * strategies meet the very same requests); Finagle's `balancersim` and Envoy's simulation tests, which do the same for
 * balancers of servers.
 */
import type { Balancer, KeyPool, Selector } from "@evenkeel/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { chart as drawn } from "./internal/lab/chart.ts"
import * as Check from "./internal/lab/check.ts"
import type { MetricName } from "./internal/lab/metricNames.ts"
import type { StrategyReport } from "./internal/lab/recorder.ts"
import { run } from "./internal/lab/run.ts"
import * as Schemas from "./internal/lab/scenario.ts"
import { columns as columnsOf, type Column, table as tabled } from "./internal/lab/table.ts"

export { InvalidScenario } from "./internal/lab/check.ts"
export type { FaultReport } from "./internal/lab/faultTimes.ts"
export type { MetricName } from "./internal/lab/metricNames.ts"
export type { KeyReport, StrategyReport } from "./internal/lab/recorder.ts"
export type { TraceEntry } from "./internal/lab/scenario.ts"
export type { Percentiles } from "./internal/lab/statistics.ts"
export type { Column } from "./internal/lab/table.ts"

/**
 * The schema of a scenario: who asks, when and for what, over which keys, and what goes wrong meanwhile.
 *
 * **Details**
 *
 * Only `name`, `seconds`, `arrivals` and `keys` must be said. Times are in seconds, money is in USD.
 */
export const Scenario = Schemas.Scenario

/**
 * A scenario with all its defaults.
 */
export type Scenario = typeof Scenario.Type

/**
 * A scenario as it is written, in code or in JSON.
 */
export type ScenarioInput = typeof Scenario.Encoded

/**
 * What all strategies made of one scenario. Plain data, the same for the same seed.
 */
export interface Report {
  readonly scenario: string
  readonly about: string
  readonly seed: string | number
  /** How long requests came. */
  readonly seconds: number
  /** What the chart shows. */
  readonly shows: ReadonlyArray<MetricName>
  readonly strategies: ReadonlyArray<StrategyReport>
}

/**
 * Options of a simulation.
 */
export interface Options {
  readonly scenario: ScenarioInput
  /** By name; a layer may bring policies of its own, to compare with and without. */
  readonly strategies: Readonly<Record<string, Layer.Layer<Selector.Selector>>>
  /** The policies of all strategies: retries, circuit breakers, limiters, hedging. Default: none. */
  readonly policies?: Layer.Layer<never> | undefined
  readonly pool?: Omit<KeyPool.Options, "keys"> | undefined
  readonly balancer?: Balancer.Options | undefined
  /** Default 1. */
  readonly seed?: string | number | undefined
}

/**
 * Runs a scenario under each of the strategies.
 *
 * **When to use**
 *
 * To choose between strategies, or to see what one of your own does, before it meets production.
 *
 * **Details**
 *
 * All strategies meet the same requests at the same times. Each run has its own processes, and each process its own
 * layers: nothing is shared but what the scenario shares. Requests that are under way when the scenario is over are waited
 * for, up to an hour of virtual time, and then count as `Unfinished`.
 *
 * Fails with `InvalidScenario`, which names the field and what is allowed. A selector that throws is a defect.
 *
 * **Gotchas**
 *
 * A layer that asks the real world for something (a file, a socket) gets it in real time, and the run cannot be repeated.
 * What wants a `Clock` must take it from Effect.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 * import { Lab } from "@evenkeel/testkit"
 * import { Effect } from "effect"
 *
 * const first = Selector.make("first", (candidates) => candidates[0])
 * const report = await Effect.runPromise(
 *   Lab.simulate({
 *     scenario: {
 *       name: "two-keys",
 *       seconds: 60,
 *       arrivals: { kind: "constant", perSecond: 10 },
 *       keys: [{ id: "a", maxInFlight: 5 }, { id: "b" }]
 *     },
 *     strategies: { first: Selector.layer(first), random: Selector.layer(Selector.random) }
 *   })
 * )
 *
 * report.strategies.map(({ succeeded }) => succeeded) // => [600, 600]
 * report.strategies[0]?.keys.map(({ share }) => share) // => [0.25, 0.75]
 * ```
 */
export const simulate = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Report, Check.InvalidScenario> {
  const scenario = yield* decode(options.scenario)
  const { balancer = {}, policies, pool = {}, seed = 1 } = options
  const strategies: Array<StrategyReport> = []
  for (const [strategy, own] of Object.entries(options.strategies)) {
    const layer = policies === undefined ? own : Layer.provideMerge(own, policies)
    strategies.push(yield* run({ scenario, seed, strategy, layer, pool, balancer }))
  }
  const { about, name, seconds, shows } = scenario
  return { scenario: name, about, seed, seconds, shows, strategies }
})

/**
 * Decodes a scenario from plain data, such as a JSON file.
 *
 * **Example**
 *
 * ```ts
 * import { Lab } from "@evenkeel/testkit"
 * import { Effect } from "effect"
 *
 * const data = { name: "none", seconds: 60, arrivals: { kind: "poisson", perSecond: -1 }, keys: [{ id: "a" }] }
 * const error = await Effect.runPromise(Effect.flip(Lab.decode(data)))
 * error.field // => "arrivals.perSecond"
 * error.problem // => "Expected a number from 0.001 to 10,000, got -1"
 * ```
 */
export const decode = (input: unknown): Effect.Effect<Scenario, Check.InvalidScenario> =>
  Effect.suspend(() => Effect.fromResult(Check.decode(input)))

/**
 * Reads requests that came once from JSONL, for `arrivals` of kind `trace`: a record a line with `at` (seconds since the
 * start), and as known `session`, `prompt` and `completion` (tokens) and `seconds` (to the end of the answer). What a line
 * leaves out is drawn as the scenario says. Fails with the number of the line.
 *
 * **Example**
 *
 * ```ts
 * import { Lab } from "@evenkeel/testkit"
 * import { Effect } from "effect"
 *
 * const lines = `{"at": 0, "prompt": 1200}
 * {"at": 0.4, "session": "s1", "seconds": 3.5}`
 *
 * const requests = await Effect.runPromise(Lab.trace(lines))
 * requests.map(({ at }) => at) // => [0, 0.4]
 * ```
 */
export const trace = (
  jsonl: string
): Effect.Effect<ReadonlyArray<Schemas.TraceEntry>, Check.InvalidScenario> =>
  Effect.suspend(() => Effect.fromResult(Check.trace(jsonl)))

/**
 * The report as columns, for a table of your own; columns in which all are alike are left out, unless the scenario is about
 * them.
 */
export const columns = (report: Report): ReadonlyArray<Column> => columnsOf(report.strategies, report.shows)

/**
 * The report as a table in Markdown. The best of each column is bold; columns in which all are alike are left out,
 * unless the scenario is about them.
 */
export const table = (report: Report): string => tabled(report.strategies, report.shows)

/**
 * The report as an SVG image of bars, a panel for each metric: those that the scenario shows, or those that are given.
 */
export const chart = (report: Report, metrics: ReadonlyArray<MetricName> = report.shows): string =>
  drawn({ title: report.scenario, description: report.about, names: metrics, strategies: report.strategies })
