import * as Duration from "effect/Duration"

/** Milliseconds of an option; throws a `RangeError` that names it. */
export const millisOf = (field: string, value: Duration.Input, least: number, most: number): number => {
  const millis = Duration.toMillis(Duration.fromInputUnsafe(value))
  if (millis >= least && millis <= most) return millis
  throw new RangeError(`${field} must be a duration from ${least} to ${most} milliseconds, got ${millis}`)
}

/** What keys of Redis begin with: the braces keep all of a namespace on one shard of a cluster. */
export const prefixOf = (namespace: string): string => {
  if (/^[^\s{}]{1,100}$/.test(namespace)) return `evenkeel:{${namespace}}:`
  throw new RangeError("namespace must be a name of 1 to 100 characters without spaces and braces")
}

/** A whole number from 1 up; throws a `RangeError` that names the option. */
export const capOf = (field: string, value: number): number => {
  if (Number.isSafeInteger(value) && value >= 1) return value
  throw new RangeError(`${field} must be a whole number from 1 up, got ${value}`)
}
