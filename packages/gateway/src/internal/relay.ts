/**
 * A request on its way through: in, over the balancer, and back.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { HttpClientRequest, HttpServerRequest, HttpServerResponse } from "effect/http"
import { BalancedHttpClient } from "@evenkeel/openrouter"
import { parse, read } from "./body.ts"
import { fieldsOf, type Endpoint } from "./endpoint.ts"
import { relayed } from "./events.ts"
import { respond, type Failure } from "./failure.ts"
import { record, text } from "./json.ts"
import type { Parts } from "./parts.ts"
import { failureOf } from "./refusal.ts"
import { Passage } from "./traffic.ts"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse

/** The handler of an endpoint. */
export const relay = (parts: Parts, endpoint: Endpoint) =>
  passing(
    parts,
    `/v1${endpoint.path}`,
    Effect.fnUntraced(function* (request, passage, scope) {
      const bytes = yield* read(request, parts.settings.maxBodyBytes)
      const fields = fieldsOf(endpoint, yield* parse(bytes))
      if (isFailure(fields)) return yield* Effect.fail(fields)
      passage.model = text(fields["model"])
      passage.stream = fields["stream"] === true
      const outgoing = HttpClientRequest.post(endpoint.path, { headers: passedOn(request) })
      const sent = yield* send(
        parts,
        HttpClientRequest.bodyUint8Array(outgoing, bytes, "application/json"),
        scope,
        BalancedHttpClient.requestFactsOf(fields, bytes.length, request.headers)
      )
      const { body, lease, stream } = sent
      passage.keyId = lease.key.id
      passage.attempts = lease.context.attempt + 1
      const answer = sent.response()
      const headers = answerHeaders(passage, answer.headers)
      const contentType = answer.headers["content-type"] ?? "application/octet-stream"
      if (stream !== undefined) {
        const bytesOut = streamed(stream, endpoint, passage)
        return HttpServerResponse.stream(bytesOut, {
          status: answer.status,
          contentType,
          // A proxy in front must not collect what is meant to be read as it comes.
          headers: { ...headers, "cache-control": "no-cache, no-store", "x-accel-buffering": "no" }
        })
      }
      passage.used(record(body)?.["usage"])
      passage.over(answer.status)
      const cost = passage.cost === undefined ? undefined : { "x-evenkeel-cost": `${passage.cost}` }
      return HttpServerResponse.uint8Array(new Uint8Array(yield* Effect.orDie(answer.arrayBuffer)), {
        status: answer.status,
        contentType,
        headers: { ...headers, ...cost }
      })
    })
  )

/**
 * What every request that goes to OpenRouter has in common: it counts until the last byte of its answer, or until its client
 * is gone, and it fails in OpenAI's shape.
 */
export const passing = (
  parts: Parts,
  route: string,
  handler: (request: Request, passage: Passage, scope: Scope.Scope) => Effect.Effect<Response, Failure>
): Effect.Effect<Response, never, Request | Scope.Scope> => {
  const { meter, pool, settings, state, traffic } = parts
  return Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const passage = new Passage(route, clock.currentTimeMillisUnsafe())
    const failed = (failure: Failure) =>
      Effect.map(pool.keys, (keys) => {
        passage.over(failure.status, failure.code)
        return respond(failure, (text) =>
          keys.reduce((hidden, { secret }) => hidden.replaceAll(Redacted.value(secret), "<redacted>"), text)
        )
      })
    const passed = () => {
      const now = clock.currentTimeMillisUnsafe()
      meter.passed(passage, now)
      traffic?.add(passage, now)
    }
    if (state.inFlight >= settings.maxInFlight) return Effect.tap(failed(tooMany), () => Effect.sync(passed))
    meter.inFlight(++state.inFlight)
    const done = Effect.sync(() => {
      meter.inFlight(--state.inFlight)
      passed()
    })
    const scope = Context.getUnsafe(fiber.context, Scope.Scope)
    const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
    return Effect.andThen(
      Scope.addFinalizer(scope, done),
      Effect.catch(handler(request, passage, scope), failed)
    )
  })
}

const tooMany: Failure = {
  status: 503,
  type: "server_error",
  code: "gateway_overloaded",
  message: "The gateway has as many requests in work as it may",
  headers: { "retry-after": "1" }
}

/** Sends to OpenRouter. The scope is the request's: a stream is settled when its client has it, or is gone. */
export const send = (
  { openrouter }: Parts,
  request: HttpClientRequest.HttpClientRequest,
  scope: Scope.Scope,
  facts?: BalancedHttpClient.RequestFacts
): Effect.Effect<BalancedHttpClient.Sent, Failure> =>
  Effect.catch(openrouter.send(request, facts, undefined, scope), (error) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fail(failureOf(error, now)))
  )

/** The body of a stream, which tells what became of it when it ends. */
const streamed = (
  body: NonNullable<BalancedHttpClient.Sent["stream"]>,
  endpoint: Endpoint,
  passage: Passage
): Stream.Stream<Uint8Array> => {
  let broken: Failure | undefined
  const bytes = body.hasEvents
    ? relayed(body, endpoint.skin, (failure) => void (broken = failure))
    : // Where there are no events there is no way to tell of an error, but to break off.
      Stream.orDie(Stream.map(body.pieces, (piece) => piece.bytes))
  return Stream.onEnd(
    bytes,
    Effect.sync(() => {
      passage.used(body.watch.usage)
      passage.cost = body.watch.cost
      passage.over(200, broken?.code)
    })
  )
}

const isFailure = (value: object): value is Failure =>
  "type" in value && "code" in value && "message" in value

/** Headers of clients that mean something to OpenRouter. All others stay here, the token first of all. */
const known = [
  "anthropic-beta",
  "anthropic-version",
  "http-referer",
  "x-openrouter-categories",
  "x-openrouter-title",
  "x-session-id",
  "x-title"
]

const passedOn = ({ headers }: Request): Record<string, string> => {
  const found: Record<string, string> = {}
  for (const name of known) if (headers[name] !== undefined) found[name] = headers[name]
  return found
}

const answerHeaders = (
  { attempts, keyId = "" }: Passage,
  upstream: Readonly<Record<string, string | undefined>>
): Record<string, string> => {
  const generation = upstream["x-generation-id"]
  return {
    "cache-control": "no-store",
    "x-evenkeel-key": headerOf(keyId),
    "x-evenkeel-attempts": `${attempts}`,
    ...(generation === undefined ? {} : { "x-generation-id": generation })
  }
}

/** A key may have any name; a header may not. */
const headerOf = (name: string): string => (/^[\x21-\x7e]+$/.test(name) ? name : encodeURIComponent(name))
