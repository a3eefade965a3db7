/**
 * All routes of the gateway, each behind its guard.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { HttpMiddleware, HttpServerRequest, HttpServerResponse } from "effect/http"
import { isKnown, strangerTo, unknown } from "./access.ts"
import { endpoints } from "./endpoint.ts"
import { respond, wrong } from "./failure.ts"
import { alive, ready } from "./health.ts"
import { exposed, Meter } from "./metrics.ts"
import { models } from "./models.ts"
import { follow } from "./live.ts"
import { page } from "./page.ts"
import type { Parts } from "./parts.ts"
import { relay } from "./relay.ts"
import { Traffic } from "./traffic.ts"

type Handler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  never,
  HttpServerRequest.HttpServerRequest | Scope.Scope
>

export const routes = Effect.fnUntraced(function* (given: Omit<Parts, "meter" | "traffic">) {
  const { router, settings, state } = given
  const meter = new Meter(yield* Effect.context<never>())
  const parts: Parts = { ...given, meter, traffic: settings.page ? new Traffic() : undefined }
  const cors = settings.origins.length === 0 ? (handler: Handler) => handler : corsFor(settings.origins)

  /** For everybody who is no stranger. */
  const open = (handler: Handler): Handler =>
    Effect.map(
      cors(
        Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
          const stranger = strangerTo(settings, request)
          return stranger === undefined ? handler : Effect.succeed(respond(stranger))
        })
      ),
      (response) =>
        state.draining ? HttpServerResponse.setHeader(response, "connection", "close") : response
    )
  /** For those who have a token, where one is needed. */
  const closed = (handler: Handler): Handler =>
    open(
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        isKnown(settings, request) ? handler : Effect.succeed(respond(unknown))
      )
    )

  for (const endpoint of endpoints)
    yield* router.add("POST", `/v1${endpoint.path}`, closed(relay(parts, endpoint)))
  yield* router.add("GET", "/v1/models/*", closed(models(parts)))
  yield* router.add("*", "/v1/*", closed(nowhere))
  if (settings.health) {
    yield* router.add("GET", "/health", open(alive))
    yield* router.add("GET", "/ready", open(ready(parts)))
  }
  if (settings.metrics) yield* router.add("GET", "/metrics", closed(exposed))
  if (parts.traffic !== undefined) {
    // The page itself holds nothing: it asks for the token, and its feed needs it.
    yield* router.add("GET", "/", open(page))
    yield* router.add("GET", "/events", closed(yield* follow(parts, parts.traffic)))
  }
})

const corsFor = (allowedOrigins: ReadonlyArray<string>) =>
  HttpMiddleware.cors({
    allowedOrigins,
    allowedMethods: ["GET", "POST"],
    exposedHeaders: [
      "retry-after",
      "x-evenkeel-attempts",
      "x-evenkeel-cost",
      "x-evenkeel-key",
      "x-generation-id"
    ],
    maxAge: 600
  })

const nowhere: Handler = Effect.map(HttpServerRequest.HttpServerRequest, ({ method, url }) =>
  respond(wrong(404, "unknown_url", `There is no ${method} ${url.replace(/[?#].*$/, "")}`))
)
