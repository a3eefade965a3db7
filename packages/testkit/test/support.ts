/**
 * What the tests of the simulator share: a client that speaks to it as any client would.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Stream } from "effect"
import * as Sse from "effect/encoding/Sse"
import { defaultSecret } from "../src/internal/simulator/settings.ts"
import { HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"

export const secretOf = defaultSecret

/** The request that most tests make. "hello" are 2 tokens, the answer "You said: hello" are 4. */
export const hello = {
  model: "openai/gpt-4o-mini",
  max_tokens: 100,
  messages: [{ role: "user", content: "hello" }]
}

/** What `hello` costs: 2 × 0.15 $/M + 4 × 0.60 $/M. */
export const helloCost = 0.0000027

export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  // Tests compare it whole or look into it; a schema for each would only repeat the expectation.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly json: any
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const reply = (response: HttpClientResponse.HttpClientResponse) =>
  Effect.map(response.text, (text): Reply => ({
    status: response.status,
    headers: { ...response.headers },
    text,
    json: parse(text)
  }))

const request = Effect.fnUntraced(function* (key: string | undefined, body: unknown, path: string) {
  const simulator = yield* Simulator.Simulator
  const url = `${simulator.baseUrl}${path}`
  const made =
    body === undefined
      ? HttpClientRequest.get(url)
      : HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(url), body)
  return key === undefined ? made : HttpClientRequest.bearerToken(made, secretOf(key))
})

/** Sends a request and does not read its answer. */
export const execute = Effect.fnUntraced(function* (key: string | undefined, body: unknown, path: string) {
  const client = yield* HttpClient.HttpClient
  return yield* client.execute(yield* request(key, body, path))
})

/** `POST`, read to its end. */
export const post = (key: string | undefined, body: unknown = hello, path = "/chat/completions") =>
  Effect.flatMap(execute(key, body, path), reply)

/** `GET`, read to its end. */
export const get = (key: string | undefined, path: string) =>
  Effect.flatMap(execute(key, undefined, path), reply)

/** The data of the events of a stream, as they come. */
export const events = (key: string, body: object = hello, path = "/chat/completions") =>
  HttpClientResponse.stream(execute(key, { ...body, stream: true }, path)).pipe(
    Stream.decodeText(),
    Stream.pipeThroughChannel(Sse.decode()),
    Stream.map((event) => event.data)
  )

/** The content of chat chunks. */
// oxlint-disable-next-line typescript/no-explicit-any
export const contentOf = (data: string): string => (JSON.parse(data) as any).choices[0].delta.content

/** Runs a test against a simulator of its own. */
export const against =
  (options: Simulator.SimulatorOptions) =>
  <A, E>(test: Effect.Effect<A, E, Simulator.Simulator | HttpClient.HttpClient>) =>
    test.pipe(Effect.provide(Simulator.layer(options)), Effect.provide(NodeHttpClient.layerUndici))
