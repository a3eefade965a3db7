import * as Effect from "effect/Effect"
import type { Admission } from "../Breaker.ts"
import type { Candidate, PickContext } from "../Candidate.ts"
import type { Key } from "../Key.ts"
import type { Lease } from "../Lease.ts"
import type { Outcome } from "../Outcome.ts"
import type { Bench } from "./bench.ts"
import type { Demand } from "./demand.ts"
import type { Entry } from "./entry.ts"

/** Who opened the lease, and settles it. */
export interface Lessor {
  readonly settle: (lease: OpenLease, outcome: Outcome, nowMillis: number) => void
}

/** The lease as the engine holds it. */
export class OpenLease implements Lease {
  readonly key: Key
  readonly entry: Entry
  readonly demand: Demand
  readonly admission: Admission
  /** How many benches had been set when the lease opened: what it meets can lift only those. */
  readonly sequence: number
  settled = false
  private readonly lessor: Lessor
  private probes: Array<Bench> | undefined

  constructor(lessor: Lessor, entry: Entry, demand: Demand, admission: Admission, sequence: number) {
    this.lessor = lessor
    this.entry = entry
    this.key = entry.key
    this.demand = demand
    this.admission = admission
    this.sequence = sequence
  }

  get candidate(): Candidate {
    return this.entry.view
  }

  get context(): PickContext {
    return this.demand.context
  }

  /** This use proves a scope on probation: its slot is held until the lease settles. */
  probe(bench: Bench): void {
    if (!bench.probation) return
    bench.probing++
    if (this.probes === undefined) this.probes = [bench]
    else this.probes.push(bench)
  }

  endProbes(): void {
    if (this.probes !== undefined) for (const bench of this.probes) bench.probing--
  }

  settleUnsafe(outcome: Outcome): boolean {
    if (this.settled) return false
    this.settled = true
    this.lessor.settle(this, outcome, this.demand.now())
    return true
  }

  settle(outcome: Outcome): Effect.Effect<boolean> {
    return Effect.sync(() => this.settleUnsafe(outcome))
  }
}
