/**
 * Strategies in the lab, for a terminal. It is loaded by those alone who want it.
 */
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Retry } from "@evenkeel/retry"
import { Lab, Scenarios } from "@evenkeel/testkit"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { InvalidInput } from "./exit.ts"
import * as Selectors from "./selectors.ts"
import { sparkline, style, table, type Style } from "./table.ts"

/** The scenarios that come along. */
export const list = Effect.fnUntraced(function* (json: boolean) {
  const scenarios = yield* Effect.forEach(yield* Scenarios.names, Scenarios.load)
  if (json) {
    const told = scenarios.map(({ about, name, seconds }) => ({ name, seconds, about }))
    return yield* Console.log(JSON.stringify(told, undefined, 2))
  }
  const marks = yield* style
  const rows = scenarios.map(({ about, name }) => [name, about])
  yield* Console.log(table([{ title: "scenario" }, { title: "about" }], rows, marks))
})

/** A scenario that is none is input of the user's. */
const invalid = <A, E, R>(source: string, effect: Effect.Effect<A, E | Lab.InvalidScenario, R>) =>
  Effect.mapError(effect, (error) =>
    error instanceof Lab.InvalidScenario
      ? new InvalidInput({ source, line: undefined, problem: `${error.field}: ${error.problem}` })
      : error
  )

const load = Effect.fnUntraced(function* (name: string) {
  const fs = yield* FileSystem.FileSystem
  if (name.endsWith(".json") && !(yield* fs.exists(name)))
    return yield* new InvalidInput({ source: name, line: undefined, problem: "there is no such file" })
  return yield* invalid(name, Scenarios.load(name))
})

const shown = (report: Lab.Report, marks: Style): string => {
  const columns = Lab.columns(report)
  const rows = report.strategies.map((strategy, row) => [
    strategy.strategy,
    `${strategy.succeeded} of ${strategy.requests}`,
    sparkline(strategy.keys.map(({ share }) => share)),
    ...columns.map(({ cells }) => {
      const { best, text } = cells[row]!
      return best ? marks.best(text) : text
    })
  ])
  const titles = [
    { title: "strategy" },
    { title: "answered", align: "right" as const },
    { title: "keys" },
    ...columns.map(({ title }) => ({ title, align: "right" as const }))
  ]
  const head = [marks.bold(report.scenario), ...(report.about === "" ? [] : [report.about])]
  return [...head, "", table(titles, rows, marks), ""].join("\n")
}

/** Runs strategies under scenarios, and prints what each made of them. */
export const compare = Effect.fnUntraced(function* (config: {
  readonly scenarios: ReadonlyArray<string>
  readonly selectors: ReadonlyArray<Selectors.Name>
  readonly seed: string
  readonly bare: boolean
  readonly trace: Option.Option<string>
  readonly json: boolean
}) {
  if (config.scenarios.length === 0) {
    const problem = `names none; there are ${(yield* Scenarios.names).join(", ")}, and .json files of your own`
    return yield* new InvalidInput({ source: "SCENARIO", line: undefined, problem })
  }
  // All are read before the first is run: a mistake in the last one must not cost the time of the others.
  const written = yield* Effect.forEach(config.scenarios, load)
  const fs = yield* FileSystem.FileSystem
  const requests = Option.isSome(config.trace)
    ? yield* invalid(config.trace.value, Lab.trace(yield* fs.readFileString(config.trace.value)))
    : undefined
  const names = config.selectors.length === 0 ? Selectors.names : config.selectors
  const strategies = Object.fromEntries(names.map((name) => [name, Selectors.layers[name]]))
  const policies = Layer.mergeAll(Retry.layer(), CircuitBreaker.layer())
  const marks = yield* style
  const reports: Array<Lab.Report> = []
  for (const one of written) {
    const scenario = requests === undefined ? one : { ...one, arrivals: { kind: "trace" as const, requests } }
    const report = yield* Lab.simulate({
      scenario,
      strategies,
      seed: config.seed,
      ...(config.bare ? {} : { policies })
    })
    if (config.json) reports.push(report)
    else yield* Console.log(shown(report, marks))
  }
  if (config.json) yield* Console.log(JSON.stringify(reports, undefined, 2))
  else
    yield* Console.log(
      marks.dim(`keys: the share of the attempts that each key got. ${marks.best("best")} of its column.`)
    )
})
