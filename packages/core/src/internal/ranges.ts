/** The ranges of options; each error names the option and what is allowed. */
import * as Duration from "effect/Duration"

const refuse = (field: string, expected: string, value: unknown): never => {
  throw new RangeError(`Balancer: ${field} must be ${expected}, not ${String(value)}`)
}

/** Milliseconds, from 0 up to `Infinity`. */
export const millisOf = (field: string, value: Duration.Input): number => {
  const duration = Duration.fromInput(value)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : NaN
  return millis >= 0 ? millis : refuse(field, "a duration from 0 up", value)
}

export const countOf = (field: string, value: number): number =>
  value === Infinity || (Number.isInteger(value) && value >= 0)
    ? value
    : refuse(field, "a whole number from 0 up, or Infinity", value)

export const numberOf = (field: string, value: number): number =>
  Number.isFinite(value) ? value : refuse(field, "a finite number", value)
