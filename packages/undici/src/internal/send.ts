/**
 * A request on its way: dispatched, answered, or lost.
 */
import { UndiciOptions } from "@effect/platform-node/NodeHttpClient"
import type * as Undici from "@effect/platform-node/Undici"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { HttpClientError, type HttpClientRequest, type HttpClientResponse } from "effect/http"
import { Exchange } from "./exchange.ts"
import { DispatchResponse } from "./response.ts"

type Request = HttpClientRequest.HttpClientRequest
type Sent = Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>

/** What `HttpClient.make` asks of a platform. */
export const send =
  (dispatcher: Undici.Dispatcher) =>
  (request: Request, url: URL, signal: AbortSignal, fiber: Fiber.Fiber<unknown, unknown>): Sent =>
    Effect.callback((resume) => {
      const exchange: Exchange = new Exchange(signal, (error) =>
        resume(
          error === undefined
            ? Effect.succeed(new DispatchResponse(request, exchange, url))
            : Effect.fail(lost(request, error))
        )
      )
      const { body, headers, method } = request
      try {
        dispatcher.dispatch(
          {
            ...fiber.getRef(UndiciOptions),
            origin: url.origin,
            path: url.pathname + url.search,
            method,
            headers,
            body: body._tag === "Uint8Array" ? body.body : null,
            // Times are the caller's to bound, by `Effect.timeout`; these are the standard layer's.
            headersTimeout: anHour,
            bodyTimeout: 0
          },
          exchange
        )
      } catch (error) {
        exchange.onResponseError(undefined, error)
      }
      return exchange.abandon
    })

const anHour = 60 * 60 * 1000

const lost = (request: Request, cause: unknown) =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
