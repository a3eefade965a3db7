import type { Selector } from "../Selector.ts"
import { around, ranked, told } from "../internal/selectors/around.ts"

/**
 * Stays on the key that the inner selector chose, until that key cannot serve.
 *
 * **When to use**
 *
 * For one active key and others that stand by, without going back: after a failure the next key keeps the traffic, also when
 * the first returns. To go back, use `tiered`.
 *
 * **Details**
 *
 * There is one current key for the whole balancer. To keep each session on a key of its own use `affinity`: that needs no
 * memory of sessions, so nothing has to be bounded or expire, and every process, also one that has just started, finds
 * the same key.
 *
 * A retry does not move it: the key may be missing for that request alone, because it was refused there. If the key is gone
 * indeed, the next request moves on.
 *
 * **Gotchas**
 *
 * A key with `maxInFlight` requests in flight cannot serve either, and is left for the next one.
 *
 * **Example**
 *
 * ```ts
 * import { Balancer, KeyPool, Selector } from "@evenkeel/core"
 * import { Effect, Layer } from "effect"
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provide(Selector.layer(Selector.sticky(Selector.random))),
 *   Layer.provide(KeyPool.layer({ keys: ["sk-0000001", "sk-0000002"] }))
 * )
 * const served = Effect.gen(function* () {
 *   const balancer = yield* Balancer.Balancer
 *   const ids = yield* Effect.replicateEffect(balancer.use((lease) => Effect.succeed(lease.key.id)), 10)
 *   return new Set(ids).size
 * })
 *
 * await Effect.runPromise(Effect.provide(served, live)) // => 1
 * ```
 */
export const sticky = (inner: Selector): Selector =>
  around(inner, "sticky", (picker) => {
    let current: string | undefined
    return {
      pick: (candidates, context) => {
        if (current !== undefined) {
          for (const candidate of candidates) if (candidate.id === current) return candidate
        }
        const chosen = picker.pick(candidates, context)
        if (current === undefined || context.attempt === 0) current = chosen.id
        return chosen
      },
      ...ranked(picker, (candidates, context) => {
        const order = picker.rank!(candidates, context)
        const first = order.filter(({ id }) => id === current)
        return first.length === 0 ? order : [...first, ...order.filter(({ id }) => id !== current)]
      }),
      ...told(picker),
      forget: (id) => {
        if (current === id) current = undefined
        picker.forget?.(id)
      }
    }
  })
