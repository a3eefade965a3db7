/**
 * What one run of a scenario shows, as it happens and in the end.
 */
import type { Exit } from "effect/Exit"
import { faultReports, type FaultReport, type Log } from "./faultTimes.ts"
import type { Scenario } from "./scenario.ts"
import { jain, percentiles, round, variation, type Percentiles } from "./statistics.ts"
import type { Attempt, Key } from "./upstream.ts"

/** One key of one run. */
export interface KeyReport {
  readonly id: string
  readonly account: string | undefined
  /** Its part of the weight of all, and of the attempts of all. */
  readonly weight: number
  readonly share: number
  readonly attempts: number
  readonly succeeded: number
  /** USD. */
  readonly spent: number
  readonly mostInFlight: number
}

/** How a strategy did. Times are in milliseconds unless a field says seconds, and money is in USD. */
export interface StrategyReport {
  readonly strategy: string
  readonly requests: number
  readonly succeeded: number
  readonly failed: number
  /** How many requests failed, by the status or the error that their caller saw. */
  readonly errors: Readonly<Record<string, number>>
  readonly attempts: number
  /** Attempts that served nobody. */
  readonly wasted: number
  /** Attempts for each request. */
  readonly amplification: number
  /** How often a status other than 200 was met. */
  readonly met: Readonly<Record<string, number>>
  readonly keys: ReadonlyArray<KeyReport>
  /** How even the attempts are over the keys, by weight. */
  readonly jain: number
  /** How even spent/cap is over the keys that have a cap. */
  readonly spentJain: number | undefined
  /**
   * How unevenly requests in flight lie on the keys, by weight: the standard deviation over the mean, at 500 times, on average.
   */
  readonly spread: number
  readonly faults: ReadonlyArray<FaultReport>
  /** The time of a request in which it was on no key, of all requests. */
  readonly wait: Percentiles
  /** The time to the first token, or to the answer where it is no stream, of requests that succeeded. */
  readonly answer: Percentiles
  /** The time to the end of the answer, of requests that succeeded. */
  readonly latency: Percentiles
  readonly cost: number
  /** The part of the requests of sessions whose prompt the account had kept. */
  readonly cacheHits: number | undefined
  /** What is still counted when all has ended: anything but 0 is a leak. */
  readonly left: { readonly inFlight: number; readonly waiting: number }
}

/** One request on its way. */
export interface Ticket {
  readonly beganAt: number
  /** Milliseconds that it was on keys. */
  busy: number
  answeredAt: number | undefined
}

export class Recorder {
  private readonly attempts: Log = { at: [], key: [] }
  private readonly successes: Log = { at: [], key: [] }
  private readonly errors = new Map<string, number>()
  private readonly met = new Map<string, number>()
  private readonly wait: Array<number> = []
  private readonly answer: Array<number> = []
  private readonly latency: Array<number> = []
  private readonly spreads: Array<number> = []
  private requests = 0
  private succeeded = 0
  private cacheable = 0
  private cached = 0
  private readonly scenario: Scenario
  private readonly startsAt: number

  constructor(scenario: Scenario, startsAt: number) {
    this.scenario = scenario
    this.startsAt = startsAt
  }

  began(now: number): Ticket {
    this.requests++
    return { beganAt: now, busy: 0, answeredAt: undefined }
  }

  attempted({ key, status }: Attempt, now: number): void {
    this.attempts.at.push((now - this.startsAt) / 1000)
    this.attempts.key.push(key.index)
    if (status !== 200) increment(this.met, String(status))
  }

  ended(ticket: Ticket, exit: Exit<Attempt, unknown>, now: number): void {
    const elapsed = now - ticket.beganAt
    this.wait.push(Math.max(0, elapsed - ticket.busy))
    if (exit._tag === "Failure") return increment(this.errors, nameOf(exit))
    const { cached, key, request } = exit.value
    this.succeeded++
    key.succeeded++
    this.latency.push(elapsed)
    this.answer.push((ticket.answeredAt ?? now) - ticket.beganAt)
    this.successes.at.push((now - this.startsAt) / 1000)
    this.successes.key.push(key.index)
    if (request.session === undefined) return
    this.cacheable++
    if (cached) this.cached++
  }

  /** Looks at what is in flight. */
  sampled(keys: ReadonlyArray<Key>): void {
    const spread = variation(keys.map(({ inFlight, spec }) => inFlight / spec.weight))
    if (spread !== undefined) this.spreads.push(spread)
  }

  report(strategy: string, all: ReadonlyArray<Key>, left: StrategyReport["left"]): StrategyReport {
    const { requests, scenario, succeeded } = this
    const attempts = this.attempts.at.length
    const weight = all.reduce((sum, { spec }) => sum + spec.weight, 0)
    const capped = all.filter(({ spec }) => (spec.cap ?? 0) > 0)
    return {
      strategy,
      requests,
      succeeded,
      failed: [...this.errors.values()].reduce((sum, count) => sum + count, 0),
      errors: sorted(this.errors),
      attempts,
      wasted: attempts - succeeded,
      amplification: requests === 0 ? 0 : round(attempts / requests, 6),
      met: sorted(this.met),
      keys: all.map(({ attempts: own, mostInFlight, spec, spent, succeeded }) => ({
        id: spec.id,
        account: spec.account,
        weight: round(spec.weight / weight, 6),
        share: attempts === 0 ? 0 : round(own / attempts, 6),
        attempts: own,
        succeeded,
        spent: round(spent, 6),
        mostInFlight
      })),
      jain: jain(all.map((key) => key.attempts / key.spec.weight)),
      spentJain: capped.length < 2 ? undefined : jain(capped.map((key) => key.spent / key.spec.cap!)),
      spread: round(this.spreads.reduce((sum, one) => sum + one, 0) / Math.max(1, this.spreads.length), 6),
      faults: faultReports(scenario, this.attempts, this.successes),
      wait: percentiles(this.wait),
      answer: percentiles(this.answer),
      latency: percentiles(this.latency),
      cost: round(
        all.reduce((sum, { spent }) => sum + spent, 0),
        6
      ),
      cacheHits: this.cacheable === 0 ? undefined : round(this.cached / this.cacheable, 6),
      left
    }
  }
}

const nameOf = (exit: Extract<Exit<unknown, unknown>, { _tag: "Failure" }>): string => {
  const reason = exit.cause.reasons.find(({ _tag }) => _tag === "Fail")
  if (reason?._tag !== "Fail") return "Unfinished"
  const { error } = reason
  if (typeof error !== "object" || error === null) return "Failed"
  if ("status" in error) return String(error.status)
  return "_tag" in error ? String(error._tag) : "Failed"
}

const increment = (counts: Map<string, number>, name: string): void =>
  void counts.set(name, (counts.get(name) ?? 0) + 1)

const sorted = (counts: ReadonlyMap<string, number>): Record<string, number> =>
  Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)))
