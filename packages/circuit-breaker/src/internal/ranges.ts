/** The ranges of options; each error names the option and what is allowed. */
import * as Duration from "effect/Duration"

const refuse = (field: string, expected: string, value: unknown): never => {
  throw new RangeError(`CircuitBreaker: ${field} must be ${expected}, not ${String(value)}`)
}

export const whole = (field: string, value: number): number =>
  Number.isSafeInteger(value) && value >= 1 ? value : refuse(field, "a whole number from 1 up", value)

export const fraction = (field: string, value: number): number =>
  value > 0 && value <= 1 ? value : refuse(field, "a number greater than 0, up to 1", value)

/** `name` is what the message calls the least number. */
export const atLeast = (field: string, name: string, least: number, value: number): number =>
  value >= least && value < Infinity ? value : refuse(field, `finite, and ${name} or more`, value)

export const oneOf = <A extends string>(field: string, allowed: ReadonlyArray<A>, value: A): A =>
  allowed.includes(value) ? value : refuse(field, `one of ${allowed.join(", ")}`, value)

export const millisOf = (
  field: string,
  value: Duration.Input,
  most: "finite" | "infinite" = "finite"
): number => {
  const duration = Duration.fromInput(value)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : NaN
  if (millis > 0 && (most === "infinite" || millis < Infinity)) return millis
  return refuse(
    field,
    most === "finite" ? "a finite duration greater than 0" : "a duration greater than 0",
    value
  )
}
