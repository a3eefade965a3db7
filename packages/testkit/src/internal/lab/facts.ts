/**
 * What the processes of a scenario tell each other, as `@evenkeel/redis` carries it: each comes to the board once in a while,
 * says what it has learnt, spent and in flight, and hears what all others have said by then. Nothing runs beside a visit.
 */
import type { SharedFacts } from "@evenkeel/core"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Scenario } from "./scenario.ts"
import type { VirtualTime } from "./virtualTime.ts"

type Fact = SharedFacts.Fact
type Told = Exclude<Fact, { readonly _tag: "Load" | "Debited" }>
type Load = () => ReadonlyArray<SharedFacts.OwnLoad>

/** In flight, nanodollars held and set aside, and users: whole numbers, so that sums return to zero. */
type Sums = readonly [inFlight: number, held: number, aside: number, users: number]

const none: Sums = [0, 0, 0, 0]
const nanos = (usd: number): number => Math.round(usd * 1e9)

/** What was told under one name, and at which place in the order of all that was told. */
interface Posted {
  readonly version: number
  readonly from: Member
  readonly fact: Told
  /** Nanodollars that all had spent on its key, as far as who told it knew. */
  readonly spent: number
}

/** What one visit says. */
interface Visit {
  readonly facts: ReadonlyArray<readonly [name: string, fact: Told, spent: number]>
  readonly load: ReadonlyMap<string, Sums>
  readonly spent: ReadonlyMap<string, number>
  /** Uses begun so far. */
  readonly begun: number
  readonly at: number
}

/** What it hears. */
interface Answer {
  readonly facts: ReadonlyArray<Posted>
  readonly totals: ReadonlyMap<string, Sums>
  readonly spent: ReadonlyMap<string, number>
  readonly begun: number
}

class Board {
  private readonly posted = new Map<string, Posted>()
  private readonly totals = new Map<string, Sums>()
  private readonly spent = new Map<string, number>()
  private version = 0
  private begun = 0

  visited(member: Member, { begun, facts, load, spent }: Visit): Answer {
    this.begun += begun - member.begun
    member.begun = begun
    for (const [keyId, sums] of member.load) this.count(keyId, sums, -1)
    for (const [keyId, sums] of load) this.count(keyId, sums, 1)
    member.load = load
    for (const [keyId, usd] of spent) this.spent.set(keyId, (this.spent.get(keyId) ?? 0) + usd)
    for (const [name, fact, spent] of facts) this.post(name, { version: 0, from: member, fact, spent })
    const news = member.version === this.version ? [] : this.since(member)
    member.version = this.version
    return { facts: news, totals: new Map(this.totals), spent: new Map(this.spent), begun: this.begun }
  }

  private count(keyId: string, [inFlight, held, aside, users]: Sums, sign: 1 | -1): void {
    const [allInFlight, allHeld, allAside, allUsers] = this.totals.get(keyId) ?? none
    this.totals.set(keyId, [
      allInFlight + sign * inFlight,
      allHeld + sign * held,
      allAside + sign * aside,
      allUsers + sign * users
    ])
  }

  private post(name: string, posted: Posted): void {
    const known = this.posted.get(name)
    if (known !== undefined && outlasts(known.fact, posted.fact)) return
    // Taken out first: the order is that of telling.
    this.posted.delete(name)
    this.posted.set(name, { ...posted, version: ++this.version })
  }

  private since({ version }: Member): ReadonlyArray<Posted> {
    return [...this.posted.values()].filter((posted) => posted.version > version)
  }
}

/** Of two deadlines the later one holds. */
const outlasts = (known: Told, fact: Told): boolean =>
  "until" in known && "until" in fact && known.until >= fact.until

/** One process, at its end. */
class Member {
  /** What it has told last, and up to where it has heard: the board's. */
  load: ReadonlyMap<string, Sums> = new Map()
  begun = 0
  version = 0
  private readonly listeners = new Set<(fact: Fact) => void>()
  private readonly sources = new Map<Load, Map<string, number>>()
  private pending = new Map<string, Told>()
  private seen: ReadonlyMap<string, number> = new Map()
  /** What had been begun, here and by all, as of the last answer, and when that came. */
  private last: { readonly own: number; readonly all: number; readonly at: number } | undefined

  readonly publish = (fact: Fact): void => {
    if (fact._tag === "Load" || fact._tag === "Debited") return
    const name = nameOf(fact)
    const before = this.pending.get(name)
    if (before !== undefined && outlasts(before, fact)) return
    this.pending.delete(name)
    this.pending.set(name, fact)
  }

  readonly attach = (load: Load): (() => void) => {
    this.sources.set(load, new Map())
    return () => void this.sources.delete(load)
  }

  readonly listen = (listener: (fact: Fact) => void): (() => void) => {
    // It has joined, and so goes by what it hears from its first reading of credit on.
    listener({ _tag: "Load", keys: [], alone: false })
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  says(at: number): Visit {
    let begun = 0
    const load = new Map<string, Sums>()
    const spent = new Map<string, number>()
    for (const [source, told] of this.sources) {
      for (const one of source()) {
        const { keyId } = one
        begun += one.begun
        const since = nanos(one.spent) - (told.get(keyId) ?? 0)
        told.set(keyId, nanos(one.spent))
        if (since > 0) spent.set(keyId, (spent.get(keyId) ?? 0) + since)
        if (one.inFlight === 0 && since === 0 && !one.capped) continue
        load.set(keyId, [one.inFlight, nanos(one.held), nanos(one.aside), 1])
      }
    }
    const facts = Array.from(this.pending, ([name, fact]) => {
      const known = fact._tag === "CreditRead" ? (this.seen.get(fact.keyId) ?? 0) : 0
      return [name, fact, known] as const
    })
    this.pending = new Map()
    return { facts, load, spent, begun, at }
  }

  hears(said: Visit, { begun, facts, spent, totals }: Answer, at: number): void {
    for (const { fact, from, spent: known } of facts) {
      if (from === this) continue
      // What was spent since it was told belongs to a reading too, for whoever hears of it only now.
      const since = fact._tag === "CreditRead" ? ((spent.get(fact.keyId) ?? 0) - known) / 1e9 : 0
      this.tell(fact._tag === "CreditRead" ? { ...fact, debited: fact.debited + Math.max(0, since) } : fact)
    }
    for (const [keyId, total] of spent) {
      const usd = (total - (this.seen.get(keyId) ?? 0) - (said.spent.get(keyId) ?? 0)) / 1e9
      if (usd > 0) this.tell({ _tag: "Debited", keyId, usd })
    }
    this.seen = spent
    const keys = Array.from(totals, ([keyId, [inFlight, held, aside, users]]) => {
      const [ownInFlight, ownHeld, ownAside, own] = said.load.get(keyId) ?? none
      return {
        keyId,
        inFlight: inFlight - ownInFlight,
        held: (held - ownHeld) / 1e9,
        aside: (aside - ownAside) / 1e9,
        users: users - own
      }
    })
    this.tell({ _tag: "Load", keys, arrivals: this.arrivals(said, begun, at), alone: false })
  }

  /** What others begin between the counts and the picks that go by them, as `@evenkeel/redis` reckons it. */
  private arrivals({ at: saidAt, begun: own }: Visit, all: number, at: number): number {
    const { last } = this
    this.last = { own, all, at }
    // Who has just come knows nothing of their pace, and so does not go by what they had.
    if (last === undefined) return Infinity
    if (at <= last.at) return 0
    return ((all - last.all - (own - last.own)) * (at - last.at + at - saidAt)) / (at - last.at)
  }

  private tell(fact: Fact): void {
    for (const listener of this.listeners) listener(fact)
  }
}

/** Under which name a fact is kept: a newer one of the same name replaces it. */
const nameOf = (fact: Told): string => {
  switch (fact._tag) {
    case "Benched":
    case "Readmitted":
      return JSON.stringify(["bench", fact.scope, fact.id, fact.within])
    case "Opened":
    case "Closed":
      return JSON.stringify(["circuit", fact.scope, fact.id])
    case "Draining":
    case "Resumed":
      return JSON.stringify(["drain", fact.keyId])
    case "Added":
    case "Removed":
      return JSON.stringify(["member", fact.keyId])
    default:
      return JSON.stringify([fact._tag, fact.keyId])
  }
}

/** One end for each process; the first reads credit for all. */
export const make = (
  time: VirtualTime,
  processes: number,
  { everySeconds, lagSeconds }: NonNullable<Scenario["facts"]>
): ReadonlyArray<SharedFacts.SharedFacts> => {
  const board = new Board()
  const lag = lagSeconds * 1000
  const every = Math.max(everySeconds * 1000, lag)
  const visit = (member: Member, at: number): void => {
    time.at(at, () => {
      const said = member.says(time.now)
      time.at(at + lag / 2, () => {
        const answer = board.visited(member, said)
        time.at(at + lag, () => {
          member.hears(said, answer, time.now)
          // Only now: what is told next must not count as heard with what was told before.
          visit(member, at + every)
        })
      })
    })
  }
  return Array.from({ length: processes }, (_, index): SharedFacts.SharedFacts => {
    const member = new Member()
    visit(member, time.now + (every * index) / processes)
    return {
      name: "lab",
      publish: member.publish,
      attach: member.attach,
      leads: () => index === 0,
      facts: Stream.callback<Fact>((queue) =>
        Effect.acquireRelease(
          Effect.sync(() => member.listen((fact) => void Queue.offerUnsafe(queue, fact))),
          (stop) => Effect.sync(stop)
        )
      )
    }
  })
}
