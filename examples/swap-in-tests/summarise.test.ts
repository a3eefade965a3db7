// The same program with another selector: a test swaps a layer, and nothing else. OpenRouter is simulated on loopback.
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { KeyPool } from "@evenkeel/core"
import { OpenRouter } from "@evenkeel/openrouter"
import { RoundRobin } from "@evenkeel/round-robin"
import { Simulator, TestSelector } from "@evenkeel/testkit"
import { Effect, Layer } from "effect"
import { summarise } from "./summarise.ts"

const simulator = Simulator.layer({ keys: [{ name: "first" }, { name: "second" }] })

/** OpenRouter and its keys, simulated: all but the selector. */
const openrouter = Layer.unwrap(
  Simulator.Simulator.useSync(({ baseUrl, keys }) =>
    OpenRouter.layerWith({ baseUrl }).pipe(
      Layer.provide(KeyPool.layer({ keys: keys.map(({ name, secret }) => ({ id: name, secret })) }))
    )
  )
).pipe(Layer.provide(NodeHttpClient.layerUndici), Layer.provideMerge(simulator))

const servedBy = Effect.gen(function* () {
  yield* summarise("A long text.")
  yield* summarise("Another long text.")
  const { requests } = yield* Simulator.Simulator
  return (yield* requests).filter(({ path }) => path === "/chat/completions").map(({ key }) => key)
})

describe("a program with its selector swapped", () => {
  it.live("round robin uses both keys", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* servedBy, ["first", "second"])
    }).pipe(Effect.provide(openrouter.pipe(Layer.provide(RoundRobin.layer()))))
  )

  it.live("a fixed selector uses one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* servedBy, ["second", "second"])
    }).pipe(Effect.provide(openrouter.pipe(Layer.provide(TestSelector.fixed("second")))))
  )
})
