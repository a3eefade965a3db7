/**
 * A minimal instance of a JSON schema, for forced tool calls and `response_format: json_schema`.
 */
import { isRecord, type Json, type JsonRecord, list, number, record, string } from "./json.ts"

const samples: Readonly<Record<string, string>> = {
  date: "2026-01-01",
  "date-time": "2026-01-01T00:00:00Z",
  email: "user@example.com",
  time: "00:00:00Z",
  uri: "https://example.com",
  uuid: "00000000-0000-4000-8000-000000000000"
}

const text = (schema: JsonRecord): string => {
  const sample = samples[string(schema["format"]) ?? ""] ?? "text"
  const padded = sample.padEnd(number(schema["minLength"]) ?? 0, "x")
  return padded.slice(0, number(schema["maxLength"]) ?? padded.length)
}

const amount = (schema: JsonRecord, integer: boolean): number => {
  const step = integer ? 1 : 0.5
  const above = number(schema["exclusiveMinimum"])
  const least = number(schema["minimum"]) ?? (above === undefined ? undefined : above + step)
  const below = number(schema["exclusiveMaximum"])
  const most = number(schema["maximum"]) ?? (below === undefined ? undefined : below - step)
  const value = least ?? Math.min(0, most ?? 0)
  const multiple = number(schema["multipleOf"])
  if (multiple !== undefined && multiple > 0) return Math.ceil(value / multiple) * multiple
  return integer ? Math.ceil(value) : value
}

const resolve = (root: JsonRecord, pointer: string): unknown =>
  pointer
    .replace(/^#\/?/, "")
    .split("/")
    .filter((segment) => segment.length > 0)
    .reduce<unknown>((at, segment) => record(at)[segment.replaceAll("~1", "/").replaceAll("~0", "~")], root)

// A recursive schema has no finite instance if every branch is required; nesting deeper than this answers null.
const deepest = 32

/**
 * The smallest instance found by walking the schema: required properties only, the first of `enum`, `anyOf` and `oneOf`,
 * the first type of a list of types.
 */
export const instance = (schema: unknown, root: JsonRecord = record(schema), depth = 0): Json => {
  if (!isRecord(schema) || depth > deepest) return null
  const next = (inner: unknown) => instance(inner, root, depth + 1)
  if ("const" in schema) return schema["const"] as Json
  const choices = list(schema["enum"])
  if (choices.length > 0) return choices[0] as Json
  const ref = string(schema["$ref"])
  if (ref !== undefined) return next(resolve(root, ref))
  const branch = list(schema["anyOf"])[0] ?? list(schema["oneOf"])[0]
  if (branch !== undefined) return next(branch)
  const all = list(schema["allOf"])
  if (all.length > 0) {
    const parts = [...all, ...("properties" in schema ? [{ ...schema, allOf: [] }] : [])].map(next)
    return parts.every(isRecord) ? (Object.assign({}, ...parts) as Json) : (parts[0] ?? null)
  }
  const type = Array.isArray(schema["type"]) ? schema["type"][0] : schema["type"]
  switch (type ?? (isRecord(schema["properties"]) ? "object" : undefined)) {
    case "object": {
      const properties = record(schema["properties"])
      const required = list(schema["required"]).filter((name) => typeof name === "string")
      return Object.fromEntries(required.map((name) => [name, next(properties[name])]))
    }
    case "array":
      return Array.from({ length: number(schema["minItems"]) ?? 0 }, () => next(schema["items"]))
    case "string":
      return text(schema)
    case "number":
      return amount(schema, false)
    case "integer":
      return amount(schema, true)
    case "boolean":
      return true
    default:
      return null
  }
}
