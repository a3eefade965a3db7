/**
 * What one process has to tell and has heard. Synchronous: Redis is asked elsewhere, and nobody waits for it here.
 */
import type { SharedFacts } from "@evenkeel/core"
import type { Answer, Call } from "./exchange.ts"
import { fieldOf, heardOf, rowOf, type Told } from "./wire.ts"

type Fact = SharedFacts.Fact
type Load = () => ReadonlyArray<SharedFacts.OwnLoad>

/** Facts in one call; the rest goes with the next. */
const maxFacts = 256
/** Facts that are remembered: beyond that the oldest is let go. Far more than there are keys and upstreams in trouble. */
const maxKnown = 8192
/** A Redis that fails over may have lost what it was told so many milliseconds before. */
const unsafeFor = 10_000
/** A key counts as used for so many milliseconds after its last use: two long pauses between requests. */
const usedFor = 10_000

const nanos = (usd: number): number => Math.round(usd * 1e9)

/** How one source of load stood when it was last told of. */
interface Source {
  readonly load: Load
  readonly told: Map<string, number>
  begun: number
}

type Part = Pick<Call, "epoch" | "heardEpoch" | "version" | "sequence" | "load" | "begun" | "spent" | "facts">

export class Board {
  readonly process: string
  private readonly pending = new Map<string, Told>()
  private readonly known = new Map<string, Told>()
  /** Own facts that were told of late, and when. */
  private readonly fresh = new Map<Told, number>()
  private interrupted = false
  private readonly listeners = new Set<(fact: Fact) => void>()
  private readonly sources = new Set<Source>()
  private readonly usedAt = new Map<string, number>()
  private load: Extract<Fact, { readonly _tag: "Load" }> = nobody
  private epoch = ""
  private version = 0
  private sequence = 0
  /** What the call under way tells, until it is answered. */
  private telling: Pick<Call, "load" | "begun" | "spent"> | undefined
  private seen: ReadonlyMap<string, number> = new Map()
  private begun = 0
  private answeredAt = 0

  constructor(process: string) {
    this.process = process
  }

  /** Facts that wait to be told. */
  get waiting(): number {
    return this.pending.size
  }

  readonly publish = (fact: Fact): void => {
    if (fact._tag === "Load" || fact._tag === "Debited") return
    const field = fieldOf(fact)
    const before = this.pending.get(field)
    // Of two deadlines the later one holds, here as there.
    if (before !== undefined && "until" in before && "until" in fact && before.until >= fact.until) return
    // Taken out first: the order is that of telling.
    this.pending.delete(field)
    this.pending.set(field, fact)
    this.remember(field, fact)
  }

  readonly attach = (load: Load): (() => void) => {
    const source: Source = { load, told: new Map(), begun: 0 }
    this.sources.add(source)
    return () => void this.sources.delete(source)
  }

  /** Hears what is in force, and then what is new. */
  listen(listener: (fact: Fact) => void): () => void {
    for (const fact of this.known.values()) listener(fact)
    listener(this.load)
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  /** What is to be told now. */
  call(epoch: string, now: number): Part {
    // A call that was not answered may have arrived all the same, and is told again as it was.
    if (this.telling === undefined) {
      this.sequence++
      const load: Record<string, [number, number, number]> = {}
      const spent = new Map<string, number>()
      let begun = 0
      for (const source of this.sources) begun += this.read(source, load, spent, now)
      this.telling = { load, begun, spent: Array.from(spent) }
    }
    const facts = Array.from(this.pending.values()).slice(0, maxFacts)
    return {
      epoch,
      heardEpoch: this.epoch,
      version: this.version,
      sequence: this.sequence,
      ...this.telling,
      facts: facts.map((fact) => rowOf(fact, this.process, now, (keyId) => this.seen.get(keyId) ?? 0))
    }
  }

  /** Answers with how many uses were begun since it was read last. */
  private read(
    source: Source,
    loads: Record<string, [number, number, number]>,
    spent: Map<string, number>,
    now: number
  ): number {
    const { begun: before, load, told } = source
    source.begun = 0
    for (const one of load()) {
      const { keyId } = one
      source.begun += one.begun
      const since = nanos(one.spent) - (told.get(keyId) ?? 0)
      told.set(keyId, nanos(one.spent))
      if (since > 0) spent.set(keyId, (spent.get(keyId) ?? 0) + since)
      if (one.inFlight > 0 || since > 0 || one.capped) this.usedAt.set(keyId, now)
      if (now - (this.usedAt.get(keyId) ?? -Infinity) > usedFor) continue
      const sum = (loads[keyId] ??= [0, 0, 0])
      sum[0] += one.inFlight
      sum[1] += nanos(one.held)
      sum[2] += nanos(one.aside)
    }
    // A key that is removed takes its count along.
    return Math.max(0, source.begun - before)
  }

  /** The call was answered. */
  answered(call: Part, told: ReadonlyArray<Told>, answer: Answer, askedAt: number, now: number): void {
    const joined = this.epoch !== ""
    const lost = joined && answer.epoch !== this.epoch
    this.epoch = answer.epoch
    this.version = answer.version
    this.telling = undefined
    for (const fact of told) {
      if (this.pending.get(fieldOf(fact)) === fact) this.pending.delete(fieldOf(fact))
      this.fresh.set(fact, now)
    }
    const heard = this.hear(answer, joined, now)
    this.repeat(now)
    // Redis has forgotten everything: whoever still knows something says it again.
    if (lost) {
      for (const [field, fact] of this.known)
        if (!heard.has(field) && !over(fact, now)) this.pending.set(field, fact)
    }
    this.debits(call, answer, joined, lost)
    this.loads(call, answer, joined && !lost ? this.arrivals(call, answer, askedAt, now) : Infinity)
    this.begun = answer.begun
    this.answeredAt = now
  }

  /**
   * What others begin between the counts and the picks that go by them: a process tells once in an interval and hears once in
   * an interval, so between the two are an interval, on average, and the way. Who has just come knows nothing of their pace
   * (`Infinity`), and does not go by what they had in flight until it does.
   */
  private arrivals(call: Part, answer: Answer, askedAt: number, now: number): number {
    const interval = now - this.answeredAt
    const begun = Math.max(0, answer.begun - this.begun - call.begun)
    return interval <= 0 ? 0 : (begun * (interval + now - askedAt)) / interval
  }

  /**
   * What was told right before Redis was away is told again, unless somebody has said something else since: another one may
   * have taken its place, and have heard less.
   */
  private repeat(now: number): void {
    for (const [fact, at] of this.fresh) {
      const field = fieldOf(fact)
      const isLast = (this.known.get(field) ?? fact) === fact
      if (this.interrupted && isLast && !over(fact, now)) this.pending.set(field, fact)
      if (this.interrupted || !isLast || now - at > unsafeFor) this.fresh.delete(fact)
    }
    this.interrupted = false
  }

  /** The call was not answered. */
  failed(now: number): void {
    // What was told long before has arrived.
    if (!this.interrupted)
      for (const [fact, at] of this.fresh) if (now - at > unsafeFor) this.fresh.delete(fact)
    this.interrupted = true
  }

  private hear(answer: Answer, joined: boolean, now: number): ReadonlySet<string> {
    const fields = new Set<string>()
    for (const one of answer.facts) {
      const heard = heardOf(one, now, (keyId) => answer.spent.get(keyId) ?? 0)
      if (heard === undefined) continue
      const { fact, from } = heard
      const field = fieldOf(fact)
      fields.add(field)
      if (from === this.process) continue
      // Who has just come goes by the keys it was given: who came and went before is no news to it.
      if (!joined && (fact._tag === "Added" || fact._tag === "Removed")) continue
      if (over(fact, now)) continue
      this.remember(field, fact)
      this.tell(fact)
    }
    return fields
  }

  /** What the others have spent since the last answer. */
  private debits({ spent }: Part, answer: Answer, joined: boolean, lost: boolean): void {
    if (joined) {
      const own = new Map(spent)
      for (const [keyId, total] of answer.spent) {
        const before = lost ? 0 : (this.seen.get(keyId) ?? 0)
        const usd = (total - before - (own.get(keyId) ?? 0)) / 1e9
        if (usd > 0) this.tell({ _tag: "Debited", keyId, usd })
      }
    }
    this.seen = answer.spent
  }

  private loads({ load }: Part, { totals }: Answer, arrivals: number): void {
    const keys = Array.from(totals, ([keyId, { aside, held, inFlight, users }]) => {
      const [ownInFlight, ownHeld, ownAside] = load[keyId] ?? [0, 0, 0]
      return {
        keyId,
        inFlight: Math.max(0, inFlight - ownInFlight),
        held: Math.max(0, held - ownHeld) / 1e9,
        aside: Math.max(0, aside - ownAside) / 1e9,
        users: Math.max(0, users - (load[keyId] === undefined ? 0 : 1))
      }
    })
    this.load = { _tag: "Load", keys, arrivals, alone: false }
    this.tell(this.load)
  }

  /** Nothing new was heard: it is gone by what was heard last. */
  missed(): void {
    this.load = { ...this.load, alone: true }
    this.tell(this.load)
  }

  /** What the others have in flight is not known any more. */
  alone(): void {
    this.load = nobody
    this.tell(nobody)
  }

  /** The facts of a call, to be forgotten when it is answered. */
  told(): ReadonlyArray<Told> {
    return Array.from(this.pending.values()).slice(0, maxFacts)
  }

  private remember(field: string, fact: Told): void {
    this.known.delete(field)
    if (fact._tag === "Added" || fact._tag === "Removed") return
    this.known.set(field, fact)
    if (this.known.size > maxKnown) this.known.delete(this.known.keys().next().value!)
  }

  private tell(fact: Fact): void {
    for (const listener of this.listeners) listener(fact)
  }
}

const nobody = { _tag: "Load", keys: [], alone: true } as const

/** Nobody need hear of it any more. */
const over = (fact: Told, now: number): boolean => "until" in fact && fact.until <= now
