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
 * Serves until the scope closes. Then, in this order: `/ready` says 503 and live pages are let go; the delay passes; no more
 * connections are taken, and what is in work finishes; what is left is cut, and interrupted.
 */
export const listening = <E, R>(
  served: Layer.Layer<Gateway, E, R | HttpServer.HttpServer>,
  { drainDelay, drainTimeout, host, port }: ListenOptions
) => {
  const node = createServer()
  // Its own way to the end waits for connections. A browser keeps one in stock that it has not used yet, and would hold it up.
  const server = NodeHttpServer.layerServer(() => node, { host, port, gracefulShutdownTimeout: 0 })
  const leave = Layer.effectDiscard(
    Effect.gen(function* () {
      const gateway = yield* Gateway
      const atRest = resting(node)
      yield* Effect.addFinalizer(() =>
        gateway.drain.pipe(
          Effect.andThen(Effect.sleep(drainDelay)),
          Effect.andThen(Effect.sync(() => node.close())),
          Effect.andThen(Effect.timeoutOption(atRest, drainTimeout)),
          Effect.andThen(Effect.sync(() => node.closeAllConnections()))
        )
      )
    })
  )
  // Closed in the reverse order: what is provided last is built first.
  return leave.pipe(Layer.provideMerge(served), Layer.provideMerge(server))
}

/** Waits until no answer is under way. */
const resting = (node: Server): Effect.Effect<void> => {
  const waiting = new Set<() => void>()
  let open = 0
  node.on("request", (_, response) => {
    open++
    response.once("close", () => {
      open--
      if (open === 0) for (const resume of waiting) resume()
    })
  })
  return Effect.callback<void>((resume) => {
    if (open === 0) return resume(Effect.void)
    const done = () => resume(Effect.void)
    waiting.add(done)
    return Effect.sync(() => waiting.delete(done))
  })
}
