/**
 * A budget: what is spent, and what requests in flight may spend at most. A request that could overspend it waits for those
 * in flight, which mostly cost less than they may; if none is left, the budget is reached.
 */
import * as Effect from "effect/Effect"

interface Waiting {
  readonly usd: number
  readonly resume: (fits: boolean) => void
}

export class Budget {
  private readonly limit: number
  private spent: number
  private held = 0
  private inFlight = 0
  private reached = false
  /** No more than there are requests at a time. */
  private readonly waiting: Array<Waiting> = []

  constructor(limit: number, spent: number) {
    this.limit = limit
    this.spent = spent
  }

  /** Spent before: by an earlier run. */
  add(usd: number): void {
    this.spent += usd
  }

  /** Holds the most that a request may cost; `false` when the budget is reached. */
  acquire(usd: number): Effect.Effect<boolean> {
    return Effect.callback((resume) => {
      const waiting: Waiting = { usd, resume: (fits) => resume(Effect.succeed(fits)) }
      this.waiting.push(waiting)
      this.admit()
      return Effect.sync(() => {
        const at = this.waiting.indexOf(waiting)
        if (at !== -1) this.waiting.splice(at, 1)
      })
    })
  }

  /** Takes a hold back, for what the request has cost. */
  settle(held: number, cost: number): void {
    this.inFlight--
    // Sums of many fractions drift; nothing in flight is exactly nothing.
    this.held = this.inFlight === 0 ? 0 : this.held - held
    this.spent += cost
    this.admit()
  }

  private admit(): void {
    for (let first = this.waiting[0]; first !== undefined; first = this.waiting[0]) {
      const fits = !this.reached && this.spent + this.held + first.usd <= this.limit
      if (!fits && !this.reached && this.inFlight > 0) return
      this.waiting.shift()
      if (fits) {
        this.inFlight++
        this.held += first.usd
      } else this.reached = true
      first.resume(fits)
    }
  }
}
