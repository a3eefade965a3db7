/**
 * Requests that wait for a key: by priority, and among equals first come, first served. Nothing here polls: whoever frees
 * a key serves the next, and an alarm rings when the first of those returns that are out until a time.
 */
import type { OpenLease } from "./openLease.ts"

/** What waiting could lead to. */
export interface Prospect {
  /** Whether the end of a use can help. */
  readonly busy: boolean
  /** The earliest time at which a key returns that is worth waiting for; `Infinity` if none is known. */
  readonly returns: number
  /** The earliest time at which any may be tried again: who waits anyway is served then. */
  readonly until: number
}

/** A request that waits. */
export interface Waiter {
  /** Higher goes first. */
  readonly priority: number
  /** Requests of one lane are much alike: where a few of them cannot be served, the rest need not be asked. */
  readonly lane: string | undefined
  /** Filters, picks and counts, as of now. */
  readonly acquire: () => OpenLease | undefined
  /** What it can still hope for; `undefined` when waiting has become pointless. */
  readonly prospect: () => Prospect | undefined
  /**
   * Hands over a lease, or `undefined` when waiting has become pointless. From here on the waiter owns the lease; the
   * result resumes it.
   */
  readonly answer: (lease: OpenLease | undefined) => () => void
  readonly die: (defect: unknown) => void
}

/** How many in a lane are asked in vain before the rest of it is left in peace. */
const patience = 8

/** Requests that are much alike, in the order of their coming. */
interface Lane {
  readonly key: string
  readonly priority: number
  readonly waiters: Map<Waiter, number>
  readonly patience: number
}

/** How far a round has come in a lane. */
interface Turn {
  readonly lane: Lane
  readonly rest: Iterator<[Waiter, number]>
  head: readonly [Waiter, number] | undefined
  refused: number
}

/** Who belongs to no lane shares one with the others that do not, and with nobody else. */
const keyOf = ({ lane, priority }: Waiter): string =>
  lane === undefined ? `${priority}` : `${priority} ${lane}`

export class WaitRoom {
  /** By falling priority. */
  private lanes: ReadonlyArray<Lane> = []
  private readonly byKey = new Map<string, Lane>()
  /** Waiters that have their answer and are yet to be resumed. */
  private readonly answered = new Set<() => void>()
  private readonly setAlarm: (at: number) => void
  private came = 0
  private resuming = false
  /** How often somebody may have been served: who comes in behind such a step has missed it. */
  woken = 0
  size = 0

  constructor(setAlarm: (at: number) => void) {
    this.setAlarm = setAlarm
  }

  enter(waiter: Waiter, until: number): void {
    const key = keyOf(waiter)
    let lane = this.byKey.get(key)
    if (lane === undefined) {
      // Who belongs to no lane is like nobody else, so all of those are asked.
      const { priority } = waiter
      lane = { key, priority, waiters: new Map(), patience: waiter.lane === undefined ? Infinity : patience }
      this.byKey.set(key, lane)
      this.lanes = [...this.lanes, lane].toSorted((a, b) => b.priority - a.priority)
    }
    lane.waiters.set(waiter, this.came++)
    this.size++
    this.setAlarm(until)
  }

  leave(waiter: Waiter): void {
    const lane = this.byKey.get(keyOf(waiter))
    if (lane === undefined || !lane.waiters.delete(waiter)) return
    this.size--
    if (lane.waiters.size > 0) return
    this.byKey.delete(lane.key)
    this.lanes = this.lanes.filter((other) => other !== lane)
  }

  /** The last of those with the least priority, if that is less than the given one. */
  lastBelow(priority: number): Waiter | undefined {
    let last: Waiter | undefined
    let came = -1
    for (let i = this.lanes.length - 1; i >= 0; i--) {
      const lane = this.lanes[i]!
      if (lane.priority >= priority || (last !== undefined && lane.priority > last.priority)) break
      for (const [waiter, order] of lane.waiters) {
        if (order > came) {
          last = waiter
          came = order
        }
      }
    }
    return last
  }

  /** Sends a waiter away to make room. */
  dismiss(waiter: Waiter): void {
    this.leave(waiter)
    this.answered.add(waiter.answer(undefined))
    this.resume()
  }

  /**
   * Serves all that can be served. The lease is opened here, in the step that freed it, so nobody can barge in between.
   */
  wake(): void {
    this.woken++
    if (this.size === 0) return
    const { lanes } = this
    for (let i = 0; i < lanes.length;) {
      let j = i + 1
      while (j < lanes.length && lanes[j]!.priority === lanes[i]!.priority) j++
      this.serve(lanes.slice(i, j))
      i = j
    }
    this.resume()
  }

  /** Serves the lanes of one priority, in the order of coming over all of them. */
  private serve(lanes: ReadonlyArray<Lane>): void {
    let turns = lanes.map((lane): Turn => {
      const rest = lane.waiters.entries()
      return { lane, rest, head: rest.next().value, refused: 0 }
    })
    while (turns.length > 0) {
      let turn = turns[0]!
      for (const other of turns) {
        if (other.head !== undefined && (turn.head === undefined || other.head[1] < turn.head[1]))
          turn = other
      }
      if (turn.head === undefined) return
      if (!this.answer(turn.head[0])) turn.refused++
      turn.head = turn.refused < turn.lane.patience ? turn.rest.next().value : undefined
      if (turn.head === undefined) turns = turns.filter((other) => other !== turn)
    }
  }

  /** Gives a waiter its lease, or sends it away when nothing could help it any more; `false` if it goes on waiting. */
  private answer(waiter: Waiter): boolean {
    try {
      const lease = waiter.acquire()
      if (lease === undefined) {
        const prospect = waiter.prospect()
        if (prospect !== undefined) {
          this.setAlarm(prospect.until)
          return false
        }
      }
      this.leave(waiter)
      this.answered.add(waiter.answer(lease))
    } catch (defect) {
      // A selector that throws fails the request it was asked for, not the one that has just settled.
      this.leave(waiter)
      this.answered.add(() => waiter.die(defect))
    }
    return true
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
