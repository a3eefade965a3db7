import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatChunk, OpenRouter } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Layer, Stream } from "effect"

const live = Layer.unwrap(
  Simulator.Simulator.useSync(({ baseUrl, keys }) =>
    OpenRouter.layerWith({ baseUrl }).pipe(
      Layer.provide(LeastInFlight.layer()),
      Layer.provideMerge(KeyPool.layer({ keys: keys.map(({ name, secret }) => ({ id: name, secret })) }))
    )
  )
).pipe(
  Layer.provide(NodeHttpClient.layerUndici),
  Layer.provideMerge(Simulator.layer({ keys: [{ name: "a" }, { name: "b" }] }))
)

const request = { model: "openai/gpt-4o-mini", messages: [{ role: "user" as const, content: "one two three" }] as const }

describe("chatStream", () => {
  it.live("streams the text, and the usage at the end", () =>
    Effect.gen(function* () {
      const { chatStream } = yield* OpenRouter.OpenRouter
      const chunks = yield* Stream.runCollect(chatStream(request))
      assert.strictEqual(chunks.map(ChatChunk.text).join(""), "You said: one two three")
      assert.isAbove(chunks.at(-1)?.usage?.cost ?? 0, 0)
      const { keys } = yield* (yield* KeyPool.KeyPool).snapshot
      assert.deepStrictEqual(keys.map(({ inFlight, succeeded }) => [inFlight, succeeded]).toSorted(), [[0, 0], [0, 1]])
    }).pipe(Effect.provide(live))
  )

  it.live("a stream that breaks tells the text so far", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: Simulator.actions.midStreamError({ afterChunks: 3, code: 429 }) })
      const { chatStream } = yield* OpenRouter.OpenRouter
      const error = yield* Effect.flip(Stream.runCollect(chatStream(request)))
      assert.strictEqual(error._tag, "OpenRouterError")
      if (error._tag === "OpenRouterError" && error.reason._tag === "Broken") {
        assert.isTrue("You said: one two three".startsWith(error.reason.text))
        assert.isAbove(error.reason.text.length, 0)
      } else assert.fail(`not Broken: ${error.message}`)
    }).pipe(Effect.provide(live))
  )
})
