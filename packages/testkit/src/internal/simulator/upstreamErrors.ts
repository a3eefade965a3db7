/**
 * Errors that are no key's fault: of providers, of the edge, and of the request itself.
 */
import { type WireError, wireError } from "./wire.ts"

const retryAfterHeader = (seconds: number | undefined): Readonly<Record<string, string>> =>
  seconds === undefined ? {} : { "Retry-After": String(seconds) }

/** 429 of a provider whose pool at OpenRouter is exhausted: another key does not help. `retryAfter` in seconds. */
export const upstream429 = (
  options: { readonly provider?: string; readonly model?: string; readonly retryAfter?: number } = {}
): WireError =>
  wireError(
    429,
    "Provider returned error",
    {
      raw: `${options.model ?? "deepseek/deepseek-chat"} is temporarily rate-limited upstream. Please retry shortly, or add your own key to accumulate your rate limits: https://openrouter.ai/settings/integrations`,
      provider_name: options.provider ?? "DeepInfra",
      is_byok: false,
      limit_source: "upstream_provider_shared_pool",
      remedy_hint: "Retry later, or use another model or provider."
    },
    retryAfterHeader(options.retryAfter)
  )

/** 429 in the shape of the availability samples, which has `http_status` in place of `code`. `retryAfter` in seconds. */
export const capacity429 = (
  options: { readonly model?: string; readonly retryAfter?: number } = {}
): WireError => {
  const model = options.model ?? "anthropic/claude-sonnet-4.5"
  const retryAfter = options.retryAfter ?? 40
  return {
    ...wireError(429, "", undefined, retryAfterHeader(retryAfter)),
    body: {
      error: {
        message: `All providers for ${model} are at capacity. Retry after ${retryAfter} seconds.`,
        error_type: "rate_limit_exceeded",
        http_status: 429,
        availability: {
          code: "capacity_exhausted",
          retryable: true,
          retry_after: retryAfter,
          requested_models: [model],
          docs_url: "https://openrouter.ai/docs/errors"
        },
        metadata: {
          previous_errors: [{ provider: model.split("/")[0], code: "capacity_exhausted", status: 429 }]
        }
      }
    }
  }
}

/** 403: the provider's moderation flagged the input. */
export const moderation403 = (
  options: {
    readonly model?: string
    readonly provider?: string
    readonly reasons?: ReadonlyArray<string>
  } = {}
): WireError => {
  const model = options.model ?? "openai/gpt-4o-mini"
  const provider = options.provider ?? "OpenAI"
  const reasons = options.reasons ?? ["violence"]
  return wireError(
    403,
    `${model} requires moderation on ${provider}. Your input was flagged for "${reasons.join(", ")}". No credits were charged.`,
    { reasons, flagged_input: "…", provider_name: provider, model_slug: model }
  )
}

/** 403: a guardrail found patterns of prompt injection. */
export const guardrail403 = (options: { readonly patterns?: ReadonlyArray<string> } = {}): WireError =>
  wireError(403, "Request blocked: prompt injection patterns detected", {
    patterns: options.patterns ?? ["ignore all previous instructions"]
  })

/** 403: the request violates a provider's terms. */
export const termsOfService403 = (): WireError =>
  wireError(403, "The request is prohibited due to a violation of provider Terms Of Service.")

/** 403 of an endpoint for management keys only. */
export const notManagement403 = (): WireError =>
  wireError(403, "Only management keys can perform this operation")

/** 403 of a management key used for inference. The words are the simulator's own: no real body is known. */
export const managementInference403 = (): WireError =>
  wireError(403, "Management keys cannot be used for inference")

/** An HTML page from the edge, as Cloudflare sends it: 403, 429, 502, 503, 520 to 524. `retryAfter` in seconds. */
export const edgeHtml = (status: number, options: { readonly retryAfter?: number } = {}): WireError => ({
  _tag: "Status",
  status,
  headers: {
    ...retryAfterHeader(options.retryAfter),
    "content-type": "text/html; charset=UTF-8",
    server: "cloudflare"
  },
  body: `<!DOCTYPE html><html><head><title>openrouter.ai | ${status}</title></head><body><h1>Error ${status}</h1><p>cloudflare</p></body></html>`,
  addUserId: false
})

/** 500: the message is masked. */
export const internal500 = (): WireError => wireError(500, "Internal Server Error", { error_type: "server" })

/** 502: the provider's answer was unusable. */
export const badGateway502 = (options: { readonly provider?: string } = {}): WireError =>
  wireError(502, "Provider returned error", {
    raw: "upstream connect error or disconnect/reset before headers",
    provider_name: options.provider ?? "OpenAI",
    error_type: "provider_unavailable"
  })

/** 503: no provider meets the request now. `retryAfter` in seconds. */
export const unavailable503 = (options: { readonly retryAfter?: number } = {}): WireError =>
  wireError(
    503,
    "There is no available model provider that meets your routing requirements",
    { error_type: "provider_overloaded" },
    retryAfterHeader(options.retryAfter)
  )

/** 529: the provider is overloaded. */
export const overloaded529 = (): WireError =>
  wireError(529, "Provider returned error", {
    raw: '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    provider_name: "Anthropic",
    error_type: "provider_overloaded"
  })

/** 400: the model does not exist. */
export const invalidModel400 = (model: string): WireError =>
  wireError(400, `${model} is not a valid model ID`)

/** 404: the model exists, this variant has no endpoint. */
export const noEndpoints404 = (model: string): WireError => wireError(404, `No endpoints found for ${model}.`)

/** 404 of a path or a generation that does not exist. */
export const notFound404 = (message = "Not Found"): WireError => ({
  ...wireError(404, message),
  addUserId: false
})

/** 400: prompt and completion do not fit into the model's context. */
export const contextLength400 = (options: {
  readonly contextLength: number
  readonly promptTokens: number
  readonly maxTokens: number
}): WireError =>
  wireError(
    400,
    `This endpoint's maximum context length is ${options.contextLength} tokens. However, you requested about ${options.promptTokens + options.maxTokens} tokens (${options.promptTokens} of text input, ${options.maxTokens} in the output). Please reduce the length of either one.`,
    { error_type: "context_length_exceeded" }
  )

/** 400 of a request that cannot be read, or lacks what it must have. */
export const badRequest400 = (message: string): WireError =>
  wireError(400, message, { error_type: "invalid_request" })
