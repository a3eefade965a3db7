// What effect/ai promises of an embedding model, over real HTTP against the simulator.
import { assert, describe, it } from "@effect/vitest"
import { OpenRouterEmbeddingModel } from "@evenkeel/ai"
import { Simulator } from "@evenkeel/testkit"
import { Effect } from "effect"
import { EmbeddingModel, Model } from "effect/ai"
import { using } from "./utils.ts"

const requests = Simulator.Simulator.use(({ requests }) => requests)

describe("embeddings", () => {
  it.live("are one vector for each text, in their order, with what they took", () =>
    using({ embeddings: { dimensions: 3 } }, function* () {
      const model = yield* EmbeddingModel.EmbeddingModel
      const { embeddings, usage } = yield* model.embedMany(["keel", "ballast"])
      assert.deepStrictEqual(
        embeddings.map(({ vector }) => vector.length),
        [3, 3]
      )
      assert.notDeepEqual(embeddings[0], embeddings[1])
      assert.deepStrictEqual(yield* model.embed("ballast"), embeddings[1])
      assert.strictEqual(usage.inputTokens, 3)
    })
  )

  it.live("of calls at the same time are one request, unless their options differ", () =>
    using({}, function* () {
      const model = yield* EmbeddingModel.EmbeddingModel
      const texts = Array.from({ length: 20 }, (_, index) => `text ${index}`)
      const all = Effect.forEach(texts, model.embed, { concurrency: "unbounded" })
      assert.lengthOf(yield* all, 20)
      assert.lengthOf(yield* requests, 1)
      const both = Effect.all(
        [model.embed("a"), OpenRouterEmbeddingModel.withConfigOverride(model.embed("a"), { dimensions: 2 })],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        (yield* both).map(({ vector }) => vector.length),
        [8, 2]
      )
      assert.lengthOf(yield* requests, 3)
    })
  )

  it.live("of many texts are several requests, and still in order", () =>
    using({ embeddings: { batchSize: 3 } }, function* () {
      const model = yield* EmbeddingModel.EmbeddingModel
      const texts = Array.from({ length: 10 }, (_, index) => `text ${index}`)
      const { embeddings, usage } = yield* model.embedMany(texts)
      assert.lengthOf(yield* requests, 4)
      const whole = yield* OpenRouterEmbeddingModel.withConfigOverride(model.embedMany(texts), {
        batchSize: 10
      })
      assert.deepStrictEqual(embeddings, whole.embeddings)
      assert.isAbove(usage.inputTokens!, 0)
    })
  )

  it.live("that come in another order find their texts", () =>
    using({}, function* () {
      const simulator = yield* Simulator.Simulator
      const data = [
        { index: 1, embedding: [2] },
        { index: 0, embedding: [1] }
      ]
      yield* simulator.fault({ action: Simulator.actions.status(200, { data }), times: 1 })
      const model = yield* EmbeddingModel.EmbeddingModel
      const { embeddings, usage } = yield* model.embedMany(["a", "b"])
      assert.deepStrictEqual(
        embeddings.map(({ vector }) => vector),
        [[1], [2]]
      )
      assert.isUndefined(usage.inputTokens)
    })
  )

  it.live("that are too few or no numbers are an answer that is none", () =>
    using({}, function* () {
      const simulator = yield* Simulator.Simulator
      const model = yield* EmbeddingModel.EmbeddingModel
      for (const data of [[{ index: 0, embedding: [1] }], [{ embedding: "AAAA" }, { embedding: "AAAA" }]]) {
        yield* simulator.fault({ action: Simulator.actions.status(200, { data }), times: 1 })
        const error = yield* Effect.flip(model.embedMany(["a", "b"]))
        assert.strictEqual(error.reason._tag, "InvalidResponseError")
      }
    })
  )

  it.live("fail as language models do", () =>
    using({}, function* () {
      const simulator = yield* Simulator.Simulator
      const model = yield* EmbeddingModel.EmbeddingModel
      yield* simulator.fault({ action: Simulator.errors.accountCredits402() })
      const error = yield* Effect.flip(model.embed("a"))
      assert.deepStrictEqual(
        [error.module, error.reason._tag],
        ["OpenRouterEmbeddingModel", "QuotaExhaustedError"]
      )
      const size = yield* Effect.flip(
        OpenRouterEmbeddingModel.withConfigOverride(model.embedMany(["a"]), { batchSize: 0 })
      )
      assert.deepInclude(size.reason, { _tag: "InvalidRequestError", parameter: "batchSize" })
    })
  )

  it.live("have a model that tells its dimensions", () =>
    using({}, function* () {
      const model = OpenRouterEmbeddingModel.model("openai/text-embedding-3-small", { dimensions: 4 })
      const told = yield* Effect.all([
        EmbeddingModel.Dimensions,
        Model.ModelName,
        Effect.flatMap(EmbeddingModel.EmbeddingModel, ({ embed }) => embed("a"))
      ]).pipe(Effect.provide(model))
      assert.deepStrictEqual(
        [told[0], told[1], told[2].vector.length],
        [4, "openai/text-embedding-3-small", 4]
      )
    })
  )
})
