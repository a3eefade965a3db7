/**
 * How a request is sent, on a key that has been picked: over the user's client, and by its shorter way where it has one.
 *
 * `HttpClient.make` watches each answer, for it might be lost: by a signal, a registry of what is collected, and two more objects.
 * Here none is lost: it is read under the lease, or it is a stream that has an owner. So a client that knows of that
 * (`UndiciHttpClient` of `@evenkeel/undici`) is asked directly. The symbols and the shape of `Exchange` are all they share.
 */
import * as Effect from "effect/Effect"
import {
  HttpClient,
  type HttpClientError,
  type HttpClientRequest,
  type HttpClientResponse
} from "effect/http"
import * as Tracing from "./tracing.ts"

type Sent = Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>

export type Transmit = (request: HttpClientRequest.HttpClientRequest) => Sent

type IsWhole = (status: number, headers: Readonly<Record<string, unknown>>) => boolean

/** Answers when the head has come, and where `isWhole` asks for it all of the body. It makes no span. */
type Exchange = (request: HttpClientRequest.HttpClientRequest, isWhole: IsWhole) => Sent

const exchangeSymbol = Symbol.for("@evenkeel/HttpClient/exchange")

/** How requests are sent where somebody listens to spans, and where nobody does. */
export const make = (client: HttpClient.HttpClient): ((traced: boolean) => Transmit) => {
  const { [exchangeSymbol]: exchange } = client as { readonly [exchangeSymbol]?: Exchange }
  const tracing = Tracing.make()
  const usually: Transmit = (request) => Effect.updateContext(client.execute(request), tracing)
  if (exchange === undefined) return () => usually
  const shorter: Transmit = (request) => (isPlain(request) ? exchange(request, isWhole) : usually(request))
  return (traced) => (traced ? usually : shorter)
}

const textSymbol = Symbol.for("@evenkeel/HttpClientResponse/text")

/** The text of an answer, where its client can tell that it has come already. */
export const textThere = (response: HttpClientResponse.HttpClientResponse): string | undefined =>
  (response as { [textSymbol]?: () => string | undefined })[textSymbol]?.()

/** A client around another, by both ways. */
export const around = (
  client: HttpClient.HttpClient,
  wrap: (execute: Transmit) => Transmit
): HttpClient.HttpClient => {
  const { [exchangeSymbol]: exchange } = client as { readonly [exchangeSymbol]?: Exchange }
  const execute = wrap((request) => client.execute(request))
  const wrapped = HttpClient.makeWith(
    (requests: Effect.Effect<HttpClientRequest.HttpClientRequest>) => Effect.flatMap(requests, execute),
    Effect.succeed as HttpClient.HttpClient.Preprocess<never, never>
  )
  return exchange === undefined
    ? wrapped
    : Object.assign(wrapped, {
        [exchangeSymbol]: (request: HttpClientRequest.HttpClientRequest, isWhole: IsWhole) =>
          wrap((request) => exchange(request, isWhole))(request)
      })
}

/** Whether its body is in memory, or there is none, and the connection is not to be taken over. */
const isPlain = ({ body, headers }: HttpClientRequest.HttpClientRequest): boolean =>
  (body._tag === "Uint8Array" || body._tag === "Empty") && headers["upgrade"] === undefined

/** Failures and JSON are read whole, whatever else is passed on as it comes. */
export const isWhole: IsWhole = (status, headers) =>
  status >= 400 || String(headers["content-type"] ?? "").includes("json")
