/**
 * What the tests of streams share: a service over the simulator or over a server of the test's own, and events to send.
 */
import { Balancer, KeyPool } from "@evenkeel/core"
import { OpenRouter, OpenRouterError } from "@evenkeel/openrouter"
import { assert } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { HttpClient } from "effect/http"
import type { ServerResponse } from "node:http"
import { type Body, hello, running, serve, type Setup, using, type World } from "./utils.ts"

export interface StreamWorld extends World {
  readonly openrouter: OpenRouter.OpenRouter["Service"]
  readonly chatStream: OpenRouter.OpenRouter["Service"]["chatStream"]
}

/** A simulator, and the service for it. */
export const streaming = <A>(
  setup: Setup & { readonly http?: (client: HttpClient.HttpClient) => HttpClient.HttpClient },
  body: (world: StreamWorld) => Body<A>
) =>
  using(setup, function* (world) {
    const http = setup.http?.(world.plain) ?? world.plain
    const openrouter = yield* OpenRouter.make({
      ...setup.options,
      baseUrl: setup.options?.baseUrl ?? world.simulator.baseUrl
    }).pipe(
      Effect.provideService(HttpClient.HttpClient, http),
      Effect.provideService(Balancer.Balancer, world.balancer),
      Effect.provideService(KeyPool.KeyPool, world.pool)
    )
    return yield* running(() => body({ ...world, openrouter, chatStream: openrouter.chatStream }))
  })

type Server = Effect.Success<ReturnType<typeof serve>>

/** A server of the test's own, asked for the nth time from 0 on, and the service for it. */
export const withServer = <A>(
  answer: (response: ServerResponse, n: number) => void,
  body: (world: StreamWorld & { readonly server: Server }) => Body<A>,
  setup: Setup = {}
) =>
  Effect.gen(function* () {
    let n = 0
    const server = yield* serve((response) => answer(response, n++))
    const options = { baseUrl: `${server.origin}/api/v1`, ...setup.options }
    return yield* streaming({ ...setup, options }, (world) => body({ ...world, server }))
  })

/** Begins a stream of events. */
export const begin = (response: ServerResponse, text = ""): ServerResponse => {
  response.writeHead(200, { "content-type": "text/event-stream" }).write(`: OPENROUTER PROCESSING\n\n${text}`)
  return response
}

export const data = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

const chunk = (choices: ReadonlyArray<unknown>, more: object = {}) => ({
  id: "gen-1",
  object: "chat.completion.chunk",
  model: "openai/gpt-4o-mini",
  provider: "OpenAI",
  choices,
  ...more
})

/** A chunk with this delta. */
export const delta = (fields: object) => chunk([{ index: 0, delta: fields, finish_reason: null }])

export const said = (content: string): string => data(delta({ role: "assistant", content }))

export const finished = data(
  chunk([{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: "stop" }])
)

export const usage = { prompt_tokens: 2, completion_tokens: 4, total_tokens: 6, cost: 0.25 }

export const counted = data(
  chunk([{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: "stop" }], { usage })
)

export const failing = (code: number | string, message = "Gone", metadata?: object): string =>
  data(
    chunk([{ index: 0, delta: { content: "" }, finish_reason: "error" }], {
      error: { code, message, metadata }
    })
  )

export const done = "data: [DONE]\n\n"

/** The request that most tests stream; its echo is "You said: hello", three chunks of content. */
export const prompt = hello

/** The reason for which a stream broke, once it did. */
export const broken = <A, E, R>(
  stream: Stream.Stream<A, E, R>
): Effect.Effect<OpenRouterError.Broken, unknown, R> =>
  Effect.map(Effect.flip(Stream.runDrain(stream)), (error) => {
    const reason = reasonOf(error)
    if (reason._tag !== "Broken") return assert.fail(`not Broken, but ${reason._tag}: ${reason.message}`)
    return reason
  })

/** Why the service failed. */
export const reasonOf = (error: unknown): OpenRouterError.OpenRouterError["reason"] =>
  error instanceof OpenRouterError.OpenRouterError
    ? error.reason
    : assert.fail(`no OpenRouterError: ${String(error)}`)
