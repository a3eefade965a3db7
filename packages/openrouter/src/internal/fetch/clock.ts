import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** The longest time that a timer takes. */
const longest = 2 ** 31 - 1

/** Nothing that waits should keep a process alive; only Node has timers that do. */
const unreffed = (timer: unknown): void => {
  if (typeof timer === "object" && timer !== null && "unref" in timer && typeof timer.unref === "function")
    timer.unref()
}

/**
 * The clock, with sleeps that keep no process alive: a script that has its answers should end, although credit would be
 * read again in a minute.
 */
export const idleClock: Effect.Effect<Clock.Clock> = Effect.withFiber((fiber) => {
  const clock = fiber.getRef(Clock.Clock)
  const sleepMillis = (millis: number): Effect.Effect<void> => {
    if (!(millis > 0)) return Effect.yieldNow
    if (millis === Infinity) return Effect.never
    const rest = millis > longest ? sleepMillis(millis - longest) : Effect.void
    return Effect.callback((resume) => {
      const timer = setTimeout(() => resume(rest), Math.min(millis, longest))
      unreffed(timer)
      return Effect.sync(() => clearTimeout(timer))
    })
  }
  const sleep = (duration: Duration.Duration) => sleepMillis(Duration.toMillis(duration))
  return Effect.succeed(Object.create(clock, { sleep: { value: sleep } }) as Clock.Clock)
})
