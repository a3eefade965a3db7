/**
 * All that a program could see of a run: log lines, spans, metrics, events, errors, snapshots and explanations.
 */
import type { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Outcome, type Balancer, type BalancerEvent, type KeyPool, type PoolEvent } from "@evenkeel/core"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"

export type Event = BalancerEvent.BalancerEvent | PoolEvent.PoolEvent

export interface Records {
  readonly logs: Array<{ readonly message: unknown; readonly cause: string; readonly annotations: unknown }>
  readonly spans: Array<Tracer.NativeSpan>
  readonly events: Array<Event>
  /** How circuits opened and closed. */
  readonly changes: Array<CircuitBreaker.Change>
  /** What requests failed with. */
  readonly errors: Array<unknown>
  /** Snapshots, explanations and services, by what they are. */
  readonly seen: Array<readonly [what: string, value: unknown]>
  readonly rejections: Array<unknown>
  /** What counts what happens; it belongs to this run alone. */
  readonly metrics: Effect.Effect<string>
  /** Everything that runs in here is recorded. */
  readonly recording: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export const make: Effect.Effect<Records, never, Scope.Scope> = Effect.gen(function* () {
  const logs: Records["logs"] = []
  const spans: Records["spans"] = []
  const rejections: Records["rejections"] = []
  const logger = Logger.make(({ cause, fiber, message }) =>
    logs.push({
      message,
      cause: Cause.pretty(cause),
      annotations: fiber.getRef(References.CurrentLogAnnotations)
    })
  )
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const rejected = (reason: unknown) => void rejections.push(reason)
  yield* Effect.acquireRelease(
    Effect.sync(() => void process.on("unhandledRejection", rejected)),
    () => Effect.sync(() => void process.off("unhandledRejection", rejected))
  )
  const registry: (typeof Metric.MetricRegistry)["Service"] = new Map()
  return {
    logs,
    spans,
    rejections,
    events: [],
    changes: [],
    errors: [],
    seen: [],
    metrics: Effect.provideService(Metric.dump, Metric.MetricRegistry, registry),
    recording: (effect) =>
      effect.pipe(
        Effect.provide([Logger.layer([logger]), Layer.succeed(Tracer.Tracer, tracer)]),
        Effect.provideService(Metric.MetricRegistry, registry),
        Effect.provideService(References.MinimumLogLevel, "All")
      )
  }
})

/** Writes all events of the balancer and its pool down, for as long as the scope is open; returns once it hears them. */
export const listen = Effect.fnUntraced(function* (
  { changes, events }: Records,
  balancer: Balancer.Balancer["Service"],
  circuits: CircuitBreaker.CircuitBreaker["Service"],
  pool: KeyPool.KeyPool["Service"]
) {
  yield* Effect.forkScoped(
    Stream.runForEach(circuits.changes, (change) => Effect.sync(() => void changes.push(change))),
    { startImmediately: true }
  )
  yield* Effect.forkScoped(
    Stream.runForEach(balancer.events, (event) => Effect.sync(() => void events.push(event))),
    { startImmediately: true }
  )
  const [key] = yield* pool.keys
  if (key === undefined) return
  const sign = Effect.andThen(
    pool.change(key.id, {}),
    balancer.use(() => Effect.void, { outcome: () => Outcome.success(0) })
  )
  const heard = () => ["KeyChanged", "Settled"].every((tag) => events.some((event) => event._tag === tag))
  while (!heard()) yield* Effect.andThen(sign, Effect.sleep(1))
  events.length = 0
})
