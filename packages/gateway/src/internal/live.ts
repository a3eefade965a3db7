/**
 * The feed of the live page: what the pool, the balancer and the gateway know, once a second, for as long as somebody looks.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Struct from "effect/Struct"
import { HttpServerResponse } from "effect/http"
import type { BalancerEvent, Explanation, KeyPool, PoolEvent } from "@evenkeel/core"
import { respond, type Failure } from "./failure.ts"
import type { Parts } from "./parts.ts"
import type { Traffic } from "./traffic.ts"

/** Pages that may look at once: one frame of a hundred keys is about 40 KB. */
const mostFeeds = 32
/** Keys that are shown; of all of them there are the sums. */
const mostKeys = 500
/** Events that are remembered. */
const mostEvents = 30

/** An event, and the place it has in the order of their coming. */
type Noted = (BalancerEvent.BalancerEvent | PoolEvent.PoolEvent) & { readonly at: number; readonly n: number }

/** Remembers what happens from now on, and returns the handler of the feed. */
export const follow = Effect.fnUntraced(function* (parts: Parts, traffic: Traffic) {
  const { balancer, state } = parts
  let noted = 0
  let events: ReadonlyArray<Noted> = []
  yield* Stream.runForEach(balancer.events, (event) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      if (isNews(event)) events = [{ at: now, ...event, n: ++noted }, ...events.slice(0, mostEvents - 1)]
    })
  ).pipe(Effect.forkScoped)

  const frame = Effect.gen(function* () {
    const pool = yield* parts.pool.snapshot
    const { keys: verdicts } = yield* balancer.explain()
    const whyNot = new Map(verdicts.map((verdict) => [verdict.keyId, verdict.eligible ? undefined : verdict]))
    return {
      at: pool.at,
      draining: state.draining,
      inFlight: state.inFlight,
      waiting: pool.waiting,
      keyCount: pool.keys.length,
      keys: pool.keys.slice(0, mostKeys).map((key) => keyOf(key, whyNot.get(key.id))),
      benches: pool.benches,
      total: traffic.total,
      minute: traffic.minute(pool.at),
      recent: traffic.recent,
      events
    }
  })
  const feed = Stream.tick("1 second").pipe(
    Stream.mapEffect(() => frame),
    Stream.map((data) => `data: ${JSON.stringify(data)}\n\n`),
    Stream.encodeText,
    Stream.interruptWhen(state.left)
  )
  const open = Effect.acquireRelease(
    Effect.sync(() => void state.feeds++),
    () => Effect.sync(() => void state.feeds--)
  )
  return Effect.suspend((): Effect.Effect<HttpServerResponse.HttpServerResponse, never, Scope.Scope> => {
    if (state.feeds >= mostFeeds) return Effect.succeed(respond(tooMany))
    return Effect.as(
      open,
      HttpServerResponse.stream(feed, {
        contentType: "text/event-stream",
        headers: { "cache-control": "no-cache, no-store", "x-accel-buffering": "no" }
      })
    )
  })
})

const tooMany: Failure = {
  status: 503,
  type: "server_error",
  code: "too_many_pages",
  message: `${mostFeeds} pages look already`,
  headers: { "retry-after": "10" }
}

/** That a key was picked, and that it served, the requests tell. */
const isNews = (event: BalancerEvent.BalancerEvent | PoolEvent.PoolEvent): boolean => {
  switch (event._tag) {
    case "Picked":
    case "CreditRead":
    case "Rotated":
    case "Retried":
      return false
    case "Settled":
      return event.outcome._tag === "Faulted"
    default:
      return true
  }
}

/** What the page shows of a key. */
const shown = [
  "account",
  "burnRate",
  "credit",
  "creditLimit",
  "creditResetsAt",
  "creditStale",
  "faulted",
  "id",
  "ignored",
  "inFlight",
  "latency",
  "maxInFlight",
  "spent",
  "succeeded",
  "tier"
] as const

const keyOf = (key: KeyPool.KeySnapshot, no: Explanation.IneligibleKey | undefined) => ({
  ...Struct.pick(key, shown),
  reason: no?.reason,
  scope: no?.scope,
  until: no?.until
})
