/**
 * The gateway on Node: listens on loopback, and goes in peace.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { HttpRouter, type HttpServer, type HttpServerError } from "effect/http"
import type { Balancer, KeyPool } from "@evenkeel/core"
import type { OpenRouter, OpenRouterError } from "@evenkeel/openrouter"
import * as Gateway from "./Gateway.ts"
import { listening } from "./internal/listening.ts"
import { listenOptions, settingsOf } from "./internal/settings.ts"

/**
 * Options of the server, besides those of its routes.
 */
export interface Options extends Gateway.Options {
  /** Where to listen: a name or an address. Default `127.0.0.1`. Anything but loopback needs `tokens`. */
  readonly host?: string | undefined
  /** TCP port, 0 to 65535; 0 lets the system choose. Default 4040. */
  readonly port?: number | undefined
  /**
   * How long it still takes new connections while `/ready` says 503 already, so that load balancers see it and look
   * elsewhere. From 0 up; default 0.
   */
  readonly drainDelay?: Duration.Input | undefined
  /**
   * How long requests in work may take to finish when the server is stopped, before they are cut. From 0 up; default 30
   * seconds: what Kubernetes and others wait before they kill.
   */
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * Runs the gateway for as long as the layer's scope is open.
 *
 * **Details**
 *
 * When the scope closes (on SIGINT or SIGTERM under `NodeRuntime.runMain`): `/ready` says 503; after `drainDelay` no
 * more connections are taken; requests in work finish; after `drainTimeout` what is left is cut, and its leases are settled.
 *
 * `HttpServer` in its output tells the address: `HttpServer.formatAddress(server.address)`.
 *
 * Fails with `InvalidOption`, and with `ServeError` where the port is taken.
 *
 * **Example**
 *
 * ```ts
 * import { NodeHttpClient } from "@effect/platform-node"
 * import { KeyPool } from "@evenkeel/core"
 * import { GatewayServer } from "@evenkeel/gateway"
 * import { LeastInFlight } from "@evenkeel/least-in-flight"
 * import { OpenRouter } from "@evenkeel/openrouter"
 * import { Layer } from "effect"
 *
 * const gateway = GatewayServer.layer({ port: 4040 }).pipe(
 *   Layer.provide(OpenRouter.layer),
 *   Layer.provide([LeastInFlight.layer(), KeyPool.layerConfig, NodeHttpClient.layerUndici])
 * )
 * // Layer.launch(gateway).pipe(NodeRuntime.runMain)
 * Layer.isLayer(gateway) // => true
 * ```
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  Gateway.Gateway | HttpServer.HttpServer,
  OpenRouterError.InvalidOption | HttpServerError.ServeError,
  OpenRouter.OpenRouter | Balancer.Balancer | KeyPool.KeyPool
> =>
  Layer.unwrap(
    Effect.gen(function* () {
      // Before anything listens.
      const listen = yield* listenOptions(options)
      yield* settingsOf(options, listen.host)
      const served = HttpRouter.serve(Gateway.layer(options), { disableListenLog: true, disableLogger: true })
      return listening(served, listen)
    })
  )
