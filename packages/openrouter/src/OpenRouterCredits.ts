/**
 * Credit from OpenRouter: a poller that reads `GET /api/v1/key` of every key, and an estimate of what a request costs.
 *
 * Reading a key is free, and so are the prices (`GET /api/v1/models`). One poller serves the whole pool; no request ever
 * waits for it. Between two readings the pool holds and debits by itself.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { HttpClient } from "effect/http"
import { Credits, KeyPool } from "@evenkeel/core"
import { CostEstimator } from "./internal/credit/costEstimator.ts"
import { exhaustedAt } from "./internal/credit/forecast.ts"
import { poll } from "./internal/credit/poller.ts"
import { Prices, watchPrices } from "./internal/credit/prices.ts"
import { InvalidOption } from "./OpenRouterError.ts"

/**
 * Options of the credits.
 */
export interface Options {
  /** How often every key is read, within 10 %. At least 1 second. Default 60 seconds: what OpenRouter's own caches hold. */
  readonly interval?: Duration.Input | undefined
  /**
   * By how much `/key` may lag behind what was spent. Default 60 seconds: debits younger than that are kept even if a
   * reading came later, so that credit is rather counted twice for a while than not at all.
   */
  readonly lag?: Duration.Input | undefined
  /** USD held for a request to a model whose prices are not known yet. Default 0.01: about a thousand tokens of a dear one. */
  readonly firstEstimate?: number | undefined
}

/**
 * Reads the credit of all keys, and the prices of models, for as long as the scope is open; returns the `Credits` that
 * estimate by them.
 *
 * **Details**
 *
 * Every key is read at the interval; soon after an answer contradicts what is known of it, though not within 5 seconds of
 * its last reading; within seconds of the time at which its cap is filled up; and 10 seconds before it returns from a bench
 * as refused or spent, so that no request is wasted on finding out whether it is well again. What a failed reading leaves is marked
 * as stale, and after the pool's `creditMaxAge` it is unknown. A key that is refused (401) is benched for the pool's
 * cooldown, longer each time, until a reading is accepted, whether its time is up or not. Keys that are all refused within 10 seconds are benched for 30
 * seconds only: then it is not the keys.
 */
export const make = Effect.fnUntraced(function* (
  client: HttpClient.HttpClient,
  baseUrl: string,
  options: Options = {}
) {
  const interval = Duration.toMillis(options.interval ?? "60 seconds")
  const lag = Duration.toMillis(options.lag ?? "60 seconds")
  const first = options.firstEstimate ?? 0.01
  if (!(interval >= 1000))
    return yield* new InvalidOption({ option: "interval", expected: "at least 1 second" })
  if (!(lag >= 0)) return yield* new InvalidOption({ option: "lag", expected: "at least 0" })
  if (!(first >= 0 && first < Infinity)) {
    return yield* new InvalidOption({ option: "firstEstimate", expected: "a finite number of USD from 0 up" })
  }
  const prices = new Prices()
  const costs = new CostEstimator(first, prices)
  const { doubt } = yield* poll(client, baseUrl, yield* KeyPool.KeyPool, { interval, lag })
  yield* Effect.forkScoped(watchPrices(client, baseUrl, prices))
  const credits: Credits.Credits = {
    estimate: (context) => costs.estimate(context),
    observe: (context, cost) => costs.observe(context, cost),
    doubt
  }
  return credits
})

/** Provides `Credits`; for programs that use the core's balancer without the `OpenRouter` service. */
export const layer = (
  client: HttpClient.HttpClient,
  baseUrl: string,
  options?: Options
): Layer.Layer<never, InvalidOption, KeyPool.KeyPool> =>
  Layer.effect(Credits.Credits, make(client, baseUrl, options))

/**
 * What one key has, and how long that lasts. Amounts are in USD, times in milliseconds since the epoch.
 */
export interface Balance {
  readonly keyId: string
  readonly account: string | undefined
  /** Left: the last reading less what was spent or held since. `undefined`: uncapped, or not known. */
  readonly remaining: number | undefined
  /** The cap; `undefined` if there is none, or it is not known. */
  readonly limit: number | undefined
  /** When the last reading was asked for; `undefined` before the first. */
  readonly readAt: number | undefined
  /** The last reading failed, or is older than two intervals. */
  readonly stale: boolean
  /** When the cap is filled up again; `undefined` if never, or not known. */
  readonly resetsAt: number | undefined
  /** USD an hour that this process spends on the key, weighted over about the last 10 minutes; 0 or more. */
  readonly burnRate: number
  /** When the key runs dry at this rate; `undefined` if it does not before its cap is filled up, or within a year. */
  readonly exhaustedAt: number | undefined
}

/**
 * What all keys have, and how long it lasts.
 *
 * **Gotchas**
 *
 * The rate is that of this process. What others spend on the same keys shows in `remaining` with the next reading, and
 * not in the forecast.
 */
export class CreditReport extends Context.Service<
  CreditReport,
  {
    /** One balance for each key, in the order of the pool. */
    readonly balances: Effect.Effect<ReadonlyArray<Balance>>
  }
>()("@evenkeel/openrouter/CreditReport") {}

/** The report on the keys of the pool. */
export const report: Effect.Effect<CreditReport["Service"], never, KeyPool.KeyPool> = Effect.map(
  KeyPool.KeyPool,
  (pool) =>
    CreditReport.of({
      balances: Effect.map(pool.snapshot, ({ at, keys }) => keys.map((key) => balanceOf(key, at)))
    })
)

/** The layer of the report. It reads nothing itself: whoever provides `Credits` over the same pool does. */
export const layerReport: Layer.Layer<CreditReport, never, KeyPool.KeyPool> = Layer.effect(
  CreditReport,
  report
)

const balanceOf = (key: KeyPool.KeySnapshot, at: number): Balance => {
  const { burnRate, credit: remaining, creditResetsAt: resetsAt } = key
  return {
    keyId: key.id,
    account: key.account,
    remaining,
    limit: key.creditLimit,
    readAt: key.creditReadAt,
    stale: key.creditStale,
    resetsAt,
    burnRate,
    exhaustedAt: exhaustedAt({ remaining, burnRate, resetsAt }, at)
  }
}
