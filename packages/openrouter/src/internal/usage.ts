/**
 * The tokens of an answer, in any of OpenRouter's skins.
 */
import type { Lease } from "@evenkeel/core"
import { record } from "./classifier/facts.ts"

/** From the `usage` of an answer or of a stream's last word; `undefined` where there is none. */
export const usageOf = (usage: unknown): Lease.Usage | undefined => {
  const fields = record(usage)
  if (fields === undefined) return undefined
  const input = record(fields["prompt_tokens_details"]) ?? record(fields["input_tokens_details"])
  const output = record(fields["completion_tokens_details"]) ?? record(fields["output_tokens_details"])
  return {
    inputTokens: count(fields["prompt_tokens"] ?? fields["input_tokens"]),
    outputTokens: count(fields["completion_tokens"] ?? fields["output_tokens"]),
    cachedTokens: count(input?.["cached_tokens"] ?? fields["cache_read_input_tokens"]),
    reasoningTokens: count(output?.["reasoning_tokens"])
  }
}

/** Tells the balancer, if somebody listens to it: only then is it read. */
export const tellUsage = (lease: Lease.Lease, usage: unknown): void => {
  const tell = lease.usedUnsafe
  const read = tell && usageOf(usage)
  if (read !== undefined) tell?.(read)
}

const count = (value: unknown): number | undefined =>
  typeof value === "number" && value >= 0 && value < Infinity ? value : undefined
