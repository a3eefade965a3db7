import { assert, describe, it } from "@effect/vitest"
import { Balancer, KeyPool, Selector } from "@evenkeel/core"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { nightShift } from "./nightShift.ts"

const live = Balancer.layer.pipe(
  Layer.provide(Selector.layer(nightShift)),
  Layer.provideMerge(
    KeyPool.layer({
      keys: [
        { id: "day", secret: "sk-or-v1-0001", labels: { shift: "interactive" } },
        { id: "night", secret: "sk-or-v1-0002", labels: { shift: "batch" } }
      ]
    })
  )
)

const served = Balancer.Balancer.use((balancer) => balancer.use((lease) => Effect.succeed(lease.key.id)))

describe("a selector of one's own", () => {
  it.effect("the night's keys serve before six, the day's after", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* served, "night")
      yield* TestClock.adjust("6 hours")
      assert.strictEqual(yield* served, "day")
    }).pipe(Effect.provide(live))
  )

  it.effect("it is a preference: a key of the other shift serves when there is no other", () =>
    Effect.gen(function* () {
      const pool = yield* KeyPool.KeyPool
      yield* pool.remove("night")
      assert.strictEqual(yield* served, "day")
    }).pipe(Effect.provide(live))
  )
})
