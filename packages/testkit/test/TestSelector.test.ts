import { assert, describe, it } from "@effect/vitest"
import { Balancer, KeyPool, Selector } from "@evenkeel/core"
import { TestSelector } from "@evenkeel/testkit"
import { Cause, Effect, Layer } from "effect"

const pool = KeyPool.layer({
  keys: ["a", "b", "c"].map((id, i) => ({ id, secret: `secret-${i}`, maxInFlight: 2 }))
})
const balanced = <A>(selector: Layer.Layer<Selector.Selector | A>) =>
  Balancer.layer.pipe(Layer.provideMerge(selector), Layer.provideMerge(pool))

const served = Balancer.Balancer.use((balancer) => balancer.use((lease) => Effect.succeed(lease.key.id)))

describe("TestSelector", () => {
  it.effect("fixed picks its key, and the first when that cannot serve", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* served, "b")
      yield* (yield* KeyPool.KeyPool).remove("b")
      assert.strictEqual(yield* served, "a")
    }).pipe(Effect.provide(balanced(TestSelector.fixed("b"))))
  )

  it.effect("scripted follows its script, and its last line for ever", () =>
    Effect.gen(function* () {
      const ids = yield* Effect.replicateEffect(served, 4)
      assert.deepStrictEqual(ids, ["c", "a", "b", "b"])
    }).pipe(Effect.provide(balanced(TestSelector.scripted(["c", "a", "b"]))))
  )

  it.effect("scripted says which key it wanted when it cannot have it", () =>
    Effect.gen(function* () {
      const cause = yield* Effect.flip(Effect.sandbox(served))
      assert.include(Cause.pretty(cause), "wants the key z at pick 1, and can have a, b, c")
      const { keys } = yield* (yield* KeyPool.KeyPool).snapshot
      assert.deepStrictEqual(
        keys.map((key) => key.inFlight),
        [0, 0, 0]
      )
    }).pipe(Effect.provide(balanced(TestSelector.scripted(["z"]))))
  )

  it("an empty script is refused", () => {
    assert.throws(() => TestSelector.scripted([]), RangeError, "at least one key id")
  })

  it.effect("recording keeps picks and settlements, and does not change the choice", () =>
    Effect.gen(function* () {
      const recording = yield* TestSelector.Recording
      yield* served
      const [pick] = yield* recording.picks
      assert.strictEqual(pick?.chosen, "a")
      assert.deepStrictEqual(
        pick?.offered.map(({ id, inFlight }) => [id, inFlight]),
        [
          ["a", 0],
          ["b", 0],
          ["c", 0]
        ]
      )
      const settlements = yield* recording.settlements
      assert.deepStrictEqual(
        settlements.map(({ id, outcome }) => [id, outcome._tag]),
        [["a", "Success"]]
      )
    }).pipe(
      Effect.provide(balanced(TestSelector.recording(Selector.make("first", (candidates) => candidates[0]))))
    )
  )
})
