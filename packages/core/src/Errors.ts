/**
 * The typed errors of the core. None of them holds a secret.
 */
import * as Data from "effect/Data"
import { earliest, type IneligibleKey } from "./Explanation.ts"
import type { Ineligible } from "./Filter.ts"
import { quietly } from "./internal/quietly.ts"
import type { Faulted, Ignored } from "./Outcome.ts"

/**
 * Why one key could not serve.
 */
export type KeyVerdict = IneligibleKey

/**
 * One use that failed, as the trail of a request records it.
 */
export interface Attempt {
  readonly keyId: string
  readonly account: string | undefined
  /** What it was sent to; `undefined` if the request did not say. */
  readonly upstream: string | undefined
  /** From 0. */
  readonly attempt: number
  /** Whose fault it was, of what class and with which status; `Ignored` for a failure of the request itself. */
  readonly outcome: Faulted | Ignored
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly durationMillis: number
  /** Milliseconds that the request had waited for it: in the queue, and for the retry policy. */
  readonly delayMillis: number
}

/**
 * No key can serve this request now: for each key the reason, the scope, since when and until when.
 *
 * **Details**
 *
 * `retryAt` is the earliest time at which any key could serve, in milliseconds since the epoch; `undefined` if none is
 * known. `attempts` is what this request met before it ran out of keys, and `lastError` the error of the last of them.
 *
 * **Gotchas**
 *
 * It carries no stack trace: refusing must stay cheap when everything is down. Its message says all it knows.
 */
export class NoEligibleKey extends Data.TaggedError("NoEligibleKey")<{
  readonly keys: ReadonlyArray<KeyVerdict>
  readonly retryAt: number | undefined
  readonly attempts: ReadonlyArray<Attempt>
  readonly lastError: unknown
}> {
  override get message(): string {
    if (this.keys.length === 0) return "No key can serve: the pool is empty"
    const keys = this.keys.map((key) => `${key.keyId} ${describe(key)}`).join("; ")
    const when = this.retryAt === undefined ? "" : `; the earliest at ${instant(this.retryAt)}`
    return `No key can serve: ${keys}${when}`
  }
}

/**
 * Builds a `NoEligibleKey`; the earliest time follows from the verdicts.
 */
export const noEligibleKey = (
  keys: ReadonlyArray<KeyVerdict>,
  attempts: ReadonlyArray<Attempt> = [],
  lastError?: unknown
): NoEligibleKey => quietly(() => new NoEligibleKey({ keys, retryAt: earliest(keys), attempts, lastError }))

/**
 * The deadline of the whole call has passed: over all attempts and waits. `attempts` is what failed before, `lastError`
 * the error of the last of them, and `inFlight` the key whose use was cut off. Without one the request was waiting for a
 * key: `keys` and `retryAt` say for what, as those of `NoEligibleKey`.
 *
 * **Gotchas**
 *
 * A use that was cut off may have been billed: what it may have cost stays debited until the next reading of the key.
 */
export class DeadlineExceeded extends Data.TaggedError("DeadlineExceeded")<{
  readonly timeoutMillis: number
  readonly inFlight: string | undefined
  readonly keys: ReadonlyArray<KeyVerdict>
  readonly retryAt: number | undefined
  readonly attempts: ReadonlyArray<Attempt>
  readonly lastError: unknown
}> {
  override get message(): string {
    const failed = this.attempts.length === 0 ? "" : ` after ${this.attempts.length} failed attempts`
    const where = this.inFlight === undefined ? "" : `, with a request in flight on ${this.inFlight}`
    const keys = this.keys.map((key) => `; ${key.keyId} ${describe(key)}`).join("")
    return `The deadline of ${this.timeoutMillis} ms has passed${failed}${where}${keys}`
  }
}

/**
 * The use was cut off: its permit has lapsed, because this process was silent for too long (stopped, or apart from what hands
 * permits out), and is another's by now, or may be. `attempts` is what failed before it, `lastError` the error of the last; `keys` is
empty, as it is of a deadline with a request in flight.
 *
 * **Gotchas**
 *
 * A use that was cut off may have been billed, so it is not tried again by itself: what it may have cost stays debited until
 * the next reading of the key.
 */
export class PermitLost extends Data.TaggedError("PermitLost")<{
  readonly keyId: string
  readonly keys: ReadonlyArray<KeyVerdict>
  /** Not known: whoever has the permit now gives it back at its own time. */
  readonly retryAt: undefined
  readonly attempts: ReadonlyArray<Attempt>
  readonly lastError: unknown
}> {
  override get message(): string {
    return `The permit of a request in flight on ${this.keyId} has lapsed`
  }
}

/**
 * The pool has no key of this id.
 */
export class UnknownKey extends Data.TaggedError("UnknownKey")<{ readonly keyId: string }> {
  override get message(): string {
    return `The pool has no key with id ${JSON.stringify(this.keyId)}`
  }
}

/**
 * A reading of credit is not one.
 */
export class InvalidReading extends Data.TaggedError("InvalidReading")<{
  readonly field: string
  readonly expected: string
}> {
  override get message(): string {
    return `${this.field} must be ${this.expected}`
  }
}

/**
 * A failure that says whose fault it was. `Balancer.use` takes the outcome from it unless told otherwise.
 *
 * **When to use**
 *
 * To balance anything but OpenRouter's API: fail with a `Fault` where a key, its account or what is behind it is to
 * blame, and with any other error where the request is.
 */
export class Fault extends Data.TaggedError("Fault")<{
  readonly outcome: Faulted
  readonly cause?: unknown
}> {
  override get message(): string {
    return `${this.outcome.scope} ${this.outcome.reason}${this.outcome.status === undefined ? "" : ` (${this.outcome.status})`}`
  }
}

/** A date cannot hold every number: "for ever" is one of those. */
const instant = (millis: number): string =>
  Math.abs(millis) <= 8.64e15 ? new Date(millis).toISOString() : "further notice"

const describe = (no: Ineligible): string => {
  const scope = no.scope === "key" || no.scope === "request" ? "" : ` (${no.scope})`
  const until = no.until === undefined ? "" : ` until ${instant(no.until)}`
  return `${no.reason}${scope}${until}`
}
