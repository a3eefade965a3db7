/**
 * What is told of a strategy in a table and in a chart: how it is read off a report, and how it is written.
 */
import type { FaultReport } from "./faultTimes.ts"
import type { MetricName } from "./metricNames.ts"
import type { StrategyReport } from "./recorder.ts"

export interface Metric {
  readonly title: string
  /** What the axis of a chart counts. */
  readonly unit: string
  /** `undefined`: it makes no sense here; `Infinity`: it never came to that. */
  readonly value: (report: StrategyReport) => number | undefined
  readonly format: (value: number) => string
  readonly better: "less" | "more"
}

const percent = (value: number) => `${(value * 100).toFixed(1)} %`
const count = (value: number) => String(value)
const decimal = (value: number) => value.toFixed(3)
const usd = (value: number) => `$${value.toFixed(2)}`
const time = (seconds: number) => (seconds === Infinity ? "never" : `${seconds.toFixed(2)} s`)

const metric = (
  title: string,
  unit: string,
  format: Metric["format"],
  better: Metric["better"],
  value: Metric["value"]
): Metric => ({ title, unit, value, format, better })

const seconds = (title: string, millis: (report: StrategyReport) => number): Metric =>
  metric(title, "seconds", time, "less", (report) => millis(report) / 1000)

/** Faults that a strategy can go round: what lies behind all keys it cannot. */
const avoidable = ({ faults }: StrategyReport) => faults.filter(({ on }) => on !== "upstream")

const worst = (faults: ReadonlyArray<FaultReport>, of: (fault: FaultReport) => number): number | undefined =>
  faults.length === 0 ? undefined : Math.max(...faults.map(of))

export const metrics: Readonly<Record<MetricName, Metric>> = {
  failedShare: metric("failed", "share of the requests", percent, "less", ({ failed, requests }) =>
    requests === 0 ? 0 : failed / requests
  ),
  jain: metric("evenness", "Jain index of attempts by weight", decimal, "more", ({ jain }) => jain),
  met402: metric("402s", "answers", count, "less", ({ met }) => met["402"] ?? 0),
  met429: metric("429s", "answers", count, "less", ({ met }) => met["429"] ?? 0),
  wasted: metric("wasted", "attempts that served nobody", count, "less", ({ wasted }) => wasted),
  amplification: metric(
    "amplification",
    "attempts for each request",
    decimal,
    "less",
    (report) => report.amplification
  ),
  badShare: metric("to bad keys", "share of the attempts while they are bad", percent, "less", (report) =>
    worst(avoidable(report), ({ share }) => share)
  ),
  isolatedAfter: metric("left alone after", "seconds", time, "less", (report) =>
    worst(avoidable(report), ({ isolatedAfter }) => isolatedAfter ?? Infinity)
  ),
  recoveredAfter: metric("back after", "seconds", time, "less", ({ faults }) =>
    worst(
      // Who never went there need not come back.
      faults.filter(({ share, to }) => share > 0 && to !== undefined),
      ({ recoveredAfter }) => recoveredAfter ?? Infinity
    )
  ),
  waitP50: seconds("wait p50", ({ wait }) => wait.p50),
  waitP95: seconds("wait p95", ({ wait }) => wait.p95),
  waitP99: seconds("wait p99", ({ wait }) => wait.p99),
  answerP50: seconds("first token p50", ({ answer }) => answer.p50),
  answerP95: seconds("first token p95", ({ answer }) => answer.p95),
  answerP99: seconds("first token p99", ({ answer }) => answer.p99),
  latencyP50: seconds("latency p50", ({ latency }) => latency.p50),
  latencyP95: seconds("latency p95", ({ latency }) => latency.p95),
  latencyP99: seconds("latency p99", ({ latency }) => latency.p99),
  cost: metric("cost of 1,000", "USD for 1,000 answers", usd, "less", ({ cost, succeeded }) =>
    succeeded === 0 ? undefined : (1000 * cost) / succeeded
  ),
  spentJain: metric("spent evenly", "Jain index of spent/cap", decimal, "more", ({ spentJain }) => spentJain),
  cacheHits: metric("cache hits", "share of the requests", percent, "more", ({ cacheHits }) => cacheHits),
  mostInFlight: metric("most in flight", "requests on one key at once", count, "less", ({ keys }) =>
    Math.max(...keys.map(({ mostInFlight }) => mostInFlight))
  )
}

/** Differences below 1 % are those of the seed. */
const alike = (a: number, b: number) =>
  a === b || Math.abs(a - b) <= 0.01 * Math.max(Math.abs(a), Math.abs(b))

/** Which of the values are the best; none where all are alike. */
export const bestOf = (
  { better }: Metric,
  values: ReadonlyArray<number | undefined>
): ReadonlyArray<boolean> => {
  const known = values.filter((value) => value !== undefined)
  const best = better === "less" ? Math.min(...known) : Math.max(...known)
  const isBest = values.map((value) => value !== undefined && alike(value, best))
  return isBest.every(Boolean) ? isBest.map(() => false) : isBest
}

/** Whether the values say anything about strategies. */
export const differ = (values: ReadonlyArray<number | undefined>): boolean =>
  values.some(
    (value) => (value === undefined) !== (values[0] === undefined) || !alike(value ?? 0, values[0] ?? 0)
  )
