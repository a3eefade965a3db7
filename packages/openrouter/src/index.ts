/**
 * OpenRouter for Evenkeel.
 */
export * as BalancedHttpClient from "./BalancedHttpClient.ts"
export * as Batch from "./Batch.ts"
export * as ChatChunk from "./ChatChunk.ts"
export * as ChatRequest from "./ChatRequest.ts"
export * as ChatResponse from "./ChatResponse.ts"
export * as Classifier from "./Classifier.ts"
export * as Embeddings from "./Embeddings.ts"
export * as Generation from "./Generation.ts"
export * as KeyInfo from "./KeyInfo.ts"
export * as Model from "./Model.ts"
export * as OpenRouter from "./OpenRouter.ts"
export * as OpenRouterCredits from "./OpenRouterCredits.ts"
export * as OpenRouterError from "./OpenRouterError.ts"
export * as OpenRouterFetch from "./OpenRouterFetch.ts"
export * as ProviderRouting from "./ProviderRouting.ts"
export * as Refusal from "./Refusal.ts"
