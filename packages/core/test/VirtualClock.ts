/**
 * A clock that goes on when it is told to. Unlike `TestClock` it wakes who sleeps in the very step that moves it, so that
 * plain code can drive a pool.
 */
import { type Clock, Duration, Effect } from "effect"

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

export class VirtualClock implements Clock.Clock {
  private now = 0
  /** By their time, and equals in the order of their coming. */
  private readonly asleep: Array<Sleeper> = []

  /** How many sleep. */
  get sleepers(): number {
    return this.asleep.length
  }

  /** Goes on to the time, and wakes all whose time has come, each at its own. */
  advance(to: number): void {
    for (let next = this.asleep[0]; next !== undefined && next.at <= to; next = this.asleep[0]) {
      this.asleep.shift()
      this.now = next.at
      next.wake()
    }
    this.now = to
  }

  readonly sleep = (duration: Duration.Duration): Effect.Effect<void> =>
    Effect.callback((resume) => {
      const at = this.now + Duration.toMillis(duration)
      if (at === Infinity) return
      const sleeper: Sleeper = { at, wake: () => resume(Effect.void) }
      const behind = this.asleep.findIndex((other) => other.at > at)
      this.asleep.splice(behind < 0 ? this.asleep.length : behind, 0, sleeper)
      return Effect.sync(() => {
        const index = this.asleep.indexOf(sleeper)
        if (index >= 0) this.asleep.splice(index, 1)
      })
    })

  readonly currentTimeMillisUnsafe = () => this.now
  readonly currentTimeMillis = Effect.sync(() => this.now)
  readonly currentTimeNanosUnsafe = () => BigInt(this.now) * 1_000_000n
  readonly currentTimeNanos = Effect.sync(() => BigInt(this.now) * 1_000_000n)
  readonly monotonicTimeNanosUnsafe = this.currentTimeNanosUnsafe
  readonly monotonicTimeNanos = this.currentTimeNanos
}
