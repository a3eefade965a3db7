/**
 * A request on its way: dispatched, answered, or lost.
 */
import { UndiciOptions } from "@effect/platform-node/NodeHttpClient"
import type * as Undici from "@effect/platform-node/Undici"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { HttpClientError, type HttpClientRequest, type HttpClientResponse, Url } from "effect/http"
import { Exchange, type IsWhole } from "./exchange.ts"
import { DispatchResponse } from "./response.ts"

type Request = HttpClientRequest.HttpClientRequest
type Sent = Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>

/** What `HttpClient.make` asks of a platform. */
export const send =
  (dispatcher: Undici.Dispatcher) =>
  (request: Request, url: URL, signal: AbortSignal, fiber: Fiber.Fiber<unknown, unknown>): Sent =>
    dispatched(dispatcher, request, url, fiber, signal)

/**
 * The same for a caller who looks after the answer itself: it is interrupted while it waits, or reads the body, or ends the
 * stream that it has begun. So there is nobody to watch it: no signal, no registry, no span.
 */
export const exchange = (dispatcher: Undici.Dispatcher) => {
  // A program asks few addresses, and the last one again.
  let last = ""
  let lastUrl: URL | undefined
  return (request: Request, isWhole: IsWhole): Sent => {
    if (lastUrl === undefined || request.url !== last || request.urlParams.params.length > 0) {
      const url = Url.make(request.url, request.urlParams, Option.getOrUndefined(request.hash))
      if (url._tag === "Failure") return Effect.fail(invalid(request, url.failure))
      last = request.urlParams.params.length > 0 ? "" : request.url
      lastUrl = url.success
    }
    return dispatched(dispatcher, request, lastUrl, undefined, undefined, isWhole)
  }
}

const dispatched = (
  dispatcher: Undici.Dispatcher,
  request: Request,
  url: URL,
  fiber: Fiber.Fiber<unknown, unknown> | undefined,
  signal: AbortSignal | undefined,
  isWhole?: IsWhole
): Sent =>
  Effect.callback((resume) => {
    const answered = (error: unknown) =>
      resume(
        error === undefined
          ? Effect.succeed(new DispatchResponse(request, exchange, url))
          : Effect.fail(lost(request, error))
      )
    const exchange: Exchange = new Exchange(signal, answered, isWhole)
    const { body, headers, method } = request
    try {
      dispatcher.dispatch(
        {
          ...(fiber ?? Fiber.getCurrent()!).getRef(UndiciOptions),
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

const invalid = (request: Request, cause: unknown) =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.InvalidUrlError({ request, cause }) })
