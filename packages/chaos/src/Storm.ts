/**
 * Faults that come and go: which of them, how often and when is drawn from the seed. A gust is counted in requests and not
 * in time, so that it is the same storm on a slow machine; but it ends in time, also where nobody asks for more of it.
 */
import type { Simulator } from "@evenkeel/testkit"
import * as Effect from "effect/Effect"
import { oneOf, wholeOf } from "./Seed.ts"
import type { World } from "./World.ts"

export interface Options {
  readonly actions: ReadonlyArray<Simulator.FaultAction>
  /** How many gusts there are; default 20. */
  readonly gusts?: number
  /** The number of requests before which they begin; default 800. */
  readonly over?: number
  /** Whom they hit; default every inference request. */
  readonly match?: Simulator.FaultRule["match"]
}

/** Gusts of faults, each of up to 40 hits among the requests that pass. */
export const rules = (random: () => number, options: Options): ReadonlyArray<Simulator.FaultRule> => {
  const [first, ...rest] = options.actions
  if (first === undefined) return []
  return Array.from({ length: options.gusts ?? 20 }, () => {
    const action = oneOf(random, [first, ...rest])
    // What never answers takes a whole timeout, so it comes more seldom.
    const endless = action._tag === "Stall" && action.duration === undefined
    return {
      match: options.match,
      action,
      after: wholeOf(random, 0, options.over ?? 800),
      times: wholeOf(random, 1, endless ? 4 : 40),
      during: { until: "6 seconds" },
      probability: 0.1 + 0.9 * random() ** 2
    }
  })
}

/** Lets the storm begin. */
export const begin = ({ random, simulator }: World, options: Options): Effect.Effect<void> =>
  Effect.forEach(rules(random, options), simulator.fault, { discard: true })
