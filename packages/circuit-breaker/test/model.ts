/**
 * The breaker once more, written to be obvious: it keeps every outcome in a list, names the periods of a circuit by
 * objects, and asks each circuit on the way of a use for all it does.
 */
import type { Filter, Outcome } from "@evenkeel/core"
import { Duration } from "effect"
import type { Way } from "./circuits.ts"

/** What a circuit of a scope goes by. */
export interface Rules {
  /** Whether the outcomes of a closed period, the newest last, trip it. */
  readonly trips: (outcomes: ReadonlyArray<{ readonly failed: boolean; readonly at: number }>) => boolean
  readonly base: number
  readonly max: number
  readonly slowStart: number
}

export interface Lease {
  readonly id: string
  readonly upstream: string | undefined
  /** The order in which things have happened. */
  readonly born: number
  readonly admission: number
}

interface Period {
  readonly born: number
  readonly since: number
  /** `undefined` is closed. */
  readonly open: { readonly until: number; readonly hand: boolean } | undefined
  probe: Lease | undefined
  readonly outcomes: Array<{ readonly failed: boolean; readonly at: number }>
  /** After an opening, in a closed period. */
  readonly warm: { readonly uses: Set<Lease>; allowance: number; until: number } | undefined
}

const fresh = (born: number): Period => ({
  born,
  since: -Infinity,
  open: undefined,
  probe: undefined,
  outcomes: [],
  warm: undefined
})

class Circuit {
  readonly scope: Outcome.FaultScope
  readonly rules: Rules
  period: Period
  openings = 0
  lastOpen = 0

  constructor(scope: Outcome.FaultScope, rules: Rules) {
    this.scope = scope
    this.rules = rules
    // Older than anything, so that it hears of all uses.
    this.period = fresh(-1)
  }

  verdict(now: number): Filter.Ineligible | undefined {
    const { open, probe, since, warm } = this.period
    const { scope } = this
    if (open !== undefined) {
      const soft = !open.hand && scope !== "upstream" && scope !== "host"
      if (probe !== undefined) return { reason: "probing", scope, since, until: undefined, soft }
      if (now >= open.until) return undefined
      const until = open.until === Infinity ? undefined : open.until
      return { reason: "circuit-open", scope, since, until, soft }
    }
    if (warm === undefined || now >= warm.until || warm.uses.size < warm.allowance) return undefined
    return { reason: "warming", scope, since, until: warm.until }
  }

  get tag(): (now: number) => "Closed" | "Open" | "HalfOpen" {
    const { open, probe } = this.period
    return (now) =>
      open === undefined ? "Closed" : now < open.until && probe === undefined ? "Open" : "HalfOpen"
  }

  open(hand: boolean, millis: number, now: number, born: number): void {
    const { open, since } = this.period
    const under = open !== undefined && now < open.until
    const until = Math.max(now + millis, open?.until ?? -Infinity)
    this.period = { ...fresh(born), since: under ? since : now, open: { until, hand } }
  }

  close(now: number, born: number): void {
    const { open, since, warm } = this.period
    // Closing what is closed forgets the outcomes, and nothing else.
    if (open === undefined) this.period = { ...fresh(born), since, warm }
    else {
      const { slowStart } = this.rules
      const start =
        slowStart === 0 ? undefined : { uses: new Set<Lease>(), allowance: 1, until: now + slowStart }
      this.period = { ...fresh(born), since: now, warm: start }
    }
  }

  failed(lease: Lease, asked: number, random: number, now: number, born: number): void {
    const { period } = this
    if (period.open !== undefined) {
      if (period.probe === lease) this.trip(asked, random, now, born)
      return
    }
    period.outcomes.push({ failed: true, at: now })
    if (!this.rules.trips(period.outcomes)) return
    if (now - period.since >= this.lastOpen) this.openings = 0
    this.trip(asked, random, now, born)
  }

  private trip(asked: number, random: number, now: number, born: number): void {
    const { base, max } = this.rules
    const full = Math.min(base * 2 ** this.openings++, max)
    this.lastOpen = Math.max(Math.ceil(full - (full / 2) * random), Math.min(asked, 3_600_000))
    this.open(false, this.lastOpen, now, born)
  }
}

const order: ReadonlyArray<Outcome.FaultScope> = ["host", "upstream", "account", "workspace", "key"]

export class Model {
  readonly rules: Readonly<Record<Outcome.FaultScope, Rules>>
  readonly circuits = new Map<string, Circuit>()
  /** Who was admitted before a circuit that is gone had last changed makes no new one in its scope. */
  private readonly floors = new Map<Outcome.FaultScope, number>()
  private time = 0

  constructor(rules: Readonly<Record<Outcome.FaultScope, Rules>>) {
    this.rules = rules
  }

  tick(): number {
    return ++this.time
  }

  /** The circuits on the way of a use, those that exist. */
  private way(way: Way): ReadonlyArray<Circuit> {
    return order
      .map((scope) => this.circuits.get(`${scope} ${idOf(scope, way)}`))
      .filter((circuit) => circuit !== undefined)
  }

  circuit(scope: Outcome.FaultScope, id: string): Circuit {
    const name = `${scope} ${id}`
    const circuit = this.circuits.get(name) ?? new Circuit(scope, this.rules[scope])
    this.circuits.set(name, circuit)
    return circuit
  }

  verdict(way: Way, now: number): Filter.Ineligible | undefined {
    const all = this.way(way).flatMap((circuit) => circuit.verdict(now) ?? [])
    const facts = all.filter((no) => no.soft !== true)
    const [worst] = (facts.length > 0 ? facts : all).toSorted(
      (a, b) => (b.until ?? Number.MAX_VALUE) - (a.until ?? Number.MAX_VALUE)
    )
    return worst
  }

  admit(lease: Lease, way: Way, now: number): boolean {
    let holds = false
    for (const { period } of this.way(way)) {
      const { open, probe, warm } = period
      if (open !== undefined) {
        if (probe !== undefined || now < open.until) continue
        period.probe = lease
        holds = true
      } else if (warm !== undefined && now < warm.until) {
        warm.uses.add(lease)
        holds = true
      }
    }
    return holds
  }

  settle(lease: Lease, way: Way, outcome: Outcome.Outcome, random: number, now: number): void {
    if (outcome._tag === "Success") {
      for (const circuit of this.way(way)) {
        const { period } = circuit
        if (lease.born < period.born) continue
        if (period.open === undefined) period.outcomes.push({ failed: false, at: now })
        else if (period.probe === lease || !period.open.hand) circuit.close(now, this.tick())
      }
    } else if (outcome._tag === "Faulted" && outcome.reason !== "exhausted" && outcome.within === undefined) {
      const { scope } = outcome
      const told = scope === "account" && way.account === undefined ? outcome.account : undefined
      const id = told ?? idOf(scope, way)
      const known = id === undefined || this.circuits.has(`${scope} ${id}`)
      if (id !== undefined && (known || lease.born > (this.floors.get(scope) ?? -1))) {
        const circuit = this.circuit(scope, id)
        const asked = Duration.toMillis(outcome.retryAfter ?? 0)
        if (lease.born > circuit.period.born) circuit.failed(lease, asked, random, now, this.tick())
      }
    }
    this.giveBack(lease, outcome._tag === "Success", now)
  }

  private giveBack(lease: Lease, succeeded: boolean, now: number): void {
    for (const { period, rules } of this.circuits.values()) {
      const { warm } = period
      if (period.probe === lease) period.probe = undefined
      if (warm === undefined || !warm.uses.has(lease)) continue
      if (succeeded && now < warm.until) {
        // While half of what is allowed is in use, a success puts the end off.
        if (warm.uses.size * 2 >= warm.allowance) warm.until = now + rules.slowStart
        warm.allowance++
      }
      warm.uses.delete(lease)
    }
  }

  forget(id: string, leases: ReadonlyArray<Lease>): void {
    for (const lease of leases) this.giveBack(lease, false, 0)
    for (const [scope, name] of [
      ["key", id],
      ["account", `key:${id}`],
      ["workspace", `key:${id}`]
    ] as const) {
      const gone = this.circuits.get(`${scope} ${name}`)
      if (gone === undefined) continue
      this.floors.set(scope, Math.max(this.floors.get(scope) ?? -1, gone.period.born))
      this.circuits.delete(`${scope} ${name}`)
    }
  }

  reset(scope: Outcome.FaultScope, id: string): void {
    const circuit = this.circuits.get(`${scope} ${id}`)
    if (circuit === undefined) return
    circuit.period = fresh(this.tick())
    circuit.openings = 0
    circuit.lastOpen = 0
  }
}

const idOf = (scope: Outcome.FaultScope, way: Way): string | undefined => {
  switch (scope) {
    case "key":
      return way.id
    case "account":
      return way.account ?? `key:${way.id}`
    case "workspace":
      return way.workspace ?? `key:${way.id}`
    case "upstream":
      return way.upstream
    case "host":
      return "host"
  }
}
