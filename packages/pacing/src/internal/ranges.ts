/** The ranges of options; each error names the option and what is allowed. */
import * as Duration from "effect/Duration"
import type { Limits } from "../Limits.ts"
import type { Settings } from "./concurrency.ts"

const refuse = (field: string, expected: string, value: unknown): never => {
  throw new RangeError(`Pacing: ${field} must be ${expected}, not ${String(value)}`)
}

const check = (ok: boolean, field: string, expected: string, value: unknown): void => {
  if (!ok) refuse(field, expected, value)
}

const isWhole = (value: number): boolean => Number.isSafeInteger(value) && value >= 1

/** The limits under a name, such as `accounts.acme`, validated. */
export const limitsOf = (name: string, limits: Limits): Limits => {
  const { burst, maxInFlight, requestsPerMinute, tokenBurst, tokensPerMinute } = limits
  rate(name, "requestsPerMinute", requestsPerMinute, "burst", burst)
  rate(name, "tokensPerMinute", tokensPerMinute, "tokenBurst", tokenBurst)
  if (maxInFlight !== undefined) {
    const ok = isWhole(maxInFlight) || maxInFlight === Infinity
    check(ok, `${name}.maxInFlight`, "a whole number from 1 up, or Infinity", maxInFlight)
  }
  return limits
}

const rate = (
  name: string,
  field: string,
  perMinute: number | undefined,
  burstField: string,
  burst: number | undefined
): void => {
  if (perMinute !== undefined) {
    const ok = perMinute > 0 && perMinute < Infinity
    check(ok, `${name}.${field}`, "a finite number greater than 0", perMinute)
  }
  if (burst === undefined) return
  check(isWhole(burst), `${name}.${burstField}`, "a whole number from 1 up", burst)
  // A named entry replaces the general one as a whole: a burst alone would lift the limit that it seems to widen.
  check(perMinute !== undefined, `${name}.${burstField}`, `given together with ${name}.${field}`, burst)
}

export const settingsOf = (options: {
  readonly min?: number | undefined
  readonly max?: number | undefined
  readonly backoff?: number | undefined
  readonly forgetAfter?: Duration.Input | undefined
}): Settings => {
  const { backoff = 0.9, forgetAfter = "10 minutes", max = Infinity, min = 1 } = options
  check(isWhole(min), "adaptive.min", "a whole number from 1 up", min)
  const reachable = max >= min && (isWhole(max) || max === Infinity)
  check(reachable, "adaptive.max", "a whole number from adaptive.min up, or Infinity", max)
  check(backoff > 0 && backoff < 1, "adaptive.backoff", "a number greater than 0 and less than 1", backoff)
  const duration = Duration.fromInput(forgetAfter)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : NaN
  check(millis > 0, "adaptive.forgetAfter", "a duration greater than 0", forgetAfter)
  return { min, max, backoff, forgetAfter: millis }
}
