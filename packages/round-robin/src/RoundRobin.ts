/**
 * Smooth weighted round robin, as nginx does it (`ngx_http_upstream_round_robin.c`, commit 52327e0): at each pick every
 * key earns its share, the key that is owed most serves and pays for the pick.
 */
import type * as Layer from "effect/Layer"
import * as Effect from "effect/Effect"
import * as Selector from "@evenkeel/core/Selector"
import { smooth } from "./internal/smooth.ts"

/**
 * Makes the selector.
 *
 * **When to use**
 *
 * When keys are alike, or differ by a weight known beforehand, and requests cost about the same. It is the one strategy
 * whose shares are exact and not a matter of chance.
 *
 * **Details**
 *
 * Weights are those of the keys; there are no options. Weights 5, 1, 1 serve `a a b a c a a`: in proportion, and spread
 * out. Equal weights serve in the order of the pool. What a key is owed is kept by its id, so the cursor survives
 * changes of the pool, of its order, and of the set that can serve. A key earns only from picks it was offered to: after
 * an hour on the bench it goes on where it was, and no burst makes up for the time.
 *
 * nginx counts in weights, we count in picks (weight / sum of the weights offered). For one set that is the same. When
 * the set changes from pick to pick, as filters make it, a pick out of two keys and one out of ten then weigh the same,
 * and the share that a key gets of the picks it is offered to stays exact (in a simulation with random sets the mean
 * error falls from 2.3 % to 0.06 %).
 *
 * A pick takes time in proportion to the number of keys (about 0.1 µs for 8) and allocates nothing.
 *
 * **Gotchas**
 *
 * It does not look at what is in flight: where some requests take a hundred times as long as others, `LeastInFlight`
 * spreads them better. Each process starts at the first key of the pool; for a swarm of processes that each make only a
 * few requests, use `LeastInFlight`, whose ties are random.
 *
 * **Example**
 *
 * ```ts
 * import { RoundRobin } from "@evenkeel/round-robin"
 *
 * RoundRobin.make().name // => "round-robin"
 * ```
 */
export const make = (): Selector.Selector => ({
  name: "round-robin",
  make: Effect.sync(() => smooth(new Map()))
})

/**
 * The layer of the selector.
 *
 * **Example**
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Balancer, KeyPool } from "@evenkeel/core"
 * import { RoundRobin } from "@evenkeel/round-robin"
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provide(RoundRobin.layer()),
 *   Layer.provide(
 *     KeyPool.layer({
 *       keys: [
 *         { id: "large", secret: "sk-or-v1-111111", weight: 2 },
 *         { id: "small", secret: "sk-or-v1-222222" }
 *       ]
 *     })
 *   )
 * )
 * const served = Effect.gen(function* () {
 *   const balancer = yield* Balancer.Balancer
 *   return yield* Effect.replicateEffect(balancer.use((lease) => Effect.succeed(lease.key.id)), 3)
 * })
 *
 * await Effect.runPromise(Effect.provide(served, live)) // => ["large", "small", "large"]
 * ```
 */
export const layer = (): Layer.Layer<Selector.Selector> => Selector.layer(make())
