/**
 * The building blocks of a scenario's schema: every field says what it allows, and so does its error.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** A number from `least` to `most`. */
export const number = (least: number, most: number) => ranged(Number.isFinite, "a number", least, most)

/** A whole number from `least` to `most`. */
export const whole = (least: number, most: number) => ranged(Number.isInteger, "a whole number", least, most)

const ranged = (is: (value: number) => boolean, what: string, least: number, most: number) =>
  that(
    Schema.Number,
    `${what} from ${least} to ${most.toLocaleString("en-US")}`,
    (value) => is(value) && value >= least && value <= most
  )

/** What is missing, of another type, or out of range: the answer is always what is allowed. */
const that = <S extends Schema.Codec<any, any>>(
  schema: S,
  expected: string,
  holds: (value: S["Type"]) => boolean
) =>
  told(
    schema
      .annotate({ message: `Expected ${expected}` })
      .check(Schema.makeFilter<S["Type"]>(holds, { expected })),
    expected
  )

/** A field whose absence is told as what is expected of it. */
export const told = <S extends Schema.Top>(schema: S, expected: string): S["Rebuild"] =>
  schema.annotate({ expected }).annotateKey({ messageMissingKey: `Expected ${expected}` })

/** A list of `least` to `most`. */
export const list = <S extends Schema.Codec<any, any>>(item: S, what: string, least: number, most: number) =>
  that(
    Schema.Array(item),
    `a list of ${least} to ${most.toLocaleString("en-US")} ${what}`,
    ({ length }) => length >= least && length <= most
  )

/** The id of a key, an account, a scenario. */
export const Name = that(Schema.String, "a name of 1 to 64 letters, digits, '.', '_' and '-'", (value) =>
  /^[A-Za-z0-9._-]{1,64}$/.test(value)
)

/** A time as ISO 8601 says it. */
export const Instant = that(
  Schema.String,
  "a time as 2026-01-01T00:00:00Z",
  (value) => /^\d{4}-\d\d-\d\dT.*Z$/.test(value) && !Number.isNaN(Date.parse(value))
)

/** A field that may be left out. */
export const orElse = <S extends Schema.Top>(schema: S, value: S["Encoded"]) =>
  schema.pipe(Schema.withDecodingDefault(Effect.succeed(value)))
