/**
 * The bodies of `/key`, `/credits` and `/models`.
 */
import { spent, usd } from "./ledger.ts"
import type { SimulatorModel } from "./options.ts"
import { iso } from "./period.ts"
import { freeDailyLimit, freeRequestsToday, type KeyState, now, showOlder, type State } from "./state.ts"

/** The label of a key: the secret with its middle left out, as OpenRouter shows it to the key's holder. */
export const label = (secret: string): string => `${secret.slice(0, 12)}...${secret.slice(-3)}`

/** `GET /key`, with the spending as it was before the lag. */
export const keyInfo = (state: State, key: KeyState): unknown => {
  showOlder(state, key)
  const at = now(state)
  const free = freeDailyLimit(key.account)
  const used = freeRequestsToday(state, key.account)
  return {
    data: {
      label: label(key.secret),
      is_management_key: key.management,
      is_provisioning_key: key.management,
      limit: key.limit,
      limit_reset: key.limitReset,
      limit_remaining: key.limit === null ? null : usd(key.limit - spent(key.shown, key.limitReset, at)),
      include_byok_in_limit: key.includeByokInLimit,
      usage: key.shown.total,
      usage_daily: key.shown.daily,
      usage_weekly: key.shown.weekly,
      usage_monthly: key.shown.monthly,
      byok_usage: 0,
      byok_usage_daily: 0,
      byok_usage_weekly: 0,
      byok_usage_monthly: 0,
      is_free_tier: key.account.freeTier,
      creator_user_id: key.account.userId,
      expires_at: key.expiresAt === null ? null : iso(key.expiresAt),
      free_model_daily_requests: { limit: free, used, remaining: Math.max(0, free - used) },
      organization_id: key.account.organizationId ?? null,
      workspace_id: key.workspace,
      allowed_data_regions: ["global"],
      rate_limit: { requests: -1, interval: "10s", note: "This field is deprecated and safe to ignore." }
    }
  }
}

// JSON has no infinity: an account without a bound shows this many credits.
const unbounded = 1_000_000

/** `GET /credits` of the account of a management key. */
export const credits = (key: KeyState): unknown => {
  const { balance, usage } = key.account
  const left = Number.isFinite(balance) ? balance : unbounded
  return { data: { total_credits: usd(left + usage), total_usage: usage } }
}

// Prices are decimal strings on the wire, never in exponent form.
const price = (amount: number): string => amount.toFixed(12).replace(/\.?0+$/, "")

const model = (item: SimulatorModel): unknown => ({
  id: item.id,
  canonical_slug: item.id,
  name: item.id,
  created: 1_700_000_000,
  description: "A simulated model.",
  context_length: item.contextLength,
  architecture: {
    modality: "text->text",
    input_modalities: ["text"],
    output_modalities: ["text"],
    tokenizer: "Other",
    instruct_type: null
  },
  pricing: {
    prompt: price(item.promptPrice),
    completion: price(item.completionPrice),
    request: "0",
    image: "0"
  },
  top_provider: {
    context_length: item.contextLength,
    max_completion_tokens: item.maxCompletionTokens,
    is_moderated: false
  },
  per_request_limits: null,
  supported_parameters: [
    "max_tokens",
    "response_format",
    "stop",
    "structured_outputs",
    "temperature",
    "tool_choice",
    "tools"
  ]
})

/** `GET /models`. */
export const models = (state: State): unknown => ({ data: state.settings.models.map(model) })
