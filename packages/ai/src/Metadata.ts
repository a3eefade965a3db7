/**
 * What is OpenRouter's own in prompts, answers and errors of `effect/ai`: it stands under `openrouter`, in the `options`
 * of messages and parts of a prompt, and in the `metadata` of parts of an answer and of reasons of an `AiError`.
 *
 * The augmentations below are in force wherever this package is imported.
 */
import type * as Schema from "effect/Schema"

/**
 * The end of a passage that a provider may keep in its prompt cache (OpenRouter's documentation, "Prompt caching").
 */
export type CacheControl = { readonly type: "ephemeral"; readonly ttl?: "5m" | "1h" }

/**
 * What a message or a part of a prompt may say to OpenRouter. On a message it goes for the last part.
 */
export type Cacheable = { readonly cacheControl?: CacheControl | null }

/**
 * The model's reasoning as it came, signed or encrypted: models that use tools want it back with their calls, unchanged
 * (OpenRouter's documentation, "Reasoning tokens"). `Chat` carries it along by itself.
 */
export type ReasoningDetails = ReadonlyArray<{ readonly [field: string]: Schema.Json }>

/** What comes with reasoning. */
export type Reasoning = { readonly reasoningDetails?: ReasoningDetails | null }

/** What comes with a text: why the model refused, in its words; the text itself is then empty. */
export type Text = { readonly refusal?: string }

/** Where in the answer a page is cited, and what of it. */
export type Citation = {
  readonly content?: string
  readonly startIndex?: number
  readonly endIndex?: number
}

/** What comes with the end of an answer. */
export type Finish = {
  /** The provider that served it. */
  readonly provider?: string
  /** USD. */
  readonly cost?: number
  /** The reason in the provider's own words. */
  readonly nativeFinishReason?: string
  /** As OpenRouter counted it. */
  readonly usage?: { readonly [field: string]: Schema.Json }
}

/**
 * What is known of a failure. It is on every reason that has `metadata`, which is all but `NetworkError`.
 */
export type Failure = {
  /** A class of the classifier's table, or `truncated`, `transport`, `undecodable`, `no-eligible-key`, `deadline`. */
  readonly class: string
  /** What has happened, in full: of `no-eligible-key` the state of every key. */
  readonly message: string
  /** Uses of a key that failed: the balancer has already tried them. */
  readonly attempts: number
  readonly status?: number
  readonly keyId?: string
  /** How long to wait, where that is known; of a `RateLimitError` it is also `retryAfter`. */
  readonly retryAfterMillis?: number
  /** What a stream had said before it broke. */
  readonly text?: string
  /** USD, as far as a stream that broke has told it. */
  readonly cost?: number
}

declare module "effect/ai/Prompt" {
  export interface SystemMessageOptions extends ProviderOptions {
    readonly openrouter?: Cacheable | null
  }
  export interface UserMessageOptions extends ProviderOptions {
    readonly openrouter?: Cacheable | null
  }
  export interface ToolMessageOptions extends ProviderOptions {
    readonly openrouter?: Cacheable | null
  }
  export interface TextPartOptions extends ProviderOptions {
    readonly openrouter?: Cacheable | null
  }
  export interface FilePartOptions extends ProviderOptions {
    readonly openrouter?: Cacheable | null
  }
  export interface ToolResultPartOptions extends ProviderOptions {
    readonly openrouter?: Cacheable | null
  }
  export interface ReasoningPartOptions extends ProviderOptions {
    readonly openrouter?: Reasoning | null
  }
}

declare module "effect/ai/Response" {
  export interface TextPartMetadata extends ProviderMetadata {
    readonly openrouter?: Text
  }
  export interface TextEndPartMetadata extends ProviderMetadata {
    readonly openrouter?: Text
  }
  export interface ReasoningPartMetadata extends ProviderMetadata {
    readonly openrouter?: Reasoning
  }
  export interface ReasoningEndPartMetadata extends ProviderMetadata {
    readonly openrouter?: Reasoning
  }
  export interface UrlSourcePartMetadata extends ProviderMetadata {
    readonly openrouter?: Citation
  }
  export interface FinishPartMetadata extends ProviderMetadata {
    readonly openrouter?: Finish
  }
}

declare module "effect/ai/AiError" {
  export interface RateLimitErrorMetadata extends ProviderMetadata {
    readonly openrouter?: Failure
  }
  export interface QuotaExhaustedErrorMetadata extends ProviderMetadata {
    readonly openrouter?: Failure
  }
  export interface AuthenticationErrorMetadata extends ProviderMetadata {
    readonly openrouter?: Failure
  }
  export interface ContentPolicyErrorMetadata extends ProviderMetadata {
    readonly openrouter?: Failure
  }
  export interface InvalidRequestErrorMetadata extends ProviderMetadata {
    readonly openrouter?: Failure
  }
  export interface InvalidResponseErrorMetadata extends ProviderMetadata {
    readonly openrouter?: Failure
  }
  export interface InternalProviderErrorMetadata extends ProviderMetadata {
    readonly openrouter?: Failure
  }
  export interface UnknownErrorMetadata extends ProviderMetadata {
    readonly openrouter?: Failure
  }
}
