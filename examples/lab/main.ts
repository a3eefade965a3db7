/**
 * All strategies under all scenarios: tables on stdout, and a chart of each scenario as SVG if there is a folder for them;
 * or the page of the documentation.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Lab, Scenarios } from "@evenkeel/testkit"
import { Clock, Console, Effect, FileSystem, Option, Path } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { page, section, unguarded, withoutGuard } from "./page.ts"
import { policies, strategies } from "./strategies.ts"

/** Under all strategies, guarded by the policies or not. */
const simulate = Effect.fnUntraced(function* (scenario: Lab.Scenario, seed: string, bare: boolean) {
  const startedAt = yield* Clock.currentTimeMillis
  const report = yield* Lab.simulate({ scenario, strategies, seed, ...(bare ? {} : { policies }) })
  const seconds = ((yield* Clock.currentTimeMillis) - startedAt) / 1000
  const requests = report.strategies.reduce((sum, strategy) => sum + strategy.requests, 0)
  // Not part of the result: it depends on the machine.
  yield* Console.error(`${report.scenario}: ${requests} requests in ${seconds.toFixed(1)} s`)
  return report
})

const drawCharts = Effect.fnUntraced(function* (folder: string, reports: ReadonlyArray<Lab.Report>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  yield* fs.makeDirectory(folder, { recursive: true })
  for (const report of reports) {
    yield* fs.writeFileString(path.join(folder, `${report.scenario}.svg`), Lab.chart(report))
  }
})

/** The page of the documentation: all that is shipped, as it is. */
const writePage = Effect.fnUntraced(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const scenarios = yield* Effect.forEach(yield* Scenarios.names, Scenarios.load)
  const guarded = scenarios.flatMap((scenario) =>
    scenario.name === "black-hole" ? [scenario, withoutGuard(scenario)] : [scenario]
  )
  const reports = yield* Effect.forEach(guarded, (scenario) =>
    simulate(scenario, "1", scenario.name === unguarded)
  )
  yield* drawCharts(folder, reports)
  yield* fs.writeFileString(path.join(folder, "results.md"), page(reports))
})

const flags = {
  scenarios: Argument.String("scenario").pipe(
    Argument.withDescription(
      "Names of shipped scenarios or paths of JSON files; all that are shipped by default"
    ),
    Argument.variadic()
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("The reports as JSON instead of tables"),
    Flag.withDefault(false)
  ),
  svg: Flag.String("svg").pipe(Flag.withDescription("A folder for the charts"), Flag.optional),
  docs: Flag.String("docs").pipe(
    Flag.withDescription(
      "A folder for the page of all that is shipped, with its charts; nothing else is heeded"
    ),
    Flag.optional
  ),
  seed: Flag.String("seed").pipe(Flag.withDescription("Another seed, other requests"), Flag.withDefault("1")),
  bare: Flag.Boolean("bare").pipe(
    Flag.withDescription("Without retries and circuit breakers"),
    Flag.withDefault(false)
  ),
  trace: Flag.String("trace").pipe(
    Flag.withDescription("A file of JSONL whose requests come instead of those of the scenario"),
    Flag.optional
  )
}

const command = Command.make("lab", flags, ({ bare, docs, json, scenarios, seed, svg, trace }) =>
  Effect.gen(function* () {
    if (Option.isSome(docs)) return yield* writePage(docs.value)
    const fs = yield* FileSystem.FileSystem
    const replayed = Option.isSome(trace)
      ? yield* Lab.trace(yield* fs.readFileString(trace.value))
      : undefined
    const reports = yield* Effect.forEach(
      scenarios.length === 0 ? yield* Scenarios.names : scenarios,
      Effect.fnUntraced(function* (name) {
        const written = yield* Scenarios.load(name)
        const scenario =
          replayed === undefined
            ? written
            : { ...written, arrivals: { kind: "trace" as const, requests: replayed } }
        return yield* simulate(scenario, seed, bare)
      })
    )
    if (Option.isSome(svg)) yield* drawCharts(svg.value, reports)
    if (json) return yield* Console.log(JSON.stringify(reports, undefined, 2))
    yield* Console.log(reports.map((report) => section(report, Option.isSome(svg))).join("\n"))
  })
).pipe(Command.withDescription("Compares strategies under simulated traffic, in virtual time."))

command.pipe(Command.run({ version: "0.0.0" }), Effect.provide(NodeServices.layer), NodeRuntime.runMain)
