import { record } from "../classifier/facts.ts"

/**
 * What an answer cost in USD, as its `usage` tells it; `undefined` if it does not.
 *
 * With `includeByok` it is what counts against the cap of a key that includes BYOK: of a request that the account's own
 * provider key paid for, `cost` is OpenRouter's fee alone, and the provider's price comes on top.
 */
export const costOf = (body: unknown, includeByok = false): number | undefined => {
  const usage = record(record(body)?.["usage"])
  const cost = amount(usage?.["cost"])
  if (cost === undefined || !includeByok || usage?.["is_byok"] !== true) return cost
  return cost + (amount(record(usage["cost_details"])?.["upstream_inference_cost"]) ?? 0)
}

const amount = (value: unknown): number | undefined =>
  typeof value === "number" && value >= 0 && value < Infinity ? value : undefined
