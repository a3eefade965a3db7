/**
 * How a strategy lived through the faults of a scenario: what went to the keys at fault, how soon that ended, and how soon
 * they were of use again.
 */
import type { Fault, Scenario } from "./scenario.ts"
import { round } from "./statistics.ts"

/** How a strategy lived through one fault of a scenario; times are seconds of the scenario. */
export interface FaultReport {
  /** The key or the account at fault; `upstream` for all. */
  readonly on: string
  readonly status: number
  /** Seconds since the start; without `to` it did not end. */
  readonly from: number
  readonly to: number | undefined
  /** The part of all attempts that went there while it lasted. */
  readonly share: number
  /**
   * Seconds from its beginning until the keys at fault were left alone: no more than one attempt, or 1 % of all, in
   * the next 10 seconds. `undefined`: they were not.
   */
  readonly isolatedAfter: number | undefined
  /** Seconds from its beginning to the last attempt there while it lasted; `undefined`: there was none. */
  readonly lastAfter: number | undefined
  /**
   * Seconds from its end until the keys at fault served half of their fair share in the next 10 seconds. `undefined`: they
   * never did.
   */
  readonly recoveredAfter: number | undefined
}

/** Something that happened on a key: its index, and seconds since the start. In the order of time. */
export interface Log {
  readonly at: Array<number>
  readonly key: Array<number>
}

/** Seconds over which a rate is taken: long enough for a few requests, shorter than any cool-down. */
const span = 10

export const faultReports = (
  { faults, keys, seconds }: Scenario,
  attempts: Log,
  successes: Log
): ReadonlyArray<FaultReport> => {
  const total = keys.reduce((sum, key) => sum + key.weight, 0)
  return faults.flatMap((fault) => {
    if (fault.status === undefined) return []
    const affected = keys.map((key) => isOn(fault, key))
    const weight = keys.reduce((sum, key, index) => (affected[index] ? sum + key.weight : sum), 0)
    const fair = weight / total
    const isAffected = (key: number) => affected[key]!
    const [tried, all] = [timesOf(attempts, isAffected), timesOf(attempts)]
    const to = Math.min(fault.to, seconds)
    const last = tried.findLast((at) => at >= fault.from && at < to)
    const met = within(tried, fault.from, to)
    const during = within(all, fault.from, to)
    // Its end, or a moment behind an attempt there, is when it can have been left alone.
    const moments = [fault.from, ...tried.filter((at) => at >= fault.from && at < to).map((at) => at + 1e-6)]
    const left = moments.find((at) => {
      const end = at + span
      return end <= to && within(tried, at, end) <= Math.max(1, 0.01 * within(all, at, end))
    })
    const served = timesOf(successes, isAffected)
    const back =
      fault.to >= seconds ? undefined : recovery(served, timesOf(successes), fault.to, seconds, fair)
    return [
      {
        on: fault.key ?? fault.account ?? "upstream",
        status: fault.status,
        from: fault.from,
        to: fault.to < seconds ? fault.to : undefined,
        share: during === 0 ? 0 : round(met / during, 6),
        // What lies behind all keys cannot be left alone.
        isolatedAfter: fair === 1 || left === undefined ? undefined : round(left - fault.from, 3),
        lastAfter: last === undefined ? undefined : round(last - fault.from, 3),
        recoveredAfter: back === undefined ? undefined : round(back - fault.to, 3)
      }
    ]
  })
}

const isOn = (fault: Fault, key: Scenario["keys"][number]): boolean =>
  fault.key === undefined && fault.account === undefined
    ? true
    : fault.key === key.id || (fault.account !== undefined && fault.account === key.account)

/** The first of the successes at which the share is right again. */
const recovery = (
  served: ReadonlyArray<number>,
  all: ReadonlyArray<number>,
  from: number,
  seconds: number,
  fair: number
): number | undefined =>
  served.find((at) => {
    const end = at + span
    if (at < from || end > seconds + span) return false
    return within(served, at, end) >= 0.5 * fair * within(all, at, end)
  })

const timesOf = ({ at, key }: Log, belongs?: (key: number) => boolean): ReadonlyArray<number> =>
  belongs === undefined ? at : at.filter((_, index) => belongs(key[index]!))

/** How many of the sorted times are from `from` up to, and without, `to`. */
const within = (times: ReadonlyArray<number>, from: number, to: number): number =>
  indexOf(times, to) - indexOf(times, from)

const indexOf = (times: ReadonlyArray<number>, at: number): number => {
  let [low, high] = [0, times.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (times[middle]! < at) low = middle + 1
    else high = middle
  }
  return low
}
