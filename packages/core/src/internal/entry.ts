/**
 * The state of one key, and of the groups it belongs to. Only the engine writes it.
 */
import type { Candidate } from "../Candidate.ts"
import type { Ineligible } from "../Filter.ts"
import type { Key } from "../Key.ts"
import { Domain } from "./domain.ts"
import type { FleetLoad } from "../SharedFacts.ts"
import { Ledger, usable } from "./ledger.ts"
import { Part } from "./part.ts"

const idle = { inFlight: 0, held: 0, aside: 0, users: 0 }

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export class Entry {
  key: Key
  /** One object for the life of the key: what strategies see. */
  readonly view: Mutable<Candidate>
  readonly ledger = new Ledger()
  /** What of the credit is for this process. */
  readonly part = new Part(this.ledger)
  /** The key as a failure domain of its own, and the ones it belongs to; set as the key joins the pool. */
  readonly own: Domain
  account!: Domain
  workspace!: Domain
  /** What was learnt of the owner, not declared: it gives way to what is learnt later. */
  readonly learnt: { account: string | undefined; workspace: string | undefined }
  /** Set while the key takes no new requests. */
  draining: Ineligible | undefined
  removed = false
  /** Uses in flight in this process; what strategies see counts those of the others too. */
  inUse = 0
  /** The same of all other processes, as they told it. */
  private elsewhere = 0
  /** Set while no permit for it is to be had outside of this process. */
  barred: (Ineligible & { readonly until: number }) | undefined
  /** Resumed when nothing is in flight any more. */
  readonly idle = new Set<() => void>()
  /** The pick this key was last offered to; it guards against a selector that chooses what it was not given. */
  offered = 0
  leased = 0
  succeeded = 0
  faulted = 0
  ignored = 0
  /** USD spent, as far as known. */
  spent = 0
  private latencyAt = 0

  constructor(key: Key) {
    this.key = key
    this.own = new Domain("key", key.id)
    this.own.members.add(this)
    this.learnt = { account: undefined, workspace: undefined }
    this.view = {
      ...traitsOf(key),
      id: key.id,
      inFlight: 0,
      credit: undefined,
      creditResetsAt: undefined,
      includesByok: undefined,
      latency: undefined
    }
  }

  adopt(key: Key): void {
    this.key = key
    Object.assign(this.view, traitsOf(key))
  }

  /** Uses in flight in all processes. Caps go by it; strategies go by what is expected of the others by now. */
  get inFlight(): number {
    return this.inUse + this.elsewhere
  }

  /** What the others do with the key, and `expected` of them in flight. */
  adjust(load: FleetLoad | undefined, expected: number, alone: boolean): void {
    const { aside, held, inFlight, users } = load ?? idle
    this.view.inFlight = this.inUse + expected
    this.elsewhere = inFlight
    this.ledger.heldElsewhere = usable(held)
    this.ledger.asideElsewhere = usable(aside)
    this.view.credit = this.ledger.credit
    this.part.heard(users, alone)
  }

  /** Nothing is in flight any more, or nobody should wait for it. */
  rest(): void {
    for (const done of this.idle) done()
    this.idle.clear()
  }

  /** Peak EWMA: a slower use counts at once, faster ones only with time (Finagle's PeakEwma; half-life about 7 s). */
  observe(elapsedMillis: number, nowMillis: number): void {
    const old = this.view.latency
    if (old === undefined || elapsedMillis > old) this.view.latency = elapsedMillis
    else {
      const decay = Math.exp(-Math.max(0, nowMillis - this.latencyAt) / 10_000)
      this.view.latency = old * decay + elapsedMillis * (1 - decay)
    }
    this.latencyAt = nowMillis
  }
}

const traitsOf = (key: Key) => ({
  account: key.account,
  workspace: key.workspace,
  weight: key.weight,
  tier: key.tier,
  labels: key.labels,
  maxInFlight: key.maxInFlight
})
