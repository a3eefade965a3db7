// A thousand processes that share a hundred keys, in virtual time, alone and with shared facts that are 1 to 3 seconds old:
// how evenly requests lie on the keys, how many meet an empty cap, and for how long a refused key is still asked. Then a
// tenth of it: a hundred processes on ten keys.
//
//   node --conditions=@evenkeel/source examples/fleet/lab.ts
import { NodeRuntime } from "@effect/platform-node"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { Retry } from "@evenkeel/retry"
import { Lab } from "@evenkeel/testkit"
import { Console, Effect } from "effect"

/** USD. Requests cost a seventh more than all caps hold. */
const cap = 1.4

const scenario = (processes: number, keys: number): Lab.ScenarioInput => ({
  name: "fleet",
  seconds: 20,
  processes,
  arrivals: { kind: "poisson", perSecond: 8 * keys },
  requests: { seconds: { kind: "exponential", mean: 2 }, price: { request: 0.01 } },
  keys: Array.from({ length: keys }, (_, n) => ({ id: `key-${n}`, cap })),
  faults: [{ key: "key-7", from: 10, status: 401 }]
})

/** A second on the way, and up to a second at both ends. */
const facts = { everySeconds: 1, lagSeconds: 1 }
const least = LeastInFlight.layer()
const two = LeastInFlight.layer({ choices: "two" })

const report = Effect.fnUntraced(function* (
  title: string,
  scenario: Lab.ScenarioInput,
  strategies: Lab.Options["strategies"]
) {
  const { strategies: reports } = yield* Lab.simulate({
    scenario,
    strategies,
    policies: Retry.layer(),
    balancer: { maxWait: "10 seconds" }
  })
  for (const { cost, faults, met, requests, spread, strategy, succeeded } of reports) {
    const columns = [
      `${title}, ${strategy}`,
      `${(100 * spread).toFixed(0)} %`,
      met["401"] ?? 0,
      `${faults[0]?.lastAfter?.toFixed(1) ?? 0} s`,
      met["402"] ?? 0,
      `${succeeded} of ${requests}`,
      `${((100 * cost) / (scenario.keys.length * cap)).toFixed(0)} %`
    ]
    yield* Console.log(`| ${columns.join(" | ")} |`)
  }
})

const program = Effect.gen(function* () {
  yield* Console.log("| | in flight, deviation | 401s | last one after | 402s | served | of the caps |")
  yield* Console.log("|---|---|---|---|---|---|---|")
  const [fleet, group] = [scenario(1000, 100), scenario(100, 10)]
  yield* report("alone", fleet, { two })
  yield* report("sharing", { ...fleet, facts }, { least, two })
  yield* report("a group of ten, sharing", { ...group, facts }, { least, two })
})

NodeRuntime.runMain(program)
