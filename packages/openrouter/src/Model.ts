/**
 * What OpenRouter tells about a model (`GET /api/v1/models`), decoded leniently.
 */
import * as Schema from "effect/Schema"
import { loose, Unknowns } from "./internal/lenient.ts"

/** A model. Prices are USD as decimal strings: a token, a request, an image. */
export const Model = Schema.StructWithRest(
  Schema.Struct({
    id: Schema.String,
    name: loose(Schema.String),
    context_length: loose(Schema.Finite),
    pricing: loose(
      Schema.StructWithRest(
        Schema.Struct({
          prompt: loose(Schema.String),
          completion: loose(Schema.String),
          request: loose(Schema.String)
        }),
        [Unknowns]
      )
    ),
    top_provider: loose(
      Schema.StructWithRest(Schema.Struct({ max_completion_tokens: loose(Schema.Finite) }), [Unknowns])
    )
  }),
  [Unknowns]
)

export type Model = typeof Model.Type
