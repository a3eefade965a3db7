/**
 * The fewest requests in flight for the weight: Envoy's least request (`FULL_SCAN`), or of two drawn at random
 * (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001).
 */
import type * as Layer from "effect/Layer"
import * as Effect from "effect/Effect"
import type { Candidate } from "@evenkeel/core/Candidate"
import * as Selector from "@evenkeel/core/Selector"

/**
 * Options of the selector.
 */
export interface Options {
  /**
   * Which keys a pick compares.
   *
   * - `"all"`, the default: the counts of the pool are exact and as new as the last pick, so the least of all is the
   *   best answer, and a scan of 16 keys takes about 0.1 µs. Of a pool with more than 64 keys it is the least of 64 that can
   *   serve, by turns
   * - `"two"`: two distinct keys drawn at random. Its time does not grow with the pool, and where other processes use
   *   the same keys, so that the counts tell only a part, it draws no herd to one key
   */
  readonly choices?: "all" | "two" | undefined
}

/**
 * Makes the selector; throws a `RangeError` on an option out of range.
 *
 * **When to use**
 *
 * When requests differ in how long they take, as completions do: a key that is busy with long ones gets fewer new ones,
 * without measuring any time.
 *
 * **Details**
 *
 * The load of a key is `inFlight / weight`; the pool counts from the pick to the end of the body, in the same step as the
 * pick, so requests that start at once do not all see the same idle key. Of keys with the same load one is drawn in
 * proportion to weight (reservoir sampling), so no key gains from its position, and weights also hold at low load,
 * when most keys are idle most of the time. With `"two"` weights count in the load alone.
 *
 * **Gotchas**
 *
 * A key that fails fast looks idle and draws requests: keep the pool's cooldowns, or a circuit breaker, in place.
 *
 * **Example**
 *
 * ```ts
 * import { LeastInFlight } from "@evenkeel/least-in-flight"
 *
 * LeastInFlight.make({ choices: "two" }).name // => "least-in-flight"
 * ```
 */
export const make = (options: Options = {}): Selector.Selector => {
  const { choices = "all" } = options
  switch (choices) {
    case "all":
      return { name, make: Effect.succeed({ pick: leastOfAll, rank: Selector.rankBy(load), enough: 64 }) }
    case "two":
      return Selector.powerOfTwo(load, name)
    default:
      throw new RangeError(`LeastInFlight: choices must be "all" or "two", and is ${String(choices)}`)
  }
}

/**
 * The layer of the selector. Like `make` it throws at once on an option out of range.
 *
 * **Example**
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Balancer, KeyPool } from "@evenkeel/core"
 * import { LeastInFlight } from "@evenkeel/least-in-flight"
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provide(LeastInFlight.layer()),
 *   Layer.provide(KeyPool.layer({ keys: ["sk-or-v1-111111", "sk-or-v1-222222"] }))
 * )
 * const differ = Effect.gen(function* () {
 *   const balancer = yield* Balancer.Balancer
 *   const first = yield* balancer.lease()
 *   const second = yield* balancer.lease()
 *   return first.key.id !== second.key.id
 * })
 *
 * await Effect.runPromise(Effect.scoped(Effect.provide(differ, live))) // => true
 * ```
 */
export const layer = (options?: Options): Layer.Layer<Selector.Selector> => Selector.layer(make(options))

const name = "least-in-flight"

const load = (candidate: Candidate): number => candidate.inFlight / candidate.weight

const leastOfAll: Selector.Picker["pick"] = (candidates, context) => {
  let chosen = candidates[0]
  let least = load(chosen)
  let tied = chosen.weight
  let ties = 1
  for (let i = 1; i < candidates.length; i++) {
    const candidate = candidates[i]!
    const value = load(candidate)
    if (value < least) {
      chosen = candidate
      least = value
      tied = candidate.weight
      ties = 1
    } else if (value === least) {
      tied += candidate.weight
      ties++
    }
  }
  if (ties === 1) return chosen
  // One draw settles the tie, each with its share; drawing at every one of them takes longer than all the rest.
  let left = context.random() * tied
  for (const candidate of candidates) {
    if (load(candidate) !== least) continue
    chosen = candidate
    left -= candidate.weight
    if (left < 0) break
  }
  return chosen
}
