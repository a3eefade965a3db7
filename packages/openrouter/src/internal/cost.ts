import { record } from "./facts.ts"

/** What an answer cost in USD, as its `usage` tells it. */
export const costOf = (body: unknown): number | undefined => {
  const cost = record(record(body)?.["usage"])?.["cost"]
  return typeof cost === "number" && cost >= 0 ? cost : undefined
}
