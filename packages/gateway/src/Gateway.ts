/**
 * An OpenAI-compatible gateway as routes for Effect's `HttpRouter`: any client that takes a base URL speaks through it to
 * OpenRouter, over all the keys of the pool.
 *
 * The routes are a layer over `OpenRouter`, `Balancer` and `KeyPool`: strategies and policies are swapped beneath it as
 * anywhere else. `GatewayServer` runs them on Node.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { HttpRouter, HttpServer } from "effect/http"
import { Balancer, KeyPool } from "@evenkeel/core"
import { OpenRouter, type OpenRouterError } from "@evenkeel/openrouter"
import { routes } from "./internal/routes.ts"
import { hostOf, settingsOf } from "./internal/settings.ts"
import { State } from "./internal/state.ts"

/**
 * Options of the gateway. All of them have defaults.
 */
export interface Options {
  /**
   * What clients must send, as `Authorization: Bearer …` or `x-api-key`: each of 16 to 512 printable ASCII characters
   * without blanks. Default: none, and then only loopback is served.
   */
  readonly tokens?: ReadonlyArray<Redacted.Redacted<string>> | undefined
  /**
   * Lets everybody who can reach the server spend the credit of the keys: without tokens, a server that listens anywhere
   * but on loopback is refused unless this is set. On loopback it changes nothing. Default `false`.
   */
  readonly allowUnauthenticated?: boolean | undefined
  /**
   * Names by which the gateway may be called in the `Host` header, without a port. Default: without tokens on loopback,
   * loopback's own names (`localhost`, `127.0.0.1`, `[::1]`), so that no page of the web reaches it by rebinding a name of
   * its own; else any. Names given here join loopback's.
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /**
   * Origins of web pages that may call the gateway, such as `https://app.example`, or `*` for all, which needs tokens.
   * Default: none; requests of foreign pages are refused, and there is no CORS.
   */
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  /**
   * The longest body of a request, in bytes: a whole number from 1 up. Default 32 MiB: some images as base64. Bodies are
   * kept in memory until the answer has begun, because another key may need them.
   */
  readonly maxBodyBytes?: number | undefined
  /**
   * How many requests may be in work at once, those that wait for a key included: a whole number from 1 up, or `Infinity`.
   * More are told 503. Default 4096: a bound on memory, not a limit of any key.
   */
  readonly maxInFlight?: number | undefined
  /** `/health` and `/ready`. Default `true`. */
  readonly health?: boolean | undefined
  /** `/metrics`: what the metric registry of the runtime holds, for Prometheus. Default `true`. */
  readonly metrics?: boolean | undefined
  /** The live page at `/`, and its feed at `/events`. Default `true`. */
  readonly page?: boolean | undefined
}

/**
 * A running gateway, for whoever hosts its routes.
 */
export class Gateway extends Context.Service<
  Gateway,
  {
    /** Requests in work, each until the last byte of its answer. */
    readonly inFlight: Effect.Effect<number>
    /**
     * From now on `/ready` says 503, answers ask for their connection to be closed, and live pages are let go. Requests are
     * still served: who hosts the routes decides when no more are let in. `GatewayServer` does all of it.
     */
    readonly drain: Effect.Effect<void>
    readonly draining: Effect.Effect<boolean>
  }
>()("@evenkeel/gateway/Gateway") {}

/**
 * The routes of the gateway.
 *
 * **Details**
 *
 * - `POST /v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/responses` and `/v1/messages`: bodies pass as
 *   they are, unknown fields too; streams pass event by event, as fast as they are read.
 * - `GET /v1/models` and `/v1/models/{id}`
 * - `GET /health`, `/ready`, `/metrics`, `/` and `/events`, as the options say
 *
 * Fails with `InvalidOption`, naming the option and its range; also where `HttpServer` listens beyond loopback and there are
 * no tokens.
 *
 * **Example**
 *
 * ```ts
 * import { Gateway } from "@evenkeel/gateway"
 * import { Layer, Redacted } from "effect"
 * import { HttpRouter } from "effect/http"
 *
 * const routes = Gateway.layer({ tokens: [Redacted.make("a-token-for-clients")], page: false })
 * const app = HttpRouter.serve(routes)
 * Layer.isLayer(app) // => true
 * ```
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  Gateway,
  OpenRouterError.InvalidOption,
  OpenRouter.OpenRouter | Balancer.Balancer | KeyPool.KeyPool | HttpRouter.HttpRouter
> =>
  Layer.effect(
    Gateway,
    Effect.gen(function* () {
      const server = yield* Effect.serviceOption(HttpServer.HttpServer)
      const settings = yield* settingsOf(options, hostOf(server))
      const state = new State()
      yield* routes({
        settings,
        state,
        openrouter: yield* OpenRouter.OpenRouter,
        balancer: yield* Balancer.Balancer,
        pool: yield* KeyPool.KeyPool,
        router: yield* HttpRouter.HttpRouter
      })
      return Gateway.of({
        inFlight: Effect.sync(() => state.inFlight),
        drain: state.drain,
        draining: Effect.sync(() => state.draining)
      })
    })
  )
