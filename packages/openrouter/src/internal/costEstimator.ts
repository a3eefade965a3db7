/** What a request to a model may cost: a little above the dearest of late. */

/** Models kept; beyond that the one that was used longest ago is let go. */
const maxModels = 1024
/** Per request; a dear request counts for about 50 others. */
const decay = 0.98

export class CostEstimator {
  private readonly first: number
  private readonly peaks = new Map<string, number>()

  constructor(first: number) {
    this.first = first
  }

  estimate(model: string | undefined): number {
    return this.peaks.get(model ?? "") ?? this.first
  }

  observe(model: string | undefined, cost: number): void {
    const key = model ?? ""
    const old = this.peaks.get(key)
    const peak = old === undefined ? cost : Math.max(cost, cost + (old - cost) * decay)
    // Taken out and put in again, so that the map stays in the order of use.
    this.peaks.delete(key)
    this.peaks.set(key, peak)
    if (this.peaks.size > maxModels) this.peaks.delete(this.peaks.keys().next().value!)
  }
}
