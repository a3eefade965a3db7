/**
 * Metrics of a balancer and its pool, as Effect's own: `PrometheusMetrics` and `Otlp` of `effect/observability` export them.
 * `docs/telemetry.md` has them all in a table.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Balancer, KeyPool } from "@evenkeel/core"
import { catalogue, type Definition } from "./internal/catalogue.ts"
import { Counts } from "./internal/counts.ts"
import { Gauges, type TroubledCircuit } from "./internal/gauges.ts"
import { Names } from "./internal/names.ts"

export type { Definition } from "./internal/catalogue.ts"
export type { TroubledCircuit } from "./internal/gauges.ts"
export { states, type State } from "./internal/states.ts"

/**
 * Options of the metrics.
 */
export interface Options<R = never> {
  /**
   * How many models get a label of their own, the first that come; the others share `other`. A whole number from 0 up.
   * Default 100: more than most programs use, and few enough for a server of metrics. Counters have up to as many series as
   * keys times models: with a thousand keys, take less.
   */
  readonly maxModels?: number | undefined
  /** Models that have a label of their own whatever comes, besides those `maxModels`. Default: none. */
  readonly models?: ReadonlyArray<string> | undefined
  /** The circuits that are not closed, read with each scrape: `CircuitBreaker.troubled`. Default: none are shown. */
  readonly circuits?: Effect.Effect<ReadonlyArray<TroubledCircuit>, never, R> | undefined
}

/**
 * All metrics: names, units and labels.
 */
export const all: ReadonlyArray<Definition> = Object.values(catalogue)

/** Classes come from the classifier's table and the rows of the program's own. */
const maxClasses = 100

/**
 * Keeps the metrics for as long as the scope is open.
 *
 * **Details**
 *
 * Counters and histograms are written as things happen, and gauges are read when somebody scrapes. The series of a key go when
 * the key leaves the pool. When the scope closes the gauges go, and the counts stay for a last export.
 *
 * The series are in the `MetricRegistry` of the surroundings, with the `CurrentMetricAttributes` of the surroundings: give
 * the telemetry of a second pool in one program attributes of its own.
 *
 * It dies with a `RangeError` that names the option when one is out of its range.
 */
export const make = Effect.fnUntraced(function* <R = never>(
  options: Options<R> = {}
): Effect.fn.Return<void, never, Balancer.Balancer | KeyPool.KeyPool | Scope.Scope | R> {
  const { circuits, maxModels = 100, models = [] } = options
  if (!Number.isInteger(maxModels) || maxModels < 0)
    throw new RangeError(`Metrics: maxModels must be a whole number from 0 up, not ${maxModels}`)
  const balancer = yield* Balancer.Balancer
  const pool = yield* KeyPool.KeyPool
  const context = yield* Effect.context<R>()
  const troubled = circuits && Effect.provideContext(circuits, context)
  const surroundings = context as Context.Context<never>
  const { keys } = yield* pool.snapshot
  const ids = keys.map(({ id }) => id)
  const gauges = yield* Effect.acquireRelease(
    Effect.sync(() => new Gauges(surroundings, pool, balancer, troubled)),
    (gauges) => Effect.sync(() => gauges.close())
  )
  const counts = new Counts(surroundings, new Names(maxModels, models), new Names(maxClasses), ids)
  yield* balancer.observe((event) => {
    counts.take(event)
    gauges.take(event)
  })
})

/**
 * The layer of the metrics.
 */
export const layer = <R = never>(
  options?: Options<R>
): Layer.Layer<never, never, Balancer.Balancer | KeyPool.KeyPool | R> =>
  Layer.effectDiscard(make(options)) as Layer.Layer<never, never, Balancer.Balancer | KeyPool.KeyPool | R>
