/**
 * The Node server under the simulator, and how it is brought to rest.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { createServer, type Server } from "node:http"

/** A server that knows how many answers are under way. */
export interface Listener {
  readonly node: Server
  /**
   * Accepts no more connections, waits until every answer has left or the time is up, then cuts what is left. Without
   * it the server itself would wait for stalled requests.
   */
  readonly drain: (millis: number) => Effect.Effect<void>
}

// A test clock would never let a wait end.
const realClock = Clock.Clock.defaultValue()

export const make = (): Listener => {
  const node = createServer()
  const atRest = new Set<() => void>()
  let open = 0
  node.on("request", (_, response) => {
    open++
    response.once("close", () => {
      open--
      if (open === 0) for (const resume of atRest) resume()
    })
  })
  const rest = Effect.callback<void>((resume) => {
    if (open === 0) return resume(Effect.void)
    const done = () => resume(Effect.void)
    atRest.add(done)
    return Effect.sync(() => atRest.delete(done))
  })
  return {
    node,
    drain: (millis) =>
      Effect.sync(() => node.close()).pipe(
        Effect.andThen(rest),
        Effect.timeoutOption(millis),
        Effect.provideService(Clock.Clock, realClock),
        Effect.andThen(Effect.sync(() => node.closeAllConnections()))
      )
  }
}
