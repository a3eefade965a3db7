/**
 * All strategies under all scenarios: tables on stdout, and a chart of each scenario as SVG if there is a folder for them.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Lab } from "@evenkeel/testkit"
import { Clock, Console, Effect, FileSystem, Option, Path } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { policies, strategies } from "./strategies.ts"

const folder = `${import.meta.dirname}/scenarios`

const shipped = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const files = yield* fs.readDirectory(folder)
  return files.map((file) => file.replace(/\.json$/, "")).toSorted()
})

/** A scenario by the name of a shipped one, or by the path of a file. */
const load = Effect.fnUntraced(function* (name: string) {
  const fs = yield* FileSystem.FileSystem
  const path = name.endsWith(".json") ? name : `${folder}/${name}.json`
  const text = yield* fs.readFileString(path)
  const data = yield* Effect.try({
    try: () => JSON.parse(text) as unknown,
    catch: () => new Lab.InvalidScenario({ field: path, problem: "Expected a record as JSON" })
  })
  return yield* Lab.decode(data)
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

const command = Command.make("lab", flags, ({ bare, json, scenarios, seed, svg, trace }) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const replayed = Option.isSome(trace)
      ? yield* Lab.trace(yield* fs.readFileString(trace.value))
      : undefined
    if (Option.isSome(svg)) yield* fs.makeDirectory(svg.value, { recursive: true })
    const reports: Array<Lab.Report> = []
    for (const name of scenarios.length === 0 ? yield* shipped : scenarios) {
      const written = yield* load(name)
      const scenario =
        replayed === undefined
          ? written
          : { ...written, arrivals: { kind: "trace" as const, requests: replayed } }
      const startedAt = yield* Clock.currentTimeMillis
      const report = yield* Lab.simulate({
        scenario,
        strategies,
        seed,
        ...(bare ? {} : { policies })
      })
      const seconds = ((yield* Clock.currentTimeMillis) - startedAt) / 1000
      const requests = report.strategies.reduce((sum, strategy) => sum + strategy.requests, 0)
      // Not part of the result: it depends on the machine.
      yield* Console.error(`${report.scenario}: ${requests} requests in ${seconds.toFixed(1)} s`)
      if (Option.isSome(svg)) {
        yield* fs.writeFileString(path.join(svg.value, `${report.scenario}.svg`), Lab.chart(report))
      }
      reports.push(report)
    }
    if (json) return yield* Console.log(JSON.stringify(reports, undefined, 2))
    yield* Console.log(reports.map((report) => markdown(report, Option.isSome(svg))).join("\n"))
  })
).pipe(Command.withDescription("Compares strategies under simulated traffic, in virtual time."))

const markdown = (report: Lab.Report, chart: boolean) =>
  [
    `## ${report.scenario}\n`,
    `${report.about}\n`,
    Lab.table(report),
    ...(chart ? [`![${report.scenario}: ${report.shows.join(", ")}](${report.scenario}.svg)\n`] : [])
  ].join("\n")

command.pipe(Command.run({ version: "0.0.0" }), Effect.provide(NodeServices.layer), NodeRuntime.runMain)
