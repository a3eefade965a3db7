/**
 * `GET /generation?id=`: what is known of one answer, once it is settled.
 */
import type { Bill, Call } from "./call.ts"
import { iso } from "./period.ts"
import type { Generation } from "./skins/skin.ts"
import { now, type State } from "./state.ts"

/** Keeps what `/generation` shows; the oldest leave when there are more than the log holds. */
export const remember = (
  state: State,
  call: Call,
  generation: Generation,
  bill: Bill,
  cancelled: boolean
): void => {
  state.generations.set(call.id, {
    account: call.key?.account.name,
    data: {
      id: call.id,
      upstream_id: null,
      total_cost: bill.cost,
      usage: bill.cost,
      cache_discount: null,
      upstream_inference_cost: 0,
      created_at: iso(call.startedAt),
      model: generation.model.id,
      app_id: null,
      streamed: call.stream,
      cancelled,
      provider_name: generation.provider,
      is_byok: false,
      latency: now(state) - call.startedAt,
      generation_time: now(state) - call.startedAt,
      finish_reason: cancelled ? null : generation.answer.finishReason,
      native_finish_reason: cancelled ? null : generation.answer.finishReason,
      tokens_prompt: bill.promptTokens,
      tokens_completion: bill.completionTokens,
      native_tokens_prompt: bill.promptTokens,
      native_tokens_completion: bill.completionTokens,
      native_tokens_reasoning: 0,
      native_tokens_cached: 0,
      num_media_prompt: null,
      num_media_completion: null,
      num_search_results: null,
      origin: "",
      api_type: call.path === "/embeddings" ? "embeddings" : "completions",
      external_user: null,
      request_id: null,
      session_id: null
    }
  })
  if (state.generations.size <= state.settings.logSize) return
  const oldest = state.generations.keys().next().value
  if (oldest !== undefined) state.generations.delete(oldest)
}

/** The record of an answer, if it was given to the same account. */
export const find = (state: State, id: string, account: string): unknown => {
  const found = state.generations.get(id)
  return found?.account === account ? { data: found.data } : undefined
}
