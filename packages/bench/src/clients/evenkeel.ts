import { layerUndici } from "@effect/platform-node/NodeHttpClient"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { type Balancer, KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatChunk, ChatResponse, OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Telemetry } from "@evenkeel/telemetry"
import { UndiciHttpClient } from "@evenkeel/undici"
import { Context, Effect, Layer, Stream, Tracer } from "effect"
import { HttpBody, HttpClient, HttpClientRequest } from "effect/http"
import { body, secretOf, secrets, started, type Make } from "../Client.ts"

/** Somebody listens to spans, and does nothing with them. */
const traced = Layer.succeed(
  Tracer.Tracer,
  Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })
)

/** All that is on in production: least in flight, retry, breakers by scope, credit and the deadline. */
export const balanced = (
  baseUrl: string,
  http: Layer.Layer<HttpClient.HttpClient>,
  options: OpenRouter.Options = {},
  listener: Layer.Layer<never, never, Balancer.Balancer | KeyPool.KeyPool> = Layer.empty
) =>
  listener.pipe(
    Layer.provideMerge(OpenRouter.layerWith({ ...options, baseUrl })),
    Layer.provide([
      LeastInFlight.layer(),
      Retry.layer(),
      CircuitBreaker.layer(),
      KeyPool.layer({ keys: secrets }),
      http
    ])
  )

const chat =
  (
    http: Layer.Layer<HttpClient.HttpClient>,
    options?: OpenRouter.Options,
    surroundings: Layer.Layer<never> = Layer.empty,
    listener?: Layer.Layer<never, never, Balancer.Balancer | KeyPool.KeyPool>
  ): Make =>
  async (url) => {
    const { close, context, run } = await started(
      Layer.merge(balanced(url, http, options, listener), surroundings)
    )
    const openrouter = Context.get(context, OpenRouter.OpenRouter)
    return {
      call: () => run(Effect.map(openrouter.chat(body()), ChatResponse.text)),
      stream: (_turn, first) => {
        let all = ""
        return run(
          openrouter.chatStream(body()).pipe(
            Stream.runForEach((chunk) =>
              Effect.sync(() => {
                if (all === "") first?.()
                all += ChatChunk.text(chunk)
              })
            ),
            Effect.map(() => all)
          )
        )
      },
      close
    }
  }

export const onLean: Make = chat(UndiciHttpClient.layer)
export const onLeanTraced: Make = chat(UndiciHttpClient.layer, {}, traced)
export const onLeanMeasured: Make = chat(UndiciHttpClient.layer, {}, undefined, Telemetry.layer())
export const onStandard: Make = chat(layerUndici)
export const withoutDeadline: Make = chat(UndiciHttpClient.layer, { timeout: Infinity })

type Exchange = (
  request: HttpClientRequest.HttpClientRequest,
  isWhole: () => boolean
) => ReturnType<HttpClient.HttpClient["execute"]>

/**
 * The same client, by the same short way, without filter, pick, lease, classification and settlement: what they add is the
 * difference to it.
 */
export const unbalanced: Make = async (url) => {
  const { close, context, run } = await started(UndiciHttpClient.layer)
  const client = Context.get(context, HttpClient.HttpClient)
  const exchange = (client as never)[Symbol.for("@evenkeel/HttpClient/exchange")] as Exchange
  const template = HttpClientRequest.post(`${url}/chat/completions`)
  const call = (turn: number) => {
    const request = HttpClientRequest.bearerToken(
      HttpClientRequest.setBody(template, HttpBody.jsonUnsafe(body())),
      secretOf(turn)
    )
    return Effect.flatMap(
      Effect.flatMap(
        exchange(request, () => true),
        (response) => response.json
      ),
      ChatResponse.decode
    )
  }
  return {
    call: (turn) => run(Effect.map(call(turn), ChatResponse.text)),
    close
  }
}
