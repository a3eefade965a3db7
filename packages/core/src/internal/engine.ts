/**
 * The pool's state machine: the only writer of key state. Plain synchronous code, because filter, pick and count must be
 * one step that no other fiber can enter; JavaScript has one thread, so a function without `await` is that step.
 */
import type * as Arr from "effect/Array"
import type { Candidate, PickContext } from "../Candidate.ts"
import type { Reading } from "../Credits.ts"
import type { KeyVerdict } from "../Errors.ts"
import type { Ineligible } from "../Filter.ts"
import type { Key } from "../Key.ts"
import type { Outcome } from "../Outcome.ts"
import type { PoolEvent } from "../PoolEvent.ts"
import type { Fact } from "../SharedFacts.ts"
import type { Cooldowns } from "./bench.ts"
import { anyDemand, type Demand, type Strategy } from "./demand.ts"
import { Domains } from "./domains.ts"
import { Entry } from "./entry.ts"
import { usable } from "./ledger.ts"
import { OpenLease } from "./openLease.ts"
import { WaitRoom } from "./waitRoom.ts"

/** Who owns a key, as far as it is said. */
export interface Owner {
  readonly account?: string | undefined
  readonly workspace?: string | undefined
}

export interface EngineOptions {
  readonly cooldowns: Cooldowns
  /** Milliseconds after which a reading of credit is too old to go by. */
  readonly creditMaxAge: number
  readonly emit: (event: PoolEvent) => void
  readonly publish: (fact: Fact) => void
}

export class Engine {
  readonly options: EngineOptions
  readonly entries: Array<Entry> = []
  readonly strategies = new Set<Strategy>()
  readonly domains: Domains
  readonly waiting: WaitRoom
  private readonly byId = new Map<string, Entry>()
  /** All candidates, kept so that the common case of "all can serve" allocates nothing. */
  private views: ReadonlyArray<Candidate> = []
  private round = 0

  constructor(options: EngineOptions) {
    this.options = options
    this.waiting = new WaitRoom({
      acquire: (demand) => this.acquire(demand),
      busy: (demand) => this.busy(demand)
    })
    this.domains = new Domains({
      cooldowns: options.cooldowns,
      emit: options.emit,
      publish: options.publish,
      key: (id) => this.byId.get(id),
      changed: () => this.waiting.wake()
    })
  }

  get(id: string): Entry | undefined {
    return this.byId.get(id)
  }

  // --- membership -----------------------------------------------------------

  add(key: Key): void {
    const entry = new Entry(key)
    this.entries.push(entry)
    this.byId.set(key.id, entry)
    this.domains.join(entry)
    this.views = this.entries.map((e) => e.view)
    this.options.emit({ _tag: "KeyAdded", keyId: key.id })
    this.waiting.wake()
  }

  change(entry: Entry, key: Key): void {
    const { account, workspace } = entry
    entry.adopt(key)
    // Joined before left: a domain that stays keeps its bench.
    this.domains.join(entry)
    this.domains.leave(account, workspace)
    this.options.emit({ _tag: "KeyChanged", keyId: key.id })
    this.waiting.wake()
  }

  /** An answer told whose key it is. What the user has declared stays. */
  private adopt(entry: Entry, account: string): void {
    if (entry.key.account === undefined) this.learn(entry, { account })
  }

  /** What is said of the owner is taken where the user has declared nothing, and where only hearsay was before. */
  learn(entry: Entry, said: Owner): void {
    const { key, learnt } = entry
    if (entry.removed) return
    const owner = { account: key.account, workspace: key.workspace }
    for (const field of ["account", "workspace"] as const) {
      const name = said[field]
      if (name === undefined || (owner[field] !== undefined && owner[field] !== learnt[field])) continue
      owner[field] = learnt[field] = name
    }
    if (owner.account !== key.account || owner.workspace !== key.workspace)
      this.change(entry, { ...key, ...owner })
  }

  drain(entry: Entry, nowMillis: number): void {
    if (entry.draining !== undefined) return
    entry.draining = { reason: "draining", scope: "key", since: nowMillis, until: undefined }
    this.options.emit({ _tag: "KeyDraining", keyId: entry.key.id })
    this.waiting.wake()
  }

  resume(entry: Entry): void {
    if (entry.draining === undefined) return
    entry.draining = undefined
    this.options.emit({ _tag: "KeyResumed", keyId: entry.key.id })
    this.waiting.wake()
  }

  remove(entry: Entry): void {
    entry.removed = true
    this.byId.delete(entry.key.id)
    this.entries.splice(this.entries.indexOf(entry), 1)
    this.domains.leave(entry.account, entry.workspace)
    this.views = this.entries.map((e) => e.view)
    for (const { breaker, picker } of this.strategies) {
      breaker.forget(entry.key.id)
      picker.forget?.(entry.key.id)
    }
    this.options.emit({ _tag: "KeyRemoved", keyId: entry.key.id })
    entry.rest()
    // A waiter may have nothing left to wait for.
    this.waiting.wake()
  }

  // --- filter, pick, count --------------------------------------------------

  /** Filters, picks and counts in one step; `undefined` if no key can serve (`verdicts` says why). */
  acquire(demand: Demand): OpenLease | undefined {
    const { context, strategy } = demand
    if (this.domains.blocked(context) !== undefined) return undefined
    const { entries } = this
    const round = ++this.round
    let some: Array<Candidate> | undefined
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!
      if (this.verdict(entry, demand) === undefined) {
        entry.offered = round
        some?.push(entry.view)
      } else {
        some ??= this.views.slice(0, i)
      }
    }
    const candidates = some ?? this.views
    if (candidates.length === 0) return undefined
    const chosen = strategy.picker.pick(candidates as Arr.NonEmptyReadonlyArray<Candidate>, context)
    const entry = this.byId.get(chosen?.id)
    if (entry === undefined || entry.offered !== round) {
      throw new Error(`The selector "${strategy.name}" chose a key that it was not offered`)
    }
    return this.open(entry, demand)
  }

  private open(entry: Entry, demand: Demand): OpenLease {
    const { context, strategy } = demand
    const { view } = entry
    const admission = strategy.breaker.admit(view, context)
    // From here on nothing may throw: what is opened is owned by the lease.
    const lease = new OpenLease(this, entry, demand, admission, this.domains.sequence)
    view.inFlight++
    entry.leased++
    if (context.estimate !== undefined) {
      entry.ledger.hold(context.estimate)
      view.credit = entry.ledger.credit
    }
    this.domains.admit(lease)
    return lease
  }

  /** Why the key cannot serve. The order is that of weight: what lasts longest, and is most worth telling, comes first. */
  private verdict(entry: Entry, demand: Demand): Ineligible | undefined {
    const { context, strategy } = demand
    const { view } = entry
    const no = entry.draining ?? this.domains.verdict(entry, context)
    if (no !== undefined) return no
    if (demand.tried !== undefined && demand.tried.has(view.id)) return tried
    if (view.credit !== undefined) {
      const spent = this.spent(entry, context)
      if (spent !== undefined) return spent
    }
    const open =
      strategy.breaker.filter(view, context) ??
      strategy.filter?.(view, context) ??
      demand.filter?.(view, context)
    if (open !== undefined) return open
    return view.inFlight >= view.maxInFlight ? saturated : undefined
  }

  private spent(entry: Entry, context: PickContext): Ineligible | undefined {
    const { ledger, view } = entry
    if (this.age(entry, context.nowMillis)) return undefined
    const credit = view.credit!
    if (credit > 0 && (context.estimate === undefined || context.estimate <= credit)) return undefined
    return {
      reason: credit > 0 ? "insufficient" : "exhausted",
      scope: "key",
      since: ledger.readAt,
      until: ledger.resetsAt
    }
  }

  /** Forgets a reading that is too old to go by; `true` if it was. */
  private age({ ledger, view }: Entry, nowMillis: number): boolean {
    if (!ledger.outdated(nowMillis, this.options.creditMaxAge)) return false
    ledger.forget()
    view.credit = undefined
    return true
  }

  /** Why each key cannot serve the demand; `undefined` for one that can. Changes nothing. */
  verdicts(demand: Demand): ReadonlyArray<readonly [Entry, Ineligible | undefined]> {
    const blocked = this.domains.blocked(demand.context)
    return this.entries.map((entry) => [entry, blocked ?? this.verdict(entry, demand)] as const)
  }

  /** The same by the pool's own facts alone, for no request in particular. */
  inspect(nowMillis: number): ReadonlyArray<readonly [Entry, Ineligible | undefined]> {
    // A key that is out for another reason is not asked for its credit.
    for (const entry of this.entries) this.age(entry, nowMillis)
    return this.verdicts(anyDemand(nowMillis))
  }

  // --- settling -------------------------------------------------------------

  /** Called once by each lease. The counts go down first, so that nothing a strategy does can keep them up. */
  settle(lease: OpenLease, outcome: Outcome, nowMillis: number): void {
    const { entry, context } = lease
    const { view, ledger } = entry
    const { strategy } = lease.demand
    const elapsedMillis = Math.max(0, nowMillis - context.nowMillis)
    view.inFlight--
    lease.endProbes()
    const hold = context.estimate ?? 0
    // What is not known to have been free may have been billed: the estimate stays debited until the next reading.
    const cost = outcome.cost ?? hold
    ledger.settle(hold, cost, nowMillis)
    view.credit = ledger.credit
    entry.spent += usable(outcome.cost)
    try {
      if (outcome.cost !== undefined && outcome._tag === "Success")
        strategy.credits.observe(context, outcome.cost)
      if (!entry.removed) strategy.breaker.record(view, context, lease.admission, outcome, nowMillis)
      switch (outcome._tag) {
        case "Success":
          entry.succeeded++
          entry.observe(elapsedMillis, nowMillis)
          this.domains.lift(lease)
          break
        case "Ignored":
          entry.ignored++
          break
        case "Faulted":
          entry.faulted++
          if (outcome.reason === "exhausted" || outcome.reason === "insufficient")
            strategy.credits.doubt(entry.key.id)
          if (outcome.account !== undefined) this.adopt(entry, outcome.account)
          this.domains.fault(lease, outcome, nowMillis)
          break
      }
      if (!entry.removed) strategy.picker.settled?.(view, outcome, { nowMillis, elapsedMillis })
    } finally {
      if (view.inFlight === 0) entry.rest()
      this.waiting.wakeAfterUse()
    }
  }

  // --- credit ---------------------------------------------------------------

  credit(entry: Entry, reading: Reading, nowMillis: number): void {
    const before = entry.ledger.credit
    if (!entry.ledger.read(reading, nowMillis)) return
    // A top-up: what was too dear before may be affordable now.
    if (entry.ledger.credit === undefined || (before !== undefined && entry.ledger.credit > before)) {
      entry.own.shortage = undefined
    }
    entry.view.credit = entry.ledger.credit
    entry.view.includesByok = reading.includesByok ?? entry.view.includesByok
    this.options.emit({ _tag: "CreditRead", keyId: entry.key.id, credit: entry.view.credit })
    // A cap that shows headroom again ends the exhaustion of the key; what the account owes is not in a key's reading.
    const { bench } = entry.own
    // A source that lags would show what was left before the key ran dry.
    const requestedAt = reading.requestedAt ?? nowMillis
    const refilled =
      bench?.reason === "exhausted" &&
      (reading.remaining === undefined || reading.remaining > 0) &&
      requestedAt - (reading.lag ?? 0) > bench.since
    const accepted = bench?.reason === "rejected" && reading.accepted === true && requestedAt > bench.since
    if (refilled || accepted) this.domains.readmit("key", entry.key.id)
    this.waiting.wake()
  }

  // --- waiting --------------------------------------------------------------

  /**
   * Whether waiting for a lease to settle can help: a key lacks nothing but a permit, or every key that could come back
   * waits for what a probe meets.
   */
  busy(demand: Demand): boolean {
    if (this.domains.blocked(demand.context) !== undefined) return false
    let probing = false
    let returning = false
    for (const entry of this.entries) {
      const no = this.verdict(entry, demand)
      if (no === saturated) return true
      probing ||= no?.reason === "probing"
      returning ||= no?.until !== undefined
    }
    return probing && !returning
  }
}

export const verdictOf = (entry: Entry, no: Ineligible): KeyVerdict => ({
  keyId: entry.key.id,
  account: entry.key.account,
  reason: no.reason,
  scope: no.scope,
  since: no.since,
  until: no.until
})

const tried: Ineligible = { reason: "tried", scope: "request", since: undefined, until: undefined }
const saturated: Ineligible = { reason: "saturated", scope: "key", since: undefined, until: undefined }
