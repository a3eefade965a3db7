import { Pacing } from "@evenkeel/pacing"
import { Outcome, type Candidate, type Filter } from "@evenkeel/core"
import { Duration } from "effect"

export const candidateOf = (id: string, account?: string): Candidate.Candidate => ({
  id,
  account,
  workspace: undefined,
  weight: 1,
  tier: 0,
  labels: {},
  inFlight: 0,
  maxInFlight: Infinity,
  credit: undefined,
  latency: undefined
})

export const contextAt = (nowMillis: number, tokens?: number): Candidate.PickContext => ({
  attempt: 0,
  nowMillis,
  random: () => 0,
  affinity: undefined,
  upstream: undefined,
  estimate: undefined,
  tokens
})

export const success = Outcome.success()
export const throttled = Outcome.faulted({
  scope: "account",
  reason: "throttled",
  retryAfter: Duration.seconds(1)
})

export interface Use {
  readonly admission: number
  readonly settle: (outcome?: Outcome.Outcome, at?: number) => void
}

/** Where a request comes from, and what it takes. */
export interface From {
  readonly id?: string
  readonly account?: string | undefined
  readonly tokens?: number
}

/** Limits whose time is set by hand, as the pool would use them. */
export const paceOf = (options?: Pacing.Options) => {
  const pacing = Pacing.make(options)
  const { limiter } = pacing
  const filter = (now: number, { account, id = "a", tokens }: From = {}): Filter.Ineligible | undefined =>
    limiter.filter(candidateOf(id, account), contextAt(now, tokens))
  /** Admits without asking. */
  const force = (now: number, { account, id = "a", tokens }: From = {}): Use => {
    const candidate = candidateOf(id, account)
    const context = contextAt(now, tokens)
    const admission = limiter.admit(candidate, context)
    return {
      admission,
      settle: (outcome = success, at = now) => limiter.record(candidate, context, admission, outcome, at)
    }
  }
  /** Opens a use, as the pool does for a key that passes the filter; `undefined` if it does not pass. */
  const open = (now: number, from?: From): Use | undefined =>
    filter(now, from) === undefined ? force(now, from) : undefined
  /** Whether a use that is over at once was let through. */
  const use = (now: number, from?: From): boolean => {
    const opened = open(now, from)
    opened?.settle()
    return opened !== undefined
  }
  return { pacing, limiter, filter, force, open, use }
}

/** Numbers from 0 to 1 of a seed (mulberry32). */
export const rngOf = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Runs a program of each seed, or of `EVENKEEL_SEED`; a failure prints its seed. */
export const forSeeds = (count: number, program: (seed: number) => void): void => {
  const given = process.env["EVENKEEL_SEED"]
  const seeds = given === undefined ? Array.from({ length: count }, (_, n) => 1000 + n) : [Number(given)]
  for (const seed of seeds) {
    try {
      program(seed)
    } catch (error) {
      throw new Error(`Run EVENKEEL_SEED=${seed} to see it again`, { cause: error })
    }
  }
}
