/**
 * Failure domains: each key, workspace, account and upstream, and the host. A fault benches exactly its domain.
 */
import * as Duration from "effect/Duration"
import type { PickContext } from "../Candidate.ts"
import type { Ineligible } from "../Filter.ts"
import type { FaultReason, FaultScope, Faulted } from "../Outcome.ts"
import type { PoolEvent } from "../PoolEvent.ts"
import type { Fact } from "../SharedFacts.ts"
import { SlowStart } from "../SlowStart.ts"
import { Bench, cooldownMillis, type Cooldowns, type Shortage } from "./bench.ts"
import type { Domain } from "./domain.ts"
import type { Entry } from "./entry.ts"
import type { OpenLease } from "./openLease.ts"
import { Registry } from "./registry.ts"
import { Unowned, type Benched } from "./unowned.ts"

export interface DomainsOptions {
  readonly cooldowns: Cooldowns
  /** Milliseconds of slow start after a return; 0 for none. */
  readonly slowStart: number
  readonly emit: (event: PoolEvent) => void
  readonly publish: (fact: Fact) => void
  readonly key: (id: string) => Entry | undefined
  /** Called when requests that wait may be served, or may have nothing left to wait for. */
  readonly changed: () => void
}

export class Domains {
  private readonly options: DomainsOptions
  readonly registry: Registry
  private readonly unowned = new Unowned()
  /** How many benches have been set: a use can lift only those that were set before it began. */
  sequence = 0

  constructor(options: DomainsOptions) {
    this.options = options
    this.registry = new Registry(options.key)
  }

  /** The key joins the domains that it belongs to; what was told of them before holds for it. */
  join(entry: Entry): void {
    this.registry.join(entry)
    for (const domain of [entry.own, entry.account, entry.workspace])
      for (const bench of this.unowned.take(domain.scope, domain.id))
        this.set(domain, { ...bench, strikes: 0 })
  }

  /** Faults that every key would meet. */
  blocked(context: PickContext): Ineligible | undefined {
    const { registry } = this
    return registry.host.blocks(context) ?? registry.known(context.upstream)?.blocks(context)
  }

  /** Faults of the key and of its owners. */
  verdict({ own, account, workspace }: Entry, context: PickContext): Ineligible | undefined {
    const no = own.blocks(context) ?? account.blocks(context) ?? workspace.blocks(context)
    if (no !== undefined || context.estimate === undefined) return no
    const short = shortageOf(own, account, workspace, context.nowMillis)
    return short !== undefined && context.estimate >= short.estimate ? short : undefined
  }

  /** The shortage that the key is under. */
  shortage({ own, account, workspace }: Entry, nowMillis: number): Shortage | undefined {
    return shortageOf(own, account, workspace, nowMillis)
  }

  /**
   * The use becomes the probe of what is on probation, and counts against what has just returned. Only benches whose time
   * is up can be met here.
   */
  admit(lease: OpenLease): void {
    const { nowMillis, upstream } = lease.context
    for (const domain of this.troubled(lease)) {
      for (const [, bench] of domain.benches(upstream)) lease.probe(bench)
      if (domain.bench?.probation === false) this.returned(domain, nowMillis)
      // As long as no success has lifted the bench it is the same return, and does not begin again.
      if (domain.bench === undefined && domain.warm?.over(nowMillis) === true) {
        domain.warm = undefined
        domain.relapsed = 0
      }
      if (domain.warm !== undefined) lease.warm(domain.warm)
    }
  }

  /** Slow start begins with the return, and goes on if it has. */
  private returned(domain: Domain, nowMillis: number): void {
    if (this.options.slowStart > 0)
      domain.warm ??= new SlowStart(nowMillis, this.options.slowStart, domain.relapsed)
  }

  /** A use that began after a bench was set has succeeded: the domain has proved itself. */
  lift(lease: OpenLease, nowMillis: number): void {
    for (const domain of this.troubled(lease)) {
      for (const [within, bench] of domain.benches(lease.context.upstream)) {
        if (bench.sequence <= lease.sequence) this.clear(domain, within, nowMillis)
      }
    }
  }

  /** The domains on the way of a use in which something is, or was, out: nearly always none, and then nothing is allocated. */
  private troubled({ context, entry }: OpenLease): ReadonlyArray<Domain> {
    const { own, account, workspace } = entry
    const { host } = this.registry
    const upstream = this.registry.known(context.upstream)
    if (upstream?.troubled === true) return [own, account, workspace, host, upstream]
    return own.troubled || account.troubled || workspace.troubled || host.troubled
      ? [own, account, workspace, host]
      : nowhere
  }

  fault(lease: OpenLease, outcome: Faulted, nowMillis: number): void {
    const { scope, reason, retryAfter, within } = outcome
    const { entry, context } = lease
    if (entry.removed && scope === "key") return
    if (reason === "insufficient") return this.shorten(lease, scope, nowMillis)
    const told = retryAfter === undefined ? undefined : Duration.toMillis(retryAfter)
    // Every key would meet it: only time that was asked for is given, the rest is the retry policy's and the breaker's.
    if (told === undefined && (scope === "upstream" || scope === "host")) return
    const domain = this.registry.of(scope, entry, context.upstream)
    if (domain === undefined) return
    const old = domain.get(within)
    // Uses that began before the bench was set tell of the same trouble, not of its return.
    const again = old !== undefined && old.sequence <= lease.sequence
    const strikes = again ? old.strikes + 1 : (old?.strikes ?? 0)
    const millis = told ?? cooldownMillis(this.options.cooldowns[reason], strikes)
    if (millis <= 0) return
    this.set(domain, { within, reason, since: nowMillis, until: nowMillis + millis, strikes })
    const { id } = domain
    this.options.publish({
      _tag: "Benched",
      scope,
      id,
      within,
      reason,
      since: nowMillis,
      until: nowMillis + millis
    })
  }

  /** One request was too dear: nobody is benched, and requests as dear go elsewhere for a while. */
  private shorten({ entry, context }: OpenLease, scope: FaultScope, nowMillis: number): void {
    // A request of unknown size tells nothing about others.
    if (context.estimate === undefined || scope === "upstream" || scope === "host") return
    const domain = scope === "key" ? entry.own : entry[scope]
    const until = nowMillis + cooldownMillis(this.options.cooldowns.insufficient, 0)
    const old =
      domain.shortage !== undefined && nowMillis < domain.shortage.until ? domain.shortage : undefined
    const estimate = Math.min(context.estimate, old?.estimate ?? Infinity)
    domain.shortage = { reason: "insufficient", scope, since: old?.since ?? nowMillis, until, estimate }
  }

  /** Benches a domain by hand, for so long or else for its cooldown: other processes hear of it. */
  benchByHand(bench: {
    readonly scope: FaultScope
    readonly id: string
    readonly within: string | undefined
    readonly reason: FaultReason
    readonly since: number
    readonly millis: number | undefined
  }): void {
    const { id, millis, reason, scope, since, within } = bench
    const old = this.registry.named(scope, id)?.get(within)
    // Whoever leaves the time to the pool tells of a fault, and one that returns lasts longer. Told twice in a moment it
    // is the same fault, so half of the shortest time must have passed.
    const cooldown = this.options.cooldowns[reason]
    const same = millis === undefined && old?.reason === reason
    const returned = same && since - old.struckAt >= cooldownMillis(cooldown, 0) / 2
    const strikes = same ? old.strikes + (returned ? 1 : 0) : 0
    const lasting = millis ?? cooldownMillis(cooldown, strikes)
    if (millis === undefined && lasting <= 0) return
    const until = since + lasting
    this.bench({ _tag: "Benched", scope, id, within, reason, since, until }, strikes)
    if (returned) old.struckAt = since
    this.options.publish({ _tag: "Benched", scope, id, within, reason, since, until })
  }

  private bench(bench: Benched, strikes = 0): void {
    const { id, scope } = bench
    const domain = scope === "upstream" ? this.registry.upstream(id) : this.registry.named(scope, id)
    if (domain === undefined) return this.unowned.put(bench)
    this.set(domain, { ...bench, strikes })
    this.options.changed()
  }

  /** Lifts the benches of a domain; `false` if there was none. */
  readmit(scope: FaultScope, id: string, nowMillis: number): boolean {
    const domain = this.registry.named(scope, id)
    const unowned = this.unowned.take(scope, id)
    for (const { within } of unowned) this.options.publish({ _tag: "Readmitted", scope, id, within })
    if (domain === undefined || (domain.bench === undefined && domain.partial === undefined))
      return unowned.length > 0
    for (const within of Array.from(domain.partial?.keys() ?? [])) this.clear(domain, within, nowMillis)
    if (domain.bench !== undefined) this.clear(domain, undefined, nowMillis)
    this.options.changed()
    return true
  }

  /** A fact of another process: it is not handed on. */
  apply(fact: Extract<Fact, { readonly _tag: "Benched" | "Readmitted" }>, nowMillis: number): void {
    if (fact._tag === "Benched") return this.bench(fact)
    this.unowned.lift(fact)
    const domain = this.registry.named(fact.scope, fact.id)
    if (domain?.get(fact.within) === undefined) return
    this.forget(domain, fact.within, nowMillis)
    this.options.changed()
  }

  /** The benches in force that no key's own state shows: of what is behind all keys, and for some upstreams only. */
  inForce(entries: ReadonlyArray<Entry>, nowMillis: number) {
    const found: Array<Ineligible & { readonly id: string; readonly within: string | undefined }> = []
    const add = (within: string | undefined, { id, reason, scope, since, until }: Bench) => {
      if (nowMillis < until) found.push({ scope, id, within, reason, since, until })
    }
    for (const { bench } of [this.registry.host, ...this.registry.upstreams.values()])
      if (bench !== undefined) add(undefined, bench)
    const owned = new Set(entries.flatMap(({ account, own, workspace }) => [own, account, workspace]))
    for (const { partial } of owned) for (const [within, bench] of partial ?? []) add(within, bench)
    return found
  }

  /** Of two deadlines the later one holds. */
  private set(
    domain: Domain,
    fault: {
      readonly within: string | undefined
      readonly reason: FaultReason
      readonly since: number
      readonly until: number
      readonly strikes: number
    }
  ): void {
    const { reason, since, until, within } = fault
    const { id, scope } = domain
    let bench = domain.get(within)
    if (bench === undefined) {
      bench = new Bench(scope, id, reason, since, until)
      domain.set(within, bench)
    } else {
      // An active bench keeps its beginning, and its reason if it outlasts the new one.
      if (since >= bench.until) bench.since = since
      if (until >= bench.until) bench.reason = reason
      bench.until = Math.max(bench.until, until)
    }
    // It is out again: whoever is still in flight has been counted, and the next return starts anew.
    if (within === undefined) {
      if (reason !== "throttled") domain.relapsed = 0
      else if (domain.warm !== undefined) domain.relapsed = domain.warm.allowed
      domain.warm = undefined
    }
    bench.sequence = ++this.sequence
    bench.strikes = Math.max(bench.strikes, fault.strikes)
    this.options.emit({
      _tag: "Benched",
      scope,
      id,
      within,
      reason: bench.reason,
      since: bench.since,
      until: bench.until
    })
  }

  private clear(domain: Domain, within: string | undefined, nowMillis: number): void {
    const { id, scope } = domain
    this.forget(domain, within, nowMillis)
    this.options.publish({ _tag: "Readmitted", scope, id, within })
  }

  private forget(domain: Domain, within: string | undefined, nowMillis: number): void {
    const { id, scope } = domain
    // What was out for some upstreams only has served all the while.
    if (domain.bench !== undefined && within === undefined) this.returned(domain, nowMillis)
    domain.clear(within)
    this.options.emit({ _tag: "Readmitted", scope, id, within })
  }
}

const nowhere: ReadonlyArray<Domain> = []

const shortageOf = (
  own: Domain,
  account: Domain,
  workspace: Domain,
  nowMillis: number
): Shortage | undefined => {
  // Nearly always there is none.
  if (own.shortage === undefined && account.shortage === undefined && workspace.shortage === undefined)
    return undefined
  return [own.shortage, account.shortage, workspace.shortage].find(
    (s) => s !== undefined && nowMillis < s.until
  )
}
