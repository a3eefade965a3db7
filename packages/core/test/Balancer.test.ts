import { Balancer, KeyPool, Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"

const four = KeyPool.layer({ keys: ["a", "b", "c", "d"].map((id) => ({ id, secret: `secret-of-${id}-xyz`.replace(id, "0") + id.charCodeAt(0) })) })
const live = Balancer.layer.pipe(
  Layer.provide(Selector.layer(Selector.leastBy((c) => c.inFlight / c.weight))),
  Layer.provideMerge(four)
)

describe("Balancer", () => {
  it.effect("1,000 fibers at once over 4 keys: 250 each, and 0 in flight after interrupting all", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const pool = yield* KeyPool.KeyPool
      const inFlight = Effect.map(pool.snapshot, (s) => s.keys.map((k) => k.inFlight))
      const fibers = yield* Effect.forEach(Array.from({ length: 1000 }), () =>
        Effect.forkChild(balancer.use(() => Effect.never), { startImmediately: true })
      )
      assert.deepStrictEqual(yield* inFlight, [250, 250, 250, 250])
      yield* Fiber.interruptAll(fibers)
      assert.deepStrictEqual(yield* inFlight, [0, 0, 0, 0])
    }).pipe(Effect.provide(live))
  )
})
