/**
 * How an answer ended, and what it took, in the words of `effect/ai`.
 */
import type { Response } from "effect/ai"
import type { ChatResponse } from "@evenkeel/openrouter"
import { number } from "./json.ts"

/** Some providers end with "stop" although they call tools. */
export const finishOf = (reason: string | undefined, calling: boolean): Response.FinishReason => {
  switch (reason) {
    case undefined:
      return "unknown"
    case "stop":
      return calling ? "tool-calls" : "stop"
    case "tool_calls":
      return "tool-calls"
    case "content_filter":
      return "content-filter"
    case "length":
    case "error":
      return reason
    default:
      return "other"
  }
}

const tokens = (value: unknown): number | undefined => {
  const count = number(value)
  return count === undefined ? undefined : Math.round(count)
}

/** Tokens that came from a prompt cache, or went into one, are not billed as the others. */
export const usageOf = (usage: ChatResponse.Usage | undefined): typeof Response.Usage.Encoded => {
  const total = tokens(usage?.prompt_tokens)
  const cacheRead = tokens(usage?.prompt_tokens_details?.["cached_tokens"])
  const cacheWrite = tokens(usage?.prompt_tokens_details?.["cache_write_tokens"])
  const written = tokens(usage?.completion_tokens)
  const reasoning = tokens(usage?.completion_tokens_details?.["reasoning_tokens"])
  return {
    inputTokens: {
      total,
      cacheRead,
      cacheWrite,
      uncached: total === undefined ? undefined : Math.max(0, total - (cacheRead ?? 0) - (cacheWrite ?? 0))
    },
    outputTokens: {
      total: written,
      reasoning,
      text: written === undefined ? undefined : Math.max(0, written - (reasoning ?? 0))
    }
  }
}
