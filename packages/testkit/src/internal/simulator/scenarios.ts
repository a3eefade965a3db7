/**
 * Days to simulate: keys and accounts, and the faults that happen to them.
 */
import * as actions from "./actions.ts"
import * as errors from "./allErrors.ts"
import type { FaultRule } from "./faults.ts"
import type { SimulatorKey, SimulatorOptions } from "./options.ts"

/** A day to simulate. The faults are added once the simulator runs. */
export interface Scenario {
  readonly options: Pick<SimulatorOptions, "accounts" | "keys">
  readonly faults: ReadonlyArray<FaultRule>
  /** What will happen, a line each. */
  readonly story: ReadonlyArray<string>
}

const names = (count: number) => Array.from({ length: count }, (_, index) => `key-${index + 1}`)

/** Nothing goes wrong. */
const steady = (count: number): Scenario => ({
  options: { keys: names(count).map((name) => ({ name })) },
  faults: [],
  story: ["Nothing goes wrong: no caps, no limits, no faults."]
})

/** Much goes wrong, each thing in the way OpenRouter would say it. */
const badDay = (count: number): Scenario => {
  const special: Readonly<Record<string, Partial<SimulatorKey>>> = {
    "key-1": { limit: 0.001, limitReset: "daily" },
    "key-3": { account: "payg" }
  }
  return {
    options: {
      accounts: [{ name: "main" }, { name: "payg", balance: 0.02, organizationId: "org_simulated_payg" }],
      keys: names(count).map((name) => ({ name, ...special[name] }))
    },
    faults: [
      { match: { key: "key-2", path: "*" }, during: { from: "30 seconds" }, action: errors.revoked() },
      {
        during: { from: "60 seconds", until: "75 seconds" },
        probability: 0.5,
        action: errors.badGateway502()
      },
      { probability: 0.03, action: errors.upstream429({ retryAfter: 1 }) },
      { probability: 0.01, action: errors.badGateway502() },
      { probability: 0.005, action: errors.edgeHtml(503) },
      { probability: 0.005, action: actions.reset },
      { probability: 0.02, action: actions.midStreamError({ afterChunks: 3 }) },
      { probability: 0.01, action: actions.okWithErrorBody() }
    ],
    story: [
      "key-1 has a daily cap of $0.001, which is soon spent.",
      "key-2 is revoked after 30 seconds.",
      "key-3 belongs to another account, with $0.02 left.",
      "From 60 to 75 seconds half of the requests get a 502.",
      "3 % of requests get a provider's 429, 2 % of streams break after 3 chunks, 3 % fail otherwise."
    ]
  }
}

/** Days to simulate by name, for a number of keys: on a steady one nothing goes wrong, on a bad one much does. */
export const scenarios = { steady, "bad-day": badDay } as const
