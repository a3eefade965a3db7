/**
 * An event as a line of a log: a message that never varies, so that lines can be counted by it, and the rest as annotations
 * under the names that spans have too.
 */
import * as Duration from "effect/Duration"
import type { BalancerEvent, Outcome, PoolEvent } from "@evenkeel/core"

type Event = BalancerEvent.BalancerEvent | PoolEvent.PoolEvent
type Annotations = Readonly<Record<string, unknown>>

export const lineOf = (
  event: Event,
  { prolongs, skipped }: Repeated
): readonly [message: string, annotations: Annotations] => [
  prolongs ? "A bench was prolonged" : messages[event._tag],
  defined({
    "evenkeel.event": event._tag,
    "evenkeel.at": "at" in event ? instant(event.at) : undefined,
    "evenkeel.skipped": skipped === 0 ? undefined : skipped,
    ...fieldsOf(event)
  })
]

export interface Repeated {
  /** It is a bench that was told of already. */
  readonly prolongs: boolean
  /** How many alike were left out before it. */
  readonly skipped: number
}

const messages: Readonly<Record<Event["_tag"], string>> = {
  Picked: "A key was picked",
  Settled: "An attempt is over",
  Rotated: "A request goes on with another key",
  Retried: "A request is tried again after a wait",
  Hedged: "A second copy of a slow request is sent",
  Queued: "A request waits for a key",
  Refused: "No key can serve a request",
  TimedOut: "The deadline of a request has passed",
  Finished: "A request is over",
  KeyAdded: "A key was added",
  KeyChanged: "A key was changed",
  KeyDraining: "A key is draining",
  KeyResumed: "A key serves again",
  KeyRemoved: "A key was removed",
  KeyMissing: "Another process has a key that this one has not",
  Benched: "A bench was set",
  Readmitted: "A bench was lifted",
  CreditRead: "Credit was read"
}

const fieldsOf = (event: Event): Annotations => {
  switch (event._tag) {
    case "Picked":
      return {
        ...ofAttempt(event),
        "evenkeel.in_flight": event.inFlight,
        "evenkeel.delay_seconds": event.delayMillis / 1000
      }
    case "Settled":
      return {
        ...ofAttempt(event),
        ...ofOutcome(event.outcome),
        "evenkeel.duration_seconds": event.elapsedMillis / 1000,
        "gen_ai.response.time_to_first_chunk":
          event.answeredMillis === undefined ? undefined : event.answeredMillis / 1000,
        "gen_ai.usage.input_tokens": event.usage?.inputTokens,
        "gen_ai.usage.output_tokens": event.usage?.outputTokens
      }
    case "Rotated":
      return { ...ofAttempt(event), ...ofOutcome(event.outcome) }
    case "Retried":
      return {
        ...ofAttempt(event),
        ...ofOutcome(event.outcome),
        "evenkeel.delay_seconds": event.delayMillis / 1000
      }
    case "Hedged":
      return { ...ofModel(event), "evenkeel.delay_seconds": event.delayMillis / 1000 }
    case "Queued":
      return {
        ...ofModel(event),
        "evenkeel.priority": event.priority,
        "evenkeel.until": instant(event.until)
      }
    case "Refused":
      return {
        ...ofModel(event),
        "evenkeel.attempts": event.attempts,
        "evenkeel.retry_at": instant(event.retryAt),
        "evenkeel.keys": event.keys.map(({ keyId, reason, scope, until }) =>
          defined({ key: keyId, reason, scope, until: instant(until) })
        )
      }
    case "TimedOut":
      return { ...ofModel(event), "evenkeel.attempts": event.attempts }
    case "Finished":
      return {
        ...ofModel(event),
        "evenkeel.result": event.result,
        ...(event.outcome && ofOutcome(event.outcome)),
        "evenkeel.duration_seconds": event.elapsedMillis / 1000
      }
    case "Benched":
      return {
        "evenkeel.scope": event.scope,
        "evenkeel.id": event.id,
        "evenkeel.within": event.within,
        "evenkeel.reason": event.reason,
        "evenkeel.since": instant(event.since),
        "evenkeel.until": instant(event.until)
      }
    case "Readmitted":
      return { "evenkeel.scope": event.scope, "evenkeel.id": event.id, "evenkeel.within": event.within }
    case "CreditRead":
      return {
        "evenkeel.key.id": event.keyId,
        "evenkeel.credit_usd": event.credit,
        "evenkeel.credit_limit_usd": event.limit
      }
    default:
      return { "evenkeel.key.id": event.keyId }
  }
}

const ofModel = ({ upstream }: { readonly upstream: string | undefined }): Annotations => ({
  "gen_ai.request.model": upstream
})

const ofAttempt = (event: {
  readonly keyId: string
  readonly account: string | undefined
  readonly upstream: string | undefined
  readonly attempt: number
}): Annotations => ({
  "evenkeel.key.id": event.keyId,
  "evenkeel.account": event.account,
  "evenkeel.attempt": event.attempt,
  ...ofModel(event)
})

const ofOutcome = (outcome: Outcome.Outcome): Annotations => {
  const { _tag, cost } = outcome
  if (_tag === "Success") return { "evenkeel.outcome": _tag, "evenkeel.cost": cost }
  const { status, class: name } = outcome
  const own = {
    "evenkeel.outcome": _tag,
    "evenkeel.cost": cost,
    "evenkeel.class": name,
    "http.response.status_code": status
  }
  if (_tag === "Ignored") return own
  const { reason, retryAfter, scope } = outcome
  const wait = retryAfter === undefined ? undefined : Duration.toSeconds(retryAfter)
  return { ...own, "evenkeel.scope": scope, "evenkeel.reason": reason, "evenkeel.retry_after_seconds": wait }
}

/** What is not known is left out. */
const defined = (fields: Annotations): Annotations =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

/** A date cannot hold every number: "for ever" is one of those. */
const instant = (millis: number | undefined): string | undefined =>
  millis === undefined || !(Math.abs(millis) <= 8.64e15) ? undefined : new Date(millis).toISOString()
