/**
 * Strict mode: caps that hold over all processes at every moment. Each use takes a permit in Redis before it begins, which
 * costs it a round trip; the default, shared facts alone, costs none and may overrun a cap by what happens within a flush.
 */
import { Permits, type Filter, type Lease } from "@evenkeel/core"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Redis from "effect/persistence/Redis"
import { limitsOf, type PerMinute } from "./internal/limits.ts"
import { take, type Cap, type Held } from "./internal/permit.ts"
import { processName } from "./internal/processName.ts"
import { capOf, millisOf, prefixOf } from "./internal/ranges.ts"
import { Uses } from "./internal/uses.ts"

export type { PerMinute } from "./internal/limits.ts"
export { lapsed, lost } from "./internal/uses.ts"

/**
 * Options of strict mode. All processes of a fleet should have the same.
 */
export interface Options {
  /** Fleets of one namespace share caps; default `default`. */
  readonly namespace?: string | undefined
  /** Uses at once of one key: a whole number from 1 up, or the key's own `maxInFlight`, which is the default. */
  readonly key?: number | "maxInFlight" | undefined
  /** Uses at once of one account: a whole number from 1 up. Default: no cap. */
  readonly account?: number | undefined
  /** Requests that begin in a minute, by key and by account, evenly paced. Default: no limit. */
  readonly requestsPerMinute?: PerMinute | undefined
  /** Tokens that are asked for in a minute, as far as requests say how many. Default: no limit. */
  readonly tokensPerMinute?: PerMinute | undefined
  /**
   * How long a permit outlives a process that was killed: 1 second to 10 minutes. It is renewed three times as often.
   * Default 10 seconds: the uses of a process that is silent for longer are cut off, because their permits go to others.
   */
  readonly lease?: Duration.Input | undefined
  /**
   * Without Redis: `local` goes on with the caps of this process alone, and may overrun those of the fleet; `refuse` lets
   * no request through, and cuts off what goes on for longer than nine tenths of `lease`, because its permit may be another's by then.
   * Default `local`: a cap is seldom worth an outage.
   */
  readonly onUnavailable?: "local" | "refuse" | undefined
  /** How long an answer may take before Redis counts as unavailable: 10 milliseconds to 10 seconds. Default 250 ms. */
  readonly timeout?: Duration.Input | undefined
  /**
   * How long a key is left alone that another process has filled up: 1 millisecond to 10 seconds. Default 25 milliseconds:
   * short beside a request, and at most 40 round trips a second for a key that is full.
   */
  readonly pause?: Duration.Input | undefined
}

/** Uses that began without Redis. */
export const unguarded = Metric.counter("evenkeel_permits_unguarded", {
  description: "Uses that began by the caps of this process alone, because Redis did not answer",
  incremental: true
})

const settingsOf = (options: Options) => ({
  prefix: prefixOf(options.namespace ?? "default"),
  key: options.key === undefined || options.key === "maxInFlight" ? undefined : capOf("key", options.key),
  account: options.account === undefined ? undefined : capOf("account", options.account),
  requests: perMinuteOf("requestsPerMinute", options.requestsPerMinute),
  tokens: perMinuteOf("tokensPerMinute", options.tokensPerMinute),
  lease: Math.round(millisOf("lease", options.lease ?? "10 seconds", 1_000, 600_000)),
  local: options.onUnavailable !== "refuse",
  timeout: millisOf("timeout", options.timeout ?? "250 millis", 10, 10_000),
  pause: millisOf("pause", options.pause ?? "25 millis", 1, 10_000)
})

const perMinuteOf = (field: string, limits: PerMinute | undefined): PerMinute | undefined => {
  for (const [scope, limit] of Object.entries(limits ?? {}))
    if (limit !== undefined) capOf(`${field}.${scope}`, limit)
  return limits
}

/** How long requests are told to stay away while Redis does not answer and they may not go without it. */
const awayFor = 500

const make = Effect.fnUntraced(function* (settings: ReturnType<typeof settingsOf>) {
  const { lease: leaseMillis, local, pause, prefix, timeout } = settings
  const redis = yield* Redis.Redis
  const limits = limitsOf(yield* RateLimiter.make, settings)
  const process = yield* processName
  const askTake = redis.eval(take)
  const uses = new Uses(redis, yield* Queue.unbounded<Held>(), { leaseMillis, timeout, local })
  const clock = yield* Clock.Clock
  let count = 0

  const capsOf = ({ key }: Lease.Lease): ReadonlyArray<Cap> => {
    const most = settings.key ?? key.maxInFlight
    const caps: Array<Cap> = []
    if (most < Infinity) caps.push({ set: `${prefix}permits:key:${key.id}`, most })
    if (settings.account !== undefined && key.account !== undefined)
      caps.push({ set: `${prefix}permits:account:${key.account}`, most: settings.account })
    return caps
  }
  const refused = (
    reason: Filter.Reason,
    scope: "key" | "account" | "host",
    millis: number
  ): Effect.Effect<Permits.Answer> =>
    Effect.map(Clock.currentTimeMillis, (since) => ({
      _tag: "Refused",
      why: { reason, scope, since, until: since + millis }
    }))
  const full = (caps: ReadonlyArray<Cap>, cap: number) =>
    refused(
      "saturated",
      caps[cap - 1]!.set.startsWith(`${prefix}permits:account:`) ? "account" : "key",
      pause
    )

  /** Redis did not answer. */
  const without = (member: string, caps: ReadonlyArray<Cap>): Effect.Effect<Permits.Answer> => {
    if (!local) return refused("unavailable", "host", awayFor)
    const cap = uses.reached(caps)
    if (cap > 0) return full(caps, cap)
    return Effect.as(Metric.update(unguarded, 1), uses.begin(member, caps, undefined))
  }

  const limited = (lease: Lease.Lease, answer: Permits.Answer): Effect.Effect<Permits.Answer> => {
    if (limits === undefined || answer._tag === "Refused") return Effect.succeed(answer)
    return limits(lease).pipe(
      Effect.timeout(timeout),
      // Without Redis nobody knows the limits; who may go on without it does.
      Effect.catch(() =>
        local
          ? Effect.undefined
          : Effect.succeed({ reason: "unavailable", scope: "host", retryAfter: awayFor } as const)
      ),
      Effect.flatMap((over) =>
        over === undefined
          ? Effect.succeed(answer)
          : refused(over.reason, over.scope as "key", Math.max(1, over.retryAfter))
      ),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (exit._tag === "Failure" || exit.value._tag === "Refused") answer.release()
        })
      )
    )
  }

  const taken = (lease: Lease.Lease): Effect.Effect<Permits.Answer> =>
    Effect.suspend(() => {
      const caps = capsOf(lease)
      const member = `${process}:${++count}`
      if (caps.length === 0) return Effect.succeed(uses.begin(member, caps, undefined))
      const sentAt = clock.currentTimeMillisUnsafe()
      return askTake(caps, member, leaseMillis).pipe(
        Effect.timeout(timeout),
        Effect.matchEffect({
          onFailure: () => {
            // It may have been granted all the same.
            uses.give(member, caps)
            return without(`${member}+`, caps)
          },
          onSuccess: (cap) => {
            if (cap > 0) return full(caps, cap)
            if (clock.currentTimeMillisUnsafe() < sentAt + leaseMillis)
              return Effect.succeed(uses.begin(member, caps, sentAt))
            // This process was stopped before it heard: the permit is over already.
            uses.give(member, caps)
            return taken(lease)
          }
        }),
        Effect.onInterrupt(() => Effect.sync(() => uses.give(member, caps)))
      )
    })

  yield* Effect.forkScoped(uses.returning)
  yield* Effect.forkScoped(uses.renewing)
  if (!local) yield* Effect.forkScoped(uses.expiring)
  return {
    name: "redis",
    take:
      limits === undefined
        ? taken
        : (lease) => Effect.flatMap(taken(lease), (answer) => limited(lease, answer))
  } satisfies Permits.Permits
})

/**
 * The layer of permits for the balancer.
 *
 * **When to use**
 *
 * Where overrunning a cap costs more than a round trip to Redis for every request. Together with `RedisFacts`, which tells
 * each process what the others have in flight, few requests ask for a permit that is not to be had.
 *
 * **Details**
 *
 * A refused request goes to another key, or waits in the balancer's queue. It dies with a `RangeError` that names an option
 * that is out of its range.
 *
 * **Gotchas**
 *
 * A process that is stopped for longer than `lease` and goes on then has lost its permits. Those that nobody else took are
 * taken again (`lapsed`); where another was let in, the use is cut off and fails with `PermitLost` (`lost`). What it had sent
 * runs on at OpenRouter for as long as it takes to notice: nothing there can fence it off.
 */
export const layer = (options: Options = {}): Layer.Layer<never, never, Redis.Redis> =>
  Layer.effectContext(
    Effect.suspend(() => {
      const settings = settingsOf(options)
      return Effect.map(
        Effect.provide(make(settings), RateLimiter.layerStoreRedis({ prefix: `${settings.prefix}limits:` })),
        (permits) => Context.make(Permits.Permits, permits)
      )
    })
  )
