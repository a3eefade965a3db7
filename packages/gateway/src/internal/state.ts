/**
 * What a running gateway knows of itself.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

export class State {
  /** Requests in work, each until the last byte of its answer. */
  inFlight = 0
  /** Feeds of live pages that are open. */
  feeds = 0
  draining = false
  private readonly leaving = Latch.makeUnsafe()

  readonly drain: Effect.Effect<void> = Effect.sync(() => {
    this.draining = true
    this.leaving.openUnsafe()
  })

  /** Waits until the gateway drains. */
  readonly left: Effect.Effect<void> = this.leaving.await
}
