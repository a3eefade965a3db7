/**
 * How OpenRouter chooses among the providers of a model (OpenRouter's documentation, "Provider routing").
 */
import * as Schema from "effect/Schema"

/** A figure, or a figure for each percentile. */
const Percentiles = Schema.Union([
  Schema.Finite,
  Schema.Struct({
    p50: Schema.optional(Schema.Finite),
    p75: Schema.optional(Schema.Finite),
    p90: Schema.optional(Schema.Finite),
    p99: Schema.optional(Schema.Finite)
  })
])

/** Known values come up in an editor; new ones pass, since OpenRouter adds values unannounced. */
export type Sort = "price" | "throughput" | "latency" | "exacto" | (string & {})

const Sort = Schema.String as Schema.Codec<Sort>

/**
 * The `provider` field of a request. All of it is optional, and unknown fields pass through.
 */
export const ProviderRouting = Schema.StructWithRest(
  Schema.Struct({
    /** Providers to try, in this order. */
    order: Schema.optional(Schema.NullOr(Schema.Array(Schema.String))),
    /** Whether providers beyond `order` may serve. OpenRouter's default: true. */
    allow_fallbacks: Schema.optional(Schema.NullOr(Schema.Boolean)),
    /** Only providers that support every parameter of the request. OpenRouter's default: false. */
    require_parameters: Schema.optional(Schema.NullOr(Schema.Boolean)),
    /** Whether providers that may store the data can serve. OpenRouter's default: "allow". */
    data_collection: Schema.optional(Schema.NullOr(Schema.Literals(["allow", "deny"]))),
    /** Only endpoints with zero data retention. */
    zdr: Schema.optional(Schema.NullOr(Schema.Boolean)),
    enforce_distillable_text: Schema.optional(Schema.NullOr(Schema.Boolean)),
    only: Schema.optional(Schema.NullOr(Schema.Array(Schema.String))),
    ignore: Schema.optional(Schema.NullOr(Schema.Array(Schema.String))),
    /** For example "fp8", "bf16". */
    quantizations: Schema.optional(Schema.NullOr(Schema.Array(Schema.String))),
    sort: Schema.optional(
      Schema.NullOr(
        Schema.Union([
          Sort,
          Schema.Struct({
            by: Sort,
            partition: Schema.optional(Schema.NullOr(Schema.Literals(["model", "none"])))
          })
        ])
      )
    ),
    /** Tokens per second. */
    preferred_min_throughput: Schema.optional(Schema.NullOr(Percentiles)),
    /** Seconds. */
    preferred_max_latency: Schema.optional(Schema.NullOr(Percentiles)),
    /** USD; `prompt` and `completion` per million tokens. */
    max_price: Schema.optional(
      Schema.NullOr(
        Schema.Struct({
          prompt: Schema.optional(Schema.Finite),
          completion: Schema.optional(Schema.Finite),
          request: Schema.optional(Schema.Finite),
          image: Schema.optional(Schema.Finite),
          audio: Schema.optional(Schema.Finite)
        })
      )
    )
  }),
  [Schema.Record(Schema.String, Schema.Unknown)]
)

export type ProviderRouting = typeof ProviderRouting.Type
