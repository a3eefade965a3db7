/**
 * All metrics, in one place: names, units, labels. `docs/telemetry.md` shows them as a table, and a test compares the two.
 */
import * as Metric from "effect/Metric"

/** What is known of a metric besides its values. */
export interface Definition<
  Type extends "counter" | "gauge" | "histogram" = "counter" | "gauge" | "histogram"
> {
  readonly name: string
  readonly type: Type
  /** As OpenTelemetry writes it: what is in braces is counted. */
  readonly unit: string
  readonly labels: ReadonlyArray<string>
  readonly description: string
}

const define =
  <Type extends Definition["type"]>(type: Type) =>
  (name: string, unit: string, labels: string, description: string): Definition<Type> => ({
    name: `evenkeel_${name}`,
    type,
    unit,
    labels: labels === "" ? [] : labels.split(" "),
    description
  })

const counter = define("counter")
const gauge = define("gauge")
const histogram = define("histogram")

// Labels with the key come first with the key: all of a key's series go when it leaves the pool.
export const catalogue = {
  requests: counter("requests_total", "{request}", "model outcome class", "Requests that are over"),
  requestDuration: histogram(
    "request_duration_seconds",
    "s",
    "model outcome",
    "From the beginning of a request to its answer (of a stream: to its first content), waits and all attempts included"
  ),
  waits: histogram(
    "wait_duration_seconds",
    "s",
    "model",
    "What an attempt waited for, if it did: in the queue, and between retries"
  ),
  queued: counter("queued_total", "{request}", "model", "Waits in the queue that began"),
  hedges: counter("hedges_total", "{request}", "model", "Second copies of slow requests"),
  timeToFirstToken: histogram(
    "time_to_first_token_seconds",
    "s",
    "model",
    "From the sending of a stream's attempt to its first content"
  ),
  attempts: counter(
    "attempts_total",
    "{attempt}",
    "key account model outcome class",
    "Attempts that are over"
  ),
  attemptDuration: histogram(
    "attempt_duration_seconds",
    "s",
    "key account outcome",
    "From the picking of a key to the end of the answer's body"
  ),
  rotations: counter(
    "rotations_total",
    "{rotation}",
    "key account class",
    "Requests that left a key for another"
  ),
  retries: counter(
    "retries_total",
    "{retry}",
    "key account class",
    "Requests that were tried again after a wait"
  ),
  tokens: counter("tokens_total", "{token}", "key account model type", "Tokens, as answers told them"),
  cachedTokens: counter(
    "cached_tokens_total",
    "{token}",
    "key account model",
    "Input tokens that were read from a cache: a part of those of the type input"
  ),
  cost: counter("cost_usd_total", "{USD}", "key account model", "What answers cost, as far as they told"),
  benches: counter("benches_total", "{bench}", "scope reason", "Benches that were set or prolonged"),
  keyState: gauge(
    "key_state",
    "{key}",
    "key account state",
    "1 for the state that the key is in, 0 for the others"
  ),
  keyInFlight: gauge("key_in_flight", "{request}", "key account", "Requests in flight"),
  keyMaxInFlight: gauge(
    "key_max_in_flight",
    "{request}",
    "key account",
    "The most requests that may be in flight; only where there is a limit"
  ),
  keyCredit: gauge(
    "key_credit_usd",
    "{USD}",
    "key account",
    "Credit left; only where there is a cap and it was read"
  ),
  keyCreditLimit: gauge(
    "key_credit_limit_usd",
    "{USD}",
    "key account",
    "The cap; only where there is one and it was read"
  ),
  keyCreditAge: gauge("key_credit_age_seconds", "s", "key account", "The age of the last reading of credit"),
  keyLatency: gauge(
    "key_latency_seconds",
    "s",
    "key account",
    "The smoothed latency that strategies see; only where there was an answer"
  ),
  waiting: gauge("waiting", "{request}", "", "Requests that wait for a key"),
  benched: gauge(
    "benched",
    "{bench}",
    "scope",
    "Benches in force besides those of whole keys and their owners"
  ),
  circuits: gauge(
    "circuits",
    "{circuit}",
    "scope state",
    "Circuits that are not closed; only with the option circuits"
  )
} as const

/** Seconds: those of OpenTelemetry's conventions for generative AI, up to the ten minutes that a call may take. */
export const boundaries = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68,
  655.36
]

const attributesOf = ({ labels, unit }: Definition, values: ReadonlyArray<string>) => ({
  unit,
  ...Object.fromEntries(labels.map((label, i) => [label, values[i] ?? "none"]))
})

/** One series of a metric, as Effect has them. */
export const seriesOf = {
  counter: (definition: Definition, values: ReadonlyArray<string>) =>
    Metric.counter(definition.name, {
      description: definition.description,
      attributes: attributesOf(definition, values),
      incremental: true
    }),
  gauge: (definition: Definition, values: ReadonlyArray<string>) =>
    Metric.gauge(definition.name, {
      description: definition.description,
      attributes: attributesOf(definition, values)
    }),
  histogram: (definition: Definition, values: ReadonlyArray<string>) =>
    Metric.histogram(definition.name, {
      description: definition.description,
      attributes: attributesOf(definition, values),
      boundaries
    })
}
