/**
 * `EmbeddingModel` of `effect/ai`, over the balanced client of `@evenkeel/openrouter`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { AiError, EmbeddingModel, Model } from "effect/ai"
import type { HttpClient } from "effect/http"
import { type Embeddings, OpenRouter } from "@evenkeel/openrouter"
import { overriding, settingsOf } from "./internal/config.ts"
import { failed, failing } from "./internal/errors.ts"
import { type ConfigFailure, live } from "./internal/live.ts"
import { annotateEmbedded, annotateEmbedding } from "./internal/telemetry.ts"

/**
 * What a model is asked with: parameters of OpenRouter under their names there, and two of this module's own, `batchSize`
 * and `call`. Parameters that are not named here pass through.
 */
export interface Options extends Partial<Pick<Embeddings.EmbeddingsRequest, "dimensions" | "provider">> {
  /**
   * The most texts of one request, from 1 on. Default: 256. The API of OpenAI takes 2048, that of Cohere 96; requests of
   * this size pass with most models, and spread over keys.
   */
  readonly batchSize?: number | undefined
  /** What the balancer is asked for, as for language models. */
  readonly call?: OpenRouter.CallOptions | undefined
  readonly [parameter: string]: unknown
}

/**
 * The options in force for a part of a program: they go before those that the model was made with. Requests with different
 * options are not put into one batch.
 */
export class Config extends Context.Service<Config, Options & { readonly model?: string | undefined }>()(
  "@evenkeel/ai/OpenRouterEmbeddingModel/Config"
) {}

/** The size of a batch; `Options` says why. */
export const defaultBatchSize = 256

/** How many batches of one call are under way: enough to use several keys, few enough to leave room for others. */
const concurrency = 4

const module = "OpenRouterEmbeddingModel"
const fail = failed(module, "embedMany")

/**
 * Makes the service for one model.
 *
 * **Details**
 *
 * Calls of `embed` that are made together go as one request, as `effect/ai` has it. What is more than `batchSize` is split,
 * and the parts go to several keys.
 */
export const make = Effect.fnUntraced(function* ({
  config,
  model
}: {
  readonly model: string
  readonly config?: Options | undefined
}): Effect.fn.Return<EmbeddingModel.EmbeddingModel, never, OpenRouter.OpenRouter> {
  const openrouter = yield* OpenRouter.OpenRouter

  const embed = Effect.fnUntraced(function* (
    input: ReadonlyArray<string>,
    options: Options & { readonly model: string }
  ) {
    const { batchSize: _, call, ...parameters } = options
    const request = { ...parameters, input, encoding_format: "float" }
    const { data, usage } = yield* Effect.catch(
      openrouter.embeddings(request, call),
      failing(module, "embedMany")
    )
    const vectors = yield* vectorsOf(data, input.length)
    return { vectors, usage }
  })

  return yield* EmbeddingModel.make({
    batchKey: (context) => Context.getOrUndefined(context, Config),
    embedMany: Effect.fnUntraced(function* ({ inputs }) {
      const options = yield* settingsOf(Config, model, config)
      const size = options.batchSize ?? defaultBatchSize
      if (!Number.isInteger(size) || size < 1) {
        const constraint = "must be a whole number from 1 on"
        return yield* fail(new AiError.InvalidRequestError({ parameter: "batchSize", constraint }))
      }
      const batches = Array.from({ length: Math.ceil(inputs.length / size) }, (_, index) =>
        inputs.slice(index * size, (index + 1) * size)
      )
      yield* annotateEmbedding(options.model)
      const answers = yield* Effect.forEach(batches, (batch) => embed(batch, options), { concurrency })
      const inputTokens = sum(answers.map(({ usage }) => usage?.prompt_tokens))
      yield* annotateEmbedded(inputTokens, sum(answers.map(({ usage }) => usage?.cost)))
      return { results: answers.flatMap(({ vectors }) => vectors), usage: { inputTokens } }
    })
  })
})

/** As far as they are known; `undefined` if none is. */
const sum = (numbers: ReadonlyArray<number | null | undefined>): number | undefined =>
  numbers.reduce<number | undefined>((sum, one) => (one == null ? sum : (sum ?? 0) + one), undefined)

/** One vector for each text: they may come in any order, and carry their places. */
const vectorsOf = (
  data: Embeddings.EmbeddingsResponse["data"],
  length: number
): Effect.Effect<Array<Array<number>>, AiError.AiError> => {
  const vectors = new Map(data.map(({ embedding, index }, position) => [index ?? position, embedding]))
  const ordered = Array.from({ length }, (_, index) => vectors.get(index))
  const complete = ordered.every((vector): vector is ReadonlyArray<number> => Array.isArray(vector))
  const description = `The answer has not one vector of numbers for each of ${length} texts`
  return complete
    ? Effect.succeed(ordered.map((vector) => [...vector]))
    : Effect.fail(fail(new AiError.InvalidResponseError({ description })))
}

/**
 * The layer of one model.
 */
export const layer = (options: {
  readonly model: string
  readonly config?: Options | undefined
}): Layer.Layer<EmbeddingModel.EmbeddingModel, never, OpenRouter.OpenRouter> =>
  Layer.effect(EmbeddingModel.EmbeddingModel, make(options))

/**
 * A model, as `effect/ai` provides models. With `dimensions` it also tells the length of its vectors, as vector stores ask
 * for it (`EmbeddingModel.Dimensions`).
 */
export const model = (
  model: string,
  config: Options & { readonly dimensions: number }
): Model.Model<
  "openrouter",
  EmbeddingModel.EmbeddingModel | EmbeddingModel.Dimensions,
  OpenRouter.OpenRouter
> =>
  Model.make(
    "openrouter",
    model,
    Layer.merge(layer({ model, config }), Layer.succeed(EmbeddingModel.Dimensions, config.dimensions))
  )

/**
 * A model with everything built in but the `HttpClient`, as `OpenRouterLanguageModel.layerConfig` has it; both share one
 * pool of keys when they are provided together.
 *
 * **Example**
 *
 * ```ts
 * import { NodeHttpClient } from "@effect/platform-node"
 * import { OpenRouterEmbeddingModel } from "@evenkeel/ai"
 * import { Effect, Layer } from "effect"
 * import { EmbeddingModel } from "effect/ai"
 *
 * const live = OpenRouterEmbeddingModel.layerConfig("openai/text-embedding-3-small").pipe(
 *   Layer.provide(NodeHttpClient.layerUndici)
 * )
 * const vectors = EmbeddingModel.EmbeddingModel.use(({ embedMany }) => embedMany(["keel", "ballast"]))
 * Effect.isEffect(Effect.provide(vectors, live)) // => true
 * ```
 */
export const layerConfig = (
  model: string,
  config?: Options
): Layer.Layer<EmbeddingModel.EmbeddingModel, ConfigFailure, HttpClient.HttpClient> =>
  Layer.provide(layer({ model, config }), live)

/**
 * Changes options for a part of a program.
 */
export const withConfigOverride = overriding(Config)
