/** The decisions for one request. */
import { RetryPolicy } from "@evenkeel/core"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Random from "effect/Random"
import type * as Schedule from "effect/Schedule"
import type { RetryBudget } from "../RetryBudget.ts"

/** What one request may use up, and the longest back-off in milliseconds. */
export interface Limits {
  readonly times: number
  readonly rotations: number
  readonly billed: number
  readonly maxDelay: number
}

/** A schedule that was begun. */
export type Step = Effect.Success<
  ReturnType<typeof Schedule.toStep<unknown, RetryPolicy.Failure, never, never>>
>

export const make = (limits: Limits, step: Step, budget: RetryBudget | undefined): RetryPolicy.Session => {
  let [repeated, rotated, doubtful] = [0, 0, 0]
  const failed = new Set<string>()

  const paid = ({ nowMillis }: RetryPolicy.Failure): boolean => budget?.withdraw(nowMillis) ?? true

  const backOff = Effect.fnUntraced(function* (failure: RetryPolicy.Failure) {
    const { nowMillis, outcome } = failure
    const asked = outcome.retryAfter === undefined ? undefined : Duration.toMillis(outcome.retryAfter)
    if (repeated >= limits.times || (asked !== undefined && asked > limits.maxDelay)) return RetryPolicy.stop
    repeated++
    const wanted = yield* Pull.matchEffect(step(nowMillis, failure), {
      onSuccess: ([, delay]) => Effect.succeed(Duration.toMillis(delay)),
      onDone: () => Effect.undefined,
      onFailure: Effect.failCause
    })
    if (wanted === undefined) return RetryPolicy.stop
    const floor = asked === undefined ? 0 : asked + spread * (yield* Random.next)
    // Whole milliseconds, as timers have them; rounded up, so as not to come before the time that was asked for.
    const delay = Math.min(Math.ceil(Math.max(wanted, floor)), limits.maxDelay)
    // Paid last: what does not come to a retry costs the other requests nothing.
    return nowMillis + delay < failure.deadline && paid(failure)
      ? RetryPolicy.retry(Duration.millis(delay))
      : RetryPolicy.stop
  })

  /** On to a key that was not tried: a key that came back and failed again is a repetition, and counts as one. */
  const onward = (failure: RetryPolicy.Failure): boolean => {
    if (rotated++ >= limits.rotations) return false
    if (!failed.has(failure.keyId)) {
      failed.add(failure.keyId)
      return true
    }
    return repeated++ < limits.times && paid(failure)
  }

  return {
    decide: (failure) => {
      const { alternatives, outcome } = failure
      if (outcome.retryable === "never") return stop
      if (outcome.cost === undefined && doubtful++ >= limits.billed) return stop
      if (outcome.retryable === "rotate") return onward(failure) ? rotate : stop
      if (!alternatives || outcome.scope !== "upstream" || rotated >= limits.rotations)
        return backOff(failure)
      // Another model does not wait, but it is load on the same service all the same.
      if (!paid(failure)) return stop
      rotated++
      return rotate
    }
  }
}

const stop = Effect.succeed(RetryPolicy.stop)
const rotate = Effect.succeed(RetryPolicy.rotate)

/** Milliseconds over which those who were told the same time spread out: the first window of the default back-off. */
const spread = 500
