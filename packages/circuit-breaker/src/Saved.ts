/**
 * What a breaker knows that should outlive its process: the circuits that are not closed, as plain JSON.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

const Millis = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/**
 * One circuit that was not closed. Times are in milliseconds since the epoch.
 */
export const SavedCircuit = Schema.Struct({
  scope: Schema.Literals(["key", "workspace", "account", "upstream", "host"]),
  id: Schema.NonEmptyString,
  since: Schema.Finite,
  /** `null`: until it is closed by hand. */
  until: Schema.NullOr(Schema.Finite),
  by: Schema.String,
  /** It was opened by hand, and so is a fact. */
  hand: Schema.Boolean,
  /** How often it has opened in a row. */
  openings: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  /** How long it last opened for by itself; `null`: without end. */
  openMillis: Schema.NullOr(Millis)
})

/**
 * One circuit that was not closed.
 */
export type SavedCircuit = typeof SavedCircuit.Type

/**
 * The circuits of a breaker, as `persist` gives them and `restore` takes them.
 */
export const Saved = Schema.Struct({ circuits: Schema.Array(SavedCircuit) })

/**
 * The circuits of a breaker, as `persist` gives them and `restore` takes them.
 */
export type Saved = typeof Saved.Type

/**
 * What was given to `restore` is nothing that `persist` has written.
 */
export class InvalidSaved extends Data.TaggedError("InvalidSaved")<{
  /** Where, as `circuits[0].until`; empty for the whole. */
  readonly field: string
  /** What is wrong there. */
  readonly problem: string
}> {
  override get message(): string {
    return `${this.field === "" ? "The saved circuits" : this.field}: ${this.problem}`
  }
}

/** Reads what was saved; the error names the first field that is wrong. */
export const decode = (saved: unknown): Result.Result<Saved, InvalidSaved> =>
  Result.mapError(Schema.decodeUnknownResult(Saved)(saved), ({ issue }) => {
    const [first] = issues(issue).issues
    const path = (first?.path ?? []).map((part) => (typeof part === "object" ? part.key : part))
    const field = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("")
    return new InvalidSaved({ field: field.replace(/^\./, ""), problem: first?.message ?? "is not valid" })
  })

const issues = SchemaIssue.makeFormatterStandardSchemaV1()
