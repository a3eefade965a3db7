/**
 * One failure domain: what is benched in it, for all upstreams or for some, and what it cannot afford.
 */
import type { PickContext } from "../Candidate.ts"
import type { Ineligible } from "../Filter.ts"
import type { FaultScope } from "../Outcome.ts"
import type { SlowStart } from "../SlowStart.ts"
import type { Bench, Shortage } from "./bench.ts"
import type { Entry } from "./entry.ts"

/** Partial benches at a time; beyond that the one that returns soonest is let go. */
const maxPartial = 64

export class Domain {
  readonly scope: FaultScope
  readonly id: string
  /** The keys in it; none for an upstream, which all of them may use. */
  readonly members = new Set<Entry>()
  bench: Bench | undefined
  /** Benches that hold for some upstreams only, one for each `within`. */
  partial: Map<string, Bench> | undefined
  shortage: Shortage | undefined
  /** Set from its return on, until it is trusted again. */
  warm: SlowStart | undefined
  /** What a slow start had allowed when the domain was throttled again; 0 if there was none. */
  relapsed = 0

  constructor(scope: FaultScope, id: string) {
    this.scope = scope
    this.id = id
  }

  /** Something is benched in it, or was and has yet to prove itself. */
  get troubled(): boolean {
    return this.bench !== undefined || this.partial !== undefined || this.warm !== undefined
  }

  blocks(context: PickContext): Ineligible | undefined {
    const no = this.bench?.blocks(context.nowMillis) ?? this.warming(context.nowMillis)
    if (no !== undefined || this.partial === undefined || context.upstream === undefined) return no
    for (const [within, bench] of this.partial) {
      if (context.upstream.endsWith(within)) {
        const partly = bench.blocks(context.nowMillis)
        if (partly !== undefined) return partly
      }
    }
    return undefined
  }

  /** Uses under way in it; `undefined` if only those since its return are known. */
  get inFlight(): number | undefined {
    if (this.members.size === 0) return undefined
    let sum = 0
    for (const { inFlight } of this.members) sum += inFlight
    return sum
  }

  /** It has just returned, and has as much in flight as it may have so soon. */
  private warming(nowMillis: number): Ineligible | undefined {
    const { scope, warm } = this
    // The count goes over all members, and is asked for only where it is needed.
    if (warm === undefined || !warm.blocks(nowMillis, this.inFlight)) return undefined
    return { reason: "warming", scope, since: warm.since, until: warm.until }
  }

  get(within: string | undefined): Bench | undefined {
    return within === undefined ? this.bench : this.partial?.get(within)
  }

  set(within: string | undefined, bench: Bench): void {
    if (within === undefined) {
      this.bench = bench
      return
    }
    this.partial ??= new Map()
    if (this.partial.size >= maxPartial) letGo(this.partial, bench.since)
    this.partial.set(within, bench)
  }

  clear(within: string | undefined): void {
    if (within === undefined) this.bench = undefined
    else if (this.partial?.delete(within) === true && this.partial.size === 0) this.partial = undefined
  }

  /** The benches that a use of this upstream meets, or lifts. */
  *benches(upstream: string | undefined): Iterable<readonly [string | undefined, Bench]> {
    if (this.bench !== undefined) yield [undefined, this.bench]
    if (this.partial === undefined || upstream === undefined) return
    for (const [within, bench] of this.partial) if (upstream.endsWith(within)) yield [within, bench]
  }
}

const letGo = (benches: Map<string, Bench>, nowMillis: number): void => {
  let soonest: string | undefined
  for (const [within, bench] of benches) {
    if (bench.until <= nowMillis) benches.delete(within)
    else if (soonest === undefined || bench.until < benches.get(soonest)!.until) soonest = within
  }
  if (benches.size >= maxPartial && soonest !== undefined) benches.delete(soonest)
}
