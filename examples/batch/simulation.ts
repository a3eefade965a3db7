/**
 * A simulated OpenRouter on a bad day: while the batch runs, one key runs out of credit, one is revoked, and one account
 * is throttled.
 */
import { Simulator } from "@evenkeel/testkit"
import { Effect, Layer } from "effect"

const simulator = Simulator.layer({
  accounts: [{ name: "atlas" }, { name: "boreas" }, { name: "cetus", requestsPerMinute: 24 }],
  keys: [
    { name: "atlas-1", account: "atlas" },
    // Enough for about a dozen of the prompts.
    { name: "atlas-2", account: "atlas", limit: 0.00018, limitReset: "daily" },
    { name: "boreas-1", account: "boreas" },
    { name: "boreas-2", account: "boreas" },
    { name: "cetus-1", account: "cetus" },
    { name: "cetus-2", account: "cetus" }
  ],
  latency: [200, 900]
})

/** Starts the simulator for as long as the scope is open. */
export const start = Effect.gen(function* () {
  const context = yield* Layer.build(simulator)
  const service = yield* Simulator.Simulator.pipe(Effect.provide(context))
  // Once boreas-2 has served a dozen, it is revoked.
  yield* service
    .waitUntil((now) => now.keys.some((key) => key.name === "boreas-2" && key.ok >= 12))
    .pipe(Effect.andThen(service.revoke("boreas-2")), Effect.forkScoped)
  return {
    baseUrl: service.baseUrl,
    keys: service.keys.map(({ name, secret }) => ({ id: name, secret }))
  }
})
