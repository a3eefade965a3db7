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
import { lineOf } from "./internal/line.ts"

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

/** What waits to be written; of more the oldest is lost, so that a slow logger holds up nobody. */
const capacity = 1024

/**
 * Logs for as long as the scope is open; what waits when it closes is still written.
 *
 * **Details**
 *
 * The loggers and the least level (`References.MinimumLogLevel`) are those of the surroundings. What would not be logged is
 * let go at once, and all else is written by a fiber of its own, outside of the requests.
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<void, never, Balancer.Balancer | Scope.Scope> {
  const { level: of = levelOf } = options
  const balancer = yield* Balancer.Balancer
  const least = yield* References.MinimumLogLevel
  const queue = yield* Queue.sliding<readonly [Event, LogLevel.Severity]>(capacity)
  const write = ([event, level]: readonly [Event, LogLevel.Severity]) => {
    const [message, annotations] = lineOf(event)
    return Effect.annotateLogs(Effect.logWithLevel(level)(message), annotations)
  }
  yield* Effect.addFinalizer(() => Effect.flatMap(Queue.clear(queue), Effect.forEach(write, { discard: true })))
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(queue), write)))
  yield* balancer.observe((event) => {
    const level = of(event)
    if (level === "None" || LogLevel.isLessThan(level, least)) return
    Queue.offerUnsafe(queue, [event, level === "All" ? "Trace" : level])
  })
})

/**
 * The layer of the logs.
 */
export const layer = (options?: Options): Layer.Layer<never, never, Balancer.Balancer> =>
  Layer.effectDiscard(make(options))
