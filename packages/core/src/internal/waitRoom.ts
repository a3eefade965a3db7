/**
 * Requests that wait for a permit, first come, first served. Nothing here polls: whoever frees a permit serves the next.
 */
import type { Demand } from "./demand.ts"
import type { OpenLease } from "./openLease.ts"

/** A request that waits. */
export interface Waiter {
  /** The demand as of now: the time is read anew. */
  readonly demand: () => Demand
  /**
   * Hands over a lease, or `undefined` when waiting has become pointless. From here on the waiter owns the lease; the
   * result resumes it.
   */
  readonly answer: (lease: OpenLease | undefined, demand: Demand) => () => void
  readonly die: (defect: unknown) => void
}

/** What the wait room asks the engine. */
export interface Desk {
  readonly acquire: (demand: Demand) => OpenLease | undefined
  readonly busy: (demand: Demand) => boolean
}

export class WaitRoom {
  private readonly desk: Desk
  private readonly waiters = new Set<Waiter>()
  /** Waiters that have their answer and are yet to be resumed. */
  private readonly answered = new Set<() => void>()
  private resuming = false

  constructor(desk: Desk) {
    this.desk = desk
  }

  get size(): number {
    return this.waiters.size
  }

  enter(waiter: Waiter): void {
    this.waiters.add(waiter)
  }

  leave(waiter: Waiter): void {
    this.waiters.delete(waiter)
  }

  /**
   * Serves all that can be served. The lease is opened here, in the step that freed it, so nobody can barge in between.
   */
  wake(): void {
    this.serveWith(Infinity)
  }

  /**
   * The same after a use has settled. Mostly that frees one permit, so when one waiter has been served and a few behind it
   * cannot be, the rest of a long queue is not asked.
   */
  wakeAfterUse(): void {
    this.serveWith(8)
  }

  private serveWith(patience: number): void {
    if (this.waiters.size === 0) return
    let served = false
    let refused = 0
    for (const waiter of this.waiters) {
      if (this.serve(waiter)) served = true
      else if (served && ++refused >= patience) break
    }
    this.resume()
  }

  /** Gives a waiter its lease, or sends it away when no permit that could be freed would help it any more. */
  private serve(waiter: Waiter): boolean {
    try {
      const demand = waiter.demand()
      const lease = this.desk.acquire(demand)
      if (lease === undefined && this.desk.busy(demand)) return false
      this.waiters.delete(waiter)
      this.answered.add(waiter.answer(lease, demand))
      return lease !== undefined
    } catch (defect) {
      // A selector that throws fails the request it was asked for, not the one that has just settled.
      this.waiters.delete(waiter)
      this.answered.add(() => waiter.die(defect))
      return false
    }
  }

  /**
   * Resumes who has an answer, one after the other. A fiber runs as soon as it is resumed, and may settle its use and so
   * free a permit at once: to resume the next one from there would nest as deep as the queue is long.
   */
  private resume(): void {
    if (this.resuming) return
    this.resuming = true
    try {
      for (const resume of this.answered) {
        this.answered.delete(resume)
        resume()
      }
    } finally {
      this.resuming = false
    }
  }
}
