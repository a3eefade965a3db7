import type * as Exit from "effect/Exit"
import { Fault } from "../Errors.ts"
import * as Outcome from "../Outcome.ts"

/**
 * What a use taught when nothing else says: a success is `Success` of unknown cost, a `Fault` is the outcome it carries,
 * and any other failure, defect or interruption is `Ignored`.
 */
export const outcomeOf = <A, E>(exit: Exit.Exit<A, E>): Outcome.Outcome => {
  if (exit._tag === "Success") return Outcome.success()
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail" && reason.error instanceof Fault) return reason.error.outcome
  }
  return Outcome.ignored()
}
