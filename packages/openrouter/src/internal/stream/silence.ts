/**
 * The silence of streams. To race every wait for bytes against a sleep would cost more than the bytes themselves; here a wait
 * costs a number that is written down, and one timer looks at the numbers of all streams.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** A stream that may be waiting. */
export interface Waiting {
  /** When it has waited too long, in milliseconds since the epoch; `Infinity` while it does not wait. */
  readonly due: number
  /** Where it stands among the others; the register's own. */
  place: number
  readonly cut: () => void
}

/** Timers of the platform hold 31 bits of milliseconds. */
const longest = 2 ** 31 - 1

/** Of the streams that go by one clock. */
export class Silences {
  /** In no order, each at its own `place`: a `Set` that is changed with every stream keeps garbage alive (ADR 14). */
  private readonly streams: Array<Waiting> = []
  private readonly clock: Clock.Clock
  private timer: Fiber.Fiber<void> | undefined
  /** When the timer rings. */
  private at = Infinity

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  open(stream: Waiting): void {
    stream.place = this.streams.push(stream) - 1
  }

  /** Nobody is kept by a timer that no stream needs. */
  close(stream: Waiting): void {
    const { streams } = this
    if (streams[stream.place] !== stream) return
    const last = streams.pop()!
    if (last !== stream) {
      streams[stream.place] = last
      last.place = stream.place
    }
    if (streams.length > 0) return
    this.timer?.interruptUnsafe()
    this.timer = undefined
    this.at = Infinity
  }

  /**
   * When a wait is too long that begins now. Mostly that is later than the timer rings, and when it rings it finds out who is due
   * next: waits that end in time never touch it.
   */
  due(millis: number): number {
    const now = this.clock.currentTimeMillisUnsafe()
    const due = now + millis
    if (due < this.at) this.set(due, now)
    return due
  }

  private set(at: number, now: number): void {
    this.timer?.interruptUnsafe()
    this.at = at
    const millis = Math.min(Math.max(1, at - now), longest)
    this.timer = Effect.runFork(Effect.andThen(this.clock.sleep(Duration.millis(millis)), this.ring))
  }

  private readonly ring = Effect.sync(() => {
    this.timer = undefined
    this.at = Infinity
    const now = this.clock.currentTimeMillisUnsafe()
    let next = Infinity
    // A copy: a stream that is cut may close at once.
    for (const stream of this.streams.slice()) {
      if (stream.due <= now) stream.cut()
      else next = Math.min(next, stream.due)
    }
    if (next < this.at) this.set(next, now)
  })
}

const silences = new WeakMap<Clock.Clock, Silences>()

export const silencesBy = (clock: Clock.Clock): Silences => {
  const known = silences.get(clock)
  if (known !== undefined) return known
  const made = new Silences(clock)
  silences.set(clock, made)
  return made
}
