/**
 * Whether the process lives, and whether requests would be served.
 */
import * as Effect from "effect/Effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { Refusal } from "@evenkeel/openrouter"
import { isKnown } from "./access.ts"
import type { Parts } from "./parts.ts"

/** `GET /health`: the process answers. It says nothing of keys: restarting it would not mend them. */
export const alive = Effect.sync(() => HttpServerResponse.jsonUnsafe({ status: "ok" }, { headers: uncached }))

const uncached = { "cache-control": "no-store" }

/** A key that is busy, or on probation, serves before long: to look elsewhere for that would only move the crowd. */
const busy = new Set<string>(["saturated", "paced", "warming", "probing"])

/**
 * `GET /ready`: some key can serve, and the gateway is not about to go. The reasons name keys, and so are for those who may
 * know of them.
 */
export const ready = ({ balancer, settings, state }: Parts) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const { at, keys, retryAt, waiting } = yield* balancer.explain()
    const serves = keys.some((key) => key.eligible || busy.has(key.reason))
    const status = state.draining ? "draining" : serves ? "ready" : "unavailable"
    const verdicts = keys.map((key) =>
      key.eligible ? { id: key.keyId, ready: true } : { ...Refusal.verdict(key), ready: false }
    )
    const later = serves || retryAt === undefined ? undefined : Math.max(1, Math.ceil((retryAt - at) / 1000))
    return HttpServerResponse.jsonUnsafe(
      isKnown(settings, request)
        ? { status, waiting, retry_at: Refusal.iso(retryAt), keys: verdicts }
        : { status },
      {
        status: status === "ready" ? 200 : 503,
        headers: { ...uncached, ...(later === undefined ? {} : { "retry-after": `${later}` }) }
      }
    )
  })
