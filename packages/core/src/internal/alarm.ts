/**
 * One timer for all who wait for a time: it is set to the earliest, and asks the clock of the pool.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** Timers of the platform hold 31 bits of milliseconds; whoever is woken early just sets the alarm again. */
const longest = 2 ** 31 - 1

/** When somebody is asked again whose time has passed without freeing anything. */
const overdue = 1000

export class Alarm {
  private readonly clock: Clock.Clock
  private readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  private readonly ring: () => void
  private timer: Fiber.Fiber<void> | undefined
  /** When it rings, in milliseconds since the epoch; `-Infinity` once it is closed: no time is to come any more. */
  at = Infinity

  constructor(clock: Clock.Clock, run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>, ring: () => void) {
    this.clock = clock
    this.run = run
    this.ring = ring
  }

  /** Rings at the time, unless it rings before. */
  set(time: number): void {
    const now = this.clock.currentTimeMillisUnsafe()
    // A fact that still holds behind its own time would else be asked for without a pause.
    const at = time > now ? time : now + overdue
    if (at >= this.at) return
    this.cancel()
    this.at = at
    // At least one, so that it never rings inside of this step.
    const millis = Math.min(Math.max(1, at - now), longest)
    this.timer = this.run(
      Effect.andThen(
        Effect.sleep(millis),
        Effect.sync(() => {
          this.timer = undefined
          this.at = Infinity
          this.ring()
        })
      )
    )
  }

  /** Rings for nobody, until it is set again. */
  rest(): void {
    if (this.at === -Infinity) return
    this.cancel()
    this.at = Infinity
  }

  /** Closes for good, and rings a last time for those who wait to be told. */
  close(): void {
    this.cancel()
    this.at = -Infinity
    this.ring()
  }

  private cancel(): void {
    const { timer } = this
    this.timer = undefined
    timer?.interruptUnsafe()
  }
}
