/**
 * The pool's state machine: the only writer of key state. Plain synchronous code, because filter, pick and count must be
 * one step that no other fiber can enter; JavaScript has one thread, so a function without `await` is that step.
 */
import type * as Arr from "effect/Array"
import type { Candidate } from "../Candidate.ts"
import type { Reading } from "../Credits.ts"
import type { Ineligible } from "../Filter.ts"
import type { Key } from "../Key.ts"
import type { Outcome } from "../Outcome.ts"
import type { PoolEvent } from "../PoolEvent.ts"
import type { Fact, OwnLoad } from "../SharedFacts.ts"
import type { Cooldowns } from "./bench.ts"
import { anyDemand, type Demand, type Strategy } from "./demand.ts"
import type { Deadlines } from "./deadlines.ts"
import { Domains } from "./domains.ts"
import { Eligibility, passing } from "./eligibility.ts"
import { Entry } from "./entry.ts"
import { hear } from "./hear.ts"
import { usable } from "./ledger.ts"
import { OpenLease } from "./openLease.ts"
import { takeReading } from "./reading.ts"
import { WaitRoom, type Prospect } from "./waitRoom.ts"

/** Who owns a key, as far as it is said. */
export interface Owner {
  readonly account?: string | undefined
  readonly workspace?: string | undefined
}

export interface EngineOptions {
  readonly cooldowns: Cooldowns
  /** Milliseconds after which a reading of credit is too old to go by. */
  readonly creditMaxAge: number
  /** Milliseconds of slow start after a return; 0 for none. */
  readonly slowStart: number
  /** Wakes those who wait at a time, in milliseconds since the epoch. */
  readonly alarm: (at: number) => void
  /** Whether somebody waits for a time that has come. */
  readonly due: (nowMillis: number) => boolean
  readonly deadlines: Deadlines
  readonly random: () => number
  readonly emit: (event: PoolEvent) => void
  readonly publish: (fact: Fact) => void
}

export class Engine {
  readonly options: EngineOptions
  readonly entries: Array<Entry> = []
  readonly strategies = new Set<Strategy>()
  readonly domains: Domains
  readonly waiting: WaitRoom
  private readonly eligibility: Eligibility
  private readonly byId = new Map<string, Entry>()
  /** All candidates, kept so that the common case of "all can serve" allocates nothing. */
  private allViews: ReadonlyArray<Candidate> | undefined
  private round = 0
  /** Where the next search of a part of the pool begins. */
  private searched = 0
  /** A fact of another process is being taken. */
  private hearing = false

  constructor(options: EngineOptions) {
    this.options = options
    this.waiting = new WaitRoom(options.alarm)
    this.domains = new Domains({
      cooldowns: options.cooldowns,
      slowStart: options.slowStart,
      emit: options.emit,
      publish: (fact) => this.publish(fact),
      key: (id) => this.byId.get(id),
      changed: () => this.wake()
    })
    this.eligibility = new Eligibility(this.domains, options.creditMaxAge)
  }

  private get views(): ReadonlyArray<Candidate> {
    return (this.allViews ??= this.entries.map((entry) => entry.view))
  }

  get(id: string): Entry | undefined {
    return this.byId.get(id)
  }

  // --- other processes ------------------------------------------------------

  /** Takes a fact of another process. */
  hear(fact: Fact, nowMillis: number): void {
    this.hearing = true
    try {
      hear(this, fact, nowMillis, this.options.emit)
    } finally {
      this.hearing = false
    }
    // Only now: who is served here may have facts of its own to tell.
    this.wake()
  }

  /** What this process does with its keys, and sets aside of their credit: those that others need not hear of are left out. */
  load(): ReadonlyArray<OwnLoad> {
    const loads: Array<OwnLoad> = []
    // A request that waits has asked every key, and needs one: of all it could be, some are drawn, as many as wait.
    const wanting = this.entries.filter(({ part }) => part.wants)
    const asked = new Set(draw(wanting, Math.max(1, this.waiting.size), this.options.random))
    for (const entry of this.entries) {
      const { inUse: inFlight, key, leased, ledger, part } = entry
      const aside = part.set(!asked.has(entry))
      const { held } = ledger
      if (leased > 0 || ledger.credit !== undefined)
        loads.push({
          keyId: key.id,
          inFlight,
          held,
          aside,
          begun: leased,
          spent: ledger.spent,
          capped: ledger.credit !== undefined
        })
    }
    return loads
  }

  publish(fact: Fact): void {
    if (!this.hearing) this.options.publish(fact)
  }

  private wake(): void {
    if (!this.hearing) this.waiting.wake()
  }

  // --- membership -----------------------------------------------------------

  add(key: Key): void {
    const entry = new Entry(key)
    this.entries.push(entry)
    this.byId.set(key.id, entry)
    this.domains.join(entry)
    this.allViews = undefined
    this.options.emit({ _tag: "KeyAdded", keyId: key.id })
    this.wake()
  }

  change(entry: Entry, key: Key): void {
    const { account, workspace } = entry
    entry.adopt(key)
    // Joined before left: a domain that stays keeps its bench.
    this.domains.join(entry)
    this.domains.registry.leave(entry, account, workspace)
    this.options.emit({ _tag: "KeyChanged", keyId: key.id })
    this.wake()
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
    if (owner.account === key.account && owner.workspace === key.workspace) return
    this.change(entry, { ...key, ...owner })
    this.publish({ _tag: "Learnt", keyId: key.id, ...owner })
  }

  drain(entry: Entry, nowMillis: number): void {
    if (entry.draining !== undefined) return
    entry.draining = { reason: "draining", scope: "key", since: nowMillis, until: undefined }
    this.options.emit({ _tag: "KeyDraining", keyId: entry.key.id })
    this.publish({ _tag: "Draining", keyId: entry.key.id })
    this.wake()
  }

  resume(entry: Entry): void {
    if (entry.draining === undefined) return
    entry.draining = undefined
    this.options.emit({ _tag: "KeyResumed", keyId: entry.key.id })
    this.publish({ _tag: "Resumed", keyId: entry.key.id })
    this.wake()
  }

  remove(entry: Entry): void {
    entry.removed = true
    this.byId.delete(entry.key.id)
    this.entries.splice(this.entries.indexOf(entry), 1)
    this.domains.registry.leave(entry, entry.account, entry.workspace)
    this.allViews = undefined
    for (const { breaker, limiter, picker } of this.strategies) {
      breaker.forget(entry.key.id)
      limiter.forget(entry.key.id)
      picker.forget?.(entry.key.id)
    }
    this.options.emit({ _tag: "KeyRemoved", keyId: entry.key.id })
    this.publish({ _tag: "Removed", keyId: entry.key.id })
    entry.rest()
    // A waiter may have nothing left to wait for.
    this.wake()
  }

  // --- filter, pick, count --------------------------------------------------

  /** Filters, picks and counts in one step; `undefined` if no key can serve (`verdicts` says why). */
  acquire(demand: Demand): OpenLease | undefined {
    const { context, strategy } = demand
    if (this.domains.blocked(context) !== undefined) return undefined
    const { entries, views } = this
    const round = ++this.round
    const { length } = entries
    const enough = strategy.picker.enough ?? Infinity
    // Of a pool that is larger than need be the search sees a part, and the next one begins a key further on: nearly all that it
    // sees has just been seen, and so is still in the caches of the processor.
    const isPart = length > enough
    const start = isPart ? this.searched % length : 0
    let some: Array<Candidate> | undefined = isPart ? [] : undefined
    /** Keys that only a guess speaks against. */
    let guessed: Array<Entry> | undefined
    let busy = false
    for (let i = 0; i < length; i++) {
      const at = start + i
      const entry = entries[at < length ? at : at - length]!
      const no = this.eligibility.verdict(entry, demand)
      if (no === undefined) {
        entry.offered = round
        const found = some?.push(entry.view)
        if (!isPart) continue
        if (found === 2) this.searched = at
        if (found === enough) break
        continue
      }
      some ??= views.slice(0, i)
      if (no.soft === true) (guessed ??= []).push(entry)
      else busy ||= passing.has(no.reason)
    }
    let candidates = some ?? views
    if (candidates.length === 0) {
      // As `overlooks` says, here without a second look at every key.
      if (guessed === undefined || busy) return undefined
      for (const entry of guessed) entry.offered = round
      candidates = guessed.map((entry) => entry.view)
    }
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
    const limited = strategy.limiter.admit(view, context)
    // From here on nothing may throw: what is opened is owned by the lease.
    const lease = new OpenLease(this, entry, demand, admission, limited, this.domains.sequence)
    view.inFlight++
    entry.inUse++
    entry.leased++
    if (context.estimate !== undefined) {
      entry.ledger.hold(context.estimate)
      view.credit = entry.ledger.credit
    }
    this.domains.admit(lease)
    return lease
  }

  /** Why each key cannot serve the demand; `undefined` for one that can. Changes nothing. */
  verdicts(demand: Demand): ReadonlyArray<readonly [Entry, Ineligible | undefined]> {
    const blocked = this.domains.blocked(demand.context)
    return this.entries.map((entry) => [entry, blocked ?? this.eligibility.verdict(entry, demand)] as const)
  }

  /** The same by the pool's own facts alone, for no request in particular. */
  inspect(nowMillis: number): ReadonlyArray<readonly [Entry, Ineligible | undefined]> {
    // A key that is out for another reason is not asked for its credit.
    for (const entry of this.entries) this.eligibility.age(entry, nowMillis)
    return this.verdicts(anyDemand(nowMillis))
  }

  /** What waiting could lead to; `undefined` if it is pointless. */
  prospect(demand: Demand): Prospect | undefined {
    // The pool has closed: no alarm rings any more, and nobody should be left alone with a time.
    return this.options.due(-Infinity) ? undefined : this.eligibility.prospect(this.entries, demand)
  }

  /** No permit is to be had for a while: for the key, its account or (scope `host`) any key. */
  bar(entry: Entry, why: Ineligible & { readonly until: number }): void {
    for (const other of this.entries)
      if (
        other === entry ||
        why.scope === "host" ||
        (why.scope === "account" && other.account === entry.account)
      )
        other.barred = why
  }

  // --- settling -------------------------------------------------------------

  /** Called once by each lease. The counts go down first, so that nothing a strategy does can keep them up. */
  settle(lease: OpenLease, outcome: Outcome, nowMillis: number): void {
    const { entry, context } = lease
    const { view, ledger } = entry
    const { strategy } = lease.demand
    const elapsedMillis = Math.max(0, nowMillis - context.nowMillis)
    const answerMillis =
      lease.answeredAt === undefined ? elapsedMillis : Math.max(0, lease.answeredAt - context.nowMillis)
    view.inFlight--
    entry.inUse--
    lease.endTrials(outcome._tag === "Success", nowMillis)
    const hold = context.estimate ?? 0
    // What is not known to have been free may have been billed: the estimate stays debited until the next reading.
    const cost = outcome.cost ?? hold
    ledger.settle(hold, cost, nowMillis)
    view.credit = ledger.credit
    entry.spent += usable(outcome.cost)
    try {
      if (outcome.cost !== undefined && outcome._tag === "Success")
        strategy.credits.observe(context, outcome.cost)
      if (!entry.removed) {
        strategy.limiter.record(view, context, lease.limited, outcome, nowMillis)
        strategy.breaker.record(view, context, lease.admission, outcome, nowMillis)
      }
      switch (outcome._tag) {
        case "Success":
          entry.succeeded++
          entry.observe(answerMillis, nowMillis)
          this.domains.lift(lease, nowMillis)
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
      if (!entry.removed)
        strategy.picker.settled?.(view, outcome, { nowMillis, elapsedMillis, answerMillis }, context)
    } finally {
      if (entry.inUse === 0) entry.rest()
      this.wake()
    }
  }

  // --- credit ---------------------------------------------------------------

  credit(entry: Entry, reading: Reading, nowMillis: number): void {
    if (!takeReading(this, entry, reading, nowMillis)) return
    const { key, ledger, view } = entry
    this.options.emit({ _tag: "CreditRead", keyId: key.id, credit: view.credit, limit: ledger.limit })
    this.wake()
  }
}

/** So many of them, drawn at random. */
const draw = <A>(all: ReadonlyArray<A>, count: number, random: () => number): ReadonlyArray<A> => {
  if (count >= all.length) return all
  const left = [...all]
  return Array.from({ length: count }, () => left.splice(Math.floor(random() * left.length), 1)[0]!)
}
