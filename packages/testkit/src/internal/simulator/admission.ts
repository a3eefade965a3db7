/**
 * The checks before a request runs, in OpenRouter's order: who asks, how fast, and whether the key's cap and the
 * account's balance can pay for prompt and `max_tokens`.
 */
import * as Errors from "./errors.ts"
import { usd } from "./ledger.ts"
import type { SimulatorModel } from "./options.ts"
import { endOf, iso, startOf } from "./period.ts"
import { addKey, freeDailyLimit, headroom, type KeyState, now, type State, type Window } from "./state.ts"
import { contextLength400, managementInference403 } from "./upstreamErrors.ts"
import type { WireError } from "./wire.ts"

/** The secret of a request: a bearer token, or `x-api-key` as the Anthropic skin sends it. */
export const secretOf = (headers: Readonly<Record<string, string | undefined>>): string | WireError => {
  const authorization = headers["authorization"]
  const apiKey = headers["x-api-key"]
  if (authorization === undefined)
    return apiKey === undefined || apiKey === "" ? Errors.missingAuth() : apiKey
  const token = /^Bearer\s+(\S+)\s*$/i.exec(authorization)?.[1]
  return token ?? Errors.invalidCredentials()
}

/** The key that a secret opens, or why it opens none. */
export const authenticate = (state: State, secret: string): KeyState | WireError => {
  const known = state.secrets.get(secret)
  if (known === undefined && state.settings.acceptUnknownKeys) {
    return addKey(state, { name: `unknown-${++state.unknownKeys}`, secret })
  }
  return known ?? Errors.revoked()
}

/** Why a known key is refused: a revoked, disabled or expired key reads like one that never existed. */
export const refused = (state: State, key: KeyState): WireError | undefined =>
  key.revoked || key.disabled || (key.expiresAt !== null && key.expiresAt <= now(state))
    ? Errors.revoked()
    : undefined

const minuteMillis = 60_000

// Moves a window to the one that holds `at`; counting starts anew there.
const turn = (window: Window, start: number): Window => {
  if (window.start !== start) {
    window.start = start
    window.count = 0
  }
  return window
}

const throttle = (state: State, key: KeyState, model: SimulatorModel): WireError | undefined => {
  const account = key.account
  const at = now(state)
  const minuteStart = Math.floor(at / minuteMillis) * minuteMillis
  const minute = turn(account.minute, minuteStart)
  const limit = account.requestsPerMinute
  if (limit !== undefined && minute.count >= limit) {
    return Errors.accountRate429({ limit, resetAt: minuteStart + minuteMillis })
  }
  if (model.id.endsWith(":free")) {
    const freeMinute = turn(account.freeMinute, minuteStart)
    const freeDay = turn(account.freeDay, startOf("daily", at))
    const daily = freeDailyLimit(account)
    if (freeDay.count >= daily) return Errors.freeDaily429({ limit: daily, resetAt: endOf("daily", at) })
    if (freeMinute.count >= account.freeRequestsPerMinute) {
      return Errors.freeMinute429({
        limit: account.freeRequestsPerMinute,
        resetAt: minuteStart + minuteMillis
      })
    }
    freeMinute.count++
    freeDay.count++
  }
  // Only requests that pass are counted.
  minute.count++
  return undefined
}

/** What a request may cost at most. */
export interface Estimate {
  readonly promptTokens: number
  /** `max_tokens`, or the longest completion of the model if the request sets none. */
  readonly maxTokens: number
}

// How many tokens at a price fit into an amount; a free model fits any number.
const affordable = (amount: number, price: number): number =>
  price === 0 ? Number.MAX_SAFE_INTEGER : Math.max(0, Math.floor(usd(amount) / price + 1e-9))

const unaffordable = (
  source: "key" | "account",
  left: number,
  key: KeyState,
  model: SimulatorModel,
  estimate: Estimate
): WireError | undefined => {
  const prompt = usd(estimate.promptTokens * model.promptPrice)
  const reset = key.limitReset
  if (prompt > left) {
    const fits = affordable(left, model.promptPrice)
    return Errors.promptTokens402({ source, promptTokens: estimate.promptTokens, affordable: fits, reset })
  }
  const fits = affordable(left - prompt, model.completionPrice)
  if (fits >= estimate.maxTokens) return undefined
  const amounts = { requested: estimate.maxTokens, affordable: fits }
  return source === "key"
    ? Errors.keyLimit402({ ...amounts, reset })
    : Errors.accountAffordability402(amounts)
}

const keyCap = (
  state: State,
  key: KeyState,
  model: SimulatorModel,
  estimate: Estimate
): WireError | undefined => {
  const left = headroom(state, key)
  if (left === null) return undefined
  if (left > 0) return unaffordable("key", left, key, model, estimate)
  const reset = key.limitReset
  return state.settings.spentKeyStatus === 403
    ? Errors.keyLimit403({ reset, resetsAt: reset === null ? null : iso(endOf(reset, now(state))) })
    : Errors.promptTokens402({ source: "key", promptTokens: estimate.promptTokens, affordable: 0, reset })
}

const balance = (
  key: KeyState,
  model: SimulatorModel,
  estimate: Estimate,
  cost: number
): WireError | undefined => {
  const left = key.account.balance
  // A negative balance stops even free models; an empty one only those that cost.
  if (left < 0 || (left === 0 && cost > 0)) return Errors.accountCredits402()
  return unaffordable("account", left, key, model, estimate)
}

const inFlightBudget = (
  state: State,
  key: KeyState,
  model: SimulatorModel,
  estimate: Estimate,
  cost: number
) => {
  const { held, inFlightBudget: budget } = key.account
  if (budget === undefined || cost === 0) return undefined
  if (cost > budget) {
    const fits = affordable(budget - estimate.promptTokens * model.promptPrice, model.completionPrice)
    return Errors.weightExceedsBudget402({ requested: estimate.maxTokens, affordable: fits })
  }
  return usd(held + cost) > budget
    ? Errors.inFlightBudget402({ retryAfter: state.settings.inFlightRetryAfter })
    : undefined
}

/** Lets a request in and says how much to hold of the in-flight budget, or refuses it. */
export const admit = (
  state: State,
  key: KeyState,
  model: SimulatorModel,
  request: { readonly promptTokens: number; readonly maxTokens: number | undefined }
): number | WireError => {
  if (key.management) return managementInference403()
  const estimate: Estimate = {
    promptTokens: request.promptTokens,
    maxTokens: request.maxTokens ?? model.maxCompletionTokens
  }
  // Without `max_tokens` the completion shrinks to what the context leaves, so only the prompt must fit.
  const asked = { promptTokens: estimate.promptTokens, maxTokens: request.maxTokens ?? 0 }
  if (asked.promptTokens + asked.maxTokens > model.contextLength) {
    return contextLength400({ contextLength: model.contextLength, ...asked })
  }
  const cost = usd(estimate.promptTokens * model.promptPrice + estimate.maxTokens * model.completionPrice)
  const denied =
    keyCap(state, key, model, estimate) ??
    balance(key, model, estimate, cost) ??
    inFlightBudget(state, key, model, estimate, cost)
  if (denied !== undefined) return denied
  // Last, because passing it is what counts against the rate limit.
  const limited = throttle(state, key, model)
  if (limited === undefined) return cost
  key.account.throttled++
  return limited
}
