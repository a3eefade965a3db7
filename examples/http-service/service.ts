// An Effect HTTP service that answers with the help of many keys, and says how they are.
//
//   POST /summaries   {"text": "…"}  →  {"summary": "…"}
//   GET  /keys                       →  the state of every key, without secrets
import { NodeHttpClient } from "@effect/platform-node"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatResponse, OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"

const Body = Schema.Struct({ text: Schema.NonEmptyString })

const summaries = HttpRouter.add(
  "POST",
  "/summaries",
  Effect.gen(function* () {
    const { text } = yield* HttpServerRequest.schemaBodyJson(Body)
    const openrouter = yield* OpenRouter.OpenRouter
    const response = yield* openrouter.chat({
      model: "openai/gpt-4o-mini",
      max_completion_tokens: 60,
      messages: [{ role: "user", content: `Summarise in one sentence: ${text}` }]
    })
    return HttpServerResponse.jsonUnsafe({ summary: ChatResponse.text(response) })
  }).pipe(
    // No key can serve: the caller is told when to come back.
    Effect.catchTag("NoEligibleKey", (error) =>
      Effect.clockWith((clock) => {
        const wait = error.retryAt === undefined ? 60_000 : error.retryAt - clock.currentTimeMillisUnsafe()
        const headers = { "retry-after": `${Math.max(1, Math.ceil(wait / 1000))}` }
        return Effect.succeed(
          HttpServerResponse.jsonUnsafe({ error: error.message }, { status: 503, headers })
        )
      })
    ),
    Effect.catchTag("OpenRouterError", (error) =>
      Effect.succeed(HttpServerResponse.jsonUnsafe({ error: error.message }, { status: 502 }))
    ),
    Effect.catchTag("SchemaError", (error) =>
      Effect.succeed(HttpServerResponse.jsonUnsafe({ error: error.message }, { status: 400 }))
    )
  )
)

const keys = HttpRouter.add(
  "GET",
  "/keys",
  KeyPool.KeyPool.use((pool) =>
    Effect.map(pool.snapshot, (snapshot) => HttpServerResponse.jsonUnsafe(snapshot))
  )
)

/** The routes with all they need but keys and a server. */
export const service = HttpRouter.serve(Layer.mergeAll(summaries, keys)).pipe(
  Layer.provide(OpenRouter.layer),
  Layer.provide([LeastInFlight.layer(), Retry.layer(), CircuitBreaker.layer(), NodeHttpClient.layerUndici])
)
