/**
 * Responses whose body has been read already, and responses whose end is watched.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { HttpClientError, type HttpClientResponse } from "effect/http"

type Response = HttpClientResponse.HttpClientResponse

const encoder = new TextEncoder()

/** The response with its body in memory: it can be read in any way, and again. */
export const buffered = (response: Response, text: string, body: unknown): Response => {
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
    arrayBuffer: { get: () => Effect.sync(() => encoder.encode(text).buffer) },
    stream: { get: () => Stream.sync(() => encoder.encode(text)) }
  }) as Response
}

const bodies = ["arrayBuffer", "text", "json", "formData", "urlParamsBody"] as const

/**
 * Calls `end` once: with the exit of whoever read the body, or with `undefined` when nobody ever will.
 *
 * A response that is never read has no end of its own. Its reader is gone when the fiber that asked for it fails or is
 * interrupted before it began to read, or, at the latest, when the response is collected as garbage.
 */
export const watched = (
  response: Response,
  fiber: { readonly addObserver: (cb: (exit: Exit.Exit<unknown, unknown>) => void) => () => void },
  end: (exit: Exit.Exit<unknown, unknown> | undefined) => void
): Response => {
  let state: "unread" | "reading" | "ended" = "unread"
  const finish = (exit: Exit.Exit<unknown, unknown> | undefined) => {
    if (state === "ended") return
    state = "ended"
    forget()
    end(exit)
  }
  const abandon = () => {
    if (state !== "unread") return
    finish(undefined)
    // Nobody will read it: to begin and to stop at once closes the connection, and with it the bill.
    Effect.runFork(Stream.runDrain(response.stream)).interruptUnsafe()
  }
  const forget = fiber.addObserver((exit) => {
    if (exit._tag === "Failure") abandon()
  })
  const onExit = (exit: Exit.Exit<unknown, unknown> | undefined) => Effect.sync(() => finish(exit))
  const begin = Effect.sync(() => {
    if (state === "unread") state = "reading"
  })
  const wrapped = Object.create(response, {
    ...Object.fromEntries(
      bodies.map((name) => [
        name,
        {
          get: () =>
            Effect.uninterruptibleMask((restore) =>
              Effect.andThen(
                begin,
                Effect.onExit(
                  restore(response[name] as Effect.Effect<unknown, HttpClientError.HttpClientError>),
                  onExit
                )
              )
            )
        }
      ])
    ),
    stream: {
      get: () => {
        // The exit is that of the consumer as well, and its failure says nothing about the host.
        let broken: Exit.Exit<never, unknown> | undefined
        return response.stream.pipe(
          Stream.onStart(begin),
          Stream.tapCause((cause) => Effect.sync(() => void (broken = Exit.failCause(cause)))),
          Stream.onExit((exit) => onExit(broken ?? (exit._tag === "Success" ? exit : undefined)))
        )
      }
    }
  }) as Response
  abandoned.register(wrapped, abandon)
  return wrapped
}

const abandoned = new FinalizationRegistry<() => void>((finish) => finish())
