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
import { Domain } from "./domain.ts"
import type { Entry } from "./entry.ts"
import type { OpenLease } from "./openLease.ts"

/** Upstreams benched at a time; beyond that the one that returns soonest is let go. */
const maxUpstreams = 1024

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
  private readonly accounts = new Map<string, Domain>()
  private readonly workspaces = new Map<string, Domain>()
  private readonly upstreams = new Map<string, Domain>()
  private readonly host = new Domain("host", "host")
  /** How many benches have been set: a use can lift only those that were set before it began. */
  sequence = 0

  constructor(options: DomainsOptions) {
    this.options = options
  }

  /** A key whose account or workspace is not known is one of its own. */
  join(entry: Entry): void {
    const { account, workspace, id } = entry.key
    entry.account = join(this.accounts, "account", account ?? `key:${id}`, entry)
    entry.workspace = join(this.workspaces, "workspace", workspace ?? `key:${id}`, entry)
    this.host.members.add(entry)
  }

  /** Leaves what it was in, and is not in any more. */
  leave(entry: Entry, account: Domain, workspace: Domain): void {
    leave(this.accounts, account, entry.removed || entry.account !== account ? entry : undefined)
    leave(this.workspaces, workspace, entry.removed || entry.workspace !== workspace ? entry : undefined)
    if (entry.removed) this.host.members.delete(entry)
  }

  /** Faults that every key would meet. */
  blocked(context: PickContext): Ineligible | undefined {
    const no = this.host.blocks(context)
    if (no !== undefined || this.upstreams.size === 0 || context.upstream === undefined) return no
    return this.upstreams.get(context.upstream)?.blocks(context)
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
    const upstream =
      this.upstreams.size === 0 || context.upstream === undefined
        ? undefined
        : this.upstreams.get(context.upstream)
    if (upstream === undefined)
      return own.troubled || account.troubled || workspace.troubled || this.host.troubled
        ? [own, account, workspace, this.host]
        : nowhere
    return [own, account, workspace, this.host, upstream]
  }

  fault(lease: OpenLease, outcome: Faulted, nowMillis: number): void {
    const { scope, reason, retryAfter, within } = outcome
    const { entry, context } = lease
    if (entry.removed && scope === "key") return
    if (reason === "insufficient") return this.shorten(lease, scope, nowMillis)
    const told = retryAfter === undefined ? undefined : Duration.toMillis(retryAfter)
    // Every key would meet it: only time that was asked for is given, the rest is the retry policy's and the breaker's.
    if (told === undefined && (scope === "upstream" || scope === "host")) return
    const domain = this.of(scope, entry, context.upstream)
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
    const old = this.named(scope, id)?.get(within)
    // Whoever leaves the time to the pool tells of a fault, and one that returns lasts longer. Told twice in a moment it
    // is the same fault, so half of the shortest time must have passed.
    const cooldown = this.options.cooldowns[reason]
    const same = millis === undefined && old?.reason === reason
    const returned = same && since - old.struckAt >= cooldownMillis(cooldown, 0) / 2
    const strikes = same ? old.strikes + (returned ? 1 : 0) : 0
    const lasting = millis ?? cooldownMillis(cooldown, strikes)
    if (millis === undefined && lasting <= 0) return
    const until = since + lasting
    this.bench(scope, id, within, reason, since, until, strikes)
    if (returned) old.struckAt = since
    this.options.publish({ _tag: "Benched", scope, id, within, reason, since, until })
  }

  private bench(
    scope: FaultScope,
    id: string,
    within: string | undefined,
    reason: FaultReason,
    since: number,
    until: number,
    strikes = 0
  ): void {
    const domain = this.named(scope, id)
    if (domain === undefined) return
    this.set(domain, { within, reason, since, until, strikes })
    this.options.changed()
  }

  /** Lifts the benches of a domain; `false` if there was none. */
  readmit(scope: FaultScope, id: string, nowMillis: number): boolean {
    const domain = this.named(scope, id)
    if (domain === undefined || (domain.bench === undefined && domain.partial === undefined)) return false
    domain.partial = undefined
    this.clear(domain, undefined, nowMillis)
    this.options.changed()
    return true
  }

  /** A fact of another process: it is not handed on. */
  apply(fact: Extract<Fact, { readonly _tag: "Benched" | "Readmitted" }>, nowMillis: number): void {
    if (fact._tag === "Benched")
      return this.bench(fact.scope, fact.id, fact.within, fact.reason, fact.since, fact.until)
    const domain = this.named(fact.scope, fact.id)
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
    for (const { bench } of [this.host, ...this.upstreams.values()])
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
    this.options.emit({ _tag: "Readmitted", scope, id })
  }

  private of(scope: FaultScope, entry: Entry, upstream: string | undefined): Domain | undefined {
    switch (scope) {
      case "key":
        return entry.own
      case "upstream":
        return upstream === undefined ? undefined : this.upstream(upstream)
      case "host":
        return this.host
      default:
        return entry[scope]
    }
  }

  private named(scope: FaultScope, id: string): Domain | undefined {
    switch (scope) {
      case "key":
        return this.options.key(id)?.own
      case "account":
        return this.accounts.get(id)
      case "workspace":
        return this.workspaces.get(id)
      case "upstream":
        return this.upstream(id)
      case "host":
        return this.host
    }
  }

  private upstream(id: string): Domain {
    let domain = this.upstreams.get(id)
    if (domain === undefined) {
      if (this.upstreams.size >= maxUpstreams) this.forgetUpstream()
      domain = new Domain("upstream", id)
      this.upstreams.set(id, domain)
    }
    return domain
  }

  private forgetUpstream(): void {
    let soonest: Domain | undefined
    for (const domain of this.upstreams.values()) {
      if (!domain.troubled) return void this.upstreams.delete(domain.id)
      if (soonest === undefined || (domain.bench?.until ?? 0) < (soonest.bench?.until ?? 0)) soonest = domain
    }
    if (soonest !== undefined) this.upstreams.delete(soonest.id)
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

const join = (domains: Map<string, Domain>, scope: FaultScope, id: string, entry: Entry): Domain => {
  let domain = domains.get(id)
  if (domain === undefined) {
    domain = new Domain(scope, id)
    domains.set(id, domain)
  }
  domain.members.add(entry)
  return domain
}

const leave = (domains: Map<string, Domain>, domain: Domain, entry: Entry | undefined): void => {
  if (entry === undefined) return
  domain.members.delete(entry)
  if (domain.members.size === 0) domains.delete(domain.id)
}
