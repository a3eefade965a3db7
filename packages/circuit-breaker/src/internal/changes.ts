import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Change } from "../Circuit.ts"
import type { Book } from "./cell.ts"

/** How far a listener may fall behind before it loses the oldest. */
const bufferSize = 1024

/** The changes from the subscription on. While nobody listens, a change costs one comparison. */
export const changesOf = (book: Book): Stream.Stream<Change> => {
  const listeners = new Set<(change: Change) => void>()
  const tell = (change: Change): void => {
    for (const listener of listeners) listener(change)
  }
  const count = (): void => void (book.tell = listeners.size > 0 ? tell : undefined)
  return Stream.callback<Change>(
    (queue) => {
      // A sliding queue that is full lets the oldest go, and never refuses.
      const listener = (change: Change): void => void Queue.offerUnsafe(queue, change)
      return Effect.acquireRelease(
        Effect.sync(() => {
          listeners.add(listener)
          count()
        }),
        () =>
          Effect.sync(() => {
            listeners.delete(listener)
            count()
          })
      )
    },
    { bufferSize, strategy: "sliding" }
  )
}
