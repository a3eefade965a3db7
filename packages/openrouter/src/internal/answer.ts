/**
 * What an answer says of itself besides its content, in any of OpenRouter's skins: for spans.
 */
import type { Lease } from "@evenkeel/core"
import { record } from "./classifier/facts.ts"
import { usageOf } from "./usage.ts"

export interface AnswerFacts {
  readonly id: string | undefined
  /** The model that answered. */
  readonly model: string | undefined
  /** The provider that served it. */
  readonly provider: string | undefined
  readonly finishReasons: ReadonlyArray<string>
  readonly usage: Lease.Usage | undefined
}

/** From a whole answer, or from the first event of a stream, its last one and its usage. */
export const answerFacts = (first: unknown, last: unknown = first, usage?: unknown): AnswerFacts => {
  const head = unwrapped(first)
  return {
    id: text(head?.["id"]),
    model: text(head?.["model"]),
    provider: text(head?.["provider"]),
    finishReasons: finishReasons(last),
    usage: usageOf(usage ?? head?.["usage"])
  }
}

/** Events of `/responses` and `/messages` have the answer inside. */
const unwrapped = (value: unknown) => {
  const fields = record(value)
  return record(fields?.["response"]) ?? record(fields?.["message"]) ?? fields
}

const finishReasons = (value: unknown): ReadonlyArray<string> => {
  const fields = unwrapped(value)
  const { choices } = fields ?? {}
  const reasons = Array.isArray(choices)
    ? choices.map((choice) => record(choice)?.["finish_reason"])
    : [fields?.["stop_reason"] ?? fields?.["status"]]
  return reasons.filter((reason) => typeof reason === "string")
}

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)
