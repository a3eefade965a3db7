/**
 * What a request says about itself before it is sent: it decides the upstream it belongs to and the keys it prefers.
 */
import type { HttpClientRequest } from "effect/http"
import { record } from "./facts.ts"

export interface RequestFacts {
  readonly upstream: string | undefined
  readonly affinity: string | undefined
}

export const nothing: RequestFacts = { upstream: undefined, affinity: undefined }

/** From the parsed body of a completion, in any of OpenRouter's skins. */
export const requestFactsOf = (body: unknown, headers: Readonly<Record<string, string | undefined>> = {}): RequestFacts => {
  const fields = record(body)
  if (fields === undefined) return nothing
  const models = fields["models"]
  return {
    upstream: text(fields["model"]) ?? (Array.isArray(models) ? text(models[0]) : undefined),
    affinity: text(fields["session_id"]) ?? headers["x-session-id"] ?? text(fields["prompt_cache_key"])
  }
}

const decoder = new TextDecoder()

/** From a request that somebody else has built: its body is read only if it is JSON in memory. */
export const requestFactsIn = (request: HttpClientRequest.HttpClientRequest): RequestFacts => {
  const { body } = request
  if (body._tag !== "Uint8Array" || !body.contentType.includes("json")) return nothing
  try {
    return requestFactsOf(JSON.parse(decoder.decode(body.body)), request.headers)
  } catch {
    return nothing
  }
}

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined)
