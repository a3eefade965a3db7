/**
 * Credit from OpenRouter: a poller that reads `GET /api/v1/key` of every key, and an estimate of what a request costs.
 *
 * Reading a key is free. One poller serves the whole pool; no request ever waits for it. Between two readings the pool
 * holds and debits by itself.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { HttpClient } from "effect/http"
import { Credits, KeyPool, type Key } from "@evenkeel/core"
import { CostEstimator } from "./internal/costEstimator.ts"
import { isPeriod, nextReset } from "./internal/resets.ts"
import * as KeyInfo from "./KeyInfo.ts"
import { InvalidOption } from "./OpenRouterError.ts"
import { readKey } from "./internal/readKey.ts"

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

/** Readings at a time, and the least time between two readings of one key. */
const concurrency = 4
const pause = 5_000

/**
 * Reads the credit of all keys for as long as the scope is open, and returns the `Credits` that ask for more.
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
  const pool = yield* KeyPool.KeyPool
  const wanted = yield* Queue.sliding<string>(1024)
  const readAt = new Map<string, number>()

  const readOne = Effect.fnUntraced(function* (key: Key.Key) {
    const requestedAt = yield* Clock.currentTimeMillis
    readAt.set(key.id, requestedAt)
    const result = yield* Effect.result(readKey(client, baseUrl, key))
    if (result._tag === "Failure") {
      // What is known stays, and grows old by itself: a failed reading is neither an empty key nor a full one.
      if (result.failure.refused) {
        yield* pool.bench({ scope: "key", id: key.id, reason: "rejected", for: "1 minute" })
      }
      return
    }
    const info = result.success
    yield* pool.credit(key.id, {
      remaining: info.limit_remaining ?? undefined,
      requestedAt,
      lag,
      resetsAt: isPeriod(info.limit_reset) ? nextReset(info.limit_reset, requestedAt) : undefined
    })
    yield* adopt(pool, key, info)
  })
  // A key that was removed meanwhile is the only way this can fail; a client that dies must not end the readings.
  const read = (key: Key.Key) => Effect.ignoreCause(readOne(key))

  const all = Effect.flatMap(pool.keys, (keys) => {
    for (const id of readAt.keys()) if (!keys.some((key) => key.id === id)) readAt.delete(id)
    return Effect.forEach(keys, read, { concurrency, discard: true })
  })
  const asked = Effect.flatMap(Queue.take(wanted), (id) =>
    Effect.flatMap(Effect.all([pool.keys, Clock.currentTimeMillis]), ([keys, now]) => {
      const key = keys.find((key) => key.id === id)
      return key === undefined || now - (readAt.get(id) ?? -Infinity) < pause ? Effect.void : read(key)
    })
  )
  const tick = Effect.flatMap(Random.next, (r) => Effect.sleep(interval * (0.9 + 0.2 * r)))

  yield* Effect.forkScoped(Effect.forever(Effect.andThen(all, tick)))
  yield* Effect.forkScoped(Effect.forever(asked))
  yield* Effect.forkScoped(
    Stream.runForEach(pool.changes, (event) =>
      event._tag === "KeyAdded" ? Queue.offer(wanted, event.keyId) : Effect.void
    )
  )
  const costs = new CostEstimator(first)
  const credits: Credits.Credits = {
    estimate: (context) => costs.estimate(context),
    observe: (context, cost) => costs.observe(context, cost),
    doubt: (id) => void Queue.offerUnsafe(wanted, id)
  }
  return credits
})

/** What OpenRouter says about the owner of a key is taken where the user has said nothing. */
const adopt = (pool: KeyPool.KeyPool["Service"], key: Key.Key, info: KeyInfo.KeyInfo) => {
  const account = key.account ?? KeyInfo.account(info)
  const workspace = key.workspace ?? info.workspace_id ?? undefined
  return account === key.account && workspace === key.workspace
    ? Effect.void
    : Effect.asVoid(pool.change(key.id, { account, workspace }))
}

/** Provides `Credits`; for programs that use the core's balancer without the `OpenRouter` service. */
export const layer = (
  client: HttpClient.HttpClient,
  baseUrl: string,
  options?: Options
): Layer.Layer<never, InvalidOption, KeyPool.KeyPool> =>
  Layer.effect(Credits.Credits, make(client, baseUrl, options))
