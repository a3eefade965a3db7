/**
 * What a request says about itself before it is sent: it decides the upstream it belongs to and the keys it prefers.
 */
import type { HttpClientRequest } from "effect/http"
import { record } from "./classifier/facts.ts"

/** What the body of a request says that matters to the choice of its key; `undefined` where it says nothing. */
export interface RequestFacts {
  readonly upstream: string | undefined
  readonly affinity: string | undefined
  /** Tokens the request may take: its prompt and the longest answer it allows. */
  readonly tokens: number | undefined
  /** How many of these are its prompt. */
  readonly promptTokens: number | undefined
  /** The models that may answer in place of the first. */
  readonly fallbacks: ReadonlyArray<string> | undefined
}

export const nothing: RequestFacts = {
  upstream: undefined,
  affinity: undefined,
  tokens: undefined,
  promptTokens: undefined,
  fallbacks: undefined
}

/** About four characters of English make a token. */
const charactersPerToken = 4
/** What an answer without a limit is taken for. */
const usualAnswer = 1024

/** From the parsed body of a completion, in any of OpenRouter's skins, and its length. */
export const requestFactsOf = (
  body: unknown,
  bytes: number,
  headers: Readonly<Record<string, string | undefined>> = {}
): RequestFacts => {
  const fields = record(body)
  if (fields === undefined) return nothing
  const { models } = fields
  const fallbacks = Array.isArray(models) ? models.filter((model) => text(model) !== undefined) : undefined
  const promptTokens = Math.ceil(bytes / charactersPerToken)
  return {
    upstream: text(fields["model"]) ?? fallbacks?.[0],
    tokens: promptTokens + (limit(fields) ?? usualAnswer),
    promptTokens,
    fallbacks,
    affinity: text(fields["session_id"]) ?? headers["x-session-id"] ?? text(fields["prompt_cache_key"])
  }
}

const decoder = new TextDecoder()

/** From a request that somebody else has built: its body is read only if it is JSON in memory. */
export const requestFactsIn = (request: HttpClientRequest.HttpClientRequest): RequestFacts => {
  const { body } = request
  if (body._tag !== "Uint8Array" || !body.contentType.includes("json")) return nothing
  try {
    return requestFactsOf(JSON.parse(decoder.decode(body.body)), body.body.length, request.headers)
  } catch {
    return nothing
  }
}

const limit = (fields: Readonly<Record<string, unknown>>): number | undefined => {
  const value = fields["max_completion_tokens"] ?? fields["max_tokens"] ?? fields["max_output_tokens"]
  return typeof value === "number" && value > 0 && value < Infinity ? value : undefined
}

const text = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined
