/**
 * The pool's state machine: the only writer of key state. Plain synchronous code, because filter, pick and count must be
 * one step that no other fiber can enter; JavaScript has one thread, so a function without `await` is that step.
 */
import * as Duration from "effect/Duration"
import type * as Arr from "effect/Array"
import type { Candidate, PickContext } from "../Candidate.ts"
import { closed, type Breaker } from "../Breaker.ts"
import { unknown, type Credits, type Reading } from "../Credits.ts"
import type { KeyVerdict } from "../Errors.ts"
import type { Filter, Ineligible } from "../Filter.ts"
import type { Key } from "../Key.ts"
import type { FaultReason, FaultScope, Faulted, Outcome } from "../Outcome.ts"
import type { PoolEvent } from "../PoolEvent.ts"
import type { Picker } from "../Selector.ts"
import type { Fact } from "../SharedFacts.ts"
import { Bench, cooldownMillis, type Cooldowns, type Shortage } from "./bench.ts"
import { Entry, type Group } from "./entry.ts"
import { usable } from "./ledger.ts"
import { OpenLease } from "./openLease.ts"

/** A balancer's strategy, as the engine uses it. */
export interface Strategy {
  readonly name: string
  readonly picker: Picker
  readonly breaker: Breaker
  readonly credits: Credits
  /** The selector's own facts and the balancer's further filters. */
  readonly filter: Filter | undefined
}

/** What one request asks for. */
export interface Demand {
  readonly strategy: Strategy
  readonly context: PickContext
  /** Ids this request was already refused on. */
  readonly tried: ReadonlySet<string> | undefined
  readonly now: () => number
}

/** A request that waits for a permit. */
export interface Waiter {
  /** The demand as of now: the time is read anew. */
  readonly demand: () => Demand
  /**
   * Hands over a lease, or `undefined` when waiting has become pointless. From here on the waiter owns the lease; the
   * result resumes it.
   */
  readonly answer: (lease: OpenLease | undefined, demand: Demand) => () => void
  readonly die: (defect: unknown) => void
}

export interface EngineOptions {
  readonly cooldowns: Cooldowns
  /** Milliseconds after which a reading of credit is too old to go by. */
  readonly creditMaxAge: number
  readonly emit: (event: PoolEvent) => void
  readonly publish: (fact: Fact) => void
}

/** Upstreams benched at a time; beyond that the one that returns soonest is let go. */
const maxUpstreams = 1024

export class Engine {
  readonly options: EngineOptions
  readonly entries: Array<Entry> = []
  readonly waiters = new Set<Waiter>()
  readonly strategies = new Set<Strategy>()
  private readonly byId = new Map<string, Entry>()
  private readonly accounts = new Map<string, Group>()
  private readonly workspaces = new Map<string, Group>()
  private readonly upstreams = new Map<string, Bench>()
  private host: Bench | undefined
  /** All candidates, kept so that the common case of "all can serve" allocates nothing. */
  private views: ReadonlyArray<Candidate> = []
  private round = 0
  private sequence = 0
  /** Waiters that have their answer and are yet to be resumed. */
  private readonly answered = new Set<() => void>()
  private resuming = false

  constructor(options: EngineOptions) {
    this.options = options
  }

  get(id: string): Entry | undefined {
    return this.byId.get(id)
  }

  // --- membership -----------------------------------------------------------

  add(key: Key): void {
    const entry = new Entry(key)
    this.entries.push(entry)
    this.byId.set(key.id, entry)
    this.join(entry)
    this.views = this.entries.map((e) => e.view)
    this.options.emit({ _tag: "KeyAdded", keyId: key.id })
    this.wakeAll()
  }

  change(entry: Entry, key: Key): void {
    const { account, workspace } = entry
    entry.adopt(key)
    // Joined before left: a group that stays keeps its bench.
    this.join(entry)
    leaveGroup(this.accounts, account)
    leaveGroup(this.workspaces, workspace)
    this.options.emit({ _tag: "KeyChanged", keyId: key.id })
    this.wakeAll()
  }

  drain(entry: Entry, nowMillis: number): void {
    if (entry.draining !== undefined) return
    entry.draining = { reason: "draining", scope: "key", since: nowMillis, until: undefined }
    this.options.emit({ _tag: "KeyDraining", keyId: entry.key.id })
    this.wakeAll()
  }

  resume(entry: Entry): void {
    if (entry.draining === undefined) return
    entry.draining = undefined
    this.options.emit({ _tag: "KeyResumed", keyId: entry.key.id })
    this.wakeAll()
  }

  remove(entry: Entry): void {
    entry.removed = true
    this.byId.delete(entry.key.id)
    this.entries.splice(this.entries.indexOf(entry), 1)
    leaveGroup(this.accounts, entry.account)
    leaveGroup(this.workspaces, entry.workspace)
    this.views = this.entries.map((e) => e.view)
    for (const { breaker, picker } of this.strategies) {
      breaker.forget(entry.key.id)
      picker.forget?.(entry.key.id)
    }
    this.options.emit({ _tag: "KeyRemoved", keyId: entry.key.id })
    for (const done of entry.idle) done()
    entry.idle.clear()
    // A waiter may have nothing left to wait for.
    this.wakeAll()
  }

  private join(entry: Entry): void {
    entry.account = joinGroup(this.accounts, entry.key.account)
    entry.workspace = joinGroup(this.workspaces, entry.key.workspace)
  }

  // --- filter, pick, count --------------------------------------------------

  /** Filters, picks and counts in one step; `undefined` if no key can serve (`verdicts` says why). */
  acquire(demand: Demand): OpenLease | undefined {
    const { context, strategy } = demand
    if (this.blocked(context) !== undefined) return undefined
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
    const lease = new OpenLease(this, entry, demand, admission, this.sequence)
    view.inFlight++
    entry.leased++
    if (context.estimate !== undefined) {
      entry.ledger.hold(context.estimate)
      view.credit = entry.ledger.credit
    }
    // Only benches whose time is up can be met here: the use is their probe.
    if (entry.bench !== undefined) lease.probe(entry.bench)
    if (entry.account?.bench !== undefined) lease.probe(entry.account.bench)
    if (entry.workspace?.bench !== undefined) lease.probe(entry.workspace.bench)
    return lease
  }

  /** Faults that every key would meet. */
  private blocked(context: PickContext): Ineligible | undefined {
    const host = this.host?.blocks(context.nowMillis)
    if (host !== undefined) return host
    return context.upstream === undefined || this.upstreams.size === 0
      ? undefined
      : this.upstreams.get(context.upstream)?.blocks(context.nowMillis)
  }

  /** Why the key cannot serve. The order is that of weight: what lasts longest, and is most worth telling, comes first. */
  private verdict(entry: Entry, demand: Demand): Ineligible | undefined {
    const { context, strategy } = demand
    const { view } = entry
    const now = context.nowMillis
    const no =
      entry.draining ?? entry.bench?.blocks(now) ?? entry.account?.bench?.blocks(now) ?? entry.workspace?.bench?.blocks(now)
    if (no !== undefined) return no
    const short = this.shortageOf(entry, now)
    if (short !== undefined && context.estimate !== undefined && context.estimate >= short.estimate) return short
    if (demand.tried !== undefined && demand.tried.has(view.id)) return tried
    if (view.credit !== undefined) {
      const spent = this.spent(entry, context)
      if (spent !== undefined) return spent
    }
    const open = strategy.breaker.filter(view, context) ?? strategy.filter?.(view, context)
    if (open !== undefined) return open
    return view.inFlight >= view.maxInFlight ? saturated : undefined
  }

  /** The shortage that the key is under. */
  shortageOf({ shortage, account, workspace }: Entry, nowMillis: number): Shortage | undefined {
    // Nearly always there is none.
    if (shortage === undefined && account?.shortage === undefined && workspace?.shortage === undefined) return undefined
    return [shortage, account?.shortage, workspace?.shortage].find((s) => s !== undefined && nowMillis < s.until)
  }

  private spent(entry: Entry, context: PickContext): Ineligible | undefined {
    const { ledger, view } = entry
    if (ledger.outdated(context.nowMillis, this.options.creditMaxAge)) {
      ledger.forget()
      view.credit = undefined
      return undefined
    }
    const credit = view.credit!
    if (credit > 0 && (context.estimate === undefined || context.estimate <= credit)) return undefined
    return {
      reason: credit > 0 ? "insufficient" : "exhausted",
      scope: "key",
      since: ledger.readAt,
      until: ledger.resetsAt
    }
  }

  /** Why each key cannot serve the demand; `undefined` for one that can. Changes nothing. */
  verdicts(demand: Demand): ReadonlyArray<readonly [Entry, Ineligible | undefined]> {
    const blocked = this.blocked(demand.context)
    return this.entries.map((entry) => [entry, blocked ?? this.verdict(entry, demand)] as const)
  }

  /** The same by the pool's own facts alone, for no request in particular. */
  inspect(nowMillis: number): ReadonlyArray<readonly [Entry, Ineligible | undefined]> {
    const context = { ...nobody, nowMillis }
    return this.verdicts({ strategy: neutral, context, tried: undefined, now: () => nowMillis })
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
      if (outcome.cost !== undefined && outcome._tag === "Success") strategy.credits.observe(context, outcome.cost)
      if (!entry.removed) strategy.breaker.record(view, context, lease.admission, outcome, nowMillis)
      switch (outcome._tag) {
        case "Success":
          entry.succeeded++
          entry.observe(elapsedMillis, nowMillis)
          this.lift(lease)
          break
        case "Ignored":
          entry.ignored++
          break
        case "Faulted":
          entry.faulted++
          if (outcome.reason === "exhausted" || outcome.reason === "insufficient") strategy.credits.doubt(entry.key.id)
          this.fault(lease, outcome, nowMillis)
          break
      }
      if (!entry.removed) strategy.picker.settled?.(view, outcome, { nowMillis, elapsedMillis })
    } finally {
      if (view.inFlight === 0 && entry.idle.size > 0) {
        for (const done of entry.idle) done()
        entry.idle.clear()
      }
      if (this.waiters.size > 0) this.wake(1)
    }
  }

  /** A use that began after a bench was set has succeeded: the scope has proved itself. */
  private lift(lease: OpenLease): void {
    const { entry } = lease
    for (const holder of [entry, entry.account, entry.workspace]) {
      const bench = holder?.bench
      if (bench === undefined || bench.sequence > lease.sequence) continue
      holder!.bench = undefined
      this.readmitted(bench.scope, bench.id)
    }
  }

  private fault(lease: OpenLease, outcome: Faulted, nowMillis: number): void {
    const { scope, reason, retryAfter } = outcome
    if (lease.entry.removed && scope === "key") return
    if (reason === "insufficient") return this.shortage(lease, scope, nowMillis)
    const told = retryAfter === undefined ? undefined : Duration.toMillis(retryAfter)
    const id = this.idOf(scope, lease)
    if (id === undefined) return
    const shared = scope === "upstream" || scope === "host"
    // Every key would meet it: only time that was asked for is given, the rest is the retry policy's and the breaker's.
    if (shared && told === undefined) return
    const bench = this.holder(scope, id, lease.entry)?.bench
    // Uses that began before the bench was set tell of the same trouble, not of its return.
    const again = bench !== undefined && bench.sequence <= lease.sequence
    const strikes = again ? bench.strikes + 1 : (bench?.strikes ?? 0)
    const millis = told ?? cooldownMillis(this.options.cooldowns[reason], strikes)
    if (millis <= 0) return
    this.setBench(scope, id, reason, nowMillis, nowMillis + millis, lease.entry, strikes)
    this.options.publish({ _tag: "Benched", scope, id, reason, since: nowMillis, until: nowMillis + millis })
  }

  /** One request was too dear: nobody is benched, and requests as dear go elsewhere for a while. */
  private shortage({ entry, context }: OpenLease, scope: FaultScope, nowMillis: number): void {
    // A request of unknown size tells nothing about others.
    if (context.estimate === undefined || scope === "upstream" || scope === "host") return
    const holder = (scope === "key" ? undefined : entry[scope]) ?? entry
    const until = nowMillis + cooldownMillis(this.options.cooldowns.insufficient, 0)
    const old = holder.shortage !== undefined && nowMillis < holder.shortage.until ? holder.shortage : undefined
    const estimate = Math.min(context.estimate, old?.estimate ?? Infinity)
    holder.shortage = { reason: "insufficient", scope, since: old?.since ?? nowMillis, until, estimate }
  }

  /** The id under which a fault of this scope is kept. A key whose account is not known is an account of its own. */
  private idOf(scope: FaultScope, lease: OpenLease): string | undefined {
    switch (scope) {
      case "key":
        return lease.entry.key.id
      case "account":
        return lease.entry.key.account ?? lease.entry.key.id
      case "workspace":
        return lease.entry.key.workspace ?? lease.entry.key.id
      case "upstream":
        return lease.context.upstream
      case "host":
        return "host"
    }
  }

  // --- benches --------------------------------------------------------------

  /** Benches a scope by something else than a use. Of two deadlines the later one holds. */
  bench(scope: FaultScope, id: string, reason: FaultReason, since: number, until: number): void {
    this.setBench(scope, id, reason, since, until, this.byId.get(id), 0)
    // Who waits for a permit of the scope may have nothing left to wait for.
    this.wakeAll()
  }

  private setBench(
    scope: FaultScope,
    id: string,
    reason: FaultReason,
    since: number,
    until: number,
    owner: Entry | undefined,
    strikes: number
  ): void {
    const holder = this.holder(scope, id, owner)
    if (holder === undefined) return
    const sequence = ++this.sequence
    const old = holder.bench
    if (old === undefined) {
      const bench = new Bench(scope, id, reason, since, until, sequence)
      bench.strikes = strikes
      holder.bench = bench
    } else {
      // An active bench keeps its beginning, and what it is for if it outlasts the new one.
      if (since >= old.until) old.since = since
      if (until >= old.until) {
        old.reason = reason
        // A key whose account is not known holds the benches of both.
        old.scope = scope
        old.id = id
      }
      old.until = Math.max(old.until, until)
      old.sequence = sequence
      old.strikes = strikes
    }
    const { reason: held, until: last } = holder.bench!
    this.options.emit({ _tag: "Benched", scope, id, reason: held, since, until: last })
  }

  /** Lifts the bench of a scope, if there is one. */
  readmit(scope: FaultScope, id: string): boolean {
    const holder = this.holder(scope, id, this.byId.get(id))
    const bench = holder?.bench
    if (holder === undefined || bench === undefined) return false
    holder.bench = undefined
    this.readmitted(bench.scope, id)
    return true
  }

  private readmitted(scope: FaultScope, id: string): void {
    this.options.emit({ _tag: "Readmitted", scope, id })
    this.options.publish({ _tag: "Readmitted", scope, id })
    this.wakeAll()
  }

  private holder(scope: FaultScope, id: string, entry: Entry | undefined): { bench: Bench | undefined } | undefined {
    switch (scope) {
      case "key":
        return entry
      case "account":
        return this.accounts.get(id) ?? entry
      case "workspace":
        return this.workspaces.get(id) ?? entry
      case "upstream":
        return this.upstreamHolder(id)
      case "host":
        return this.hostHolder
    }
  }

  private readonly hostHolder = accessor(
    () => this.host,
    (bench) => (this.host = bench)
  )

  private upstreamHolder(id: string) {
    return accessor(
      () => this.upstreams.get(id),
      (bench) => {
        if (bench === undefined) this.upstreams.delete(id)
        else {
          if (this.upstreams.size >= maxUpstreams) this.letGo(bench.since)
          this.upstreams.set(id, bench)
        }
      }
    )
  }

  private letGo(nowMillis: number): void {
    let soonest: Bench | undefined
    for (const bench of this.upstreams.values()) {
      if (bench.until <= nowMillis) this.upstreams.delete(bench.id)
      else if (soonest === undefined || bench.until < soonest.until) soonest = bench
    }
    if (this.upstreams.size >= maxUpstreams && soonest !== undefined) this.upstreams.delete(soonest.id)
  }

  /** The benches of upstreams and of the host that are in force. */
  sharedBenches(nowMillis: number): ReadonlyArray<Bench> {
    return [...this.upstreams.values(), ...(this.host === undefined ? [] : [this.host])].filter(
      (bench) => nowMillis < bench.until
    )
  }

  /** A fact of another process. */
  apply(fact: Fact): void {
    if (fact._tag === "Benched") this.bench(fact.scope, fact.id, fact.reason, fact.since, fact.until)
    else {
      const holder = this.holder(fact.scope, fact.id, this.byId.get(fact.id))
      if (holder?.bench === undefined) return
      holder.bench = undefined
      this.options.emit({ _tag: "Readmitted", scope: fact.scope, id: fact.id })
      this.wakeAll()
    }
  }

  // --- credit ---------------------------------------------------------------

  credit(entry: Entry, reading: Reading, nowMillis: number): void {
    const before = entry.ledger.credit
    entry.ledger.read(reading, nowMillis)
    // A top-up: what was too dear before may be affordable now.
    if (entry.ledger.credit === undefined || (before !== undefined && entry.ledger.credit > before)) {
      entry.shortage = undefined
    }
    entry.view.credit = entry.ledger.credit
    this.options.emit({ _tag: "CreditRead", keyId: entry.key.id, credit: entry.view.credit })
    // A cap that shows headroom again ends the exhaustion of the key; what the account owes is not in a key's reading.
    const { bench } = entry
    const headroom = reading.remaining === undefined || reading.remaining > 0
    if (headroom && bench?.scope === "key" && bench.reason === "exhausted" && (reading.requestedAt ?? nowMillis) > bench.since) {
      this.readmit("key", entry.key.id)
    }
    if (this.waiters.size > 0) this.wakeAll()
  }

  // --- waiting --------------------------------------------------------------

  /**
   * Whether waiting for a lease to settle can help: a key lacks nothing but a permit, or every key that could come back
   * waits for what a probe meets.
   */
  busy(demand: Demand): boolean {
    if (this.blocked(demand.context) !== undefined) return false
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

  private wakeAll(): void {
    if (this.waiters.size > 0) this.wake(Infinity)
  }

  /** Serves up to `most` waiters, first come first served: the lease is opened here, so nobody can barge in between. */
  private wake(most: number): void {
    let served = 0
    for (const waiter of this.waiters) {
      if (this.serve(waiter) && ++served >= most) break
    }
    this.resumeAnswered()
  }

  /**
   * Resumes who has an answer, one after the other. A fiber runs as soon as it is resumed, and may settle its use and so
   * free a permit at once: to resume the next one from there would nest as deep as the queue is long.
   */
  private resumeAnswered(): void {
    if (this.resuming) return
    this.resuming = true
    try {
      for (const resume of this.answered) {
        this.answered.delete(resume)
        resume()
      }
    } finally {
      this.resuming = false
    }
  }

  /** Gives a waiter its lease, or sends it away when no permit that could be freed would help it any more. */
  private serve(waiter: Waiter): boolean {
    try {
      const demand = waiter.demand()
      const lease = this.acquire(demand)
      if (lease === undefined && this.busy(demand)) return false
      this.waiters.delete(waiter)
      this.answered.add(waiter.answer(lease, demand))
      return lease !== undefined
    } catch (defect) {
      // A selector that throws fails the request it was asked for, not the one that has just settled.
      this.waiters.delete(waiter)
      this.answered.add(() => waiter.die(defect))
      return false
    }
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

const nobody: PickContext = {
  attempt: 0,
  nowMillis: 0,
  random: () => 0,
  affinity: undefined,
  upstream: undefined,
  tokens: undefined,
  estimate: undefined
}
const neutral: Strategy = {
  name: "none",
  picker: { pick: (candidates) => candidates[0] },
  breaker: closed,
  credits: unknown,
  filter: undefined
}

const tried: Ineligible = { reason: "tried", scope: "request", since: undefined, until: undefined }
const saturated: Ineligible = { reason: "saturated", scope: "key", since: undefined, until: undefined }

const accessor = (get: () => Bench | undefined, set: (bench: Bench | undefined) => void) => ({
  get bench() {
    return get()
  },
  set bench(bench) {
    set(bench)
  }
})

const joinGroup = (groups: Map<string, Group>, id: string | undefined): Group | undefined => {
  if (id === undefined) return undefined
  let group = groups.get(id)
  if (group === undefined) {
    group = { id, keys: 0, bench: undefined, shortage: undefined }
    groups.set(id, group)
  }
  group.keys++
  return group
}

const leaveGroup = (groups: Map<string, Group>, group: Group | undefined): void => {
  if (group !== undefined && --group.keys === 0) groups.delete(group.id)
}
