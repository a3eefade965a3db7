/**
 * The credit of one key between two readings: reading − debits since − holds of requests in flight.
 */
import type { Reading } from "../Credits.ts"

/** Debits are kept by the second, and no more than this many: older ones join their neighbour. */
const maxDebits = 512
const bucketMillis = 1000

interface Debit {
  at: number
  usd: number
}

export class Ledger {
  private remaining: number | undefined
  private debits: Array<Debit> = []
  private debited = 0
  private held = 0
  /** When the reading was asked for; `undefined` before the first. */
  readAt: number | undefined
  resetsAt: number | undefined

  /** USD left; `undefined` if uncapped or not known. */
  get credit(): number | undefined {
    return this.remaining === undefined ? undefined : this.remaining - this.debited - this.held
  }

  /** A request in flight may cost this much. */
  hold(usd: number): void {
    this.held += usd
  }

  /** The request settled: its hold is gone, and what it cost is debited. */
  settle(hold: number, cost: number, nowMillis: number): void {
    this.held -= hold
    // Sums of floating point numbers do not return to zero by themselves; an idle key has no holds.
    if (this.held < 1e-9) this.held = 0
    if (cost <= 0) return
    this.debited += cost
    const last = this.debits.at(-1)
    if (last !== undefined && nowMillis - last.at < bucketMillis) last.usd += cost
    else this.debits.push({ at: nowMillis, usd: cost })
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
   */
  read(reading: Reading): void {
    if (this.readAt !== undefined && reading.requestedAt < this.readAt) return
    this.remaining = reading.remaining
    this.readAt = reading.requestedAt
    this.resetsAt = reading.resetsAt
    const horizon = reading.requestedAt - (reading.lag ?? 0)
    // A bucket holds up to a second of debits behind its time, so it is dropped only when all of it is before the horizon.
    this.debits = this.debits.filter((debit) => debit.at + bucketMillis > horizon)
    this.debited = this.debits.reduce((sum, debit) => sum + debit.usd, 0)
  }

  /** The last reading is too old to go by: the credit is unknown again. */
  forget(): void {
    this.remaining = undefined
  }
}
