/**
 * The strategies that the command knows by name.
 */
import type { Selector } from "@evenkeel/core"
import { CreditAware } from "@evenkeel/credit-aware"
import { Headroom } from "@evenkeel/headroom"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { PeakEwma } from "@evenkeel/peak-ewma"
import { RoundRobin } from "@evenkeel/round-robin"
import { Threshold } from "@evenkeel/threshold"
import type * as Layer from "effect/Layer"

export const names = [
  "least-in-flight",
  "round-robin",
  "credit-aware",
  "threshold",
  "peak-ewma",
  "headroom"
] as const

export type Name = (typeof names)[number]

export const layers: Readonly<Record<Name, Layer.Layer<Selector.Selector>>> = {
  "least-in-flight": LeastInFlight.layer(),
  "round-robin": RoundRobin.layer(),
  "credit-aware": CreditAware.layer(),
  threshold: Threshold.layer(),
  "peak-ewma": PeakEwma.layer(),
  headroom: Headroom.layer()
}
