/**
 * Sends what a plan says, and answers with errors.
 */
import { NodeHttpServerRequest } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Stream from "effect/Stream"
import { type Bill, type Call, settle } from "./call.ts"
import { isRecord, record, string } from "./json.ts"
import { comment, type Step } from "./plan.ts"
import { accountId, type State } from "./state.ts"
import type { WireError } from "./wire.ts"

/** Waits until the client or the server's end interrupts. */
const forever: Effect.Effect<never> = Effect.never

/** Destroys the connection of the current request without an answer. */
export const reset: Effect.Effect<never, never, HttpServerRequest.HttpServerRequest> = Effect.gen(
  function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    yield* Effect.sync(() => {
      const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
      if ("resetAndDestroy" in socket) socket.resetAndDestroy()
    })
    return yield* forever
  }
)

// Destroys the connection after all that was written has left.
const cut = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<never> =>
  Effect.andThen(
    Effect.sync(() => {
      const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
      if ("destroySoon" in socket) socket.destroySoon()
    }),
    forever
  )

// What one step does, as a stream of text.
const run = (
  state: State,
  call: Call,
  request: HttpServerRequest.HttpServerRequest,
  owed: (billed: number) => Bill,
  step: Step
): Stream.Stream<string> => {
  switch (step._tag) {
    case "Frame":
      return Stream.fromEffect(
        Effect.sync(() => {
          call.owed = () => owed(step.billed)
          return step.text
        })
      )
    case "Pause":
      return Stream.fromEffectDrain(Effect.sleep(step.millis))
    case "Settle":
      return Stream.fromEffectDrain(
        Effect.sync(() => settle(state, call, { status: 200, code: step.code, bill: step.bill }))
      )
    case "Cut":
      return Stream.fromEffectDrain(cut(request))
    case "Hang":
      return step.commentMillis === undefined
        ? Stream.fromEffectDrain(forever)
        : Stream.forever(Stream.fromEffect(Effect.as(Effect.sleep(step.commentMillis), comment)))
  }
}

/** A body that follows a plan. `owed` is the bill if the client goes away after so many characters. */
export const stream = (
  state: State,
  call: Call,
  steps: ReadonlyArray<Step>,
  options: { readonly contentType: string; readonly owed: (billed: number) => Bill }
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> =>
  Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
    call.sent = 200
    return HttpServerResponse.stream(
      Stream.fromIterable(steps).pipe(
        Stream.rechunk(1),
        Stream.flatMap((step) => run(state, call, request, options.owed, step)),
        Stream.encodeText
      ),
      {
        contentType: options.contentType,
        headers: { "X-Generation-Id": call.id, "Cache-Control": "no-cache" }
      }
    )
  })

/** A complete JSON answer. */
export const json = (call: Call, body: unknown, status = 200): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(body, { status, headers: { "X-Generation-Id": call.id } })

/** Answers with an error, and settles the request with it. `reword` puts the body into the words of a skin. */
export const error = (
  state: State,
  call: Call,
  wire: WireError,
  reword: (status: number, body: unknown) => unknown = (_, body) => body
): HttpServerResponse.HttpServerResponse => {
  const inner = record(record(wire.body)["error"])
  settle(state, call, {
    status: wire.status,
    code: (inner["code"] as number | string | undefined) ?? wire.status,
    limitSource: string(record(inner["metadata"])["limit_source"])
  })
  const headers = { ...wire.headers, "X-Generation-Id": call.id }
  if (typeof wire.body === "string") {
    const contentType = wire.headers["content-type"] ?? "text/html; charset=UTF-8"
    return HttpServerResponse.text(wire.body, { status: wire.status, headers, contentType })
  }
  const body =
    wire.addUserId && call.key !== undefined && isRecord(wire.body)
      ? { ...wire.body, user_id: accountId(call.key.account) }
      : wire.body
  return HttpServerResponse.jsonUnsafe(reword(wire.status, body), { status: wire.status, headers })
}

/** A 200 whose body is no JSON, and for streams an event whose data is none. */
export const garbage = (call: Call): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(call.stream ? 'data: {"id":"gen-\n\n' : '{"id":"gen-', {
    status: 200,
    headers: { "X-Generation-Id": call.id },
    contentType: call.stream ? "text/event-stream" : "application/json"
  })
