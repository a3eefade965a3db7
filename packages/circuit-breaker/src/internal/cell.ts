/**
 * The circuit of one key: a synchronous state machine over times that it is given.
 */
import type { Breaker, Filter } from "@evenkeel/core"
import type { Trip } from "../TripPolicy.ts"

/** What all circuits of a breaker share. */
export interface Settings {
  /** Milliseconds of the n-th opening in a row, from 1. */
  readonly openMillis: (openings: number) => number
  /** Numbers generations over all keys, so that no circuit ever meets a number of one that had its id before. */
  readonly generation: () => number
}

/** An admission that teaches nothing, whatever comes of it. */
const unheard: Breaker.Admission = 0

export class Cell {
  /**
   * Why the key cannot serve, and by that the state: `undefined` is closed; `circuit-open` is open until its time is up
   * and half-open from then on; `probing` is half-open with the probe under way. So the filter only hands it out.
   */
  private no: Filter.Ineligible | undefined
  /** Which policy tripped. */
  by = ""
  /**
   * Changes whenever the circuit opens or closes, so an admission says by itself what it is: this number, a use of the
   * closed circuit; its negative, the probe of the open one; any other, a use that is too old to teach anything.
   */
  private generation: number
  private openings = 0
  /** How long it last opened for, and since when it is closed. */
  private lastOpenMillis = 0
  private closedAt = -Infinity
  private readonly trip: Trip
  private readonly settings: Settings

  constructor(trip: Trip, settings: Settings) {
    this.trip = trip
    this.settings = settings
    this.generation = settings.generation()
  }

  /** Why the key cannot serve; nothing when it is the turn of a probe. */
  blocks(nowMillis: number): Filter.Ineligible | undefined {
    const { no } = this
    return no === undefined || isOver(no, nowMillis) ? undefined : no
  }

  /** Since when the circuit is not closed, and until when it is open; `undefined` if it is closed. */
  get trouble(): Filter.Ineligible | undefined {
    return this.no
  }

  admit(nowMillis: number): Breaker.Admission {
    const { no } = this
    if (no === undefined) return this.generation
    if (!isOver(no, nowMillis)) return unheard
    this.no = { reason: "probing", scope: "key", since: no.since, until: undefined }
    return -this.generation
  }

  succeeded(admission: Breaker.Admission, nowMillis: number): void {
    if (admission === -this.generation) this.close(nowMillis)
    else if (admission === this.generation) this.trip.success(nowMillis)
  }

  /** `atLeast` is how long the key asked to be left alone, in milliseconds. */
  failed(admission: Breaker.Admission, atLeast: number, nowMillis: number): void {
    if (admission === -this.generation) this.reopen(this.by, atLeast, nowMillis)
    else if (admission === this.generation) {
      const by = this.trip.failure(nowMillis)
      if (by === undefined) return
      // A key that stays closed for as long as it was open has recovered; one that does not is still in the same trouble.
      if (nowMillis - this.closedAt >= this.lastOpenMillis) this.openings = 0
      this.reopen(by, atLeast, nowMillis)
    }
  }

  /** The use taught nothing: a probe frees its slot, and the next use is the probe. */
  ignored(admission: Breaker.Admission, nowMillis: number): void {
    if (admission !== -this.generation) return
    this.no = { reason: "circuit-open", scope: "key", since: this.no!.since, until: nowMillis }
  }

  open(by: string, millis: number, nowMillis: number): void {
    this.by = by
    this.generation = this.settings.generation()
    // Without an end that is known, only a hand closes it.
    const until = millis < Infinity ? nowMillis + millis : undefined
    this.no = { reason: "circuit-open", scope: "key", since: nowMillis, until }
  }

  close(nowMillis: number): void {
    this.no = undefined
    this.closedAt = nowMillis
    this.generation = this.settings.generation()
    this.trip.reset()
  }

  private reopen(by: string, atLeast: number, nowMillis: number): void {
    this.lastOpenMillis = Math.max(this.settings.openMillis(++this.openings), atLeast)
    this.open(by, this.lastOpenMillis, nowMillis)
  }
}

const isOver = (no: Filter.Ineligible, nowMillis: number): boolean =>
  no.until !== undefined && nowMillis >= no.until
