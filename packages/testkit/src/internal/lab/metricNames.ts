/**
 * The names of what is measured of a strategy; a scenario says by them what its chart shows.
 */
export const metricNames = [
  "failedShare",
  "jain",
  "met402",
  "met429",
  "wasted",
  "amplification",
  "badShare",
  "isolatedAfter",
  "recoveredAfter",
  "waitP50",
  "waitP95",
  "waitP99",
  "answerP50",
  "answerP95",
  "answerP99",
  "latencyP50",
  "latencyP95",
  "latencyP99",
  "cost",
  "spentJain",
  "cacheHits",
  "mostInFlight"
] as const

/** The name of a measure that a chart may show. */
export type MetricName = (typeof metricNames)[number]
