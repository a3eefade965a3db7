import * as Effect from "effect/Effect"
import type { Admission } from "../Gate.ts"
import type { Candidate, PickContext } from "../Candidate.ts"
import type { Key } from "../Key.ts"
import type { Lease, Usage } from "../Lease.ts"
import type { Attempt } from "../Errors.ts"
import type { Faulted, Ignored, Outcome } from "../Outcome.ts"
import type { SlowStart } from "../SlowStart.ts"
import type { BalancerEvent } from "../BalancerEvent.ts"
import type { Bench } from "./bench.ts"
import type { Demand } from "./demand.ts"
import type { Entry } from "./entry.ts"
import type { EventHub } from "./eventHub.ts"

/** Who opened the lease, and settles it. */
export interface Lessor {
  readonly settle: (lease: OpenLease, outcome: Outcome, nowMillis: number) => void
}

/** The uses of a request that failed; a request and its hedge have one together. */
export interface Trail {
  attempts: ReadonlyArray<Attempt>
}

interface Listener {
  readonly events: EventHub<BalancerEvent>
  readonly attempt: number
  usage: Usage | undefined
}

/** The lease as the engine holds it. */
export class OpenLease implements Lease {
  readonly key: Key
  readonly entry: Entry
  readonly demand: Demand
  /** What the breaker and the limiter handed out. */
  readonly admission: Admission
  readonly limited: Admission
  /** How many benches had been set when the lease opened: what it meets can lift only those. */
  readonly sequence: number
  settled = false
  /** When the answer began to come, in milliseconds since the epoch. */
  answeredAt: number | undefined
  /** Gives back the permit that came from outside. */
  release: (() => void) | undefined
  /** Completes when that permit is another's. */
  lost: Effect.Effect<void> | undefined
  private readonly lessor: Lessor
  private probes: Array<Bench> | undefined
  private warms: Array<SlowStart> | undefined
  private listener: Listener | undefined
  private trail: Trail | undefined
  /** When the last use of the request ended, or the request began. */
  private idleSince = 0

  constructor(
    lessor: Lessor,
    entry: Entry,
    demand: Demand,
    admission: Admission,
    limited: Admission,
    sequence: number
  ) {
    this.lessor = lessor
    this.entry = entry
    this.key = entry.key
    this.demand = demand
    this.admission = admission
    this.limited = limited
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

  /** This use counts against the allowance of a scope that has just returned. */
  warm(start: SlowStart): void {
    start.admit()
    if (this.warms === undefined) this.warms = [start]
    else this.warms.push(start)
  }

  /** Gives back what it held of scopes that have yet to prove themselves. */
  endTrials(succeeded: boolean, nowMillis: number): void {
    if (this.probes !== undefined) for (const bench of this.probes) bench.probing--
    if (this.warms !== undefined) for (const start of this.warms) start.settle(succeeded, nowMillis)
  }

  /** From here on whoever listens to the balancer hears how the use ends. */
  report(events: EventHub<BalancerEvent>, attempt: number): void {
    this.listener = { events, attempt, usage: undefined }
  }

  /** This use belongs to a request that has met what the trail tells. */
  follow(trail: Trail, idleSince: number): void {
    this.trail = trail
    this.idleSince = idleSince
  }

  attempted(outcome: Faulted | Ignored): ReadonlyArray<Attempt> {
    const { attempt, nowMillis: startedAt, upstream } = this.context
    const { account, id: keyId } = this.key
    const durationMillis = Math.max(0, this.demand.now() - startedAt)
    const delayMillis = Math.max(0, startedAt - this.idleSince)
    return [
      ...(this.trail?.attempts ?? []),
      { keyId, account, upstream, attempt, outcome, startedAt, durationMillis, delayMillis }
    ]
  }

  get usedUnsafe(): ((usage: Usage) => void) | undefined {
    const { listener } = this
    return listener && ((usage) => void (listener.usage = usage))
  }

  answeredUnsafe(): void {
    this.answeredAt ??= this.demand.now()
  }

  settleUnsafe(outcome: Outcome): boolean {
    if (this.settled) return false
    this.settled = true
    const at = this.demand.now()
    if (this.listener !== undefined) this.tell(this.listener, outcome, at)
    this.release?.()
    this.lessor.settle(this, outcome, at)
    return true
  }

  private tell({ attempt, events, usage }: Listener, outcome: Outcome, at: number): void {
    const { account, id: keyId } = this.key
    const { nowMillis, upstream } = this.context
    const since = (time: number) => Math.max(0, time - nowMillis)
    events.emit({
      _tag: "Settled",
      at,
      keyId,
      account,
      upstream,
      attempt,
      outcome,
      elapsedMillis: since(at),
      answeredMillis: this.answeredAt === undefined ? undefined : since(this.answeredAt),
      usage
    })
  }

  settle(outcome: Outcome): Effect.Effect<boolean> {
    return Effect.sync(() => this.settleUnsafe(outcome))
  }
}
