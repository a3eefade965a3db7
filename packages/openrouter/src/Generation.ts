/**
 * What OpenRouter keeps of an answer (`GET /generation`), decoded leniently.
 */
import * as Schema from "effect/Schema"
import { loose, Unknowns } from "./internal/lenient.ts"

/** An answer, as it was billed. Amounts are in USD, times in milliseconds. */
export const Generation = Schema.StructWithRest(
  Schema.Struct({
    id: loose(Schema.String),
    model: loose(Schema.String),
    provider_name: loose(Schema.String),
    total_cost: loose(Schema.Finite),
    cancelled: loose(Schema.Boolean),
    finish_reason: loose(Schema.String),
    tokens_prompt: loose(Schema.Finite),
    tokens_completion: loose(Schema.Finite),
    latency: loose(Schema.Finite),
    generation_time: loose(Schema.Finite)
  }),
  [Unknowns]
)

export type Generation = typeof Generation.Type
