// Traces, metrics and logs over OTLP, with Effect's own exporter, to a collector on loopback.
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Stream } from "effect"
import { FetchHttpClient, HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Otlp, OtlpExporter } from "effect/observability"
import { createServer } from "node:http"
import { hello, isolated, model, running } from "./utils.ts"

/** What the collector was sent, by signal. */
const collecting = Effect.gen(function* () {
  const sent: Record<string, Array<any>> = { traces: [], metrics: [], logs: [] }
  const routes = HttpRouter.add(
    "POST",
    "/v1/:signal",
    Effect.gen(function* () {
      const { signal } = yield* HttpRouter.params
      const request = yield* HttpServerRequest.HttpServerRequest
      sent[signal!]!.push(yield* request.json)
      return HttpServerResponse.empty()
    })
  )
  const context = yield* Layer.build(
    HttpRouter.serve(routes, { disableListenLog: true, disableLogger: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { host: "127.0.0.1", port: 0 }))
    )
  )
  const { address } = Context.get(context, HttpServer.HttpServer)
  return { sent, baseUrl: HttpServer.formatAddress(address) }
})

const attributesOf = (attributes: ReadonlyArray<any>): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

describe("OTLP", () => {
  it.live("has the traces, the metrics and the logs of a bad day", () =>
    Effect.gen(function* () {
      const { baseUrl, sent } = yield* collecting
      const otlp = Otlp.layerJson({ baseUrl, resource: { serviceName: "keel" } }).pipe(
        Layer.provide(FetchHttpClient.layer)
      )
      const secrets: Array<string> = []
      yield* Effect.gen(function* () {
        yield* running({ simulator: { keys: [{ name: "a" }, { name: "b" }] } }, function* (world) {
          secrets.push(...world.simulator.keys.map(({ secret }) => Redacted.value(secret)))
          yield* world.simulator.revoke("a")
          yield* world.openrouter.chat(hello)
          yield* Stream.runDrain(world.openrouter.chatStream(hello))
          yield* Effect.logInfo("done")
          yield* (yield* OtlpExporter.Flusher).flush
        })
      }).pipe(Effect.provide(otlp), isolated)

      const spans = sent["traces"]!.flatMap(({ resourceSpans }) =>
        resourceSpans.flatMap(({ scopeSpans }: any) => scopeSpans.flatMap(({ spans }: any) => spans))
      )
      const calls = spans.filter(({ name }) => name === `chat ${model}`)
      assert.lengthOf(calls, 2)
      for (const call of calls) {
        assert.deepInclude(attributesOf(call.attributes), {
          "gen_ai.operation.name": "chat",
          "gen_ai.provider.name": "openrouter",
          "gen_ai.request.model": model,
          "gen_ai.usage.output_tokens": 4
        })
        const attempts = spans.filter(({ parentSpanId }) => parentSpanId === call.spanId)
        assert.isAtLeast(attempts.length, 1)
        for (const { name, traceId } of attempts) {
          assert.strictEqual(name, "evenkeel.attempt")
          assert.strictEqual(traceId, call.traceId)
        }
      }

      const metrics = sent["metrics"]!.flatMap(({ resourceMetrics }) =>
        resourceMetrics.flatMap(({ scopeMetrics }: any) =>
          scopeMetrics.flatMap(({ metrics }: any) => metrics)
        )
      )
      const metric = (name: string) => metrics.findLast((each) => each.name === name)
      assert.strictEqual(metric("evenkeel_request_duration_seconds").unit, "s")
      assert.strictEqual(metric("evenkeel_cost_usd_total").unit, "{USD}")
      const requests = metric("evenkeel_requests_total").sum
      assert.isTrue(requests.isMonotonic)
      assert.strictEqual(requests.dataPoints[0].asDouble, 2)
      const ready = metric("evenkeel_key_state").gauge.dataPoints.filter(
        ({ asDouble }: any) => asDouble === 1
      )
      assert.sameDeepMembers(
        ready.map(({ attributes }: any) => {
          const { key, state } = attributesOf(attributes)
          return [key, state]
        }),
        [
          ["a", "rejected"],
          ["b", "ready"]
        ]
      )

      const logs = sent["logs"]!.flatMap(({ resourceLogs }) =>
        resourceLogs.flatMap(({ scopeLogs }: any) => scopeLogs.flatMap(({ logRecords }: any) => logRecords))
      )
      const benched = logs.find(({ body }) => body.stringValue === "A bench was set")
      assert.deepInclude(attributesOf(benched.attributes), {
        "evenkeel.scope": "key",
        "evenkeel.id": "a",
        "evenkeel.reason": "rejected"
      })

      const all = JSON.stringify(sent)
      assert.isAtLeast(secrets.length, 2)
      for (const secret of secrets) assert.notInclude(all, secret.slice(-8))
    })
  )
})
