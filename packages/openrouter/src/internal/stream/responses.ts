/**
 * Responses whose body has been read already, and responses whose body is a stream under a lease.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { HttpClientError, UrlParams, type HttpClientResponse } from "effect/http"
import { concat } from "./bytes.ts"
import type { StreamedBody } from "./body.ts"

type Response = HttpClientResponse.HttpClientResponse

/** The response with its body in memory: it can be read in any way, and again. */
export const buffered = (
  response: Response,
  bytes: Uint8Array<ArrayBuffer>,
  body: unknown,
  text: string = new TextDecoder().decode(bytes)
): Response => {
  const json =
    body === undefined
      ? Effect.fail(
          new HttpClientError.HttpClientError({
            reason: new HttpClientError.DecodeError({
              request: response.request,
              response,
              description: "not JSON"
            })
          })
        )
      : Effect.succeed(body)
  return Object.create(response, {
    text: { value: Effect.succeed(text) },
    json: { value: json },
    // Copies: what one reader does with its bytes is nothing to the next.
    arrayBuffer: { get: () => Effect.sync(() => bytes.slice().buffer) },
    stream: { get: () => Stream.sync(() => bytes.slice()) }
  }) as Response
}

/** How long a body may lie unread before it is taken for abandoned. */
const patience = "1 minute"

/**
 * The response with its body streamed under the lease. It is read once, in whatever way.
 *
 * Whoever asked for it may be gone before reading: a body that is not begun when its fiber fails or is interrupted, or
 * within a minute, or before the response is collected as garbage, is given up, and with it the connection and the bill.
 */
export const streamed = (
  response: Response,
  body: StreamedBody,
  fiber: Fiber.Fiber<unknown, unknown>
): Response => {
  let begun = false
  const clock = fiber.getRef(Clock.Clock)
  const giveUp = () => {
    if (!begun) Effect.runFork(end)
  }
  const forget = fiber.addObserver((exit: Exit.Exit<unknown, unknown>) => {
    if (exit._tag === "Failure") giveUp()
  })
  const timer = Effect.runFork(
    Effect.provideService(Effect.andThen(Effect.sleep(patience), Effect.sync(giveUp)), Clock.Clock, clock)
  )
  const begin = Effect.sync(() => {
    begun = true
    forget()
    timer.interruptUnsafe()
  })
  const end = Effect.andThen(begin, body.finish)
  // Whoever else ends it, nobody has to watch it any more.
  body.onFinish(() => Effect.runSync(begin))
  const pull = Effect.flatMap(body.next, (pieces) =>
    Arr.isReadonlyArrayNonEmpty(pieces) ? Effect.succeed(Arr.map(pieces, ({ bytes }) => bytes)) : Cause.done()
  )
  const bytes = Stream.ensuring(Stream.fromPull(Effect.as(begin, pull)), end)
  const text = Stream.mkString(Stream.decodeText(bytes))
  const fail = (description: string) => (cause: unknown) =>
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.DecodeError({ request: response.request, response, cause, description })
    })
  const wrapped = Object.create(response, {
    stream: { value: bytes },
    text: { value: text },
    json: {
      value: Effect.flatMap(text, (all) =>
        Effect.try({ try: () => JSON.parse(all) as unknown, catch: fail("not JSON") })
      )
    },
    urlParamsBody: { value: Effect.map(text, (all) => UrlParams.fromInput(new URLSearchParams(all))) },
    arrayBuffer: {
      value: Effect.map(Stream.runCollect(bytes), (chunks) => concat(chunks).buffer)
    }
  }) as Response
  abandoned.register(wrapped, giveUp)
  return wrapped
}

const abandoned = new FinalizationRegistry<() => void>((giveUp) => giveUp())
