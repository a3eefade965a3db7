// A thousand processes that share a hundred keys, in virtual time, alone and with shared facts of several ages: how evenly
// requests lie on the keys. Then the same with caps and facts that are 1 to 3 seconds old: how many meet an empty cap, and
// for how long a refused key is still asked. Last a tenth of it: a hundred processes on ten keys.
//
//   node --conditions=@evenkeel/source examples/fleet/lab.ts [balance | caps]
import { NodeRuntime } from "@effect/platform-node"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { Retry } from "@evenkeel/retry"
import { Lab } from "@evenkeel/testkit"
import { Console, Effect } from "effect"

/** USD. Requests cost a seventh more than all caps hold. */
const cap = 1.4

const balance = (processes: number, keys: number): Lab.ScenarioInput => ({
  name: "fleet",
  seconds: 20,
  processes,
  arrivals: { kind: "poisson", perSecond: 8 * keys },
  requests: { seconds: { kind: "exponential", mean: 2 } },
  keys: Array.from({ length: keys }, (_, n) => ({ id: `key-${n}` }))
})

const caps = (processes: number, keys: number): Lab.ScenarioInput => ({
  ...balance(processes, keys),
  requests: { seconds: { kind: "exponential", mean: 2 }, price: { request: 0.01 } },
  keys: Array.from({ length: keys }, (_, n) => ({ id: `key-${n}`, cap })),
  faults: [{ key: "key-7", from: 10, status: 401 }]
})

/** A second on the way, and up to a second at both ends. */
const slow = { everySeconds: 1, lagSeconds: 1 }
const quick = { everySeconds: 0.5, lagSeconds: 0.1 }
const least = LeastInFlight.layer()
const two = LeastInFlight.layer({ choices: "two" })

const run = (scenario: Lab.ScenarioInput, strategies: Lab.Options["strategies"]) =>
  Lab.simulate({ scenario, strategies, policies: Retry.layer(), balancer: { maxWait: "10 seconds" } })

const row = (columns: ReadonlyArray<unknown>) => Console.log(`| ${columns.join(" | ")} |`)
const header = (columns: ReadonlyArray<string>) => Effect.andThen(row(columns), row(columns.map(() => "---")))
const percent = (part: number) => `${(100 * part).toFixed(0)} %`

const reportBalance = Effect.fnUntraced(function* (
  title: string,
  scenario: Lab.ScenarioInput,
  strategies: Lab.Options["strategies"]
) {
  const { strategies: reports } = yield* run(scenario, strategies)
  yield* row([title, ...reports.map(({ spread }) => percent(spread))])
})

const reportCaps = Effect.fnUntraced(function* (
  title: string,
  scenario: Lab.ScenarioInput,
  strategies: Lab.Options["strategies"]
) {
  const { strategies: reports } = yield* run(scenario, strategies)
  for (const { cost, faults, met, requests, strategy, succeeded } of reports)
    yield* row([
      `${title}, ${strategy}`,
      met["401"] ?? 0,
      `${faults[0]?.lastAfter?.toFixed(1) ?? 0} s`,
      met["402"] ?? 0,
      `${succeeded} of ${requests}`,
      percent(cost / (scenario.keys.length * cap))
    ])
})

const program = Effect.gen(function* () {
  const part = process.argv[2]
  if (part !== "caps") {
    yield* header(["deviation of a key in flight from the mean", "least", "two"])
    const [fleet, group] = [balance(1000, 100), balance(100, 10)]
    yield* reportBalance("alone", fleet, { least, two })
    yield* reportBalance("facts of 1 to 3 s", { ...fleet, facts: slow }, { least, two })
    yield* reportBalance("facts of 0.1 to 1.1 s", { ...fleet, facts: quick }, { least, two })
    yield* reportBalance("a group of 100, alone", group, { least, two })
    yield* reportBalance("a group of 100, facts of 0.1 to 1.1 s", { ...group, facts: quick }, { least, two })
  }
  if (part !== "balance") {
    yield* header(["", "401s", "the last of them after", "402s", "served", "of the caps spent"])
    const [fleet, group] = [caps(1000, 100), caps(100, 10)]
    yield* reportCaps("alone", fleet, { two })
    yield* reportCaps("sharing", { ...fleet, facts: slow }, { least, two })
    yield* reportCaps("a group of 100 on 10 keys", { ...group, facts: slow }, { least, two })
  }
})

NodeRuntime.runMain(program)
