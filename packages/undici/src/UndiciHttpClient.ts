/**
 * Effect's `HttpClient` straight over undici's dispatch.
 *
 * **When to use**
 *
 * In place of `NodeHttpClient.layerUndici` where a process sends thousands of requests per second, or holds thousands of
 * streams: it takes less CPU and memory than the standard layer, and behaves as that does. `docs/benchmarks.md` has the
 * figures.
 *
 * **Details**
 *
 * The standard layer asks undici's `request` for a promise and a Node `Readable`, and makes an effect of each. This one is
 * itself the handler that undici calls back: a small body is in memory before the caller's fiber goes on, and a stream is
 * pulled chunk by chunk, with undici's own pause and resume behind it. All else is Effect's: `HttpClient.make` does interruption,
 * scopes, spans and redaction, and requests that are rare where speed matters (streams, forms and files that are sent, upgrades)
 * go the standard way, on the same connections.
 *
 * See undici's documentation of `Dispatcher.dispatch` and its handlers.
 */
import {
  Dispatcher,
  layerDispatcher,
  layerDispatcherOptions,
  makeUndici
} from "@effect/platform-node/NodeHttpClient"
import type * as Undici from "@effect/platform-node/Undici"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Scheduler } from "effect/Scheduler"
import * as Scope from "effect/Scope"
import { HttpClient, type HttpClientError, type HttpClientRequest } from "effect/http"
import { exchange, send } from "./internal/send.ts"

/**
 * Makes the client over the `Dispatcher` of `NodeHttpClient`.
 */
export const make: Effect.Effect<HttpClient.HttpClient, never, Dispatcher> = Effect.gen(function* () {
  const dispatcher = yield* Dispatcher
  const lean = HttpClient.make(send(dispatcher))
  const standard = yield* makeUndici
  const client = HttpClient.makeWith<never, never, HttpClientError.HttpClientError, never>(
    Effect.flatMap((request) => (isPlain(request) ? lean : standard).execute(request)),
    Effect.succeed
  )
  return Object.assign(client, { [exchangeSymbol]: exchange(dispatcher) })
})

/**
 * Where those who look after an answer themselves, as Evenkeel's clients do, find a shorter way to send a plain request: a body
 * in memory or none, and no upgrade. What wraps the client has no such way, and so is never passed by.
 */
const exchangeSymbol = Symbol.for("@evenkeel/HttpClient/exchange")

/**
 * The client over a `Dispatcher` of yours: a proxy's, a mock's, one with a bound on its connections.
 */
export const layerNoDispatcher: Layer.Layer<HttpClient.HttpClient, never, Dispatcher> = Layer.effect(
  HttpClient.HttpClient,
  Effect.contextWith((context: Context.Context<Dispatcher>) =>
    Effect.map(make, merging(forRequests(context)))
  )
)

/**
 * The client, with an undici `Agent` of its own.
 *
 * **Example**
 *
 * ```ts
 * import { UndiciHttpClient } from "@evenkeel/undici"
 * import { Effect } from "effect"
 * import { HttpClient } from "effect/http"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* HttpClient.HttpClient
 *   const error = yield* Effect.flip(client.get("http://127.0.0.1:1/"))
 *   return error.reason._tag
 * })
 *
 * const reason = await Effect.runPromise(Effect.provide(program, UndiciHttpClient.layer))
 * reason // => "TransportError"
 * ```
 */
export const layer: Layer.Layer<HttpClient.HttpClient> = Layer.provide(layerNoDispatcher, layerDispatcher)

/**
 * The client, with an undici `Agent` of these options: `connections` bounds how many are open to a host, `connect` has
 * what TLS and sockets need.
 */
export const layerOptions = (options: Undici.Agent.Options): Layer.Layer<HttpClient.HttpClient> =>
  Layer.provide(layerNoDispatcher, layerDispatcherOptions(options))

/** What the layer was made with holds for its requests: references such as `HttpClient.TracerDisabledWhen`. */
const merging =
  (context: Context.Context<never>) =>
  (client: HttpClient.HttpClient): HttpClient.HttpClient =>
    // `HttpClient.layerMergedContext` does so too, but always: two maps are copied for each request.
    context.mapUnsafe.size === 0
      ? client
      : HttpClient.transformResponse(
          client,
          Effect.updateContext((request: Context.Context<never>) => Context.merge(context, request))
        )

/** Without what belongs to the making alone. */
const forRequests: (context: Context.Context<Dispatcher>) => Context.Context<never> = Context.omit(
  Dispatcher,
  Layer.CurrentMemoMap,
  Scheduler,
  Scope.Scope
)

/** Whether its body is in memory, or there is none, and the connection is not to be taken over. */
const isPlain = ({ body, headers }: HttpClientRequest.HttpClientRequest): boolean =>
  (body._tag === "Uint8Array" || body._tag === "Empty") && headers["upgrade"] === undefined
