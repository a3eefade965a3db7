/**
 * What the spans of `effect/ai` say of a call: the attributes of OpenTelemetry's conventions for generative AI, and what it
 * cost, for which they have no name yet.
 */
import * as Effect from "effect/Effect"
import type { Span } from "effect/Tracer"
import { type Response, Telemetry } from "effect/ai"
import type { ChatRequest } from "@evenkeel/openrouter"

export const annotateRequest = (span: Span, request: ChatRequest.ChatRequest): void => {
  const { stop } = request
  Telemetry.addGenAIAnnotations(span, {
    provider: { name: "openrouter" },
    operation: { name: "chat" },
    request: {
      model: request.model,
      temperature: request.temperature,
      topP: request.top_p,
      maxTokens: request.max_completion_tokens ?? request.max_tokens,
      frequencyPenalty: request.frequency_penalty,
      presencePenalty: request.presence_penalty,
      seed: request.seed,
      stopSequences: typeof stop === "string" ? [stop] : stop
    }
  })
}

export const annotatePart = (span: Span, part: Response.PartEncoded | Response.StreamPartEncoded): void => {
  if (part.type === "response-metadata") {
    Telemetry.addGenAIAnnotations(span, { response: { id: part.id, model: part.modelId } })
  }
  if (part.type !== "finish") return
  const { cost, provider } = part.metadata?.openrouter ?? {}
  Telemetry.addGenAIAnnotations(span, {
    response: { finishReasons: [part.reason] },
    usage: { inputTokens: part.usage.inputTokens.total, outputTokens: part.usage.outputTokens.total }
  })
  if (cost !== undefined) span.attribute("gen_ai.usage.cost", cost)
  if (provider !== undefined) span.attribute("openrouter.provider", provider)
}

/** Said before the requests are sent: they have no spans of their own then, and nothing is counted twice. */
export const annotateEmbedding = (model: string): Effect.Effect<void> =>
  onCurrentSpan((span) =>
    Telemetry.addGenAIAnnotations(span, {
      provider: { name: "openrouter" },
      operation: { name: "embeddings" },
      request: { model }
    })
  )

export const annotateEmbedded = (
  inputTokens: number | undefined,
  cost: number | undefined
): Effect.Effect<void> =>
  onCurrentSpan((span) => {
    Telemetry.addGenAIAnnotations(span, { usage: { inputTokens } })
    if (cost !== undefined) span.attribute("gen_ai.usage.cost", cost)
  })

/** Embeddings are given no span; it is the current one. */
const onCurrentSpan = (onSuccess: (span: Span) => void): Effect.Effect<void> =>
  Effect.match(Effect.currentSpan, { onFailure: () => {}, onSuccess })
