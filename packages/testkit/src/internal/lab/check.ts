/**
 * From unknown data to a scenario, or to the name of the first field that is wrong.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { Scenario, TraceEntry } from "./scenario.ts"

/**
 * A scenario, or a line of a trace, is not one. `field` is its path, such as `keys[1].cap`; `problem` says what is allowed.
 */
export class InvalidScenario extends Data.TaggedError("InvalidScenario")<{
  readonly field: string
  readonly problem: string
}> {
  override get message(): string {
    return `Lab scenario: ${this.field === "" ? "" : `${this.field}: `}${this.problem}`
  }
}

/** Decodes a scenario and checks what its parts say of each other. */
export const decode = (input: unknown): Result.Result<Scenario, InvalidScenario> =>
  Result.flatMap(
    Result.mapError(
      Schema.decodeUnknownResult(Scenario, { onExcessProperty: "error", reportInput: true })(input),
      ({ issue }) => invalid("", issue)
    ),
    (scenario) => {
      const problem = inconsistency(scenario)
      return problem === undefined ? Result.succeed(scenario) : Result.fail(new InvalidScenario(problem))
    }
  )

/** Reads a trace: one JSON record a line, in the order of time. */
export const trace = (jsonl: string): Result.Result<ReadonlyArray<TraceEntry>, InvalidScenario> => {
  const entries: Array<TraceEntry> = []
  for (const [index, line] of jsonl.split("\n").entries()) {
    if (line.trim() === "") continue
    const where = `line ${index + 1}`
    let data: unknown
    try {
      data = JSON.parse(line)
    } catch {
      return Result.fail(new InvalidScenario({ field: where, problem: "Expected a record as JSON" }))
    }
    const decoded = Schema.decodeUnknownResult(TraceEntry, { reportInput: true })(data)
    if (Result.isFailure(decoded)) return Result.fail(invalid(`${where}: `, decoded.failure.issue))
    if (decoded.success.at < (entries.at(-1)?.at ?? 0))
      return Result.fail(
        new InvalidScenario({ field: `${where}: at`, problem: "Expected lines in the order of time" })
      )
    entries.push(decoded.success)
  }
  return Result.succeed(entries)
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const invalid = (prefix: string, issue: SchemaIssue.Issue): InvalidScenario => {
  const [first] = format(issue).issues
  const path = (first?.path ?? []).map((part) => (typeof part === "object" ? part.key : part))
  const field = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("")
  return new InvalidScenario({
    field: `${prefix}${field.replace(/^\./, "")}`,
    problem: first?.message ?? "Expected a scenario"
  })
}

const inconsistency = ({
  accounts,
  arrivals,
  faults,
  keys
}: Scenario): { readonly field: string; readonly problem: string } | undefined => {
  const names = { account: accounts.map(({ id }) => id), key: keys.map(({ id }) => id) }
  for (const [list, ids] of [["accounts", names.account] as const, ["keys", names.key] as const]) {
    const twice = ids.findIndex((id, index) => ids.indexOf(id) !== index)
    if (twice >= 0) return { field: `${list}[${twice}].id`, problem: "Expected a name that no other has" }
  }
  const unknown = (field: string, kind: "account" | "key", id: string | undefined) =>
    id === undefined || names[kind].includes(id)
      ? undefined
      : { field, problem: `Expected one of the ${kind}s: ${names[kind].join(", ") || "there are none"}` }
  for (const [index, key] of keys.entries()) {
    const field = `keys[${index}]`
    const wrong = unknown(`${field}.account`, "account", key.account)
    if (wrong !== undefined) return wrong
    if (key.resets !== undefined && key.cap === undefined)
      return { field: `${field}.resets`, problem: "Expected nothing, for the key has no cap" }
  }
  for (const [index, fault] of faults.entries()) {
    const field = `faults[${index}]`
    const wrong =
      unknown(`${field}.key`, "key", fault.key) ?? unknown(`${field}.account`, "account", fault.account)
    if (wrong !== undefined) return wrong
    if (fault.key !== undefined && fault.account !== undefined)
      return { field: `${field}.account`, problem: "Expected nothing, for the fault is that of a key" }
    if (fault.to <= fault.from)
      return { field: `${field}.to`, problem: `Expected a number above from, which is ${fault.from}` }
    if ((fault.status === undefined) === (fault.slow === undefined))
      return { field: `${field}.status`, problem: "Expected either status or slow" }
  }
  if (arrivals.kind === "trace") {
    const { requests } = arrivals
    const late = requests.findIndex(({ at }, index) => index > 0 && at < requests[index - 1]!.at)
    if (late >= 0)
      return { field: `arrivals.requests[${late}].at`, problem: "Expected requests in the order of time" }
  }
  return undefined
}
