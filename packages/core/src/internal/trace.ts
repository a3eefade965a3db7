/**
 * What happens to a request, as events of the span around it. Without one, or when it is not sampled, nothing is made.
 */
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"
import type { NoEligibleKey } from "../Errors.ts"
import type { Outcome } from "../Outcome.ts"

/** The span around the fiber, if it is worth telling. */
const spanOf = (fiber: Fiber.Fiber<unknown, unknown>): Tracer.Span | undefined => {
  const span = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
  return span?._tag === "Span" && span.sampled ? span : undefined
}

export const settled = (
  fiber: Fiber.Fiber<unknown, unknown>,
  keyId: string,
  attempt: number,
  outcome: Outcome,
  now: () => number
): void => {
  const span = spanOf(fiber)
  if (span === undefined) return
  const fault = outcome._tag === "Faulted" ? outcome : undefined
  span.event("evenkeel.attempt", nanos(now()), {
    "evenkeel.key.id": keyId,
    "evenkeel.attempt": attempt,
    "evenkeel.outcome": outcome._tag,
    ...(fault !== undefined && { "evenkeel.scope": fault.scope, "evenkeel.reason": fault.reason })
  })
}

export const refused = (
  fiber: Fiber.Fiber<unknown, unknown>,
  { keys, retryAt }: NoEligibleKey,
  nowMillis: number
): void => {
  const span = spanOf(fiber)
  if (span === undefined) return
  span.event("evenkeel.refused", nanos(nowMillis), {
    "evenkeel.keys": JSON.stringify(keys),
    ...(retryAt !== undefined && { "evenkeel.retry_at": retryAt })
  })
}

const nanos = (millis: number): bigint => BigInt(Math.round(millis)) * 1_000_000n
