/**
 * How long a circuit is open: for how many times in a row, and with which jitter.
 *
 * Sources: Finagle's failure accrual (equal jitter, 5 s to 300 s); M. Brooker, "Exponential Backoff And Jitter", AWS
 * Architecture Blog, 2015 (the names of the jitters, and why: who backs off together comes back together).
 */
import * as Duration from "effect/Duration"
import { atLeast, millisOf, oneOf } from "./ranges.ts"

/**
 * How long a circuit is open before its probe.
 *
 * - a duration greater than 0: just so long, each time. `Infinity`: until it is closed by hand
 * - `{ base, max, factor, jitter }`: `base` at first, times `factor` for each further opening in a row, up to `max`
 * - a function of how often it has opened in a row, from 1, which must not throw
 */
export type Cooldown = Duration.Input | Backoff | ((openings: number) => Duration.Input)

/**
 * Openings that grow while the trouble goes on.
 */
export interface Backoff {
  /** Of the first opening; finite, greater than 0. */
  readonly base: Duration.Input
  /** Finite, `base` or more. */
  readonly max: Duration.Input
  /** 1 or more, finite; default 2. */
  readonly factor?: number | undefined
  /**
   * So that processes that met the same trouble do not probe in step. `equal`: from half of the time to all of it, the
   * default, for it keeps a distance; `full`: from nothing to all of it; `none`.
   */
  readonly jitter?: "equal" | "full" | "none" | undefined
}

/** Milliseconds of the n-th opening in a row, from 1. */
export type OpenMillis = (openings: number, random: () => number) => number

/** The share of the time that each jitter may take away. */
const jitters = { none: 0, equal: 0.5, full: 1 }

/** Validates a cooldown; `field` is its name in errors. */
export const openMillisOf = (field: string, cooldown: Cooldown): OpenMillis => {
  if (typeof cooldown === "function") return (openings) => Duration.toMillis(cooldown(openings))
  if (!isBackoff(cooldown)) {
    const millis = millisOf(field, cooldown, "infinite")
    return () => millis
  }
  const base = millisOf(`${field}.base`, cooldown.base)
  const max = atLeast(`${field}.max`, "base", base, millisOf(`${field}.max`, cooldown.max))
  const factor = atLeast(`${field}.factor`, "1", 1, cooldown.factor ?? 2)
  const share = jitters[oneOf(`${field}.jitter`, ["equal", "full", "none"], cooldown.jitter ?? "equal")]
  return (openings, random) => {
    const millis = Math.min(base * factor ** (openings - 1), max)
    return share === 0 ? millis : Math.ceil(millis * (1 - random() * share))
  }
}

const isBackoff = (cooldown: Duration.Input | Backoff): cooldown is Backoff =>
  typeof cooldown === "object" && "base" in cooldown
