/**
 * Writing to standard output, as fast as its reader takes it.
 */
import * as Effect from "effect/Effect"

/** Done when it is written; a reader that has gone is a signal (`signals.ts`), and what is meant for it is dropped. */
export const write = (text: string | Uint8Array): Effect.Effect<void> =>
  Effect.callback((resume) => {
    process.stdout.write(text, () => resume(Effect.void))
  })
