/**
 * Virtual time: a heap of events, a `Clock` that sleeps in it, and a `Scheduler` that never leaves the thread. An hour
 * passes as fast as its events can be run, and in one order only.
 *
 * Effect's `TestClock` is made for tests of a few sleeps: it keeps them in a sorted list, and moves by real turns of the
 * event loop. Here a step is a function call.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"

/** Something that happens at a time. Without `run` it was called off. */
export interface Event {
  readonly at: number
  readonly sequence: number
  run: (() => void) | undefined
}

const before = (a: Event, b: Event) => a.at < b.at || (a.at === b.at && a.sequence < b.sequence)

export class VirtualTime {
  /** Whole milliseconds since the epoch, as `Date.now` has them. */
  now: number
  readonly clock: Clock.Clock
  readonly scheduler = new Tasks()
  private readonly heap: Array<Event> = []
  private sequence = 0

  constructor(startsAt: number) {
    this.now = startsAt
    const nanos = () => BigInt(this.now) * 1_000_000n
    this.clock = {
      currentTimeMillisUnsafe: () => this.now,
      currentTimeMillis: Effect.sync(() => this.now),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: nanos,
      monotonicTimeNanos: Effect.sync(nanos),
      sleep: (duration) => this.sleep(Duration.toMillis(duration))
    }
  }

  /** Has something happen at a time, or now if that has passed; what comes first at one time happens first. */
  at(millis: number, run: () => void): Event {
    const event: Event = { at: Math.max(this.now, Math.round(millis)), sequence: this.sequence++, run }
    const { heap } = this
    let i = heap.push(event) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(event, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = event
    return event
  }

  /** Goes to the next event, and lets it and all that follows from it at once happen; `false` if there is none. */
  step(): boolean {
    const event = this.next()
    if (event === undefined) return false
    this.now = event.at
    const { run } = event
    event.run = undefined
    run?.()
    this.scheduler.drain()
    return true
  }

  private sleep(millis: number): Effect.Effect<void> {
    if (millis <= 0) return Effect.yieldNow
    if (millis === Infinity) return Effect.never
    return Effect.callback((resume) => {
      const event = this.at(this.now + millis, () => resume(Effect.void))
      return Effect.sync(() => {
        event.run = undefined
      })
    })
  }

  private next(): Event | undefined {
    const { heap } = this
    const top = heap[0]
    const last = heap.pop()
    if (last === undefined || last === top) return top
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
    return top
  }
}

/**
 * One queue for the tasks of all fibers. Whoever drives time empties it; while nobody does (layers are built, scopes are
 * closed) it empties itself, so that these may be asynchronous.
 */
class Tasks implements Scheduler.Scheduler {
  readonly executionMode = "async"
  private readonly tasks: Array<readonly [priority: number, task: () => void]> = []
  private draining = false
  private planned = false
  private readonly host = new Scheduler.MixedScheduler().makeDispatcher()
  private readonly dispatcher: Scheduler.SchedulerDispatcher = {
    scheduleTask: (task, priority) => {
      const { tasks } = this
      let i = tasks.length
      while (i > 0 && tasks[i - 1]![0] > priority) i--
      if (i === tasks.length) tasks.push([priority, task])
      else tasks.splice(i, 0, [priority, task])
      if (this.draining || this.planned) return
      this.planned = true
      this.host.scheduleTask(() => {
        this.planned = false
        this.drain()
      }, 0)
    },
    flush: () => this.drain()
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return this.dispatcher
  }

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield
  }

  /** While `f` runs, tasks wait for it to drain them. */
  driven<A>(f: () => A): A {
    this.draining = true
    try {
      return f()
    } finally {
      this.draining = false
    }
  }

  drain(): void {
    const { draining, tasks } = this
    if (tasks.length === 0) return
    this.draining = true
    for (let next = tasks.shift(); next !== undefined; next = tasks.shift()) next[1]()
    this.draining = draining
  }
}
