/**
 * `evenkeel simulate`: the lab, strategies under simulated traffic in virtual time.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Flags from "../internal/flags.ts"
import * as Selectors from "../internal/selectors.ts"

const flags = {
  scenarios: Argument.String("SCENARIO").pipe(
    Argument.withDescription("Names of scenarios that come along (--list), or paths of .json files"),
    Argument.variadic()
  ),
  list: Flag.Boolean("list").pipe(
    Flag.withDescription("The scenarios that come along"),
    Flag.withDefault(false)
  ),
  selectors: Flag.Literals("selector", Selectors.names).pipe(
    Flag.withDescription("A strategy to compare; may be repeated. All by default"),
    Flag.between(0, Selectors.names.length)
  ),
  seed: Flag.String("seed").pipe(
    Flag.withDescription("Another seed, other requests; the same seed, the same result"),
    Flag.withDefault("1")
  ),
  bare: Flag.Boolean("bare").pipe(
    Flag.withDescription("Without retries and circuit breakers"),
    Flag.withDefault(false)
  ),
  trace: Flag.File("trace", { mustExist: true }).pipe(
    Flag.withDescription("JSONL of requests that came once, instead of those of the scenario"),
    Flag.optional
  ),
  json: Flags.json
}

export const simulate = Command.make("simulate", flags, ({ list, ...config }) =>
  Effect.gen(function* () {
    const Lab = yield* Effect.promise(() => import("../internal/lab.ts"))
    yield* list ? Lab.list(config.json) : Lab.compare(config)
  })
).pipe(
  Command.withDescription(
    "Runs strategies under simulated traffic, caps and faults, in virtual time on the real pool and balancer, and compares them. It sends nothing anywhere."
  ),
  Command.withShortDescription("Compares strategies under simulated traffic, in virtual time"),
  Command.withExamples([
    { command: "evenkeel simulate --list", description: "The scenarios that come along" },
    {
      command: "evenkeel simulate storm-429 --selector least-in-flight --selector round-robin",
      description: "Two strategies in a storm"
    },
    {
      command: "evenkeel simulate mine.json --trace yesterday.jsonl --json",
      description: "Your own keys and traffic"
    }
  ])
)
