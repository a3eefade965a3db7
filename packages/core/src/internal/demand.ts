/**
 * What a request asks of the pool, and with which strategy.
 */
import { closed, type Breaker } from "../Breaker.ts"
import type { PickContext } from "../Candidate.ts"
import { unknown, type Credits } from "../Credits.ts"
import type { Filter } from "../Filter.ts"
import { unlimited, type Limiter } from "../Limiter.ts"
import type { Picker } from "../Selector.ts"

/** A balancer's strategy, as the engine uses it. */
export interface Strategy {
  readonly name: string
  readonly picker: Picker
  readonly breaker: Breaker
  readonly limiter: Limiter
  readonly credits: Credits
  /** The selector's own facts and the balancer's further filters. */
  readonly filter: Filter | undefined
}

/** What one request asks for. */
export interface Demand {
  readonly strategy: Strategy
  readonly context: PickContext
  /** The request's own facts. */
  readonly filter: Filter | undefined
  /** Ids this request was already refused on. */
  readonly tried: ReadonlySet<string> | undefined
  readonly now: () => number
}

const neutral: Strategy = {
  name: "none",
  picker: { pick: (candidates) => candidates[0] },
  breaker: closed,
  limiter: unlimited,
  credits: unknown,
  filter: undefined
}

/** The demand of no request in particular: what it meets are the pool's own facts. */
export const anyDemand = (nowMillis: number): Demand => ({
  strategy: neutral,
  context: {
    attempt: 0,
    nowMillis,
    random: () => 0,
    affinity: undefined,
    upstream: undefined,
    tokens: undefined,
    promptTokens: undefined,
    fallbacks: undefined,
    estimate: undefined
  },
  filter: undefined,
  tried: undefined,
  now: () => nowMillis
})
