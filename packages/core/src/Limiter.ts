/**
 * The port of limiters: how many requests, or tokens, a key or an account may take in a time or at once.
 */
import * as Context from "effect/Context"
import * as Gate from "./Gate.ts"

/**
 * A limiter: a gate that counts. What it refuses with a time (`until`) a request may wait for; what it refuses without
 * one (`saturated`) waits for a use to settle.
 */
export type Limiter = Gate.Gate

/** No limits but `maxInFlight` of the keys. */
export const unlimited: Limiter = { ...Gate.open, name: "unlimited" }

/**
 * The limiter of the balancer; without limits unless a layer says otherwise.
 */
export const Limiter: Context.Reference<Limiter> = Context.Reference<Limiter>("@evenkeel/core/Limiter", {
  defaultValue: () => unlimited
})
