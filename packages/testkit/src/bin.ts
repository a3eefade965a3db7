#!/usr/bin/env node
/**
 * `evenkeel-simulator`: a simulated OpenRouter on this machine, until interrupted.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { type Scenario, scenarios } from "./internal/simulator/scenarios.ts"
import * as Simulator from "./Simulator.ts"

const flags = {
  port: Flag.Int("port").pipe(
    Flag.withDescription("TCP port on 127.0.0.1, 4141 by default; 0 lets the system choose"),
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
    Flag.withDefault(4141)
  ),
  keys: Flag.Int("keys").pipe(
    Flag.withDescription("How many keys to simulate, 3 by default"),
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))),
    Flag.withDefault(3)
  ),
  latency: Flag.Int("latency").pipe(
    Flag.withDescription("Milliseconds until the first token, 300 by default"),
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 600_000 }))),
    Flag.withDefault(300)
  ),
  scenario: Flag.Literals("scenario", ["steady", "bad-day"]).pipe(
    Flag.withDescription(
      "steady, the default: nothing goes wrong; bad-day: caps, a revoked key, an empty account, broken streams"
    ),
    Flag.withDefault("steady")
  )
}

const announce = Effect.fnUntraced(function* (scenario: Scenario) {
  const simulator = yield* Simulator.Simulator
  yield* Console.log(`Base URL  ${simulator.baseUrl}`)
  for (const { name, secret } of simulator.keys)
    yield* Console.log(`${name.padEnd(8)}  ${Redacted.value(secret)}`)
  for (const line of scenario.story) yield* Console.log(`- ${line}`)
  yield* Console.log("Press Ctrl-C to stop.")
})

// The secrets are simulated, so they may be printed: they open nothing but this server.
const command = Command.make(
  "evenkeel-simulator",
  flags,
  Effect.fnUntraced(function* ({ keys, latency, port, scenario: name }) {
    const scenario = scenarios[name](keys)
    const layer = Simulator.layer({
      ...scenario.options,
      port,
      latency,
      tokensPerSecond: 100,
      drain: "10 seconds"
    })
    const run = Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      for (const rule of scenario.faults) yield* simulator.fault(rule)
      yield* announce(scenario)
      return yield* Effect.never
    })
    return yield* Effect.provide(run, layer)
  })
).pipe(
  Command.withDescription("Simulates OpenRouter on loopback: keys, caps, balances, rate limits and faults.")
)

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"))

command.pipe(Command.run({ version }), Effect.provide(NodeServices.layer), NodeRuntime.runMain)
