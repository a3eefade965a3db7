/**
 * The models, as OpenRouter lists them, with the fields that clients of OpenAI look for.
 */
import * as Effect from "effect/Effect"
import { HttpClientRequest, HttpServerResponse } from "effect/http"
import { wrong, type Failure } from "./failure.ts"
import { record, text } from "./json.ts"
import type { Parts } from "./parts.ts"
import { passing, send } from "./relay.ts"
import type { Passage } from "./traffic.ts"
import type * as Scope from "effect/Scope"

const listed = (parts: Parts, passage: Passage, scope: Scope.Scope) =>
  Effect.map(send(parts, HttpClientRequest.get("/models"), scope), ({ body, lease }) => {
    passage.keyId = lease.key.id
    passage.attempts = lease.context.attempt + 1
    const data = record(body)?.["data"]
    return { ...record(body), object: "list", data: Array.isArray(data) ? data.map(modelOf) : [] }
  })

const modelOf = (model: unknown) => {
  const fields = record(model) ?? {}
  return { ...fields, object: "model", owned_by: (text(fields["id"]) ?? "").split("/")[0] }
}

/** `GET /v1/models` and `/v1/models/{id}`, whose id has a slash in it, escaped or not. */
export const models = (parts: Parts) =>
  passing(
    parts,
    "/v1/models",
    Effect.fnUntraced(function* (request, passage, scope) {
      const id = yield* idIn(request.url)
      const list = yield* listed(parts, passage, scope)
      const found = id === "" ? list : list.data.find((model) => record(model)?.["id"] === id)
      if (found === undefined) return yield* Effect.fail(unknownModel(id))
      passage.over(200)
      return HttpServerResponse.jsonUnsafe(found, { headers: { "cache-control": "no-store" } })
    })
  )

const idIn = (url: string): Effect.Effect<string, Failure> => {
  const path = url.replace(/[?#].*$/, "").replace(/^.*?\/models\/?/, "")
  return Effect.try({ try: () => decodeURIComponent(path), catch: () => unknownModel(path) })
}

const unknownModel = (id: string): Failure =>
  wrong(404, "model_not_found", `There is no model ${JSON.stringify(id)}`, "model")
