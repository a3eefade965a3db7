// What the spans of effect/ai say of a call.
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Layer, Schema, Stream, Tracer } from "effect"
import { EmbeddingModel, LanguageModel } from "effect/ai"
import { using } from "./utils.ts"

const recording = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const layer = Layer.succeed(
    Tracer.Tracer,
    Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
  )
  const attributes = (name: string) =>
    Object.fromEntries(spans.find((span) => span.name === name)!.attributes)
  return { attributes, layer, spans }
}

const config = { temperature: 0.5, max_completion_tokens: 100, seed: 7, stop: "END" }

describe("a span", () => {
  it.live("has the request, the answer, the usage and the cost", () => {
    const { attributes, layer } = recording()
    return using({ config }, function* () {
      yield* Effect.provide(LanguageModel.generateText({ prompt: "hello" }), layer)
      const told = attributes("LanguageModel.generateText")
      assert.deepInclude(told, {
        "gen_ai.provider.name": "openrouter",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "openai/gpt-4o-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.response.model": "openai/gpt-4o-mini",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 4,
        "openrouter.provider": "OpenAI"
      })
      assert.closeTo(told["gen_ai.usage.cost"] as number, 0.0000027, 1e-12)
      assert.match(told["gen_ai.response.id"] as string, /^gen-/)
    })
  })

  it.live("has them of objects and of streams too", () => {
    const { attributes, layer } = recording()
    return using({}, function* () {
      const schema = Schema.Struct({ name: Schema.String })
      yield* Effect.provide(LanguageModel.generateObject({ prompt: "A ship", schema }), layer)
      yield* Effect.provide(Stream.runDrain(LanguageModel.streamText({ prompt: "hello" })), layer)
      for (const name of ["LanguageModel.generateObject", "LanguageModel.streamText"]) {
        assert.deepStrictEqual(attributes(name)["gen_ai.response.finish_reasons"], ["stop"], name)
        assert.isAbove(attributes(name)["gen_ai.usage.cost"] as number, 0)
      }
    })
  })

  it.live("has them of embeddings", () => {
    const { attributes, layer } = recording()
    return using({}, function* () {
      const { embedMany } = yield* EmbeddingModel.EmbeddingModel
      yield* Effect.provide(embedMany(["keel", "ballast"]), layer)
      const told = attributes("EmbeddingModel.embedMany")
      assert.deepInclude(told, {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.request.model": "openai/text-embedding-3-small",
        "gen_ai.usage.input_tokens": 3
      })
      assert.isAbove(told["gen_ai.usage.cost"] as number, 0)
    })
  })

  it.live("is the only one that tells of tokens and cost: below it there are attempts alone", () => {
    const { layer, spans } = recording()
    return using({}, function* () {
      const { embedMany } = yield* EmbeddingModel.EmbeddingModel
      yield* Effect.provide(LanguageModel.generateText({ prompt: "hello" }), layer)
      yield* Effect.provide(Stream.runDrain(LanguageModel.streamText({ prompt: "hello" })), layer)
      yield* Effect.provide(embedMany(["keel"]), layer)
      assert.deepStrictEqual(
        spans.filter(({ attributes }) => attributes.has("gen_ai.usage.cost")).map(({ name }) => name),
        ["LanguageModel.generateText", "LanguageModel.streamText", "EmbeddingModel.embedMany"]
      )
      assert.strictEqual(spans.filter(({ name }) => name === "evenkeel.attempt").length, 3)
    })
  })

  it.live("of a failure has the error, and never a secret", () => {
    const { layer, spans } = recording()
    return using({}, function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ action: Simulator.errors.revoked() })
      yield* Effect.provide(Effect.flip(LanguageModel.generateText({ prompt: "hello" })), layer)
      const told = spans.map(({ attributes, name, status }) => {
        const exit = status._tag === "Ended" ? String(status.exit) : "open"
        return `${name} ${JSON.stringify([...attributes])} ${exit}`
      })
      assert.include(told.join("\n"), "AuthenticationError")
      assert.notInclude(told.join("\n"), "sk-0000001")
    })
  })
})
