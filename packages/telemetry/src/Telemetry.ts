/**
 * Metrics and logs of a balancer and its pool, in one layer. Spans need none: `@evenkeel/openrouter` makes them wherever a
 * tracer is provided, such as by `effect/observability`'s `Otlp`.
 */
import * as Layer from "effect/Layer"
import type { Balancer, KeyPool } from "@evenkeel/core"
import * as Logs from "./Logs.ts"
import * as Metrics from "./Metrics.ts"

/**
 * Options of the layer: those of `Metrics` and of `Logs`, or `false` for none of it.
 */
export interface Options<R = never> {
  readonly metrics?: Metrics.Options<R> | false | undefined
  readonly logs?: Logs.Options | false | undefined
}

/**
 * Counts and logs what happens, for as long as its scope is open.
 *
 * **Details**
 *
 * It listens, and nothing else knows of it: a program without this layer pays nothing. The metrics are Effect's, in the
 * `MetricRegistry` of the program, so `PrometheusMetrics` and `Otlp` of `effect/observability` export them. The logs go to
 * the program's own loggers.
 *
 * It dies with a `RangeError` that names the option when one is out of its range.
 *
 * **Gotchas**
 *
 * The balancer and the pool must be those that the program uses: give them with `Layer.provideMerge`, as below.
 *
 * **Example**
 *
 * ```ts
 * import { NodeHttpClient } from "@effect/platform-node"
 * import { KeyPool } from "@evenkeel/core"
 * import { LeastInFlight } from "@evenkeel/least-in-flight"
 * import { OpenRouter } from "@evenkeel/openrouter"
 * import { Telemetry } from "@evenkeel/telemetry"
 * import { Layer } from "effect"
 *
 * const live = Telemetry.layer().pipe(
 *   Layer.provideMerge(OpenRouter.layer),
 *   Layer.provide([LeastInFlight.layer(), NodeHttpClient.layerUndici]),
 *   Layer.provideMerge(KeyPool.layerConfig)
 * )
 * Layer.isLayer(live) // => true
 * ```
 */
export const layer = <R = never>(
  options: Options<R> = {}
): Layer.Layer<never, never, Balancer.Balancer | KeyPool.KeyPool | R> =>
  Layer.merge(
    options.metrics === false ? Layer.empty : Metrics.layer(options.metrics),
    options.logs === false ? Layer.empty : Logs.layer(options.logs)
  )
