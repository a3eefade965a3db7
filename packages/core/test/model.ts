/**
 * What a pool should be: a small model of it that is written independently, for random programs to be held against. It
 * knows counts, benches with their probation, slow start, suspects, and the queue; and time goes from event to event.
 */
import type { Outcome } from "@evenkeel/core"

export type Verdict = "draining" | "returning" | "probing" | "warming" | "saturated" | "suspect"

/** Why a key is out, and until when; `hopeless` is not worth waiting for. */
interface No {
  readonly verdict: Verdict
  readonly until: number
  readonly hopeless: boolean
}

interface Bench {
  until: number
  reason: Outcome.FaultReason
  /** Set in this order: what began earlier cannot lift it. */
  order: number
  probes: number
}

interface Warm {
  until: number
  allowance: number
  readonly threshold: number
  /** Uses that began since. */
  admitted: number
}

export interface Domain {
  bench?: Bench | undefined
  warm?: Warm | undefined
  /** What slow start had allowed when it was throttled again. */
  relapsed?: number
}

export interface Member {
  readonly id: string
  readonly accountId: string
  readonly own: Domain
  readonly account: Domain
  max: number
  draining: boolean
  inFlight: number
}

export interface Use {
  readonly number: number
  readonly member: Member
  readonly began: number
  readonly deadline: number
  readonly domains: ReadonlyArray<Domain>
  readonly probed: ReadonlyArray<Bench>
  readonly warmed: ReadonlyArray<Warm>
}

export interface Waiter {
  readonly number: number
  readonly upstream: string | undefined
  readonly priority: number
  readonly deadline: number
  /** Until when it stays at most, and how far off a return may be. */
  readonly giveUpAt: number
  readonly latest: number
}

const probation = ({ reason }: Bench) => reason === "rejected" || reason === "exhausted"
const passing = (no: No | undefined) => no?.verdict === "saturated" || no?.verdict === "warming"

export class Model {
  now = 0
  readonly members: Array<Member> = []
  readonly queue: Array<Waiter> = []
  readonly uses = new Map<number, Use>()
  readonly suspects = new Set<string>()
  readonly accounts = new Map<string, Domain>()
  readonly upstreams = new Map<string, Domain>()
  readonly host: Domain = {}
  private order = 0
  private readonly slowStart: number

  constructor(slowStart: number) {
    this.slowStart = slowStart
  }

  // --- who can serve --------------------------------------------------------

  private inFlightOf(domain: Domain): number {
    const within = this.members.filter(({ account, own }) => [account, own, this.host].includes(domain))
    // Of an upstream only the uses since its return are known.
    return within.length === 0
      ? (domain.warm?.admitted ?? 0)
      : within.reduce((sum, member) => sum + member.inFlight, 0)
  }

  private isOver(warm: Warm): boolean {
    return this.now >= warm.until || warm.allowance >= 512
  }

  private out(domain: Domain): No | undefined {
    const { bench, warm } = domain
    if (bench !== undefined && this.now < bench.until)
      return { verdict: "returning", until: bench.until, hopeless: probation(bench) }
    if (bench !== undefined && probation(bench) && bench.probes > 0)
      return { verdict: "probing", until: Infinity, hopeless: false }
    if (warm !== undefined && !this.isOver(warm) && this.inFlightOf(domain) >= Math.floor(warm.allowance))
      return { verdict: "warming", until: warm.until, hopeless: false }
    return undefined
  }

  blocked(upstream: string | undefined): No | undefined {
    const domain = upstream === undefined ? undefined : this.upstreams.get(upstream)
    return this.out(this.host) ?? (domain && this.out(domain))
  }

  /** By the pool's own facts. */
  fact(member: Member): No | undefined {
    if (member.draining) return { verdict: "draining", until: Infinity, hopeless: false }
    const no = this.out(member.own) ?? this.out(member.account)
    if (no !== undefined) return no
    return member.inFlight >= member.max
      ? { verdict: "saturated", until: Infinity, hopeless: false }
      : undefined
  }

  private verdict(member: Member): No | undefined {
    const fact = this.fact(member)
    if (fact !== undefined || !this.suspects.has(member.id)) return fact
    return { verdict: "suspect", until: Infinity, hopeless: false }
  }

  eligible(upstream: string | undefined): ReadonlyArray<Member> {
    if (this.blocked(upstream) !== undefined) return []
    const verdicts = this.members.map((member) => this.verdict(member))
    const sure = this.members.filter((_, n) => verdicts[n] === undefined)
    if (sure.length > 0 || verdicts.some(passing)) return sure
    return this.members.filter((_, n) => verdicts[n]!.verdict === "suspect")
  }

  /** Whether a request that no key can serve now has something to wait for. */
  worthWaiting(upstream: string | undefined, latest: number): boolean {
    const blocked = this.blocked(upstream)
    const all = this.members.map((member) => blocked ?? this.verdict(member)!)
    if (
      all.some(passing) ||
      all.some(({ hopeless, until }) => !hopeless && until <= latest && until < Infinity)
    )
      return true
    return all.some(({ verdict }) => verdict === "probing")
  }

  // --- what happens ---------------------------------------------------------

  open(number: number, member: Member, upstream: string | undefined, deadline: number): Use {
    const behind = upstream === undefined ? undefined : this.upstreams.get(upstream)
    const domains = [member.own, member.account, this.host, ...(behind === undefined ? [] : [behind])]
    const probed: Array<Bench> = []
    const warmed: Array<Warm> = []
    for (const domain of domains) {
      const { bench } = domain
      if (bench !== undefined && probation(bench)) {
        bench.probes++
        probed.push(bench)
      } else if (bench !== undefined) this.recover(domain)
      else if (domain.warm !== undefined && this.isOver(domain.warm)) {
        domain.warm = undefined
        domain.relapsed = 0
      }
      if (domain.warm !== undefined) {
        domain.warm.admitted++
        warmed.push(domain.warm)
      }
    }
    member.inFlight++
    const use = { number, member, began: this.order, deadline, domains, probed, warmed }
    this.uses.set(number, use)
    return use
  }

  private recover(domain: Domain): void {
    const { relapsed = 0 } = domain
    const allowance = Math.max(1, Math.floor(relapsed / 2))
    const threshold = relapsed === 0 ? Infinity : allowance
    domain.warm ??= { until: this.now + this.slowStart, allowance, threshold, admitted: 0 }
  }

  close({ member, number, probed, warmed }: Use, succeeded: boolean): void {
    this.uses.delete(number)
    member.inFlight--
    for (const bench of probed) bench.probes--
    for (const warm of warmed) {
      if (succeeded && !this.isOver(warm)) {
        if (warm.admitted * 2 >= Math.floor(warm.allowance))
          warm.until = Math.max(warm.until, this.now + this.slowStart)
        warm.allowance += warm.allowance < warm.threshold ? 1 : 1 / warm.allowance
      }
      warm.admitted--
    }
  }

  /** A success proves the scopes that were benched before it began. */
  lift(use: Use, upstream: string | undefined): void {
    const behind = upstream === undefined ? undefined : this.upstreams.get(upstream)
    for (const domain of new Set([...use.domains, ...(behind === undefined ? [] : [behind])]))
      if (domain.bench !== undefined && domain.bench.order <= use.began) this.readmit(domain)
  }

  readmit(domain: Domain): boolean {
    if (domain.bench === undefined) return false
    this.recover(domain)
    domain.bench = undefined
    return true
  }

  bench(domain: Domain, reason: Outcome.FaultReason, millis: number): void {
    const until = this.now + millis
    const order = ++this.order
    const { bench } = domain
    if (bench === undefined) domain.bench = { until, reason, order, probes: 0 }
    else {
      if (until >= bench.until) Object.assign(bench, { until, reason })
      bench.order = order
    }
    if (reason !== "throttled") domain.relapsed = 0
    else if (domain.warm !== undefined) domain.relapsed = Math.floor(domain.warm.allowance)
    domain.warm = undefined
  }

  domainOf(domains: Map<string, Domain>, id: string): Domain {
    const domain = domains.get(id) ?? {}
    domains.set(id, domain)
    return domain
  }

  isMember(member: Member): boolean {
    return this.members.includes(member)
  }

  remove(member: Member): void {
    this.members.splice(this.members.indexOf(member), 1)
    this.suspects.delete(member.id)
    if (!this.members.some(({ accountId }) => accountId === member.accountId))
      this.accounts.delete(member.accountId)
  }

  // --- who waits, and until when --------------------------------------------

  /** In the order in which they are served. */
  inTurn(): ReadonlyArray<Waiter> {
    return this.queue.toSorted((a, b) => b.priority - a.priority)
  }

  leave(waiter: Waiter): void {
    this.queue.splice(this.queue.indexOf(waiter), 1)
  }

  /** The next time at which something happens by itself, behind now. */
  next(): number {
    let soonest = Infinity
    const at = (time: number | undefined) => {
      if (time !== undefined && time > this.now && time < soonest) soonest = time
    }
    const scopes = this.members.flatMap(({ account, own }) => [own, account])
    for (const { bench, warm } of [...scopes, this.host, ...this.upstreams.values()]) {
      at(bench?.until)
      at(warm?.until)
    }
    for (const { giveUpAt } of this.queue) at(giveUpAt)
    for (const { deadline } of this.uses.values()) at(deadline)
    return soonest
  }
}
