/**
 * A request to another model than the one it asks for.
 */
import { HttpClientRequest } from "effect/http"
import { record } from "./classifier/facts.ts"
import { parse } from "./json.ts"

type Request = HttpClientRequest.HttpClientRequest

/**
 * Models that may serve in place of one: for each model, or by a function of it. Names are as the request has them, with
 * their variants.
 */
export type Fallbacks =
  | Readonly<Record<string, ReadonlyArray<string>>>
  | ((model: string) => ReadonlyArray<string> | undefined)

/** What may serve in place of the model; `undefined` if nothing may. */
export const alternativesTo = (
  model: string | undefined,
  fallbacks: Fallbacks | undefined
): ReadonlyArray<string> | undefined => {
  if (model === undefined || fallbacks === undefined) return undefined
  const found =
    typeof fallbacks === "function"
      ? fallbacks(model)
      : Object.hasOwn(fallbacks, model)
        ? fallbacks[model]
        : undefined
  return found === undefined || found.length === 0 ? undefined : found
}

/** Makes the function that gives the request for a model. The bytes for each other model are made once. */
export const rerouting = (
  request: Request,
  asked: string | undefined
): ((model: string | undefined) => Request) => {
  const made = new Map<string, Request>()
  return (model) => {
    if (model === undefined || model === asked) return request
    let other = made.get(model)
    if (other === undefined) made.set(model, (other = withModel(request, model)))
    return other
  }
}

const withModel = (request: Request, model: string): Request => {
  const { body } = request
  if (body._tag !== "Uint8Array") return request
  const fields = record(parse(new TextDecoder().decode(body.body)))
  if (fields === undefined) return request
  const bytes = new TextEncoder().encode(JSON.stringify({ ...fields, model }))
  return HttpClientRequest.bodyUint8Array(request, bytes, body.contentType)
}
