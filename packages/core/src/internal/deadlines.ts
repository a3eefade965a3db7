/**
 * Deadlines of uses under way. A race with a sleep would cost two fibers and a timer for each use; here a use is one fiber, and
 * one timer is set for all of them.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Alarm } from "./alarm.ts"

/** A use that is cut off at a time. */
interface Pending {
  readonly at: number
  readonly cut: () => void
}

export class Deadlines {
  private readonly pending = new Set<Pending>()
  private readonly alarm: Alarm

  /** The alarm is to call `ring`. */
  constructor(alarm: Alarm) {
    this.alarm = alarm
  }

  /** Cuts off what is due by now. */
  ring(nowMillis: number): void {
    let next = Infinity
    for (const one of this.pending) {
      if (one.at <= nowMillis) one.cut()
      else next = Math.min(next, one.at)
    }
    if (next < Infinity) this.alarm.set(next)
  }

  /**
   * Runs the effect, or fails with `late` at the time, in milliseconds since the epoch. Interruptible, like the effect itself.
   */
  run<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    at: number,
    late: Effect.Effect<never, E>
  ): Effect.Effect<A, E, R> {
    return Effect.contextWith((context) =>
      Effect.callback<A, E>((resume) => {
        let isLate = false
        const fiber = Effect.runForkWith(context)(effect)
        const done = fiber.pollUnsafe()
        if (done !== undefined) return resume(done)
        const one: Pending = {
          at,
          cut: () => {
            isLate = true
            fiber.interruptUnsafe()
          }
        }
        this.pending.add(one)
        this.alarm.set(at)
        fiber.addObserver((exit) => {
          this.pending.delete(one)
          // Nobody should be kept by a timer that no use needs.
          if (this.pending.size === 0) this.alarm.rest()
          resume(isLate && Exit.hasInterrupts(exit) ? late : exit)
        })
        return Fiber.interrupt(fiber)
      })
    )
  }
}
