/**
 * The gateway's own metrics, and the registry as Prometheus reads it.
 */
import * as Duration from "effect/Duration"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import type { Passage } from "./traffic.ts"

const requests = Metric.counter("evenkeel_gateway_requests_total", {
  description:
    "Requests that are over, by route and by the status that the client was told (499: it had gone)",
  incremental: true
})

const durations = Metric.timer("evenkeel_gateway_request_duration_milliseconds", {
  description: "From the coming of a request to the last byte of its answer",
  // Up to the ten minutes that a call may take by default.
  boundaries: [10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 600_000]
})

const inFlight = Metric.gauge("evenkeel_gateway_in_flight", { description: "Requests in work" })

/** Updates the metrics; series are made once for each route and status, of which there are few. */
export class Meter {
  private readonly context: Context.Context<never>
  private readonly series = new Map<string, Metric.Metric<number, unknown>>()
  private readonly timers = new Map<string, Metric.Metric<Duration.Duration, unknown>>()

  constructor(context: Context.Context<never>) {
    this.context = context
  }

  inFlight(count: number): void {
    inFlight.updateUnsafe(count, this.context)
  }

  passed({ route, startedAt, status }: Passage, nowMillis: number): void {
    const name = `${route} ${status}`
    let counter = this.series.get(name)
    if (counter === undefined) {
      counter = Metric.withAttributes(requests, { route, status: `${status}` })
      this.series.set(name, counter)
    }
    counter.updateUnsafe(1, this.context)
    let timer = this.timers.get(route)
    if (timer === undefined) this.timers.set(route, (timer = Metric.withAttributes(durations, { route })))
    timer.updateUnsafe(Duration.millis(Math.max(0, nowMillis - startedAt)), this.context)
  }
}

export const exposed = Effect.map(PrometheusMetrics.format(), (text) =>
  HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
)
