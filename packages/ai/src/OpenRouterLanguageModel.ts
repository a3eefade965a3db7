/**
 * `LanguageModel` of `effect/ai`, over the balanced client of `@evenkeel/openrouter`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { ParentSpan } from "effect/Tracer"
import { LanguageModel, Model } from "effect/ai"
import type { HttpClient } from "effect/http"
import { type ChatRequest, OpenRouter } from "@evenkeel/openrouter"
import { overriding, settingsOf } from "./internal/config.ts"
import { failed, failing } from "./internal/errors.ts"
import { type ConfigFailure, live } from "./internal/live.ts"
import { makeReader, partsOf } from "./internal/reader.ts"
import { codecOf, requestOf } from "./internal/request.ts"
import { annotatePart, annotateRequest } from "./internal/telemetry.ts"

/**
 * How much a model is to think (OpenRouter's documentation, "Reasoning tokens").
 */
export interface Reasoning {
  readonly effort?:
    | "max"
    | "xhigh"
    | "high"
    | "medium"
    | "low"
    | "minimal"
    | "none"
    | (string & {})
    | undefined
  /** The most tokens of reasoning, for models that take a number instead of an effort. */
  readonly max_tokens?: number | undefined
  /** The model thinks, and keeps its thoughts to itself. */
  readonly exclude?: boolean | undefined
  readonly enabled?: boolean | undefined
  readonly [field: string]: unknown
}

/**
 * A plugin: `{ id: "web", max_results: 3 }` searches the web, `{ id: "file-parser" }` reads PDFs, `{ id: "response-healing" }`
 * mends JSON.
 */
export interface Plugin {
  readonly id:
    | "web"
    | "web-fetch"
    | "file-parser"
    | "response-healing"
    | "context-compression"
    | "auto-router"
    | (string & {})
  readonly [field: string]: unknown
}

/**
 * What a model is asked with: parameters of OpenRouter under their names there, and two of this module's own, `call` and
 * `strictJsonSchema`. Parameters that are not named here pass through.
 */
export interface Options extends Partial<
  Pick<
    ChatRequest.ChatRequest,
    | "frequency_penalty"
    | "max_completion_tokens"
    | "max_tokens"
    | "metadata"
    | "models"
    | "parallel_tool_calls"
    | "presence_penalty"
    | "prompt_cache_key"
    | "provider"
    | "seed"
    | "session_id"
    | "stop"
    | "temperature"
    | "top_p"
    | "user"
  >
> {
  readonly reasoning?: Reasoning | null | undefined
  readonly plugins?: ReadonlyArray<Plugin> | undefined
  /** `["image", "text"]` for models that draw. */
  readonly modalities?: ReadonlyArray<"text" | "image" | (string & {})> | undefined
  /** What the balancer is asked for: `timeout`, `maxWait`, `priority`, `fallbacks`, `affinity`, `filter`, `estimate`. */
  readonly call?: OpenRouter.CallOptions | undefined
  /** Whether structured objects are asked for as strict. Default: `true`; some models know strict schemas only in part. */
  readonly strictJsonSchema?: boolean | undefined
  readonly [parameter: string]: unknown
}

/**
 * The options in force for a part of a program: they go before those that the model was made with. See
 * `withConfigOverride`.
 */
export class Config extends Context.Service<Config, Options & { readonly model?: string | undefined }>()(
  "@evenkeel/ai/OpenRouterLanguageModel/Config"
) {}

const module = "OpenRouterLanguageModel"

/**
 * Makes the service for one model.
 */
export const make = Effect.fnUntraced(function* ({
  config,
  model
}: {
  readonly model: string
  readonly config?: Options | undefined
}): Effect.fn.Return<LanguageModel.LanguageModel, never, OpenRouter.OpenRouter> {
  const openrouter = yield* OpenRouter.OpenRouter
  const codecTransformer = codecOf(model)

  const prepare = Effect.fnUntraced(function* (method: string, options: LanguageModel.ProviderOptions) {
    const settings = yield* settingsOf(Config, model, config)
    const request = yield* Effect.mapError(
      requestOf(options, settings, codecTransformer),
      failed(module, method)
    )
    annotateRequest(options.span, request)
    return { request, call: settings.call }
  })

  return yield* LanguageModel.make({
    codecTransformer,
    generateText: Effect.fnUntraced(function* (options) {
      const { call, request } = yield* prepare("generateText", options)
      const response = yield* Effect.catch(openrouter.chat(request, call), failing(module, "generateText"))
      const parts = yield* Effect.mapError(
        partsOf(response, options.toolCallValidation === "deferred"),
        failed(module, "generateText")
      )
      for (const part of parts) annotatePart(options.span, part)
      return parts
    }),
    streamText: (options) =>
      Stream.unwrap(
        Effect.map(prepare("streamText", options), ({ call, request }) => {
          const reader = makeReader(options.toolCallValidation === "deferred")
          const rest = Effect.mapError(reader.end, failed(module, "streamText"))
          return openrouter.chatStream(request, call).pipe(
            // The span of `effect/ai` is around a stream's parts, and not yet around what is asked for them.
            Stream.provideService(ParentSpan, options.span),
            Stream.catch((error) => Stream.fromEffect(failing(module, "streamText")(error))),
            Stream.map(reader.read),
            Stream.concat(Stream.fromEffect(rest)),
            Stream.flattenIterable,
            Stream.tap((part) => Effect.sync(() => annotatePart(options.span, part)))
          )
        })
      )
  })
})

/**
 * The layer of one model.
 */
export const layer = (options: {
  readonly model: string
  readonly config?: Options | undefined
}): Layer.Layer<LanguageModel.LanguageModel, never, OpenRouter.OpenRouter> =>
  Layer.effect(LanguageModel.LanguageModel, make(options))

/**
 * A model, as `effect/ai` provides models: a layer that also says whose and which it is.
 *
 * **When to use**
 *
 * Where the program composes its own client: a strategy, policies, keys from anywhere. `layerConfig` has all of that built
 * in.
 *
 * **Example**
 *
 * ```ts
 * import { NodeHttpClient } from "@effect/platform-node"
 * import { OpenRouterLanguageModel } from "@evenkeel/ai"
 * import { KeyPool } from "@evenkeel/core"
 * import { CreditAware } from "@evenkeel/credit-aware"
 * import { OpenRouter } from "@evenkeel/openrouter"
 * import { Retry } from "@evenkeel/retry"
 * import { Effect, Layer } from "effect"
 * import { LanguageModel } from "effect/ai"
 *
 * const openrouter = OpenRouter.layer.pipe(
 *   Layer.provide([CreditAware.layer(), Retry.layer(), KeyPool.layerConfig, NodeHttpClient.layerUndici])
 * )
 * const mini = OpenRouterLanguageModel.model("openai/gpt-4o-mini", { session_id: "voyage-1" })
 *
 * const answer = LanguageModel.generateText({ prompt: "What is a keel?" }).pipe(Effect.provide(mini), Effect.provide(openrouter))
 * Effect.isEffect(answer) // => true
 * ```
 */
export const model = (
  model: string,
  config?: Options
): Model.Model<"openrouter", LanguageModel.LanguageModel, OpenRouter.OpenRouter> =>
  Model.make("openrouter", model, layer({ model, config }))

/**
 * A model with everything built in but the `HttpClient`: keys from `OPENROUTER_KEYS`, an address from
 * `OPENROUTER_BASE_URL`, the key with the fewest requests in flight, retries and a circuit breaker.
 *
 * **Details**
 *
 * Models that are provided together share one pool of keys, embeddings included.
 *
 * **Example**
 *
 * ```ts
 * import { NodeHttpClient } from "@effect/platform-node"
 * import { OpenRouterLanguageModel } from "@evenkeel/ai"
 * import { Effect, Layer } from "effect"
 * import { LanguageModel } from "effect/ai"
 *
 * const live = OpenRouterLanguageModel.layerConfig("openai/gpt-4o-mini").pipe(Layer.provide(NodeHttpClient.layerUndici))
 * const answer = Effect.provide(LanguageModel.generateText({ prompt: "What is a keel?" }), live)
 * Effect.isEffect(answer) // => true
 * ```
 */
export const layerConfig = (
  name: string,
  config?: Options
): Layer.Layer<
  LanguageModel.LanguageModel | Model.ProviderName | Model.ModelName,
  ConfigFailure,
  HttpClient.HttpClient
> => Layer.provide(model(name, config), live)

/**
 * Changes options for a part of a program: the model, its parameters, or what the balancer is asked for.
 *
 * **Example**
 *
 * ```ts
 * import { OpenRouterLanguageModel } from "@evenkeel/ai"
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 *
 * const hard = LanguageModel.generateText({ prompt: "Is P equal to NP?" }).pipe(
 *   OpenRouterLanguageModel.withConfigOverride({ reasoning: { effort: "high" }, call: { timeout: "5 minutes" } })
 * )
 * Effect.isEffect(hard) // => true
 * ```
 */
export const withConfigOverride = overriding(Config)
