/** A percentile of the last samples, exact: they are kept twice, in the order in which they came and in that of size. */
export class SlidingPercentile {
  private readonly recent: Float64Array
  private readonly sorted: Float64Array
  /** The place of the next sample, which is that of the oldest once all are taken. */
  private next = 0
  size = 0

  constructor(capacity: number) {
    this.recent = new Float64Array(capacity)
    this.sorted = new Float64Array(capacity)
  }

  add(sample: number): void {
    const { next, recent, sorted } = this
    if (this.size === recent.length) {
      const oldest = this.rankOf(recent[next]!)
      sorted.copyWithin(oldest, oldest + 1, this.size--)
    }
    const rank = this.rankOf(sample)
    sorted.copyWithin(rank + 1, rank, this.size++)
    sorted[rank] = recent[next] = sample
    this.next = (next + 1) % recent.length
  }

  /** The nearest rank: the least sample that at least this share of the samples does not exceed. There must be one. */
  at(share: number): number {
    return this.sorted[Math.ceil(share * this.size - 1e-9) - 1]!
  }

  /** How many samples are less. */
  private rankOf(sample: number): number {
    let [low, high] = [0, this.size]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.sorted[middle]! < sample) low = middle + 1
      else high = middle
    }
    return low
  }
}
