import { NodeHttpClient, NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Metric } from "effect"
import { HttpClient, HttpServer } from "effect/http"
import { createServer } from "node:http"
import { service } from "./service.ts"

const live = service.pipe(
  Layer.provideMerge(HttpServer.layerTestClient.pipe(Layer.provide(NodeHttpClient.layerUndici))),
  Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { host: "127.0.0.1", port: 0 })),
  Layer.provide(Logger.layer([])),
  Layer.provide(Layer.succeed(Metric.MetricRegistry, new Map()))
)

const metrics = Effect.flatMap(HttpClient.get("/metrics"), (response) => response.text)

const until = (holds: (text: string) => boolean): Effect.Effect<string, unknown, HttpClient.HttpClient> =>
  Effect.flatMap(metrics, (text) =>
    holds(text) ? Effect.succeed(text) : Effect.andThen(Effect.sleep(50), until(holds))
  )

describe("a program with /metrics", () => {
  it.live("shows requests, tokens and costs by key and model, and the state of each key", () =>
    Effect.gen(function* () {
      const text = yield* until(
        (text) =>
          /evenkeel_requests_total\{[^}]*outcome="answered"/.test(text) &&
          /evenkeel_time_to_first_token_seconds_count/.test(text) &&
          /evenkeel_cost_usd_total\{key="atlas-\d",account="atlas",model="[^"]+"\} 0\.0\d*[1-9]/.test(text) &&
          /evenkeel_key_state\{key="boreas-1",[^}]*state="rejected"\} 1/.test(text)
      )
      assert.match(text, /evenkeel_key_state\{key="atlas-1",[^}]*state="ready"\} 1/)
      assert.match(text, /# TYPE evenkeel_request_duration_seconds histogram/)
      assert.notInclude(text, "sk-or-")
    }).pipe(Effect.provide(live))
  )
})
