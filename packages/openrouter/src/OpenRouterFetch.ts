/**
 * A `fetch` over many keys, for programs without Effect: hand it to the SDK of your choice.
 *
 * This is the one module of the package that knows a strategy and policies: who asks for a `fetch` composes no layers, so
 * the sensible defaults are built in here (ADR 7).
 */
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type * as Scope from "effect/Scope"
import { FetchHttpClient, HttpClient } from "effect/http"
import * as CircuitBreaker from "@evenkeel/circuit-breaker/CircuitBreaker"
import {
  Balancer,
  Breaker,
  Credits,
  Hedging,
  type Key,
  KeyConfig,
  KeyPool,
  RetryPolicy,
  Selector
} from "@evenkeel/core"
import * as LeastInFlight from "@evenkeel/least-in-flight/LeastInFlight"
import * as Hedge from "@evenkeel/retry/Hedge"
import * as Retry from "@evenkeel/retry/Retry"
import * as BalancedHttpClient from "./BalancedHttpClient.ts"
import type * as Classifier from "./Classifier.ts"
import { answering } from "./internal/fetch/answer.ts"
import { Call } from "./internal/fetch/call.ts"
import { idleClock } from "./internal/fetch/clock.ts"
import { homeward } from "./internal/fetch/homes.ts"
import { followingOn } from "./internal/fetch/redirects.ts"
import { outgoing, signalOf, urlOf, type Outgoing } from "./internal/fetch/request.ts"
import { attributionHeaders, baseUrlOf, defaultTimeout } from "./internal/settings.ts"
import type { Attribution } from "./OpenRouter.ts"
import * as OpenRouterCredits from "./OpenRouterCredits.ts"
import { InvalidOption } from "./OpenRouterError.ts"

/**
 * Options of the fetch.
 */
export interface Options {
  /**
   * Secrets, or records with `secret` and, as you like, `id`, `account`, `weight`, `tier`, `maxInFlight`. Default: read
   * from the environment (`OPENROUTER_KEYS`, `OPENROUTER_API_KEY` or `OPENROUTER_KEY_1` and so on).
   */
  readonly keys?: ReadonlyArray<Key.Input> | undefined
  /** How a key is picked. Default `LeastInFlight.make()`: it needs no reading and suits requests that differ in length. */
  readonly selector?: Selector.Selector | undefined
  /** Where OpenRouter is. Default: `OPENROUTER_BASE_URL`, or else `https://openrouter.ai/api/v1`; https except on loopback. */
  readonly baseUrl?: string | undefined
  /** When a request is tried again. Default: the defaults of `@evenkeel/retry`; `false`: never. */
  readonly retry?: Retry.Options | false | undefined
  /** When a key that keeps failing is left alone. Default: the defaults of `@evenkeel/circuit-breaker`; `false`: never. */
  readonly breaker?: CircuitBreaker.Options | false | undefined
  /** How credit is read. Default: every 60 seconds; `false` leaves it unknown. The reading keeps no process alive. */
  readonly credits?: OpenRouterCredits.Options | false | undefined
  /** The underlying fetch, for OpenRouter and for all other origins. Default `globalThis.fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined
  /**
   * What to send to OpenRouter with instead, such as `NodeHttpClient.layerUndici`: Node's own fetch gives up on answers
   * whose headers take longer than 300 seconds.
   */
  readonly httpClient?: Layer.Layer<HttpClient.HttpClient> | undefined
  /** The longest silence of a stream, greater than 0. Default 2 minutes. */
  readonly idleTimeout?: Duration.Input | undefined
  /**
   * When a second copy of a slow request is sent, and the first answer wins; both may be billed. Default: never. `{}` takes
   * the defaults of `Hedge` in `@evenkeel/retry`.
   */
  readonly hedge?: Hedge.Options | false | undefined
  /**
   * The deadline of a request, over all attempts and waits, from 0 up; of a stream up to its first content. `Infinity` for
   * none. Default 10 minutes, as the SDKs of OpenAI have it. One that has passed is answered with a 504.
   */
  readonly timeout?: Duration.Input | undefined
  /** The longest that a request waits for a key, whatever for; from 0 up. Default: as `retry` has patience, 30 seconds. */
  readonly maxWait?: Duration.Input | undefined
  /** Models to ask in place of a request's own when that is out; see `BalancedHttpClient.Options`. Default: none. */
  readonly fallbacks?: BalancedHttpClient.Fallbacks | undefined
  /** How many requests may wait for a key: a whole number from 0 up, or `Infinity`. Default 10,000. */
  readonly maxWaiting?: number | undefined
  /** Who is calling. Headers that a request sets itself win. */
  readonly attribution?: Attribution | undefined
  /** Rows that the classifier reads before its own. */
  readonly classifier?: ReadonlyArray<Classifier.Row> | undefined
}

/**
 * A fetch over many keys.
 */
export interface OpenRouterFetch {
  /** A WHATWG `fetch`; it needs no `this`. */
  readonly fetch: typeof globalThis.fetch
  /** The state of the keys now, as plain data without a secret. */
  readonly snapshot: () => KeyPool.PoolSnapshot
  /**
   * Ends it: requests in flight reject, bodies under way break off, credit is no longer read. From then on `fetch` rejects
   * with a `TypeError`. A second call waits for the first.
   */
  readonly close: () => Promise<void>
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

/**
 * Makes a fetch.
 *
 * **Details**
 *
 * - Requests to OpenRouter's origin get a key: `Authorization` is replaced, so SDKs may be given any placeholder. Requests
 *   to other origins go to the underlying fetch untouched. Redirects are followed on OpenRouter's origin only; another
 *   one's comes back as the 3xx that it is.
 * - The body is read into memory before the first attempt. Of an answer nothing is passed on before its first content; up
 *   to there another key may be tried. Bytes pass unchanged.
 * - A failure that nothing could better is OpenRouter's own answer, with `x-should-retry: false`, and a Retry-After of at
 *   most an hour. If no key can serve, it is an error in OpenRouter's shape: 429, 402, 401 or 503, with the reasons of
 *   each key in `error.metadata.evenkeel`; if it took longer than `timeout`, a 504. A connection that failed rejects with
 *   a `TypeError`.
 * - Errors carry what the request has met, in `error.metadata.evenkeel.attempts`: of each attempt the key, the account, the
 *   model, scope, class and status, and times. OpenRouter's own answer does where it was not the first; else it comes as it is.
 * - A request that names what an earlier one has made (a response, a file, a video, a batch, a generation) goes to the key
 *   that made it, or to another of its account.
 *
 * Rejects with `InvalidKey`, `InvalidOption`, `ConfigError`, or a `RangeError` of the policies; each names the field.
 *
 * **Gotchas**
 *
 * Read or cancel each body: one that nobody has begun to read is given up after a minute.
 *
 * **Example**
 *
 * ```ts
 * import { OpenRouterFetch } from "@evenkeel/openrouter"
 *
 * const openrouter = await OpenRouterFetch.make({
 *   keys: ["sk-or-v1-0001", { secret: "sk-or-v1-0002", id: "batch", maxInFlight: 8 }],
 *   credits: false
 * })
 * openrouter.snapshot().keys.length // => 2
 * await openrouter.close()
 * ```
 */
export const make = async (options: Options = {}): Promise<OpenRouterFetch> => {
  check(options)
  const underlying: typeof globalThis.fetch = (...args) => (options.fetch ?? globalThis.fetch)(...args)
  const fetches = Layer.provide(FetchHttpClient.layer, Layer.succeed(FetchHttpClient.Fetch, underlying))
  const runtime = ManagedRuntime.make(
    Layer.merge(
      Layer.provide(Layer.effect(Parts, environment(start(options))), options.httpClient ?? fetches),
      // Redirects are followed here, on the key of the request.
      Layer.succeed(FetchHttpClient.RequestInit, { redirect: "manual" })
    )
  )
  const { answer, origin, pool } = await runtime.runPromise(Parts).catch(async (error: unknown) => {
    await runtime.dispose()
    throw error
  })
  const defaults = attributionHeaders(options.attribution)
  const calls = new Set<Call>()
  let closed: Promise<void> | undefined

  const fetch: typeof globalThis.fetch = async (input, init) => {
    if (closed !== undefined) throw closing()
    const url = urlOf(input)
    if (!URL.canParse(url) || new URL(url).origin !== origin) return underlying(input, init)
    const signal = signalOf(input, init)
    signal?.throwIfAborted()
    const call = new Call(runtime.runFork, signal, calls)
    return call.respond(
      Effect.flatMap(
        asked(() => outgoing(input, init, defaults)),
        (out) => answer(out, call)
      )
    )
  }
  const close = () =>
    (closed ??= Promise.all(Array.from(calls, (call) => call.abort(closing()))).then(() => runtime.dispose()))
  return {
    fetch,
    snapshot: () => Effect.runSync(pool.snapshot),
    close,
    [Symbol.asyncDispose]: close
  }
}

/** Mostly it is there at once. */
const asked = (request: () => Outgoing | Promise<Outgoing>): Effect.Effect<Outgoing, unknown> =>
  Effect.flatMap(Effect.try({ try: request, catch: (error) => error }), (out) =>
    out instanceof Promise
      ? Effect.tryPromise({ try: () => out, catch: (error) => error })
      : Effect.succeed(out)
  )

/** What a running fetch is made of. */
interface Parts {
  readonly pool: KeyPool.KeyPool["Service"]
  readonly origin: string
  readonly answer: ReturnType<typeof answering>
}
const Parts = Context.Service<Parts, Parts>("@evenkeel/openrouter/OpenRouterFetch/Parts")

const start = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<
  Parts,
  Key.InvalidKey | InvalidOption | Config.ConfigError,
  HttpClient.HttpClient | Scope.Scope
> {
  const { breaker = {}, credits, hedge = false, maxWait, maxWaiting, retry = {} } = options
  const timeout = options.timeout ?? defaultTimeout
  const baseUrl = yield* baseUrlOf(options.baseUrl)
  const { origin } = new URL(baseUrl)
  const client = yield* HttpClient.HttpClient
  const pool = yield* KeyPool.make({ keys: options.keys ?? (yield* KeyConfig.fromConfig) })
  const reading =
    credits === false ? Effect.succeed(Credits.unknown) : OpenRouterCredits.make(client, baseUrl, credits)
  const context = Context.make(KeyPool.KeyPool, pool).pipe(
    Context.add(Selector.Selector, homeward(options.selector ?? LeastInFlight.make())),
    Context.add(RetryPolicy.RetryPolicy, retry === false ? RetryPolicy.never : Retry.make(retry)),
    Context.add(Breaker.Breaker, breaker === false ? Breaker.closed : CircuitBreaker.make(breaker).breaker),
    Context.add(Hedging.Hedging, hedge === false ? Hedging.never : Hedge.make(hedge)),
    Context.add(
      Credits.Credits,
      yield* reading.pipe(
        Effect.provideService(KeyPool.KeyPool, pool),
        Effect.provideService(Clock.Clock, yield* idleClock),
        // A redirect could take the key elsewhere.
        Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" })
      )
    )
  )
  const balancer = yield* Effect.provide(Balancer.make({ maxWait, maxWaiting, timeout }), context)
  const send = BalancedHttpClient.makeSend(followingOn(origin, client), balancer, options)
  return { pool, origin, answer: answering(send, pool, origin) }
})

/** The variables as they are now: Effect's own provider reads them once, and `dotenv` may have come in between. */
const environment = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(effect, ConfigProvider.ConfigProvider, ConfigProvider.fromEnv()))

/** Throws what is wrong with the options that nobody else looks at. */
const check = ({ fetch, httpClient, idleTimeout, keys, maxWaiting, selector }: Options): void => {
  const idle = idleTimeout === undefined ? undefined : Duration.fromInput(idleTimeout)
  const must = (option: string, holds: boolean, expected: string) => {
    if (!holds) throw new InvalidOption({ option, expected })
  }
  must("keys", keys === undefined || Array.isArray(keys), "a list of keys")
  must("fetch", fetch === undefined || typeof fetch === "function", "a function")
  must("httpClient", httpClient === undefined || Layer.isLayer(httpClient), "a Layer of HttpClient")
  must(
    "selector",
    selector === undefined || Effect.isEffect(selector.make),
    "a Selector, such as RoundRobin.make()"
  )
  must(
    "idleTimeout",
    idle === undefined || (idle._tag === "Some" && Duration.toMillis(idle.value) > 0),
    "a duration greater than 0"
  )
  must(
    "maxWaiting",
    maxWaiting === undefined || maxWaiting === Infinity || (Number.isInteger(maxWaiting) && maxWaiting >= 0),
    "a whole number from 0 up, or Infinity"
  )
}

const closing = () => new TypeError("fetch failed: close() was called on this OpenRouterFetch")
