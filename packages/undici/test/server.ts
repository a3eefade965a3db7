/**
 * A server on loopback whose every answer is written by hand, and what it saw of its clients.
 */
import * as Effect from "effect/Effect"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export interface Upstream {
  readonly url: string
  /** Requests whose connection the client closed before the answer was out. */
  readonly dropped: { count: number }
  readonly sockets: Set<unknown>
}

export type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** It lives as long as the scope. */
export const serve = (answer: Answer) =>
  Effect.acquireRelease(
    Effect.callback<Upstream & { readonly stop: Effect.Effect<void> }>((resume) => {
      const dropped = { count: 0 }
      const sockets = new Set<unknown>()
      const server = createServer((request, response) => {
        sockets.add(request.socket)
        response.on("close", () => {
          if (!response.writableFinished) dropped.count++
        })
        answer(request, response)
      })
      server.keepAliveTimeout = 60_000
      server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
        const { port } = server.address() as AddressInfo
        const stop = Effect.callback<void>((done) => {
          server.close(() => done(Effect.void))
          server.closeAllConnections()
        })
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, dropped, sockets, stop }))
      })
    }),
    ({ stop }) => stop
  )

/** Waits for what will be, by looking again and again. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() =>
    condition() ? Effect.void : Effect.andThen(Effect.sleep("5 millis"), until(condition))
  )
