/**
 * Limits per key and per account, for the port that `@evenkeel/core` defines: requests and tokens per minute, requests in
 * flight, and a limit of requests in flight that an account's throttles teach.
 *
 * **Why it is written by hand**
 *
 * `effect/persistence`'s `RateLimiter` and `Semaphore` wrap a call and let it wait by itself. Here a limit is one fact among
 * others: the pool filters all keys, picks one and counts it in one synchronous step, and who cannot be served waits in the
 * balancer's one queue, by priority, for whichever key is free first. Of Effect's token bucket nothing can be read without
 * taking something, so a filter would need a second bucket beside each; its memory store never lets go of a bucket, also not
 * of a key's that has left; its refill loses the rest of a millisecond whenever a small bucket is full (of 50,000 a minute
 * with a burst of 1 a caller who tries each millisecond gets 30,000); and a clock that is set back stops it for as long. The
 * decisions are the same otherwise: where both are exact, the tests compare them arrival by arrival.
 *
 * Measured on Node 24, per request: filter, admit and record with rates and permits on both the key and the account take
 * 140 ns, and a filter 35 ns; one `consume` of Effect's takes 750 to 1,450 ns, and a request would need four.
 *
 * Sources: ITU-T I.371 (GCRA); Netflix concurrency-limits (AIMD); Effect 4.1's `persistence/RateLimiter`.
 */
import { Limiter } from "@evenkeel/core"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { State } from "./internal/cell.ts"
import { Pacer, type Book, type Rules } from "./internal/pacer.ts"
import { limitsOf, settingsOf } from "./internal/ranges.ts"
import type { Limits } from "./Limits.ts"

export type { State } from "./internal/cell.ts"
export type { Limits } from "./Limits.ts"

/**
 * How throttles lower the requests in flight of an account.
 */
export interface Adaptive {
  /** The limit goes no lower: a whole number from 1 up. Default 1. */
  readonly min?: number | undefined
  /** The limit goes no higher: a whole number from `min` up, or `Infinity`, the default. `maxInFlight` bounds it too. */
  readonly max?: number | undefined
  /** What a throttle leaves of the limit: greater than 0, less than 1. Default 0.9, as in Netflix's `AIMDLimit`. */
  readonly backoff?: number | undefined
  /**
   * How long after the last throttle there is no limit again, greater than 0. Default 10 minutes: ten windows of
   * OpenRouter's rate limits, by which time the budget that was tight is another one. An account with little traffic would
   * else keep for ever what one bad moment taught.
   */
  readonly forgetAfter?: Duration.Input | undefined
}

/**
 * Options of the limits. A named entry replaces the general one as a whole.
 */
export interface Options {
  /** The limits of every key. Default: none. */
  readonly key?: Limits | undefined
  /** The limits of every account, over all of its keys. A key whose account is not known has one of its own. Default: none. */
  readonly account?: Limits | undefined
  /** The limits of some keys, by id. */
  readonly keys?: Readonly<Record<string, Limits>> | undefined
  /** The limits of some accounts, by name; `key:<id>` is that of a key whose account is not known. */
  readonly accounts?: Readonly<Record<string, Limits>> | undefined
  /**
   * Whether throttles teach an account how much it may have in flight. Default: they do, for it limits nobody who is not
   * throttled.
   */
  readonly adaptive?: boolean | Adaptive | undefined
}

/**
 * The limits of all keys and accounts, to look at and to work by hand.
 */
export class Pacing extends Context.Service<
  Pacing,
  {
    /** What the balancer uses. */
    readonly limiter: Limiter.Limiter
    /** The keys and accounts that have been used, by their names; it changes nothing. */
    readonly state: Effect.Effect<{
      readonly keys: ReadonlyMap<string, State>
      readonly accounts: ReadonlyMap<string, State>
    }>
    /**
     * Limits a key from now on; `undefined` takes its entry away, and the general limits hold. What it has taken stays
     * taken. Who waits already learns of it when the next use settles, or at the time it was told. Dies with a
     * `RangeError` as `make` throws one.
     */
    readonly limitKey: (id: string, limits: Limits | undefined) => Effect.Effect<void>
    /** The same for an account. */
    readonly limitAccount: (account: string, limits: Limits | undefined) => Effect.Effect<void>
  }
>()("@evenkeel/pacing/Pacing") {}

/**
 * Makes the limits.
 *
 * **When to use**
 *
 * To give `limiter` to a balancer by hand; else `layer` is shorter.
 *
 * **Details**
 *
 * A rate that is reached says `paced`, with the exact time at which it lets the next request through; a limit of requests
 * in flight says `saturated`, and no time. Where several speak, the latest time is told.
 *
 * A fault with the reason `throttled` of an account, or of one of its keys, lowers what the account may have in flight to
 * 0.9 of what it had, at most once per round trip, and each success raises it by one while at least half of it is in use.
 * To that belongs OpenRouter's 402 of an in-flight budget. Faults for some upstreams alone, such as the limit of free
 * models, and all other faults teach nothing.
 *
 * It runs no timers and no fibers. The memory of a key is freed when the key leaves the pool, and that of an account when it
 * is at rest and there are many.
 *
 * Throws a `RangeError` that names the field, such as `accounts.acme.requestsPerMinute`, and its range.
 *
 * **Gotchas**
 *
 * Limits are of this process: where several share an account, give each its part.
 *
 * **Example**
 *
 * ```ts
 * import { Pacing } from "@evenkeel/pacing"
 * import { Effect } from "effect"
 *
 * const pacing = Pacing.make({ account: { requestsPerMinute: 20 } })
 * const program = Effect.gen(function* () {
 *   yield* pacing.limitAccount("acme", { requestsPerMinute: 200, burst: 10, maxInFlight: 50 })
 *   return (yield* pacing.state).accounts.size
 * })
 *
 * await Effect.runPromise(program) // => 0
 * ```
 */
export const make = (options: Options = {}): Pacing["Service"] => fromRules(rulesOf(options))

/**
 * The layer of the limits: of the port that the balancer reads, and of the service for your own hands.
 *
 * **Gotchas**
 *
 * Requests wait for a rate as long as the retry policy has patience, or the balancer's `maxWait`: without either they are
 * refused at once, and told when to come back.
 *
 * Bind the result to a constant if you provide it twice: each call makes limits of its own.
 *
 * **Example**
 *
 * ```ts
 * import { Balancer, KeyPool, Selector } from "@evenkeel/core"
 * import { Pacing } from "@evenkeel/pacing"
 * import { Clock, Effect, Layer } from "effect"
 *
 * const live = Balancer.layerWith({ maxWait: "10 seconds" }).pipe(
 *   Layer.provide(Pacing.layer({ account: { requestsPerMinute: 1200 } })),
 *   Layer.provide(Selector.layer(Selector.random)),
 *   Layer.provide(KeyPool.layer({ keys: [{ id: "only", secret: "sk-0000001", account: "acme" }] }))
 * )
 *
 * const program = Effect.gen(function* () {
 *   const balancer = yield* Balancer.Balancer
 *   const request = balancer.use(() => Clock.currentTimeMillis)
 *   const first = yield* request
 *   const second = yield* request
 *   return second - first >= 50
 * })
 *
 * await Effect.runPromise(Effect.provide(program, live)) // => true
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<Pacing> => {
  // Refused here and not when the layer is built; each build has a state of its own.
  rulesOf(options)
  return Layer.syncContext(() => {
    const service = make(options)
    return Context.make(Pacing, service).pipe(Context.add(Limiter.Limiter, service.limiter))
  })
}

const rulesOf = ({ account, accounts, adaptive = true, key, keys }: Options): Rules => ({
  keys: bookOf("key", key, keys),
  accounts: bookOf("account", account, accounts),
  adaptive: adaptive === false ? undefined : settingsOf(adaptive === true ? {} : adaptive)
})

const bookOf = (name: string, general: Limits = {}, named: Readonly<Record<string, Limits>> = {}): Book => ({
  general: limitsOf(name, general),
  named: new Map(Object.entries(named).map(([id, limits]) => [id, limitsOf(`${name}s.${id}`, limits)]))
})

const fromRules = (rules: Rules): Pacing["Service"] => {
  const pacer = new Pacer(rules)
  const limiting =
    (
      name: string,
      limit: (id: string, limits: Limits | undefined, nowMillis: number) => void
    ): Pacing["Service"]["limitKey"] =>
    (id, limits) =>
      Effect.map(Clock.currentTimeMillis, (now) =>
        limit(id, limits === undefined ? undefined : limitsOf(`${name}.${id}`, limits), now)
      )
  return Pacing.of({
    limiter: pacer,
    state: Effect.map(Clock.currentTimeMillis, (now) => ({
      keys: pacer.keyStates(now),
      accounts: pacer.accountStates(now)
    })),
    limitKey: limiting("keys", (id, limits, now) => pacer.limitKey(id, limits, now)),
    limitAccount: limiting("accounts", (name, limits, now) => pacer.limitAccount(name, limits, now))
  })
}
