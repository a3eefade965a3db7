/**
 * The part of a key's credit that this process may spend before it hears of the others again.
 *
 * What a process has set aside is told to the others as if it were held, and may be spent only after that was heard: so
 * whatever all of them spend at once, and however late one of them is, together they spend no more than there is. It is the
 * escrow of P. O'Neil, "The escrow transactional method", 1986.
 */
import type { Ledger } from "./ledger.ts"

/** How often the demand of the last interval is set aside for the next. */
const headroom = 2

export class Part {
  /** Own outlay may go up to here; `Infinity` while no other process is heard. */
  private ceiling = Infinity
  /** Where the ceiling will be when what was told last has been heard. */
  private told: number | undefined
  private outlayTold = 0
  /** The dearest request since the last telling that was too dear for what was left. */
  private wanted = 0
  /** What the last request may have cost: less is of no use. */
  private request = 0
  private users = 0
  private shared = false
  private readonly ledger: Ledger

  constructor(ledger: Ledger) {
    this.ledger = ledger
  }

  affords(estimate: number | undefined): boolean {
    if (this.ceiling === Infinity) return true
    this.request = estimate ?? 0
    const left = this.ceiling - this.ledger.outlay
    if (left > 0 && (estimate === undefined || estimate <= left)) return true
    this.wanted = Math.max(this.wanted, estimate ?? 0)
    return false
  }

  /** A request was too dear for what was left. */
  get wants(): boolean {
    return this.wanted > 0
  }

  /**
   * What is set aside from now on: an even part, if that is enough for a request, or more where the demand is, but half of
   * the rest at most, so that something is left for who comes next. One request is always enough. What was wanted and is
   * to be had of another key (`elsewhere`) is no demand.
   */
  set(elsewhere = false): number {
    if (elsewhere) this.wanted = 0
    const { available, outlay } = this.ledger
    if (available === undefined || available <= 0) {
      this.told = outlay
      return 0
    }
    const demand = Math.max(0, outlay - this.outlayTold) + this.wanted
    const even = available / (this.users + 2)
    const aside = Math.max(
      even < this.request ? 0 : even,
      Math.min(headroom * demand, Math.max(available / 2, this.wanted))
    )
    this.told = outlay + Math.min(aside, available)
    this.outlayTold = outlay
    this.wanted = 0
    // Less than before holds at once, more only when the others have been told.
    this.ceiling = Math.min(this.ceiling, this.told)
    return this.told - outlay
  }

  /** The others have been heard, `users` of them know the key's credit; or they cannot be heard (`alone`). */
  heard(users: number, alone: boolean): void {
    this.users = users
    this.shared = !alone
    const { available, outlay } = this.ledger
    if (alone || available === undefined) this.ceiling = Infinity
    else this.ceiling = Math.min(this.told ?? outlay, outlay + Math.max(0, available))
  }

  /** A reading came: of what was not known before, nothing is set aside yet. */
  read(): void {
    if (this.shared && this.ceiling === Infinity) this.ceiling = this.ledger.outlay
  }
}
