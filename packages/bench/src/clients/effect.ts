import { layerUndici } from "@effect/platform-node/NodeHttpClient"
import { UndiciHttpClient } from "@evenkeel/undici"
import { Context, Effect, Layer, Stream } from "effect"
import { Sse } from "effect/encoding"
import { HttpClient, HttpClientRequest } from "effect/http"
import { body, secretOf, started, type Make } from "../Client.ts"
import { deltaOf, textOf } from "./wire.ts"

/** Effect's `HttpClient` alone: a key in turn, JSON in, JSON out, events by Effect's own parser. */
const bare =
  (layer: Layer.Layer<HttpClient.HttpClient>): Make =>
  async (url) => {
    const { close, context, run } = await started(layer)
    const client = Context.get(context, HttpClient.HttpClient)
    const request = (turn: number, more: object) =>
      HttpClientRequest.post(`${url}/chat/completions`).pipe(
        HttpClientRequest.bearerToken(secretOf(turn)),
        HttpClientRequest.bodyJsonUnsafe({ ...body(), ...more })
      )
    return {
      call: (turn) =>
        run(
          Effect.map(
            Effect.flatMap(client.execute(request(turn, {})), (response) => response.json),
            textOf
          )
        ),
      stream: (turn, first) => {
        let all = ""
        return run(
          Effect.flatMap(client.execute(request(turn, { stream: true })), (response) =>
            response.stream.pipe(
              Stream.decodeText,
              Stream.pipeThroughChannel(Sse.decode()),
              Stream.runForEach(({ data }) =>
                Effect.sync(() => {
                  if (all === "") first?.()
                  all += deltaOf(data)
                })
              ),
              Effect.map(() => all)
            )
          )
        )
      },
      close
    }
  }

const silent = Layer.succeed(HttpClient.TracerDisabledWhen, () => true)

export const standard: Make = bare(layerUndici)
export const standardSilent: Make = bare(Layer.merge(layerUndici, silent))
export const lean: Make = bare(UndiciHttpClient.layer)
export const leanSilent: Make = bare(Layer.merge(UndiciHttpClient.layer, silent))
