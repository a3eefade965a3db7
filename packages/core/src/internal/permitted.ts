/**
 * The step between the pick and the use: a permit from outside, where one is needed.
 */
import * as Effect from "effect/Effect"
import * as Outcome from "../Outcome.ts"
import { unneeded } from "../Permits.ts"
import type { Call, Refusal } from "./call.ts"
import type { OpenLease } from "./openLease.ts"
import { open } from "./search.ts"

/** Opens a lease that may be used. */
export const openPermitted = (call: Call): Effect.Effect<OpenLease, Refusal> => {
  const { engine, permits } = call.room
  if (permits === unneeded) return open(call)
  return Effect.flatMap(open(call), (lease) =>
    call.restore(permits.take(lease)).pipe(
      // Interrupted while it waited for the answer, or the port died: the key was not used.
      Effect.onExit((exit) =>
        Effect.sync(() => void (exit._tag === "Failure" && lease.settleUnsafe(Outcome.ignored(0))))
      ),
      Effect.flatMap((answer) => {
        if (answer._tag === "Granted") {
          lease.release = answer.release
          lease.lost = answer.lost
          return Effect.succeed(lease)
        }
        // Barred first: settling serves those who wait, and they should not be sent after the same permit.
        const { why } = answer
        // A time that is up already would send it after the same permit again and again.
        engine.bar(lease.entry, { ...why, until: Math.max(why.until, call.now() + 1) })
        lease.settleUnsafe(Outcome.ignored(0))
        return openPermitted(call)
      })
    )
  )
}
