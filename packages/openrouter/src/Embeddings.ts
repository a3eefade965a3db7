/**
 * Embeddings (`POST /embeddings`): requests pass through unknown fields, answers are decoded leniently.
 */
import * as Schema from "effect/Schema"
import { Usage } from "./ChatResponse.ts"
import { ProviderRouting } from "./ProviderRouting.ts"
import { loose, Unknowns } from "./internal/lenient.ts"

/** What is to be embedded, and by which model. */
export const EmbeddingsRequest = Schema.StructWithRest(
  Schema.Struct({
    model: Schema.NonEmptyString,
    /** A text, or several. */
    input: Schema.Union([Schema.String, Schema.Array(Schema.Unknown)]),
    /** The length of the vectors, for models that let it be chosen. */
    dimensions: Schema.optional(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
    /** "float" (numbers) or "base64" (a string). */
    encoding_format: Schema.optional(Schema.String),
    provider: Schema.optional(Schema.NullOr(ProviderRouting))
  }),
  [Unknowns]
)

export type EmbeddingsRequest = typeof EmbeddingsRequest.Type

/** One vector for each input, in their order. */
export const EmbeddingsResponse = Schema.StructWithRest(
  Schema.Struct({
    id: loose(Schema.String),
    model: loose(Schema.String),
    data: Schema.Array(
      Schema.StructWithRest(
        Schema.Struct({
          index: loose(Schema.Finite),
          embedding: Schema.Union([Schema.Array(Schema.Finite), Schema.String])
        }),
        [Unknowns]
      )
    ),
    usage: loose(Usage)
  }),
  [Unknowns]
)

export type EmbeddingsResponse = typeof EmbeddingsResponse.Type
