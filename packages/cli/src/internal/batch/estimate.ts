/**
 * The most that a request can cost, for a budget that must not be overspent. It is a bound and no guess: a token of text is
 * at least a byte, and an answer is at most as long as it may be.
 */
import type { ChatRequest, Model } from "@evenkeel/openrouter"
import * as Result from "effect/Result"

/** USD a token of the prompt, a token of the answer, and a request; and how long an answer may be. */
export interface Price {
  readonly prompt: number
  readonly completion: number
  readonly request: number
  readonly longest: number | undefined
}

export type Prices = ReadonlyMap<string, Price>

export const pricesOf = (models: ReadonlyArray<Model.Model>): Prices =>
  new Map(
    models.flatMap((model) => {
      const prompt = amount(model.pricing?.prompt)
      const completion = amount(model.pricing?.completion)
      if (prompt === undefined || completion === undefined) return []
      const longest = model.top_provider?.max_completion_tokens ?? model.context_length ?? undefined
      return [
        [model.id, { prompt, completion, request: amount(model.pricing?.request) ?? 0, longest }] as const
      ]
    })
  )

/** A router's price is "-1": it depends on the model that is chosen. */
const amount = (value: string | null | undefined): number | undefined => {
  const usd = value == null || value === "" ? Number.NaN : Number(value)
  return usd >= 0 && usd < Infinity ? usd : undefined
}

/** The price of a model; of a variant without one (`:nitro`, `:floor`) that of its base model. */
export const priceOf = (prices: Prices, model: string): Price | undefined =>
  prices.get(model) ?? prices.get(model.replace(/:[^:]*$/, ""))

/** USD, or why there is no bound. Of several models it is that of the dearest: any of them may answer. */
export const bound = (
  { body, bytes }: { readonly body: ChatRequest.ChatRequest; readonly bytes: number },
  prices: Prices
): Result.Result<number, string> => {
  const extra = beyondText(body)
  if (extra !== undefined) return Result.fail(`${extra} costs more than its tokens`)
  let most = 0
  for (const model of new Set([...(body.model == null ? [] : [body.model]), ...(body.models ?? [])])) {
    const price = priceOf(prices, model)
    const answer = body.max_completion_tokens ?? body.max_tokens ?? price?.longest
    if (price === undefined || answer === undefined) return Result.fail(`the price of ${model} is not known`)
    const answers = typeof body["n"] === "number" ? Math.max(1, body["n"]) : 1
    const usd = bytes * price.prompt + answers * answer * price.completion + price.request
    if (usd > most) most = usd
  }
  return Result.succeed(most)
}

const isText = (part: unknown) => (part as { readonly type?: unknown }).type === "text"

/** What is paid for by other measures than the tokens of its text. */
const beyondText = (body: ChatRequest.ChatRequest): string | undefined => {
  if ([body.model, ...(body.models ?? [])].some((model) => model?.endsWith(":online"))) return "web search"
  if (Array.isArray(body["plugins"]) && body["plugins"].length > 0) return "a plugin"
  if (body.tools?.some((tool) => tool["type"] !== "function") === true) return "a tool of the server"
  for (const { content } of body.messages) {
    const other = Array.isArray(content) ? content.find((part) => !isText(part)) : undefined
    if (other !== undefined) return `a part of type ${JSON.stringify(other["type"])}`
  }
  return undefined
}
