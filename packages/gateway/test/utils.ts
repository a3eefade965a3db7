/**
 * What the tests of the gateway share: a gateway on a port of its own, over a simulated OpenRouter, all of it over HTTP.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { KeyPool, Selector, type Key } from "@evenkeel/core"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Gateway, GatewayServer } from "@evenkeel/gateway"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Layer, Schedule } from "effect"
import { HttpServer } from "effect/http"
import OpenAI from "openai"

export const model = "openai/gpt-4o-mini"
export const messages = [{ role: "user" as const, content: "hello" }]
/** Of a length that tokens must have. */
export const token = "a-token-for-the-tests"

export interface Setup {
  readonly simulator?: Simulator.SimulatorOptions
  readonly gateway?: GatewayServer.Options
  readonly openrouter?: OpenRouter.Options
  readonly selector?: Selector.Selector
  readonly traits?: Readonly<Record<string, Key.Traits & { readonly id?: string }>>
}

export interface World {
  /** Where the gateway is, without a slash at the end. */
  readonly url: string
  readonly simulator: Simulator.Simulator["Service"]
  readonly pool: KeyPool.KeyPool["Service"]
  readonly gateway: Gateway.Gateway["Service"]
  /** Runs a step on the simulator, the pool or the gateway. */
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Promise<A>
  readonly openai: (options?: { readonly apiKey?: string; readonly maxRetries?: number }) => OpenAI
  readonly post: (path: string, body: unknown, init?: RequestInit) => Promise<Response>
  /** Waits until nothing is in flight any more: in the gateway, on a key, at the simulator. */
  readonly idle: () => Promise<void>
}

/** The first of the candidates: the choice that is easiest to foretell. */
export const first = Selector.make("first", (candidates) => candidates[0])

const layers = ({ gateway, openrouter, selector, simulator = {}, traits = {} }: Setup) =>
  Layer.unwrap(
    Simulator.Simulator.useSync(({ baseUrl, keys }) =>
      GatewayServer.layer({ port: 0, drainTimeout: "2 seconds", ...gateway }).pipe(
        Layer.provide(OpenRouter.layerWith({ baseUrl, credits: false, ...openrouter })),
        Layer.provide([
          selector === undefined ? LeastInFlight.layer() : Selector.layer(selector),
          Retry.layer({ schedule: Schedule.spaced("1 millis"), patience: "50 millis" }),
          CircuitBreaker.layer(),
          NodeHttpClient.layerUndici
        ]),
        Layer.provideMerge(
          KeyPool.layer({ keys: keys.map(({ name, secret }) => ({ id: name, secret, ...traits[name] })) })
        )
      )
    )
  ).pipe(Layer.provideMerge(Simulator.layer(simulator)))

/** Looks again and again until it is so; the test's own time limit ends it. */
export const eventually = <A>(look: Effect.Effect<A>, is: (value: A) => boolean): Effect.Effect<A> =>
  Effect.repeat(look, { until: is, schedule: Schedule.spaced("5 millis") }) as Effect.Effect<A>

/** Runs a test against a gateway, and sees to it that all counts have returned to zero. */
export const inWorld = (setup: Setup, test: (world: World) => Promise<void>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<
      Gateway.Gateway | HttpServer.HttpServer | KeyPool.KeyPool | Simulator.Simulator
    >()
    const simulator = yield* Simulator.Simulator
    const pool = yield* KeyPool.KeyPool
    const gateway = yield* Gateway.Gateway
    const url = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
    const idle = Effect.all([
      eventually(gateway.inFlight, (count) => count === 0),
      eventually(
        pool.snapshot,
        ({ keys, waiting }) => waiting === 0 && keys.every((key) => key.inFlight === 0)
      ),
      eventually(simulator.inFlight, (count) => count === 0)
    ])
    const run = Effect.runPromiseWith(context)
    yield* Effect.promise(() =>
      test({
        url,
        simulator,
        pool,
        gateway,
        run,
        openai: (options) => new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0, ...options }),
        post: (path, body, init = {}) =>
          fetch(`${url}${path}`, {
            method: "POST",
            body: typeof body === "string" ? body : JSON.stringify(body),
            ...init,
            headers: { "content-type": "application/json", ...init.headers }
          }),
        idle: () => run(Effect.asVoid(idle))
      })
    )
    yield* idle
  }).pipe(Effect.provide(layers(setup)), Effect.orDie)
