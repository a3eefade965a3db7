/**
 * OpenRouter as a service, over all the keys of the pool.
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { HttpBody, HttpClient, HttpClientRequest, type HttpClientError } from "effect/http"
import {
  Balancer,
  Credits,
  KeyPool,
  Outcome,
  type Errors,
  type Filter,
  type Key,
  type Selector
} from "@evenkeel/core"
import * as BalancedHttpClient from "./BalancedHttpClient.ts"
import type * as ChatChunk from "./ChatChunk.ts"
import type * as ChatRequest from "./ChatRequest.ts"
import * as ChatResponse from "./ChatResponse.ts"
import * as Classifier from "./Classifier.ts"
import { chunkOf, chunksOf } from "./internal/stream/chunks.ts"
import * as Embeddings from "./Embeddings.ts"
import * as Generation from "./Generation.ts"
import { answered, failureOf, type Refused } from "./internal/failures.ts"
import { readKey, type Unread } from "./internal/credit/readKey.ts"
import { attributionHeaders, baseUrlOf, defaultTimeout } from "./internal/settings.ts"
import { nothing, requestFactsOf, type RequestFacts } from "./internal/requestFacts.ts"
import type * as KeyInfo from "./KeyInfo.ts"
import * as Model from "./Model.ts"
import * as OpenRouterCredits from "./OpenRouterCredits.ts"
import {
  type Answered,
  type InvalidOption,
  InvalidRequest,
  OpenRouterError,
  Transport,
  Undecodable
} from "./OpenRouterError.ts"

/**
 * Who is calling: OpenRouter shows it in its rankings (its documentation, "App attribution").
 */
export interface Attribution {
  /** Sent as `HTTP-Referer`: without it OpenRouter attributes nothing. */
  readonly url?: string | undefined
  /** Sent as `X-OpenRouter-Title`. */
  readonly title?: string | undefined
  /** Sent as `X-OpenRouter-Categories`. */
  readonly categories?: ReadonlyArray<string> | undefined
}

/**
 * Options of the service.
 */
export interface Options {
  /**
   * Where OpenRouter is. Default: `OPENROUTER_BASE_URL` from `Config`, or else `https://openrouter.ai/api/v1`. It must be
   * https, except on loopback: a key never travels in the clear.
   */
  readonly baseUrl?: string | undefined
  readonly attribution?: Attribution | undefined
  /** How credit is read; `false` leaves it unknown. Default: every 60 seconds. */
  readonly credits?: OpenRouterCredits.Options | false | undefined
  /** Options of the balancer. */
  readonly balancer?: Balancer.Options | undefined
  /**
   * The deadline of a call, over all its attempts and waits, from 0 up; `Infinity` for none. Of a stream it covers the time
   * up to the first content, and from there on `idleTimeout` governs. Default: the balancer's, which is that of its options
   * or else 10 minutes, as the SDKs of OpenAI have it: far longer than a healthy answer takes, and short enough not to hold
   * a key for a connection that nobody will answer.
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * Models to ask in place of the request's own when that is benched, its circuit is open, or it has just failed; see
   * `BalancedHttpClient.Options` for how they differ from the request's `models`. Default: none.
   */
  readonly fallbacks?: BalancedHttpClient.Fallbacks | undefined
  /** The longest silence of a stream; comments break it too. Default 2 minutes (see `BalancedHttpClient`). */
  readonly idleTimeout?: Duration.Input | undefined
  /** Rows that the classifier reads before its own. */
  readonly classifier?: ReadonlyArray<Classifier.Row> | undefined
}

/**
 * What one call may ask for itself: `timeout` and `maxWait`, its `priority` among those that wait, `fallbacks`, the
 * `estimate` of its cost, an `affinity`, a `filter`, and who is told which key answered. Default: as the request and the
 * options say.
 */
export type CallOptions = BalancedHttpClient.CallOptions

/**
 * What is known of one key: what OpenRouter says, and what the pool has seen.
 */
export interface KeyStatus extends KeyPool.KeySnapshot {
  /** What `GET /key` answered; `undefined` if it could not be read. */
  readonly info: KeyInfo.KeyInfo | undefined
  /** Whether OpenRouter accepts the key: `unknown` if it did not answer. */
  readonly health: "live" | "refused" | "unknown"
}

/**
 * How a balanced call fails: OpenRouter's failure, no key that could serve, or the deadline. Each has the trail of its
 * `attempts`.
 */
export type CallError = OpenRouterError | Errors.NoEligibleKey | Errors.DeadlineExceeded | Errors.PermitLost

/**
 * OpenRouter, balanced over the pool's keys.
 */
export class OpenRouter extends Context.Service<
  OpenRouter,
  {
    /** A chat completion, answered whole. Unknown fields of the request pass through. */
    readonly chat: (
      request: ChatRequest.ChatRequest,
      options?: CallOptions
    ) => Effect.Effect<ChatResponse.ChatResponse, CallError>
    /**
     * A chat completion as it is written. It starts when the stream is run, and each run is a request.
     *
     * **Details**
     *
     * Until the first content another key may be tried, and the deadline holds. From there on a failure is
     * `OpenRouterError` with the reason `Broken`, which carries the text, the usage and the cost so far. Ending the stream
     * early closes the connection at once; with many providers that stops the bill.
     */
    readonly chatStream: (
      request: ChatRequest.ChatRequest,
      options?: CallOptions
    ) => Stream.Stream<ChatChunk.ChatChunk, CallError>
    /** What OpenRouter says of one key (`GET /key`), read now. */
    readonly key: (id: string) => Effect.Effect<KeyInfo.KeyInfo, OpenRouterError | Errors.UnknownKey>
    /** Caps, credit left, resets and health of every key of the pool, read now. */
    readonly keys: Effect.Effect<ReadonlyArray<KeyStatus>>
    /** Vectors for texts. */
    readonly embeddings: (
      request: Embeddings.EmbeddingsRequest,
      options?: CallOptions
    ) => Effect.Effect<Embeddings.EmbeddingsResponse, CallError>
    /**
     * What an answer cost, by its id; OpenRouter knows a few seconds after the answer. Only keys of the account that asked
     * may read it, so a key of each account is tried, unless `keyId` names one.
     */
    readonly generation: (
      id: string,
      options?: { readonly keyId?: string | undefined }
    ) => Effect.Effect<Generation.Generation, CallError | Errors.UnknownKey>
    /** The models that OpenRouter offers, with their prices. */
    readonly models: Effect.Effect<ReadonlyArray<Model.Model>, CallError>
    /** The balanced client, for endpoints without a method here; paths such as `/embeddings` are enough. */
    readonly client: HttpClient.HttpClient.With<HttpClientError.HttpClientError | Refused>
    /**
     * What all of these send with, for gateways: it tells which key answered, and whose fault a failure was. The URL of the
     * request is a path below the base URL, such as `/chat/completions`.
     */
    readonly send: BalancedHttpClient.Send
  }
>()("@evenkeel/openrouter/OpenRouter") {}

const decodeEmbeddings = Schema.decodeUnknownExit(Embeddings.EmbeddingsResponse)
const decodeGeneration = Schema.decodeUnknownExit(Schema.Struct({ data: Generation.Generation }))
const decodeModels = Schema.decodeUnknownExit(Schema.Struct({ data: Schema.Array(Model.Model) }))

/**
 * Makes the service over a client and a balancer.
 */
export const make = Effect.fnUntraced(function* (
  options: Options & { readonly baseUrl: string }
): Effect.fn.Return<
  OpenRouter["Service"],
  never,
  HttpClient.HttpClient | Balancer.Balancer | KeyPool.KeyPool
> {
  const plain = yield* HttpClient.HttpClient
  const balancer = yield* Balancer.Balancer
  const pool = yield* KeyPool.KeyPool
  const { baseUrl } = options
  const headers = attributionHeaders(options.attribution)
  const http = HttpClient.mapRequest(plain, HttpClientRequest.setHeaders(headers))
  const send = BalancedHttpClient.makeSend(plain, balancer, { ...options, bytes: false })
  const relay = BalancedHttpClient.makeSend(http, balancer, options)
  const get = (path: string) => HttpClientRequest.get(`${baseUrl}${path}`, { headers })
  const posts = {
    chat: HttpClientRequest.post(`${baseUrl}/chat/completions`, { headers }),
    embeddings: HttpClientRequest.post(`${baseUrl}/embeddings`, { headers })
  }

  const call = <A>(
    request: HttpClientRequest.HttpClientRequest,
    facts: RequestFacts,
    decode: Decode<A>,
    options?: CallOptions
  ): Effect.Effect<A, CallError> =>
    Effect.matchEffect(send(request, facts, options), {
      onFailure: (error) => Effect.fail(failureOf(error)),
      onSuccess: (sent) => {
        options?.onAnswer?.(sent.lease)
        return decoded(sent, decode)
      }
    })

  const post = (template: HttpClientRequest.HttpClientRequest, body: unknown): Prepared => {
    const json = encode(body)
    if (json === undefined) return notSent(new InvalidRequest({ field: "request", expected: "JSON" }))
    return {
      _tag: "Prepared",
      request: HttpClientRequest.setBody(template, json),
      facts: requestFactsOf(body, json.contentLength)
    }
  }
  const prepare = (request: ChatRequest.ChatRequest, stream: boolean): Prepared => {
    const invalid = check(request, stream)
    return invalid === undefined
      ? post(posts.chat, stream ? { ...request, stream } : request)
      : notSent(invalid)
  }
  const answer = <A>(
    prepared: Prepared,
    decode: Decode<A>,
    options?: CallOptions
  ): Effect.Effect<A, CallError> =>
    prepared._tag === "Prepared"
      ? call(prepared.request, prepared.facts, decode, options)
      : Effect.fail(prepared)
  return OpenRouter.of({
    chat: (request, options) => answer(prepare(request, false), ChatResponse.decode, options),
    chatStream: (request, options) =>
      Stream.unwrap(
        Effect.flatMap(Scope.Scope, (scope) => {
          const prepared = prepare(request, true)
          if (prepared._tag !== "Prepared") return Effect.fail(prepared)
          return Effect.matchEffect(send(prepared.request, prepared.facts, options, scope), {
            onFailure: (error) => Effect.fail(failureOf(error)),
            onSuccess: (sent) => {
              options?.onAnswer?.(sent.lease)
              return Effect.succeed(
                sent.stream === undefined
                  ? Stream.fromEffect(Effect.map(decoded(sent, ChatResponse.decode), chunkOf))
                  : chunksOf(sent.stream, sent.lease.key.id)
              )
            }
          })
        })
      ),
    key: (id) =>
      Effect.flatMap(pool.key(id), (key) =>
        Effect.mapError(readKey(http, baseUrl, key), (unread) => notSent(unreadable(id, unread)))
      ),
    keys: Effect.gen(function* () {
      const read = yield* Effect.forEach(
        yield* pool.keys,
        (key) =>
          Effect.map(Effect.result(readKey(http, baseUrl, key)), (result) => [key.id, result] as const),
        { concurrency: 8 }
      )
      const results = new Map(read)
      return (yield* pool.snapshot).keys.map((key): KeyStatus => {
        const result = results.get(key.id)
        return result?._tag === "Success"
          ? { ...key, info: result.success, health: "live" }
          : { ...key, info: undefined, health: result?.failure.refused === true ? "refused" : "unknown" }
      })
    }),
    embeddings: (request, options) => answer(post(posts.embeddings, request), decodeEmbeddings, options),
    generation: Effect.fnUntraced(function* (id, { keyId } = {}) {
      const http = HttpClientRequest.setUrlParam(get("/generation"), "id", id)
      const keys = keyId === undefined ? onePerAccount(yield* pool.keys) : [yield* pool.key(keyId)]
      const [first, ...rest] = keys.map(({ id: only }) => {
        const filter: Filter.Filter = (candidate) => (candidate.id === only ? undefined : another)
        return call(http, nothing, decodeGeneration, { filter })
      })
      const read = first ?? call(http, nothing, decodeGeneration)
      const { data } = yield* rest.reduce((found, next) => Effect.catch(found, () => next), read)
      return data
    }),
    models: Effect.map(call(get("/models"), nothing, decodeModels), ({ data }) => data),
    client: BalancedHttpClient.make(http, balancer, options),
    // Always below the base URL: a key goes nowhere else, whatever the request says.
    send: (request, ...rest) => relay(HttpClientRequest.prependUrl(request, baseUrl), ...rest)
  })
})

/**
 * The layer of the service, with a balancer and the reading of credit. It needs keys (`KeyPool.layerConfig`), a selector
 * (`LeastInFlight.layer()`), and an `HttpClient` (`NodeHttpClient.layerUndici`); policies such as `Retry.layer()` join
 * in when they are provided with them.
 *
 * **Example**
 *
 * ```ts
 * import { NodeHttpClient } from "@effect/platform-node"
 * import { KeyPool } from "@evenkeel/core"
 * import { LeastInFlight } from "@evenkeel/least-in-flight"
 * import { OpenRouter } from "@evenkeel/openrouter"
 * import { Retry } from "@evenkeel/retry"
 * import { Layer } from "effect"
 *
 * const live = OpenRouter.layer.pipe(
 *   Layer.provide([LeastInFlight.layer(), Retry.layer(), KeyPool.layerConfig, NodeHttpClient.layerUndici])
 * )
 * Layer.isLayer(live) // => true
 * ```
 */
export const layerWith = (
  options: Options
): Layer.Layer<
  OpenRouter | Balancer.Balancer | OpenRouterCredits.CreditReport,
  Config.ConfigError | InvalidOption,
  KeyPool.KeyPool | Selector.Selector | HttpClient.HttpClient
> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const baseUrl = yield* baseUrlOf(options.baseUrl)
      const credits = yield* creditsOf(options.credits, baseUrl)
      const timeout = options.timeout ?? options.balancer?.timeout ?? defaultTimeout
      const balancer = yield* Effect.provideService(
        Balancer.make({ ...options.balancer, timeout }),
        Credits.Credits,
        credits
      )
      const openrouter = yield* Effect.provideService(
        make({ ...options, baseUrl }),
        Balancer.Balancer,
        balancer
      )
      return Context.make(OpenRouter, openrouter).pipe(
        Context.add(Balancer.Balancer, balancer),
        Context.add(OpenRouterCredits.CreditReport, yield* OpenRouterCredits.report)
      )
    })
  )

/**
 * `layerWith` and the defaults.
 */
export const layer = layerWith({})

const creditsOf = (
  options: OpenRouterCredits.Options | false | undefined,
  baseUrl: string
): Effect.Effect<Credits.Credits, InvalidOption, KeyPool.KeyPool | HttpClient.HttpClient | Scope.Scope> =>
  options === false
    ? Effect.flatMap(Credits.Credits, Effect.succeed)
    : Effect.flatMap(HttpClient.HttpClient, (client) => OpenRouterCredits.make(client, baseUrl, options))

/** What cannot be right is refused before a key is taken for it. */
const check = (request: ChatRequest.ChatRequest, stream: boolean): InvalidRequest | undefined => {
  if (!Array.isArray(request?.messages) || request.messages.length === 0) {
    return new InvalidRequest({ field: "messages", expected: "a list of at least one message" })
  }
  if (request.stream !== undefined && request.stream !== stream) {
    const expected = stream ? "true: `chatStream` answers as a stream" : "false: `chat` answers whole"
    return new InvalidRequest({ field: "stream", expected })
  }
  return undefined
}

/** A request that can be sent, or why it cannot. */
type Prepared =
  | {
      readonly _tag: "Prepared"
      readonly request: HttpClientRequest.HttpClientRequest
      readonly facts: RequestFacts
    }
  | OpenRouterError

/** `undefined` for what JSON cannot hold: a cycle, a bigint. */
const encode = (body: unknown): HttpBody.Uint8Array | undefined => {
  try {
    return HttpBody.jsonUnsafe(body)
  } catch {
    return undefined
  }
}

const onePerAccount = (keys: ReadonlyArray<Key.Key>): ReadonlyArray<Key.Key> => [
  ...new Map(keys.map((key) => [key.account ?? `key:${key.id}`, key])).values()
]

/** The request is for one key alone. */
const another: Filter.Ineligible = {
  reason: "another-account",
  scope: "request",
  since: undefined,
  until: undefined
}

/** Why a key could not be read. */
const unreadable = (keyId: string, { cause, status }: Unread): Answered | Transport | Undecodable => {
  if (status === undefined) return new Transport({ keyId, description: "GET /key failed", cause })
  const body = { error: { code: status, message: `GET /key answered ${status}` } }
  const classification = status < 400 ? undefined : Classifier.classify({ status, headers: {}, body }, 0)
  return classification === undefined
    ? new Undecodable({ description: "GET /key answered what is no key", body: undefined })
    : answered({ keyId, body: undefined, classification })
}

/** A failure without an attempt on the keys of the pool. */
const notSent = (reason: OpenRouterError["reason"]): OpenRouterError =>
  new OpenRouterError({ reason, attempts: [] })

type Decode<A> = (body: unknown) => Exit.Exit<A, Schema.SchemaError>

const decoded = <A>(
  { body, lease, response }: BalancedHttpClient.Sent,
  decode: Decode<A>
): Effect.Effect<A, OpenRouterError> => {
  const exit = decode(body)
  if (exit._tag === "Success") return Effect.succeed(exit.value)
  return Effect.catch(exit, (error) => {
    const reason = new Undecodable({ description: error.message, body })
    const outcome = { ...Outcome.ignored(), status: response().status, class: "undecodable" }
    return Effect.fail(new OpenRouterError({ reason, attempts: lease.attempted(outcome) }))
  })
}
