/**
 * One transformation from the user's `HttpClient` to another that spreads its requests over the pool's keys. Everything
 * Evenkeel sends to OpenRouter goes through it.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { HttpClient, HttpClientError, HttpClientRequest, type HttpClientResponse } from "effect/http"
import { Balancer, Outcome, type Errors, type Lease } from "@evenkeel/core"
import * as Classifier from "./Classifier.ts"
import { costOf } from "./internal/credit/cost.ts"
import { told } from "./internal/failures.ts"
import { parse } from "./internal/json.ts"
import { requestFactsIn, type RequestFacts } from "./internal/requestFacts.ts"
import { buffered, streamed } from "./internal/stream/responses.ts"
import * as Streaming from "./internal/stream/body.ts"
import type { StreamedBody } from "./internal/stream/body.ts"

/** OpenRouter's own address; one version of the API, `v1`. */
export const defaultBaseUrl = "https://openrouter.ai/api/v1"

/**
 * Options of a balanced client.
 */
export interface Options {
  /** Where OpenRouter is, without a slash at the end. Only requests to its origin get a key. Default: OpenRouter's own. */
  readonly baseUrl?: string | undefined
  /** Rows that are read before the classifier's own. */
  readonly classifier?: ReadonlyArray<Classifier.Row> | undefined
  /**
   * The longest silence of a stream; comments break it too. Default 2 minutes: a little longer than OpenRouter's edge
   * waits (100 to 125 seconds), so that the edge speaks first. There is no limit on how long a stream may last.
   */
  readonly idleTimeout?: Duration.Input | undefined
}

/**
 * An answer that is a failure, before it is known whether it is the last word.
 */
export interface Failed {
  readonly _tag: "Failed"
  readonly keyId: string
  readonly response: HttpClientResponse.HttpClientResponse
  readonly body: unknown
  readonly classification: Classifier.Classification
}

/**
 * An answer: its body if that was JSON, or the stream that has taken the lease over.
 */
export interface Sent {
  readonly response: HttpClientResponse.HttpClientResponse
  /** The parsed body of an answer in JSON. */
  readonly body: unknown
  readonly stream: StreamedBody | undefined
  /** The key that answered. */
  readonly keyId: string
}

/**
 * Sends one request on one key after the other, as the balancer decides.
 *
 * With a scope, a stream is settled when that closes, if not before; without, it is watched (see `internal/stream/responses.ts`).
 */
export type Send = (
  request: HttpClientRequest.HttpClientRequest,
  facts: RequestFacts & Pick<Balancer.LeaseOptions, "filter">,
  scope?: Scope.Scope
) => Effect.Effect<Sent, Failed | HttpClientError.HttpClientError | Errors.NoEligibleKey>

/**
 * Makes the function that all of Evenkeel's clients send with.
 */
export const makeSend = (
  client: HttpClient.HttpClient,
  balancer: Balancer.Balancer["Service"],
  options: Options = {}
): Send => {
  const streamOptions = { table: options.classifier, idleTimeout: options.idleTimeout ?? "2 minutes" }
  return (request, facts, scope) =>
    balancer
      .use(
        (lease) =>
          // What has come must not be lost between its coming and its owner's taking it, so only the waiting is let out.
          Effect.uninterruptibleMask((restore) =>
            Effect.flatMap(
              restore(
                // Traces of the caller are none of OpenRouter's business.
                Effect.provideService(
                  client.execute(authorize(request, lease)),
                  HttpClient.TracerPropagationEnabled,
                  false
                )
              ),
              (response) =>
                isStream(response)
                  ? receiveStream(restore, response, lease, streamOptions, scope)
                  : restore(receiveWhole(response, lease, options.classifier))
            )
          ),
        { ...facts, outcome: outcomeOf }
      )
      .pipe(Effect.mapError((error) => (error._tag === "NoEligibleKey" ? told(error) : error)))
}

/**
 * Makes a balanced client from a client. Its errors are those of a key (`NoEligibleKey`) and of HTTP; an answer that is
 * a failure, and that no other key could better, comes back as the response it is.
 */
export const make = (
  client: HttpClient.HttpClient,
  balancer: Balancer.Balancer["Service"],
  options: Options = {}
): HttpClient.HttpClient.With<HttpClientError.HttpClientError | Errors.NoEligibleKey> => {
  const baseUrl = options.baseUrl ?? defaultBaseUrl
  const { origin } = new URL(baseUrl)
  const send = makeSend(client, balancer, options)
  return HttpClient.makeWith(
    (requests: Effect.Effect<HttpClientRequest.HttpClientRequest>) =>
      Effect.flatMap(requests, (request) => {
        const absolute = request.url.startsWith("/")
          ? HttpClientRequest.prependUrl(request, baseUrl)
          : request
        if (originOf(absolute.url) !== origin) return client.execute(absolute)
        return Effect.matchEffect(send(absolute, requestFactsIn(absolute)), {
          onSuccess: ({ response }) => Effect.succeed(response),
          onFailure: (error) =>
            error._tag === "Failed" ? Effect.succeed(error.response) : Effect.fail(error)
        })
      }),
    Effect.succeed as HttpClient.HttpClient.Preprocess<never, never>
  )
}

/**
 * The balanced client as a layer over the user's own `HttpClient`, for any Effect code that asks for `HttpClient`.
 *
 * **Details**
 *
 * The tag allows only `HttpClientError`, so `NoEligibleKey` arrives as the cause of a `TransportError`.
 */
export const layer = (
  options: Options = {}
): Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient | Balancer.Balancer> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient
      const balancer = yield* Balancer.Balancer
      return HttpClient.catchTag(make(client, balancer, options), "NoEligibleKey", (error) =>
        Effect.fail(
          new HttpClientError.HttpClientError({
            reason: new HttpClientError.TransportError({
              request: HttpClientRequest.empty,
              cause: error,
              description: error.message
            })
          })
        )
      )
    })
  )

const originOf = (url: string): string | undefined => (URL.canParse(url) ? new URL(url).origin : undefined)

const authorize = (request: HttpClientRequest.HttpClientRequest, lease: Lease.Lease) =>
  HttpClientRequest.setHeader(
    HttpClientRequest.removeHeader(request, "x-api-key"),
    "authorization",
    `Bearer ${Redacted.value(lease.key.secret)}`
  )

/** Failures and JSON are read whole, whatever else is passed on as it comes. */
const isStream = (response: HttpClientResponse.HttpClientResponse): boolean =>
  response.status < 400 && !(response.headers["content-type"] ?? "").includes("json")

const receiveWhole = (
  response: HttpClientResponse.HttpClientResponse,
  lease: Lease.Lease,
  table: ReadonlyArray<Classifier.Row> | undefined
): Effect.Effect<Sent, Failed | HttpClientError.HttpClientError> =>
  Effect.flatMap(response.arrayBuffer, (buffer) =>
    Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<Sent, Failed> => {
      const text = new TextDecoder().decode(buffer)
      const body = parse(text)
      const whole = buffered(response, new Uint8Array(buffer), body, text)
      const { status, headers } = response
      const classification = Classifier.classify({ status, headers, body }, now, table)
      return classification === undefined
        ? Effect.succeed({ response: whole, body, stream: undefined, keyId: lease.key.id })
        : Effect.fail({ _tag: "Failed", keyId: lease.key.id, response: whole, body, classification })
    })
  )

const receiveStream = (
  restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>,
  response: HttpClientResponse.HttpClientResponse,
  lease: Lease.Lease,
  options: Streaming.StreamOptions,
  scope: Scope.Scope | undefined
): Effect.Effect<Sent, Failed | HttpClientError.HttpClientError> =>
  Effect.flatMap(Streaming.make(response, lease, options), (stream) =>
    Effect.matchCauseEffect(restore(stream.commit), {
      onFailure: (cause) => {
        const early = cause.reasons.find((reason) => reason._tag === "Fail")?.error
        const failed: Effect.Effect<never, Failed | HttpClientError.HttpClientError> =
          early?._tag === "EarlyEnd"
            ? Effect.fail(failedEarly(response, lease, early))
            : Effect.failCause(cause as Cause.Cause<HttpClientError.HttpClientError>)
        return Effect.andThen(stream.close, failed)
      },
      onSuccess: () => {
        if (scope === undefined) {
          return Effect.withFiber((fiber) =>
            Effect.succeed({
              response: streamed(response, stream, fiber),
              body: undefined,
              stream,
              keyId: lease.key.id
            })
          )
        }
        return Effect.as(Scope.addFinalizer(scope, stream.finish), {
          response,
          body: undefined,
          stream,
          keyId: lease.key.id
        })
      }
    })
  )

/** The caller sees what came: an event that tells of the failure. */
const failedEarly = (
  response: HttpClientResponse.HttpClientResponse,
  lease: Lease.Lease,
  { bytes, classification }: Streaming.EarlyEnd
): Failed => ({
  _tag: "Failed",
  keyId: lease.key.id,
  response: buffered(response, bytes, undefined),
  body: undefined,
  classification
})

const outcomeOf = (
  exit: Exit.Exit<Sent, Failed | HttpClientError.HttpClientError>,
  lease: Lease.Lease
): Outcome.Outcome | undefined => {
  if (exit._tag === "Success") {
    return exit.value.stream === undefined
      ? Outcome.success(costOf(exit.value.body, lease.candidate.includesByok))
      : undefined
  }
  for (const reason of exit.cause.reasons) {
    if (reason._tag !== "Fail") continue
    const { error } = reason
    if (error._tag === "Failed") return Classifier.toOutcome(error.classification, lease.context)
    // A request that cannot be encoded or addressed never left.
    return error.reason._tag === "EncodeError" || error.reason._tag === "InvalidUrlError"
      ? Outcome.ignored(0)
      : Classifier.transport
  }
  return Outcome.ignored()
}
