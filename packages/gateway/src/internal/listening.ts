/**
 * The gateway's server on Node, and how it comes to rest.
 */
import { NodeHttpServer } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { HttpServer } from "effect/http"
import { createServer, type Server } from "node:http"
import { Gateway } from "../Gateway.ts"
import type { ListenOptions } from "./settings.ts"

/**
 * Serves until the scope closes. Then, in this order: `/ready` says 503 and live pages are let go; the delay passes; the
 * server closes, and waits for what is in work; what is left is interrupted, and its connections are cut.
 */
export const listening = <E, R>(
  served: Layer.Layer<Gateway, E, R | HttpServer.HttpServer>,
  { drainDelay, drainTimeout, host, port }: ListenOptions
) => {
  const node = createServer()
  const server = NodeHttpServer.layerServer(() => node, {
    host,
    port,
    gracefulShutdownTimeout: drainTimeout
  })
  // A client that is slow to send, or that holds on to its connection, must not hold up the end.
  const cut = Layer.effectDiscard(Effect.addFinalizer(() => Effect.sync(() => node.closeAllConnections())))
  const leave = Layer.effectDiscard(
    Effect.gen(function* () {
      const gateway = yield* Gateway
      const release = releasing(node)
      yield* Effect.addFinalizer(() =>
        gateway.drain.pipe(Effect.andThen(Effect.sleep(drainDelay)), Effect.andThen(Effect.sync(release)))
      )
    })
  )
  // Closed in the reverse order: what is provided last is built first.
  return leave.pipe(Layer.provideMerge(served), Layer.provide(cut), Layer.provideMerge(server))
}

/**
 * Lets connections go as soon as they are idle, from the call of the result on: those whose answer began before the end was
 * in sight were not asked to close.
 */
const releasing = (node: Server): (() => void) => {
  let leaving = false
  node.on("request", (_, response) => {
    response.once("close", () => {
      if (leaving) setImmediate(() => node.closeIdleConnections())
    })
  })
  return () => void (leaving = true)
}
