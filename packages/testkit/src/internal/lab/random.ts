/**
 * Streams of random numbers, one for each purpose: what one of them is asked for does not shift another, so all
 * strategies meet the very same requests.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Distribution } from "./scenario.ts"

/** A number from 0 (inclusive) to 1 (exclusive). */
export type Next = () => number

/** The generator of a purpose; `Effect`'s own, so that it can stand in for the service. */
export const generator = (
  seed: string | number,
  purpose: string
): Effect.Effect<Context.Service.Shape<typeof Random.Random>> =>
  Random.withSeed(Effect.service(Random.Random), `${seed}/${purpose}`)

/** The numbers of a purpose. */
export const stream = (seed: string | number, purpose: string): Effect.Effect<Next> =>
  Effect.map(generator(seed, purpose), (random) => () => random.nextDoubleUnsafe())

export const exponential = (mean: number, next: Next): number => -mean * Math.log(1 - next())

export const sample = (distribution: Distribution, next: Next): number => {
  if (typeof distribution === "number") return distribution
  if (distribution.kind === "exponential") return exponential(distribution.mean, next)
  // Box and Muller: two uniform numbers make a normal one.
  const normal = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
  return distribution.median * Math.exp(distribution.sigma * normal)
}

export const mean = (distribution: Distribution): number => {
  if (typeof distribution === "number") return distribution
  if (distribution.kind === "exponential") return distribution.mean
  return distribution.median * Math.exp(distribution.sigma ** 2 / 2)
}

/** Ranks from 0 up, of which the k-th is drawn in proportion to 1/(k+1)^exponent. */
export const zipf = (count: number, exponent: number): ((next: Next) => number) => {
  const sums = new Float64Array(count)
  let total = 0
  for (let k = 0; k < count; k++) sums[k] = total += (k + 1) ** -exponent
  return (next) => {
    const wanted = next() * total
    let [low, high] = [0, count - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (sums[middle]! > wanted) high = middle
      else low = middle + 1
    }
    return low
  }
}
