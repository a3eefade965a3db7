/**
 * The port of circuit breakers: a state beside the pick that changes eligibility, never the choice.
 */
import * as Context from "effect/Context"
import * as Gate from "./Gate.ts"

export type { Admission } from "./Gate.ts"

/**
 * A circuit breaker: a gate that learns from faults. An open circuit whose time is up, with no probe out, must let its
 * filter say nothing, or nobody would ever probe it.
 */
export type Breaker = Gate.Gate

/** Never opens a circuit: they all stay closed. */
export const closed: Breaker = { ...Gate.open, name: "closed" }

/**
 * The breaker of the balancer; always closed unless a layer says otherwise.
 */
export const Breaker: Context.Reference<Breaker> = Context.Reference<Breaker>("@evenkeel/core/Breaker", {
  defaultValue: () => closed
})
