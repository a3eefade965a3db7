/**
 * What each layer adds to a use of a key that does nothing, at 16 keys; what a refusal costs, and a classification.
 */
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Balancer, Credits, type Filter, KeyPool, Outcome } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { Classifier } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Telemetry } from "@evenkeel/telemetry"
import { Effect, Layer, ManagedRuntime, Stream, Tracer } from "effect"
import { secrets } from "../Client.ts"
import { time, type Timed } from "./time.ts"

export interface LayerRow {
  readonly name: string
  readonly cost: Timed
}

const rows: Array<LayerRow> = []
const add = (name: string, run: () => unknown): void => void rows.push({ name, cost: time(run) })

/** A use that costs what an answer says. */
const options = { outcome: () => Outcome.success(0.000_018), upstream: "openai/gpt-4o-mini", tokens: 400 }
const estimates: Credits.Credits = { ...Credits.unknown, estimate: () => 0.000_02 }

const using = async (
  name: string,
  policies: ReadonlyArray<Layer.Layer<never> | Layer.Layer<CircuitBreaker.CircuitBreaker>>,
  balancing: Balancer.Options = {},
  around: <A, E>(use: Effect.Effect<A, E>) => Effect.Effect<A, E> = (use) => use,
  listener?: Effect.Effect<void, never, Balancer.Balancer | KeyPool.KeyPool>
): Promise<void> => {
  const pool = KeyPool.layer({ keys: secrets })
  const runtime = ManagedRuntime.make(
    policies.reduce<Layer.Layer<Balancer.Balancer | KeyPool.KeyPool, unknown>>(
      (all, policy) => Layer.provide(all, policy),
      Layer.provideMerge(Balancer.layerWith(balancing).pipe(Layer.provide(LeastInFlight.layer())), pool)
    )
  )
  const balancer = await runtime.runPromise(Balancer.Balancer)
  if (listener !== undefined) {
    runtime.runFork(listener)
    await new Promise((resume) => setTimeout(resume, 20))
  }
  const use = around(balancer.use(() => Effect.void, options))
  add(name, () => Effect.runSync(use))
  await runtime.dispose()
}

const breaker = CircuitBreaker.layer()
const retry = Retry.layer()
const credit = Layer.succeed(Credits.Credits, estimates)
const all = [breaker, retry, credit]

add("an Effect that does nothing", () => Effect.runSync(Effect.void))
await using("filter, pick, lease, settle", [])
await using("… with circuit breakers", [breaker])
await using("… with retry", [retry])
await using("… with credit held", [credit])
await using("… with a deadline", [], { timeout: "10 minutes" })
await using("… with all four", all, { timeout: "10 minutes" })
const traced = Tracer.make({ span: (span) => new Tracer.NativeSpan(span) })
await using("… with all, in a span", all, { timeout: "10 minutes" }, (use) =>
  Effect.provideService(Effect.withSpan(use, "request"), Tracer.Tracer, traced)
)
const events = Balancer.Balancer.use(({ events }) => Stream.runDrain(events))
await using("… with all, and a listener to events", all, { timeout: "10 minutes" }, undefined, events)
const telemetry = Layer.launch(Telemetry.layer())
await using("… with all, and metrics and logs", all, { timeout: "10 minutes" }, undefined, telemetry)

const answer = {
  status: 200,
  headers: {},
  body: { id: "gen-0001", choices: [{ message: { content: "yes" } }] }
}
const refused = {
  status: 429,
  headers: { "retry-after": "5" },
  body: { error: { code: 429, message: "Rate limited" } }
}
add("classify an answer", () => Classifier.classify(answer, 0))
add("classify a 429", () => Classifier.classify(refused, 0))

const no: Filter.Filter = () => ({ reason: "no", scope: "key", since: undefined, until: undefined })
const refusing = ManagedRuntime.make(
  Balancer.layerWith({ filters: [no] }).pipe(
    Layer.provide([LeastInFlight.layer(), breaker, retry, credit]),
    Layer.provide(KeyPool.layer({ keys: secrets }))
  )
)
const balancer = await refusing.runPromise(Balancer.Balancer)
const refusal = balancer.use(() => Effect.void, options)
add("refuse: no key of 16 can serve", () => Effect.runSyncExit(refusal))

process.send!(rows, () => process.exit())
