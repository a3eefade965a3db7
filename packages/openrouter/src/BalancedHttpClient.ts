/**
 * One transformation from the user's `HttpClient` to another that spreads its requests over the pool's keys. Everything
 * Evenkeel sends to OpenRouter goes through it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { HttpClient, HttpClientError, HttpClientRequest, type HttpClientResponse } from "effect/http"
import { Balancer, Outcome, type Errors, type Lease } from "@evenkeel/core"
import * as Classifier from "./Classifier.ts"
import { record } from "./internal/facts.ts"
import { requestFactsIn, type RequestFacts } from "./internal/requestFacts.ts"
import { buffered, watched } from "./internal/responses.ts"

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
 * An answer: the response, and its body if it was JSON.
 */
export interface Sent {
  readonly response: HttpClientResponse.HttpClientResponse
  /** The parsed body of an answer in JSON. */
  readonly body: unknown
  /** The body is not read yet, and has taken the lease over. */
  readonly streaming: boolean
}

/**
 * Sends one request on one key after the other, as the balancer decides.
 */
export type Send = (
  request: HttpClientRequest.HttpClientRequest,
  facts: RequestFacts
) => Effect.Effect<Sent, Failed | HttpClientError.HttpClientError | Errors.NoEligibleKey>

/**
 * Makes the function that all of Evenkeel's clients send with.
 */
export const makeSend = (
  client: HttpClient.HttpClient,
  balancer: Balancer.Balancer["Service"],
  options: Options = {}
): Send => {
  const send = (lease: Lease.Lease, request: HttpClientRequest.HttpClientRequest) =>
    Effect.flatMap(
      // Traces of the caller are none of OpenRouter's business.
      Effect.provideService(
        client.execute(authorize(request, lease)),
        HttpClient.TracerPropagationEnabled,
        false
      ),
      (response) => receive(response, lease, options.classifier)
    )
  return (request, facts) =>
    balancer.use((lease) => send(lease, request), {
      ...facts,
      outcome: outcomeOf
    })
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

/** Reads what has to be read to know how the request went: failures and JSON whole, streams not at all. */
const receive = (
  response: HttpClientResponse.HttpClientResponse,
  lease: Lease.Lease,
  table: ReadonlyArray<Classifier.Row> | undefined
): Effect.Effect<Sent, Failed | HttpClientError.HttpClientError> => {
  const contentType = response.headers["content-type"] ?? ""
  if (response.status < 400 && !contentType.includes("json")) {
    return Effect.withFiber((fiber) =>
      Effect.succeed({
        response: watched(response, fiber, (exit) => settle(lease, exit)),
        body: undefined,
        streaming: true
      })
    )
  }
  return Effect.flatMap(response.text, (text) =>
    Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<Sent, Failed> => {
      const body = parse(text)
      const whole = buffered(response, text, body)
      const { status, headers } = response
      const classification = Classifier.classify({ status, headers, body }, now, table)
      return classification === undefined
        ? Effect.succeed({ response: whole, body, streaming: false })
        : Effect.fail({ _tag: "Failed", keyId: lease.key.id, response: whole, body, classification })
    })
  )
}

/** How the body of a stream ended. */
const settle = (lease: Lease.Lease, exit: Exit.Exit<unknown, unknown> | undefined): void => {
  const outcome =
    exit?._tag === "Success"
      ? Outcome.success()
      : exit !== undefined && exit.cause.reasons.some((reason) => reason._tag === "Fail")
        ? Classifier.transport
        : Outcome.ignored()
  lease.settleUnsafe(outcome)
}

const outcomeOf = (
  exit: Exit.Exit<Sent, Failed | HttpClientError.HttpClientError>
): Outcome.Outcome | undefined => {
  if (exit._tag === "Success") {
    return exit.value.streaming ? undefined : Outcome.success(costOf(exit.value.body))
  }
  for (const reason of exit.cause.reasons) {
    if (reason._tag !== "Fail") continue
    const { error } = reason
    if (error._tag === "Failed") return Classifier.toOutcome(error.classification)
    // A request that cannot be encoded or addressed never left.
    return error.reason._tag === "EncodeError" || error.reason._tag === "InvalidUrlError"
      ? Outcome.ignored(0)
      : Classifier.transport
  }
  return Outcome.ignored()
}

/** USD, as the answer tells it. */
export const costOf = (body: unknown): number | undefined => {
  const cost = record(record(body)?.["usage"])?.["cost"]
  return typeof cost === "number" && cost >= 0 ? cost : undefined
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
