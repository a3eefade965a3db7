/** What a request may cost: the tokens it may take, at about the dearest rate of late for its model. */
import type { Candidate } from "@evenkeel/core"

/** Models kept; beyond that the one that was used longest ago is let go. */
const maxModels = 1024
/** A dear request counts for about the next 50. */
const decay = 0.98

type Context = Pick<Candidate.PickContext, "upstream" | "tokens">

export class CostEstimator {
  private readonly first: number
  /** USD a token that a request might have taken, by model. */
  private readonly rates = new Map<string, number>()

  constructor(first: number) {
    this.first = first
  }

  estimate({ upstream, tokens }: Context): number {
    const rate = this.rates.get(upstream ?? "")
    return rate === undefined ? this.first : rate * (tokens ?? 1)
  }

  observe({ upstream, tokens }: Context, cost: number): void {
    const model = upstream ?? ""
    const rate = cost / (tokens ?? 1)
    const old = this.rates.get(model)
    // Taken out and put in again, so that the map stays in the order of use.
    this.rates.delete(model)
    this.rates.set(model, old === undefined ? rate : Math.max(rate, rate + (old - rate) * decay))
    if (this.rates.size > maxModels) this.rates.delete(this.rates.keys().next().value!)
  }
}
