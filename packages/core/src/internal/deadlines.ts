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
  /**
   * In no order, each at its own `place`. A `Set` would do the same, and keep garbage alive: when one is full it goes on in
   * another table, the old one points there, and once one of them has grown old, collecting the young ones spares all the
   * tables that follow, with all that was under way when they were left.
   */
  private readonly pending: Array<Timed<any, any>> = []
  private readonly alarm: Alarm

  /** The alarm is to call `ring`. */
  constructor(alarm: Alarm) {
    this.alarm = alarm
  }

  /** Cuts off what is due by now. */
  ring(nowMillis: number): void {
    let next = Infinity
    // A copy: what is cut off may leave at once.
    for (const one of this.pending.slice()) {
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
      const { pending } = this
      const one = new Timed(fiber, at, late, pending.length)
      pending.push(one)
      this.alarm.set(at)
      fiber.addObserver((exit) => {
        const last = pending.pop()!
        if (last !== one) {
          pending[one.place] = last
          last.place = one.place
        }
        // Nobody should be kept by a timer that no use needs.
        if (pending.length === 0) this.alarm.rest()
        resume(one.ended(exit))
      })
      return Fiber.interrupt(fiber)
    })
  }
}

/** A use under way, that is cut off at a time. */
class Timed<A, E> {
  readonly at: number
  place: number
  private readonly fiber: Fiber.Fiber<A, E>
  private readonly late: Effect.Effect<never, E>
  private isLate = false

  constructor(fiber: Fiber.Fiber<A, E>, at: number, late: Effect.Effect<never, E>, place: number) {
    this.fiber = fiber
    this.at = at
    this.place = place
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
