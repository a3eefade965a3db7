/**
 * In proportion to headroom: what the limits of requests and tokens per minute, of the key and its account, leave for now.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Candidate, PickContext } from "@evenkeel/core/Candidate"
import * as Selector from "@evenkeel/core/Selector"

/**
 * Makes the selector.
 *
 * **When to use**
 *
 * With a limiter (`@evenkeel/pacing`), when accounts have different limits: each gets requests for as much as it has left, so
 * they run dry together and nobody waits while another has room.
 *
 * **Details**
 *
 * A key is drawn with a probability in proportion to weight · the requests like this one that its limits still allow at
 * once. So an account with ten times the limit gets ten times the requests. A key without a limit counts as the mean of those
 * that have one; where none has, weights alone decide.
 *
 * It draws at random and in proportion on purpose: what is left is shared with other processes that use the same keys, and
 * where readings are stale the most of all draws a herd (Mitzenmacher, "How Useful Is Old Information?", IEEE TPDS 2000).
 *
 * **Gotchas**
 *
 * Without a `burst` a limit of requests per minute allows one at a time, evenly spaced: then all keys that are ready are alike,
 * and the limiter's spacing is what gives each its share.
 *
 * **Example**
 *
 * ```ts
 * import { Headroom } from "@evenkeel/headroom"
 *
 * Headroom.make().name // => "headroom"
 * ```
 */
export const make = (): Selector.Selector => ({
  name: "headroom",
  make: Effect.succeed({ pick, rank, enough: 64 })
})

/**
 * The layer of the selector.
 *
 * **Example**
 *
 * ```ts
 * import { Headroom } from "@evenkeel/headroom"
 * import { Layer } from "effect"
 *
 * Layer.isLayer(Headroom.layer()) // => true
 * ```
 */
export const layer = (): Layer.Layer<Selector.Selector> => Selector.layer(make())

/** How many requests like this one the key's limits allow at once; `undefined` without a limit. */
const allowed = (candidate: Candidate, { headroom, tokens }: PickContext): number | undefined => {
  const left = headroom?.(candidate)
  if (left === undefined) return undefined
  const byTokens = left.tokens === undefined || !(tokens! > 0) ? Infinity : left.tokens / tokens!
  const requests = Math.min(left.requests ?? Infinity, byTokens)
  return requests === Infinity ? undefined : requests
}

/** The shares in the order of the candidates, and their sum. */
const sharesOf = (candidates: ReadonlyArray<Candidate>, context: PickContext) => {
  let sum = 0
  let weights = 0
  const shares = candidates.map((candidate) => {
    const requests = allowed(candidate, context)
    if (requests === undefined) return undefined
    sum += requests * candidate.weight
    weights += candidate.weight
    return requests * candidate.weight
  })
  // When nothing is left anywhere, nobody is better off than another.
  const mean = sum === 0 ? 1 : sum / weights
  return candidates.map(({ weight }, i) => (sum === 0 ? undefined : shares[i]) ?? weight * mean)
}

const pick: Selector.Picker["pick"] = (candidates, context) => {
  if (candidates.length === 1) return candidates[0]
  const shares = sharesOf(candidates, context)
  let left = context.random() * shares.reduce((sum, share) => sum + share, 0)
  let chosen = candidates[0]
  for (const [i, candidate] of candidates.entries()) {
    if (shares[i] === 0) continue
    // Kept as the answer when rounding leaves a rest behind the last one.
    chosen = candidate
    if (left < shares[i]!) break
    left -= shares[i]!
  }
  return chosen
}

const rank: NonNullable<Selector.Picker["rank"]> = (candidates, context) => {
  const shares = sharesOf(candidates, context)
  const places = new Map(candidates.map((candidate, i) => [candidate, shares[i]!]))
  return Selector.rankBy((candidate) => -places.get(candidate)!)(candidates, context)
}
