/**
 * What a request may cost. OpenRouter reserves the price of the prompt and of the longest answer that a request allows,
 * so where the price is known the estimate is that. Elsewhere it is the tokens the request may take, at about the dearest
 * rate of late for its model.
 */
import type { Candidate } from "@evenkeel/core"
import { Prices } from "./prices.ts"

/** Models kept; beyond that the one that was used longest ago is let go. */
const maxModels = 1024
/** A dear request counts for about the next 50. */
const decay = 0.98

type Context = Pick<Candidate.PickContext, "upstream" | "tokens" | "promptTokens" | "fallbacks">

export class CostEstimator {
  private readonly first: number
  private readonly prices: Prices
  /** USD a token that a request might have taken, by model. */
  private readonly rates = new Map<string, number>()
  /** The model that was used last. */
  private last: string | undefined

  constructor(first: number, prices: Prices = new Prices()) {
    this.first = first
    this.prices = prices
  }

  /** USD; with fallback models that of the dearest, because any of them may answer. */
  estimate(context: Context): number {
    let most = this.estimateOf(context.upstream ?? "", context)
    if (context.fallbacks === undefined) return most
    for (const model of context.fallbacks) {
      const usd = this.estimateOf(model, context)
      if (usd > most) most = usd
    }
    return most
  }

  private estimateOf(model: string, { tokens, promptTokens }: Context): number {
    const price = tokens === undefined ? undefined : this.prices.of(model)
    if (price === undefined) {
      const rate = this.rates.get(model)
      return rate === undefined ? this.first : rate * (tokens ?? 1)
    }
    // Tokens of which it is not known whose they are count at the dearer price.
    return promptTokens === undefined
      ? tokens! * Math.max(price.prompt, price.completion) + price.request
      : promptTokens * price.prompt + (tokens! - promptTokens) * price.completion + price.request
  }

  observe({ upstream, tokens }: Context, cost: number): void {
    const model = upstream ?? ""
    const rate = cost / (tokens ?? 1)
    const old = this.rates.get(model)
    // Taken out and put in again, so that the map stays in the order of use; the last one is in its place.
    if (model !== this.last) this.rates.delete(model)
    this.last = model
    this.rates.set(model, old === undefined ? rate : Math.max(rate, rate + (old - rate) * decay))
    if (this.rates.size > maxModels) this.rates.delete(this.rates.keys().next().value!)
  }
}
