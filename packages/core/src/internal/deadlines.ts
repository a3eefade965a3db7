/**
 * Deadlines of uses under way. A race with a sleep would cost two fibers and a timer for each use; here a use is one fiber, and
 * one timer is set for all of them.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Alarm } from "./alarm.ts"

export class Deadlines {
  private readonly pending = new Set<Timed<unknown, unknown>>()
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
    return Effect.callback<A, E, R>((resume) => {
      const { context } = Fiber.getCurrent()!
      const fiber = Effect.runForkWith(context as Context.Context<R>)(effect)
      const done = fiber.pollUnsafe()
      if (done !== undefined) return resume(done)
      const one = new Timed(fiber, at, late)
      this.pending.add(one)
      this.alarm.set(at)
      fiber.addObserver((exit) => {
        this.pending.delete(one)
        // Nobody should be kept by a timer that no use needs.
        if (this.pending.size === 0) this.alarm.rest()
        resume(one.ended(exit))
      })
      return Fiber.interrupt(fiber)
    })
  }
}

/** A use under way, that is cut off at a time. */
class Timed<A, E> {
  readonly at: number
  private readonly fiber: Fiber.Fiber<A, E>
  private readonly late: Effect.Effect<never, E>
  private isLate = false

  constructor(fiber: Fiber.Fiber<A, E>, at: number, late: Effect.Effect<never, E>) {
    this.fiber = fiber
    this.at = at
    this.late = late
  }

  cut(): void {
    this.isLate = true
    this.fiber.interruptUnsafe()
  }

  ended(exit: Exit.Exit<A, E>): Effect.Effect<A, E> {
    return this.isLate && Exit.hasInterrupts(exit) ? this.late : exit
  }
}
