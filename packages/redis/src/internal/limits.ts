/**
 * Requests and tokens per minute over all processes, by Effect's rate limiter with its store in Redis.
 */
import type { Filter, Lease } from "@evenkeel/core"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as RateLimiter from "effect/persistence/RateLimiter"

/** What a key, or an account, may take in a minute. */
export interface PerMinute {
  readonly key?: number | undefined
  readonly account?: number | undefined
}

interface Limit {
  readonly scope: "key" | "account"
  readonly unit: "requests" | "tokens"
  readonly limit: number
}

/** Who is over a limit is told so with the time at which there is room again. */
export type Over = Pick<Filter.Ineligible, "reason" | "scope"> & { readonly retryAfter: number }

export const limitsOf = (
  limiter: RateLimiter.RateLimiter,
  { requests, tokens }: { readonly requests: PerMinute | undefined; readonly tokens: PerMinute | undefined }
) => {
  const limits: Array<Limit> = []
  for (const scope of ["key", "account"] as const) {
    const [most, mostTokens] = [requests?.[scope], tokens?.[scope]]
    if (most !== undefined) limits.push({ scope, unit: "requests", limit: most })
    if (mostTokens !== undefined) limits.push({ scope, unit: "tokens", limit: mostTokens })
  }
  const consume = ({ limit, scope, unit }: Limit, lease: Lease.Lease) => {
    const id = scope === "key" ? lease.key.id : lease.key.account
    // A request that is larger than the limit could never go: it takes all of it.
    const tokens = unit === "requests" ? 1 : Math.min(limit, Math.ceil(lease.context.tokens ?? 0))
    if (id === undefined || tokens === 0) return Effect.undefined
    const key = `${unit}:${scope}:${id}`
    return Effect.as(
      limiter.consume({ key, limit, tokens, window: "1 minute", algorithm: "token-bucket" }),
      undefined
    ).pipe(
      Effect.catch((error): Effect.Effect<Over, RateLimiter.RateLimiterError> =>
        error.reason._tag === "RateLimitExceeded"
          ? Effect.succeed({ reason: "paced", scope, retryAfter: Duration.toMillis(error.reason.retryAfter) })
          : Effect.fail(error)
      )
    )
  }
  /** Takes from one limit after the other, up to the first that is reached. */
  const next = (
    lease: Lease.Lease,
    i: number
  ): Effect.Effect<Over | undefined, RateLimiter.RateLimiterError> =>
    i === limits.length
      ? Effect.undefined
      : Effect.flatMap(consume(limits[i]!, lease), (over) =>
          over === undefined ? next(lease, i + 1) : Effect.succeed(over)
        )
  return limits.length === 0 ? undefined : (lease: Lease.Lease) => next(lease, 0)
}
