/**
 * The end of a request, for whoever listens.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Result } from "../BalancerEvent.ts"
import { DeadlineExceeded, NoEligibleKey, type Attempt } from "../Errors.ts"
import type { Call } from "./call.ts"

/** The request, and what became of it as an event if somebody listens when it begins. */
export const finished = <A, E, R>(
  call: Call,
  request: Effect.Effect<A, E, R>,
  attempts: () => ReadonlyArray<Attempt> = () => call.attempts
): Effect.Effect<A, E, R> => {
  const { now, options, room } = call
  const { events } = room
  if (!events.heard) return request
  const begunAt = now()
  return Effect.onExit(request, (exit) =>
    Effect.sync(() => {
      const at = now()
      const result = resultOf(exit)
      events.emit({
        _tag: "Finished",
        at,
        upstream: options?.upstream,
        result,
        outcome: result === "failed" ? attempts().at(-1)?.outcome : undefined,
        elapsedMillis: Math.max(0, at - begunAt)
      })
    })
  )
}

const resultOf = (exit: Exit.Exit<unknown, unknown>): Result => {
  if (exit._tag === "Success") return "answered"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  for (const reason of exit.cause.reasons) {
    if (reason._tag !== "Fail") continue
    if (reason.error instanceof NoEligibleKey) return "refused"
    if (reason.error instanceof DeadlineExceeded) return "timed-out"
  }
  return "failed"
}
