/**
 * A circuit as it is told of: which one, in which state, and how that has changed. Times are in milliseconds since the epoch.
 */
import type { Outcome } from "@evenkeel/core"

/**
 * Which circuit. The id is that of the key, workspace, account or upstream; that of the host is `host`. A key whose
 * account or workspace is not known has one of its own, `key:` and the id of the key.
 */
export interface CircuitId {
  readonly scope: Outcome.FaultScope
  readonly id: string
}

/**
 * The state of one circuit at one time. `by` is the policy that opened it, `probe` where its probe failed after a hand
 * had opened it, or `hand`.
 *
 * - `Closed`: it serves
 * - `Open`: it is left alone, until a time or, if there is none, until it is closed by hand
 * - `HalfOpen`: the next request is the probe, or it is under way
 */
export type State =
  | { readonly _tag: "Closed" }
  | { readonly _tag: "Open"; readonly since: number; readonly until: number | undefined; readonly by: string }
  | { readonly _tag: "HalfOpen"; readonly since: number; readonly probing: boolean; readonly by: string }

/**
 * A circuit and its state.
 */
export interface Circuit extends CircuitId {
  readonly state: State
}

/**
 * A circuit has changed its state.
 *
 * **Details**
 *
 * It is `HalfOpen` once its first probe is out. From `Open` to `Open` it goes when a hand opens what is open. `by` says
 * what opened it, as in `State`, or what closed it: `probe`, `success` (of a request that was let through because no
 * other key was left) or `hand`. A circuit that is forgotten, as its key has left, tells nothing.
 */
export interface Change extends CircuitId {
  readonly from: State["_tag"]
  readonly to: State["_tag"]
  readonly at: number
  readonly by: string
}
