// What is compared. Adding a strategy is adding a line.
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Selector } from "@evenkeel/core"
import { CreditAware } from "@evenkeel/credit-aware"
import { Headroom } from "@evenkeel/headroom"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { PeakEwma } from "@evenkeel/peak-ewma"
import { Retry } from "@evenkeel/retry"
import { RoundRobin } from "@evenkeel/round-robin"
import { Threshold } from "@evenkeel/threshold"
import { Layer } from "effect"

export const strategies = {
  "round-robin": RoundRobin.layer(),
  "least-in-flight": LeastInFlight.layer(),
  "least-in-flight, two": LeastInFlight.layer({ choices: "two" }),
  "least-in-flight, affinity": Selector.layer(Selector.affinity(LeastInFlight.make())),
  "peak-ewma": PeakEwma.layer(),
  headroom: Headroom.layer(),
  "credit-aware": CreditAware.layer(),
  "credit-aware, richest": CreditAware.layer({ mode: "richest" }),
  "credit-aware, expiring": CreditAware.layer({ mode: "expiring" }),
  threshold: Threshold.layer({ floor: 1, whenAllBelow: "richest" })
}

/** What a program in production would have besides. */
export const policies = Layer.mergeAll(Retry.layer(), CircuitBreaker.layer())
