// The common case: everything from Config.
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { OpenRouterEmbeddingModel, OpenRouterLanguageModel } from "@evenkeel/ai"
import { Simulator } from "@evenkeel/testkit"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { EmbeddingModel, LanguageModel, Model } from "effect/ai"

const live = Layer.mergeAll(
  OpenRouterLanguageModel.layerConfig("openai/gpt-4o-mini"),
  OpenRouterEmbeddingModel.layerConfig("openai/text-embedding-3-small")
).pipe(Layer.provide(NodeHttpClient.layerUndici))

const given = (env: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnvRecord(env))

describe("layerConfig", () => {
  it.live("takes keys and address from the environment, one pool for both models", () =>
    Effect.gen(function* () {
      const { baseUrl, keys, requests } = yield* Simulator.Simulator
      const env = {
        OPENROUTER_BASE_URL: baseUrl,
        OPENROUTER_KEYS: keys.map(({ secret }) => Redacted.value(secret)).join(",")
      }
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* Model.ProviderName, "openrouter")
        const { text } = yield* LanguageModel.generateText({ prompt: "hello" })
        yield* Effect.flatMap(EmbeddingModel.EmbeddingModel, ({ embed }) => embed("hello"))
        return text
      })
      const text = yield* Effect.provide(program, Layer.provide(live, given(env)))
      assert.strictEqual(text, "You said: hello")
      // Credit is read once for each key, so there is one pool.
      const read = Effect.map(requests, (all) => all.filter(({ path }) => path === "/key").length)
      const all = yield* Effect.repeat(Effect.delay(read, 1), { until: (count) => count >= keys.length })
      assert.strictEqual(all, keys.length)
    }).pipe(Effect.provide(Simulator.layer()))
  )

  it.live("goes on with another key when one is revoked", () =>
    Effect.gen(function* () {
      const { baseUrl, keys, revoke } = yield* Simulator.Simulator
      const env = {
        OPENROUTER_BASE_URL: baseUrl,
        OPENROUTER_KEYS: keys.map(({ secret }) => Redacted.value(secret)).join(",")
      }
      yield* revoke("key-1")
      yield* revoke("key-2")
      const program = Effect.forEach([1, 2, 3], () => LanguageModel.generateText({ prompt: "hello" }))
      assert.lengthOf(yield* Effect.provide(program, Layer.provide(live, given(env))), 3)
    }).pipe(Effect.provide(Simulator.layer()))
  )

  it.live("says what is missing", () =>
    Effect.gen(function* () {
      const program = Effect.provide(
        LanguageModel.generateText({ prompt: "hello" }),
        Layer.provide(live, given({}))
      )
      assert.include(String(yield* Effect.flip(program)), "OPENROUTER_KEYS")
    })
  )
})
