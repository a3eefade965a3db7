/**
 * One circuit: a synchronous state machine over times that it is given.
 */
import { SlowStart, type Breaker, type Filter } from "@evenkeel/core"
import type { Change, CircuitId, State } from "../Circuit.ts"
import type { SavedCircuit } from "../Saved.ts"
import type { Trip } from "../TripPolicy.ts"
import type { Settings } from "./settings.ts"

/** What all circuits of a breaker share. */
export interface Book {
  /** How many changes there have been. It tells what was before a change from what came after. */
  sequence: number
  /** Set while somebody listens. */
  tell: ((change: Change) => void) | undefined
  /** Set while other processes listen, and this is not a change that they have told. */
  share: ((cell: Cell, change: Change) => void) | undefined
}

/** What one use gives back when it ends: the slots of probes, and places in slow starts. */
export interface Ticket {
  readonly keyId: string
  /** The sequence at which it was admitted. */
  readonly at: number
  readonly probes: Array<Cell>
  readonly warms: Array<SlowStart.SlowStart>
}

const closed: State = { _tag: "Closed" }

export class Cell {
  readonly circuit: CircuitId
  /** When it last opened or closed: only uses admitted since then have a say. 0 until it first opens. */
  changed = 0
  /** The opening, and by that the state: open until its time is up, half-open from then on; without one it is closed. */
  private no: (Filter.Ineligible & { readonly since: number }) | undefined
  /** The use that is the probe, and the verdict on all others meanwhile. */
  private probe: Breaker.Admission | undefined
  private probing: Filter.Ineligible | undefined
  /** What opened it: a policy, or a hand. */
  private by = ""
  private hand = false
  private openings = 0
  /** How long it last opened for by itself, and since when it is closed. */
  private openMillis = 0
  private closedAt = -Infinity
  private warm: SlowStart.SlowStart | undefined
  private told: State["_tag"] = "Closed"
  private readonly trip: Trip
  private readonly settings: Settings
  private readonly book: Book
  /** The circuits of its scope that are not closed, or in a slow start. */
  private readonly troubled: Map<string, Cell>

  constructor(circuit: CircuitId, settings: Settings, book: Book, troubled: Map<string, Cell>) {
    this.circuit = circuit
    this.settings = settings
    this.book = book
    this.troubled = troubled
    this.trip = settings.trip.make()
  }

  get closed(): boolean {
    return this.no === undefined
  }

  /** Until when it is open, `Infinity` for one that only a hand closes. */
  get until(): number {
    return this.no === undefined ? -Infinity : (this.no.until ?? Infinity)
  }

  /** Why requests on the way of this circuit cannot go; nothing when it is the turn of a probe. */
  blocks(nowMillis: number): Filter.Ineligible | undefined {
    const { no, warm } = this
    if (no !== undefined) return this.probing ?? (nowMillis >= this.until ? undefined : no)
    if (warm === undefined || !warm.blocks(nowMillis)) return undefined
    return { reason: "warming", scope: this.circuit.scope, since: warm.since, until: warm.until }
  }

  /** Whether a use that is admitted now will have something to give back when it ends. */
  holds(nowMillis: number): boolean {
    if (this.no !== undefined) return this.probe === undefined && nowMillis >= this.until
    if (this.warm?.over(nowMillis) === true) this.calm()
    return this.warm !== undefined
  }

  /** Takes what the use will give back: the slot of the probe, or a place in the slow start. */
  hold(admission: Breaker.Admission, ticket: Ticket, nowMillis: number): void {
    if (this.no === undefined) {
      this.warm!.admit()
      ticket.warms.push(this.warm!)
      return
    }
    const { since, soft } = this.no
    ticket.probes.push(this)
    this.probe = admission
    this.probing = { reason: "probing", scope: this.circuit.scope, since, until: undefined, soft }
    if (this.told !== "HalfOpen") this.tell("HalfOpen", this.by, nowMillis)
  }

  /** The use has ended: if it was the probe, the next one is. */
  release(admission: Breaker.Admission): void {
    if (admission === this.probe) this.endProbe()
  }

  /** `at` is the sequence at which the use was admitted. */
  succeeded(admission: Breaker.Admission, at: number, nowMillis: number): void {
    if (at < this.changed) return
    if (this.no === undefined) this.trip.success(nowMillis)
    else if (admission === this.probe) this.close("probe", nowMillis)
    // It was let through although the circuit was open, for want of another key: a guess is refuted, a fact is not.
    else if (!this.hand) this.close("success", nowMillis)
  }

  /** `asked` is how long the scope asked to be left alone, in milliseconds. */
  failed(
    admission: Breaker.Admission,
    at: number,
    asked: number,
    random: () => number,
    nowMillis: number
  ): void {
    if (at < this.changed) return
    let by: string | undefined
    if (this.no === undefined) {
      by = this.trip.failure(nowMillis)
      if (by === undefined) return
      // What stays closed for as long as it was open has recovered; what does not is still in the same trouble.
      if (nowMillis - this.closedAt >= this.openMillis) this.openings = 0
    } else if (admission === this.probe) by = this.hand ? "probe" : this.by
    // It was let through although the circuit was open: that it failed was to be expected.
    else return
    this.openMillis = Math.max(this.settings.openMillis(++this.openings, random), asked)
    this.open(by, false, this.openMillis, nowMillis)
  }

  /** Of two deadlines the later one holds; what a hand opens is a fact from then on. */
  open(by: string, hand: boolean, millis: number, nowMillis: number): void {
    const under = nowMillis < this.until ? this.no : undefined
    this.set(by, hand, under?.since ?? nowMillis, Math.max(nowMillis + millis, this.until))
    this.tell("Open", by, nowMillis)
  }

  close(by: string, nowMillis: number): void {
    this.change()
    this.trip.reset()
    if (this.no === undefined) return
    const { slowStart } = this.settings
    this.no = undefined
    this.closedAt = nowMillis
    if (slowStart > 0) this.warm = new SlowStart.SlowStart(nowMillis, slowStart)
    else this.calm()
    this.tell("Closed", by, nowMillis)
  }

  /** As if it were new, except that what was admitted before has no say. */
  reset(nowMillis: number): void {
    this.close("hand", nowMillis)
    this.openings = 0
    this.openMillis = 0
    this.closedAt = -Infinity
    this.calm()
  }

  state(nowMillis: number): State {
    const { by, no, probe } = this
    if (no === undefined) return closed
    if (nowMillis < this.until && probe === undefined)
      return { _tag: "Open", since: no.since, until: no.until, by }
    return { _tag: "HalfOpen", since: no.since, probing: probe !== undefined, by }
  }

  /** Nothing if it is closed. */
  get saved(): SavedCircuit | undefined {
    const { by, hand, no, openings } = this
    if (no === undefined) return undefined
    const openMillis = this.openMillis === Infinity ? null : this.openMillis
    return { ...this.circuit, since: no.since, until: no.until ?? null, by, hand, openings, openMillis }
  }

  restore(saved: SavedCircuit, nowMillis: number): void {
    const until = saved.until ?? Infinity
    const later = until > this.until
    this.set(
      later ? saved.by : this.by,
      saved.hand || this.hand,
      Math.min(saved.since, this.no?.since ?? Infinity),
      Math.max(until, this.until)
    )
    this.openings = Math.max(this.openings, saved.openings)
    this.openMillis = Math.max(this.openMillis, saved.openMillis ?? Infinity)
    this.tell("Open", this.by, nowMillis)
  }

  private set(by: string, hand: boolean, since: number, until: number): void {
    const { scope } = this.circuit
    this.change()
    this.by = by
    this.hand = hand
    this.troubled.set(this.circuit.id, this)
    this.no = {
      reason: "circuit-open",
      scope,
      since,
      // Without an end that is known, only a hand closes it.
      until: until < Infinity ? until : undefined,
      // Keys and their owners are refused on a guess from failures; what is behind all keys refuses the request itself.
      soft: !hand && scope !== "upstream" && scope !== "host"
    }
  }

  /** What was admitted before has no say any more. */
  private change(): void {
    this.endProbe()
    this.changed = ++this.book.sequence
  }

  /** It is closed, and all may go. */
  private calm(): void {
    this.warm = undefined
    this.troubled.delete(this.circuit.id)
  }

  private endProbe(): void {
    this.probe = undefined
    this.probing = undefined
  }

  private tell(to: State["_tag"], by: string, at: number): void {
    const from = this.told
    this.told = to
    const { share, tell } = this.book
    if (share === undefined && tell === undefined) return
    const change: Change = { ...this.circuit, from, to, at, by }
    tell?.(change)
    share?.(this, change)
  }
}
