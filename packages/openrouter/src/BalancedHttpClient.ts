/**
 * One transformation from the user's `HttpClient` to another that spreads its requests over the pool's keys. Everything
 * Evenkeel sends to OpenRouter goes through it.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { HttpClient, HttpClientError, HttpClientRequest, type HttpClientResponse } from "effect/http"
import { Balancer, type Errors, type Lease, type Outcome } from "@evenkeel/core"
import type * as Classifier from "./Classifier.ts"
import { attempt, outcomeOf } from "./internal/attempt.ts"
import { told, type Refused } from "./internal/failures.ts"
import { nothing, requestFactsIn, type RequestFacts } from "./internal/requestFacts.ts"
import { alternativesTo, rerouting, type Fallbacks } from "./internal/reroute.ts"
import * as Spans from "./internal/spans.ts"
import type { StreamedBody } from "./internal/stream/body.ts"
import { heard } from "./internal/tracing.ts"
import * as Transmit from "./internal/transmit.ts"

export { requestFactsOf, type RequestFacts } from "./internal/requestFacts.ts"
export type { Refused } from "./internal/failures.ts"
export type { Fallbacks } from "./internal/reroute.ts"

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
  /**
   * The deadline of each request, over all attempts and waits; of a stream up to its first content, from where on
   * `idleTimeout` governs. Default: the balancer's.
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * Models that are asked in place of the one in the request, in this order, when that is benched, its circuit is open, or
   * it has just failed and the retry policy goes on. Only then is the body's `model` changed.
   *
   * The request's own `models` stays as it is, and is another thing: those are tried by OpenRouter, within one request and
   * in the knowledge of that request alone. These are tried from here, where it is known what is out, and without a round
   * trip to find out. Default: none.
   */
  readonly fallbacks?: Fallbacks | undefined
}

/**
 * What one request may ask for itself, besides what its body says.
 */
export interface CallOptions extends Pick<
  Balancer.LeaseOptions,
  "affinity" | "estimate" | "filter" | "maxWait" | "priority" | "timeout"
> {
  /** Models to ask in place of the request's own, instead of those that the options name for it; `[]` for none. */
  readonly fallbacks?: ReadonlyArray<string> | undefined
  /** Told which use answered, and so on which key and after how many others (`context.attempt`). It must be quick. */
  readonly onAnswer?: ((lease: Lease.Lease) => void) | undefined
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
  readonly outcome: Outcome.Faulted | Outcome.Ignored
  /** Every use that failed, up to this one. */
  readonly attempts: ReadonlyArray<Errors.Attempt>
}

/**
 * No answer, or half of one.
 */
export interface Lost {
  readonly _tag: "Lost"
  readonly keyId: string
  readonly error: HttpClientError.HttpClientError
  readonly outcome: Outcome.Faulted | Outcome.Ignored
  readonly attempts: ReadonlyArray<Errors.Attempt>
}

/**
 * An answer: its body if that was JSON, or the stream that has taken the lease over.
 */
export interface Sent {
  /** As a function, because who decodes the body has no use for it. */
  readonly response: () => HttpClientResponse.HttpClientResponse
  /** The parsed body of an answer in JSON. */
  readonly body: unknown
  readonly stream: StreamedBody | undefined
  /** The use that answered. */
  readonly lease: Lease.Lease
}

/**
 * Sends one request on one key after the other, as the balancer decides.
 *
 * With a scope, a stream is settled when that closes, if not before; without, it is watched (see `internal/stream/responses.ts`).
 */
export type Send = (
  request: HttpClientRequest.HttpClientRequest,
  facts?: RequestFacts,
  options?: CallOptions,
  scope?: Scope.Scope
) => Effect.Effect<Sent, Failed | Lost | Refused>

/**
 * Makes the function that all of Evenkeel's clients send with. `bytes` is for those who may hand on the bytes of an answer.
 */
export const makeSend = (
  client: HttpClient.HttpClient,
  balancer: Balancer.Balancer["Service"],
  options: Options & { readonly bytes?: boolean } = {}
): Send => {
  const { bytes = true, classifier: table, fallbacks: others } = options
  const idleMillis = Duration.toMillis(Duration.fromInputUnsafe(options.idleTimeout ?? "2 minutes"))
  const attemptOptions = { table, idleMillis, bytes }
  const transmitting = Transmit.make(client)
  return (request, facts = nothing, call = noOptions, scope) =>
    Effect.withFiber((fiber) => {
      const { fallbacks, promptTokens, tokens, upstream } = facts
      const alternatives = call.fallbacks ?? alternativesTo(upstream, others)
      const requestFor = alternatives === undefined ? undefined : rerouting(request, upstream)
      const owner = scope ?? fiber
      const traced = heard(fiber.context)
      const transmit = transmitting(traced)
      const use = (lease: Lease.Lease) =>
        attempt(transmit, requestFor?.(lease.context.upstream) ?? request, lease, owner, attemptOptions)
      const sent = Effect.catchCause(
        balancer.use(traced ? (lease) => Spans.attempt(use(lease), lease) : use, {
          upstream,
          tokens,
          promptTokens,
          // To the balancer this word means what OpenRouter may turn to by itself.
          fallbacks,
          alternatives,
          affinity: call.affinity ?? facts.affinity,
          estimate: call.estimate,
          filter: call.filter,
          maxWait: call.maxWait,
          priority: call.priority,
          timeout: call.timeout ?? options.timeout,
          outcome: outcomeOf,
          discard
        }),
        refused
      )
      return traced ? Spans.call(sent, request, facts) : sent
    })
}

const noOptions: CallOptions = {}

const discard = ({ stream }: Sent): Effect.Effect<void> => stream?.finish ?? Effect.void

const refused = (
  cause: Cause.Cause<Failed | Lost | Refused>
): Effect.Effect<never, Failed | Lost | Refused> => {
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  return error === undefined || error._tag === "Failed" || error._tag === "Lost"
    ? Effect.failCause(cause)
    : Effect.fail(told(error))
}

/**
 * Makes a balanced client from a client. Its errors are those of the balancer (`NoEligibleKey`, `DeadlineExceeded`,
 * `PermitLost`) and of HTTP; an answer that is a failure, and that no other key could better, comes back as the response it is.
 */
export const make = (
  client: HttpClient.HttpClient,
  balancer: Balancer.Balancer["Service"],
  options: Options = {}
): HttpClient.HttpClient.With<
  HttpClientError.HttpClientError | Errors.NoEligibleKey | Errors.DeadlineExceeded | Errors.PermitLost
> => {
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
          onSuccess: ({ response }) => Effect.succeed(response()),
          onFailure: (error) => {
            if (error._tag === "Failed") return Effect.succeed(error.response)
            return Effect.fail(error._tag === "Lost" ? error.error : error)
          }
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
 * The tag allows only `HttpClientError`, so `NoEligibleKey`, `DeadlineExceeded` and `PermitLost` arrive as the
 * cause of a `TransportError`.
 */
export const layer = (
  options: Options = {}
): Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient | Balancer.Balancer> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient
      const balancer = yield* Balancer.Balancer
      return HttpClient.catchTag(
        make(client, balancer, options),
        ["NoEligibleKey", "DeadlineExceeded", "PermitLost"],
        (error) =>
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
