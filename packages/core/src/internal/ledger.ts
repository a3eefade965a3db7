/**
 * The credit of one key between two readings: reading − debits since − holds of requests in flight.
 */
import type { Reading } from "../Credits.ts"
import { Burn } from "./burn.ts"

/** Debits are kept by the second, and no more than this many: older ones join their neighbour. */
const maxDebits = 512
const bucketMillis = 1000

interface Debit {
  at: number
  usd: number
}

/** An amount to calculate with. One `NaN` or `Infinity` would stay in the sums for ever, so what is no amount is none. */
export const usable = (usd: number | undefined): number =>
  usd !== undefined && usd > 0 && usd < Infinity ? usd : 0

export class Ledger {
  private remaining: number | undefined
  private debits: Array<Debit> = []
  /** USD spent that the last reading does not contain. */
  debited = 0
  /** USD that requests in flight of this process may cost. */
  held = 0
  /** The same of all other processes. */
  heldElsewhere = 0
  /** What they have set aside for their next. */
  asideElsewhere = 0
  /** What this process has spent since it knows the key. */
  spent = 0
  private readonly burn = new Burn()
  private freshFor = Infinity
  private unread = false
  /** When the reading was asked for; `undefined` before the first. */
  readAt: number | undefined
  resetsAt: number | undefined
  /** USD of the cap; `undefined` if there is none, or it is not known. */
  limit: number | undefined

  /** USD left; `undefined` if uncapped or not known. */
  get credit(): number | undefined {
    return this.remaining === undefined
      ? undefined
      : this.remaining - this.debited - this.held - this.heldElsewhere
  }

  /** USD left for this process and for whom nothing is set aside; `undefined` if uncapped or not known. */
  get available(): number | undefined {
    const { credit } = this
    return credit === undefined ? undefined : credit - this.asideElsewhere
  }

  /** Whether what is left pays for the estimate; without one, whether anything is left. Uncapped or not known: it does. */
  affords(estimate: number | undefined): boolean {
    if (this.remaining === undefined) return true
    const left = this.remaining - this.debited - this.held - this.heldElsewhere - this.asideElsewhere
    return left > 0 && (estimate === undefined || estimate <= left)
  }

  /** What this process has spent and holds. */
  get outlay(): number {
    return this.spent + this.held
  }

  /** A request in flight may cost this much. */
  hold(usd: number): void {
    this.held += usable(usd)
  }

  /** The request settled: its hold is gone, and what it cost is debited. */
  settle(hold: number, cost: number, nowMillis: number): void {
    this.held -= usable(hold)
    // Sums of floating point numbers do not return to zero by themselves; an idle key has no holds.
    if (this.held < 1e-9) this.held = 0
    const debit = usable(cost)
    if (debit === 0) return
    this.burn.add(debit, nowMillis)
    this.spent += debit
    this.debit(debit, nowMillis)
  }

  /** What was spent since the last reading, here or elsewhere. */
  debit(debit: number, nowMillis: number): void {
    this.debited += debit
    const last = this.debits.at(-1)
    if (last !== undefined && nowMillis - last.at < bucketMillis) last.usd += debit
    else this.debits.push({ at: nowMillis, usd: debit })
    if (this.debits.length > maxDebits) {
      // The older amount takes the younger time: it is forgotten later, never earlier, than it should be.
      const oldest = this.debits.shift()!
      this.debits[0]!.usd += oldest.usd
    }
  }

  /**
   * Takes a reading. What settled before it was asked for (less the lag of its source) is in it and is dropped here;
   * what settled later, or is in flight, is not in it and stays. So nothing is missed, and counted twice only within the
   * lag, where the error is on the safe side.
   *
   * Answers `false` to a reading that was asked for before the last one, and takes nothing from it.
   */
  read(reading: Reading, nowMillis: number): boolean {
    const requestedAt = reading.requestedAt ?? nowMillis
    if (this.readAt !== undefined && requestedAt < this.readAt) return false
    // `null` is how OpenRouter says that there is no cap.
    this.remaining = reading.remaining ?? undefined
    this.readAt = requestedAt
    this.resetsAt = reading.resetsAt
    this.limit = reading.limit ?? undefined
    this.freshFor = reading.freshFor ?? Infinity
    this.unread = false
    const horizon = requestedAt - (reading.lag ?? 0)
    // A bucket holds up to a second of debits behind its time, so it is dropped only when all of it is before the horizon.
    this.debits = this.debits.filter((debit) => debit.at + bucketMillis > horizon)
    this.debited = this.debits.reduce((sum, debit) => sum + debit.usd, 0)
    return true
  }

  /** A reading that was due did not come: what is known stays, and is stale. */
  miss(): void {
    this.unread = true
  }

  /** Whether there is a reading, and a younger one was due. */
  stale(nowMillis: number): boolean {
    return this.readAt !== undefined && (this.unread || nowMillis - this.readAt > this.freshFor)
  }

  /** USD an hour that requests on this key cost of late. */
  burnRate(nowMillis: number): number {
    return this.burn.rate(nowMillis)
  }

  /** Whether the last reading is too old to go by, or the cap has been filled up since. */
  outdated(nowMillis: number, maxAge: number): boolean {
    const { readAt, resetsAt } = this
    if (readAt === undefined) return false
    return (
      nowMillis - readAt > maxAge || (resetsAt !== undefined && readAt < resetsAt && resetsAt <= nowMillis)
    )
  }

  /** The last reading is outdated: the credit is unknown again. */
  forget(): void {
    this.remaining = undefined
  }
}
