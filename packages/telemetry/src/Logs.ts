/**
 * What happens to a balancer and its pool, as structured logs: a fixed message each, and all else as annotations.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import { Balancer, type BalancerEvent, type PoolEvent } from "@evenkeel/core"
import { Calm } from "./internal/calm.ts"
import { lineOf, type Repeated } from "./internal/line.ts"

/** Whatever may be logged. */
export type Event = BalancerEvent.BalancerEvent | PoolEvent.PoolEvent

/**
 * Options of the logs.
 */
export interface Options {
  /** The level of an event; "None" for no log of it. Default: `levelOf`. */
  readonly level?: ((event: Event) => LogLevel.LogLevel) | undefined
}

/**
 * The level of an event by default: an error where somebody must act (a key was refused), a warning where requests suffer
 * or are about to, information where the pool changes, and less for what belongs to the work of every day.
 */
export const levelOf = (event: Event): LogLevel.Severity => {
  switch (event._tag) {
    case "Benched":
      return event.reason === "rejected" ? "Error" : "Warn"
    case "Refused":
    case "TimedOut":
    case "KeyMissing":
      return "Warn"
    case "Readmitted":
    case "KeyAdded":
    case "KeyChanged":
    case "KeyDraining":
    case "KeyResumed":
    case "KeyRemoved":
      return "Info"
    case "Rotated":
    case "Retried":
    case "Hedged":
    case "Queued":
    case "Finished":
      return "Debug"
    case "Picked":
    case "Settled":
    case "CreditRead":
      return "Trace"
  }
}

interface Entry extends Repeated {
  readonly event: Event
  readonly level: LogLevel.Severity
}

/** What waits to be written; of more the oldest is lost, so that a slow logger holds up nobody. */
const capacity = 1024

/**
 * Logs for as long as the scope is open; what waits when it closes is still written.
 *
 * **Details**
 *
 * The loggers and the least level (`References.MinimumLogLevel`) are those of the surroundings. What would not be logged is
 * let go at once, and all else is written by a fiber of its own, outside of the requests.
 *
 * On a bad day one trouble makes many requests tell of it. A bench that only lasts longer is logged at "Debug". Refused requests,
 * and those whose deadline has passed, are logged once a second each, and `evenkeel.skipped` says how many were left out:
 * the metrics have them all.
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<void, never, Balancer.Balancer | Scope.Scope> {
  const { level: of = levelOf } = options
  const balancer = yield* Balancer.Balancer
  const least = yield* References.MinimumLogLevel
  const calm = new Calm()
  const queue = yield* Queue.sliding<Entry>(capacity)
  const write = ({ event, level, ...repeated }: Entry) => {
    const [message, annotations] = lineOf(event, repeated)
    return Effect.annotateLogs(Effect.logWithLevel(level)(message), annotations)
  }
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(Queue.clear(queue), Effect.forEach(write, { discard: true }))
  )
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(queue), write)))
  yield* balancer.observe((event) => {
    const prolongs = event._tag === "Benched" && calm.prolongs(event)
    const level = prolongs ? "Debug" : of(event)
    if (level === "None" || LogLevel.isLessThan(level, least)) return
    const often = event._tag === "Refused" || event._tag === "TimedOut"
    const skipped = often ? calm.skipped(event) : 0
    if (skipped === undefined) return
    Queue.offerUnsafe(queue, { event, level: level === "All" ? "Trace" : level, prolongs, skipped })
  })
})

/**
 * The layer of the logs.
 */
export const layer = (options?: Options): Layer.Layer<never, never, Balancer.Balancer> =>
  Layer.effectDiscard(make(options))
