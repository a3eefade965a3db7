/**
 * The few numbers by which spreads and times are told.
 */

/** The middle, and how long the slowest 5 and 1 % are at least; milliseconds. */
export interface Percentiles {
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** By the nearest rank; 0 of nothing. */
export const percentiles = (values: ReadonlyArray<number>): Percentiles => {
  const sorted = Float64Array.from(values).toSorted()
  const at = (share: number) =>
    sorted.length === 0 ? 0 : round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!, 3)
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

/**
 * How even values are: 1 where all are alike, 1/n where one has all (R. Jain et al., "A Quantitative Measure of Fairness
 * and Discrimination", DEC-TR-301, 1984). Nothing at all is even.
 */
export const jain = (values: ReadonlyArray<number>): number => {
  const sum = values.reduce((total, value) => total + value, 0)
  const squares = values.reduce((total, value) => total + value * value, 0)
  return squares === 0 ? 1 : round((sum * sum) / (values.length * squares), 6)
}

/** The standard deviation over the mean; `undefined` of nothing. */
export const variation = (values: ReadonlyArray<number>): number | undefined => {
  const mean = values.reduce((total, value) => total + value, 0) / values.length
  const square = values.reduce((total, value) => total + (value - mean) ** 2, 0) / values.length
  return mean > 0 ? Math.sqrt(square) / mean : undefined
}

/** A report is compared byte by byte, and the last digits of floating point sums say nothing. */
export const round = (value: number, digits: number): number => {
  const factor = 10 ** digits
  return Math.round(value * factor) / factor
}
