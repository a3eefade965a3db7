/**
 * The endpoints of OpenRouter that pass through, and what their requests cannot be without.
 *
 * Only these: what lies behind the others (keys, credit, activity) is the owner's, and no client's.
 */
import { record } from "./json.ts"
import { wrong, type Failure } from "./failure.ts"

export interface Endpoint {
  /** Below `/v1` here, and below the base URL there. */
  readonly path: "/chat/completions" | "/completions" | "/embeddings" | "/responses" | "/messages"
  /** How its streams tell of a failure. */
  readonly skin: "chat" | "responses" | "messages"
  readonly check: (fields: Readonly<Record<string, unknown>>) => Failure | undefined
}

type Fields = Readonly<Record<string, unknown>>

const must = (field: string, expected: string) =>
  wrong(400, "invalid_value", `${field} must be ${expected}`, field)

/** What the request says is passed on, so only what every one of them has is looked at. */
const usual = ({ model, stream }: Fields): Failure | undefined => {
  if (model !== undefined && (typeof model !== "string" || model === ""))
    return must("model", "a non-empty string")
  if (stream !== undefined && stream !== null && typeof stream !== "boolean")
    return must("stream", "true or false")
  return undefined
}

const messages = (fields: Fields): Failure | undefined =>
  Array.isArray(fields["messages"]) && fields["messages"].length > 0
    ? undefined
    : must("messages", "a list of at least one message")

const textOrList = (field: string) => (fields: Fields) =>
  typeof fields[field] === "string" || Array.isArray(fields[field])
    ? undefined
    : must(field, "a text or a list")

export const endpoints: ReadonlyArray<Endpoint> = [
  {
    path: "/chat/completions",
    skin: "chat",
    // OpenRouter takes a prompt here too.
    check: (fields) => usual(fields) ?? (fields["prompt"] === undefined ? messages(fields) : undefined)
  },
  { path: "/completions", skin: "chat", check: (fields) => usual(fields) ?? textOrList("prompt")(fields) },
  { path: "/embeddings", skin: "chat", check: (fields) => usual(fields) ?? textOrList("input")(fields) },
  { path: "/responses", skin: "responses", check: (fields) => usual(fields) ?? textOrList("input")(fields) },
  { path: "/messages", skin: "messages", check: (fields) => usual(fields) ?? messages(fields) }
]

/** The fields of a body, or what is wrong with it. */
export const fieldsOf = (endpoint: Endpoint, body: unknown): Fields | Failure => {
  const fields = record(body)
  if (fields === undefined) return wrong(400, "invalid_json", "The body must be a JSON object")
  return endpoint.check(fields) ?? fields
}
