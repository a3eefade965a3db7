/**
 * How answers are decoded: OpenRouter adds fields and values unannounced, so what is not needed is not insisted on.
 */
import * as Schema from "effect/Schema"

/** Any fields, of any kind. */
export const Unknowns = Schema.Record(Schema.String, Schema.Unknown)

/** A field that may be missing or `null`. */
export const loose = <S extends Schema.Constraint>(schema: S) => Schema.optional(Schema.NullOr(schema))
