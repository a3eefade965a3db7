/** The ranges of options; each error names the module, the option, and what is allowed. */
import * as Duration from "effect/Duration"

const refuse = (field: string, expected: string, value: unknown): never => {
  throw new RangeError(`${field} must be ${expected}, not ${String(value)}`)
}

/** A count that may be without a bound. */
export const count = (field: string, value: number): number =>
  value === Infinity || (Number.isSafeInteger(value) && value >= 0)
    ? value
    : refuse(field, "a whole number from 0 up, or Infinity", value)

/** A whole number of at least `least`. */
export const whole = (field: string, value: number, least: number): number =>
  Number.isSafeInteger(value) && value >= least
    ? value
    : refuse(field, `a whole number from ${least} up`, value)

/** A finite number from 0 up. */
export const amount = (field: string, value: number): number =>
  value >= 0 && value < Infinity ? value : refuse(field, "a finite number from 0 up", value)

/** A number between 0 and 1, neither of them included. */
export const fraction = (field: string, value: number): number =>
  value > 0 && value < 1 ? value : refuse(field, "a number between 0 and 1", value)

/** Milliseconds of a finite duration greater than 0. */
export const positiveMillis = (field: string, value: Duration.Input): number => {
  const millis = millisOf(value)
  return millis > 0 && millis < Infinity ? millis : refuse(field, "a finite duration greater than 0", value)
}

/** Milliseconds of a duration from 0 up, `Infinity` among them. */
export const millisFromZero = (field: string, value: Duration.Input): number => {
  const millis = millisOf(value)
  return millis >= 0 ? millis : refuse(field, "a duration from 0 up", value)
}

const millisOf = (value: Duration.Input): number => {
  const duration = Duration.fromInput(value)
  // Effect takes `NaN` for no time at all.
  if (Number.isNaN(value)) return NaN
  return duration._tag === "Some" ? Duration.toMillis(duration.value) : NaN
}
