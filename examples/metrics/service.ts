// A program on many keys that says how it is: /metrics for Prometheus, and structured logs.
import { NodeHttpClient } from "@effect/platform-node"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Telemetry } from "@evenkeel/telemetry"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Layer, Schedule, Stream } from "effect"
import { HttpRouter } from "effect/http"
import { PrometheusMetrics } from "effect/observability"

/** Where the dashboard's panel of circuits has its numbers from. */
const circuits = Effect.flatMap(CircuitBreaker.CircuitBreaker, ({ troubled }) => troubled)

/** OpenRouter on the simulator's keys, under telemetry. */
const openrouter = Layer.unwrap(
  Simulator.Simulator.useSync(({ baseUrl, keys }) =>
    Telemetry.layer({ metrics: { circuits } }).pipe(
      Layer.provideMerge(OpenRouter.layerWith({ baseUrl })),
      Layer.provide([LeastInFlight.layer(), Retry.layer(), NodeHttpClient.layerUndici]),
      Layer.provideMerge(CircuitBreaker.layer()),
      Layer.provideMerge(
        KeyPool.layer({
          keys: keys.map(({ name, secret }) => ({
            id: name,
            account: name.split("-")[0],
            secret,
            maxInFlight: 8
          }))
        })
      )
    )
  )
)

const models = ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5", "deepseek/deepseek-chat"]

/** Requests without end, half of them streams; one key is revoked, and providers fail now and then. */
const load = Effect.gen(function* () {
  const { chat, chatStream } = yield* OpenRouter.OpenRouter
  const simulator = yield* Simulator.Simulator
  yield* simulator.revoke("boreas-1")
  yield* simulator.fault({ probability: 0.05, action: Simulator.errors.badGateway502() })
  const send = (lane: number) => {
    const request = {
      model: models[lane % models.length]!,
      messages: [{ role: "user" as const, content: "What keeps a ship upright?" }]
    }
    const sent = lane % 2 === 0 ? chat(request) : Stream.runDrain(chatStream(request))
    return Effect.ignore(sent)
  }
  yield* Effect.forEach(
    Array.from({ length: 12 }, (_, lane) => lane),
    (lane) => Effect.forkScoped(Effect.repeat(send(lane), Schedule.spaced("50 millis")))
  )
})

const simulator = Simulator.layer({
  accounts: [{ name: "atlas" }, { name: "boreas" }],
  keys: [
    { name: "atlas-1", account: "atlas", limit: 5 },
    { name: "atlas-2", account: "atlas" },
    { name: "boreas-1", account: "boreas" },
    { name: "boreas-2", account: "boreas" }
  ],
  latency: [50, 400],
  tokensPerSecond: 200
})

/** `GET /metrics`, and the load; it needs a server. */
export const service = HttpRouter.serve(PrometheusMetrics.layerHttp(), { disableLogger: true }).pipe(
  Layer.provideMerge(Layer.effectDiscard(load)),
  Layer.provide(openrouter),
  Layer.provide(simulator)
)
