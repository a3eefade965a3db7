/**
 * OpenRouter for `effect/ai`, over many keys.
 */
export * as Metadata from "./Metadata.ts"
export * as OpenRouterEmbeddingModel from "./OpenRouterEmbeddingModel.ts"
export * as OpenRouterLanguageModel from "./OpenRouterLanguageModel.ts"
