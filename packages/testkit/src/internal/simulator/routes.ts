/**
 * The endpoints, all under `/api/v1`.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Body from "./body.ts"
import { open, settle } from "./call.ts"
import { begin, guard } from "./entry.ts"
import * as Generations from "./generations.ts"
import { handler } from "./infer.ts"
import * as Info from "./info.ts"
import { chat, completions } from "./skins/chat.ts"
import { embeddings } from "./skins/embeddings.ts"
import { messages } from "./skins/messages.ts"
import { responses } from "./skins/responses.ts"
import type { Skin } from "./skins/skin.ts"
import type { KeyState, State } from "./state.ts"
import { badRequest400, notFound404, notManagement403 } from "./upstreamErrors.ts"
import { isWireError, type WireError } from "./wire.ts"

/** Where the API is mounted. */
export const prefix = "/api/v1"

const skins: ReadonlyArray<Skin> = [chat, completions, responses, messages, embeddings]

// A `GET` that needs a key: its answer is a body, or an error.
const read = (
  state: State,
  path: `/${string}`,
  answer: (key: KeyState, params: URLSearchParams) => WireError | { readonly body: unknown }
) =>
  HttpRouter.add(
    "GET",
    `${prefix}${path}`,
    Effect.gen(function* () {
      const opened = yield* begin(state, path, false)
      const { call } = opened
      const stopped = yield* guard(state, opened, undefined, { inference: false })
      if (stopped !== undefined || call.key === undefined) return stopped ?? Body.json(call, {})
      const request = yield* HttpServerRequest.HttpServerRequest
      const result = answer(call.key, new URL(request.url, "http://localhost").searchParams)
      if (isWireError(result)) return Body.error(state, call, result)
      settle(state, call, { status: 200 })
      return Body.json(call, result.body)
    })
  )

const generation = (state: State, key: KeyState, params: URLSearchParams) => {
  const id = params.get("id")
  if (id === null) return badRequest400("Missing required query parameter: id")
  const found = Generations.find(state, id, key.account.name)
  return found === undefined ? notFound404(`Generation ${id} not found`) : { body: found }
}

// The list of models is public, and so needs no key.
const models = (state: State) =>
  HttpRouter.add(
    "GET",
    `${prefix}/models`,
    Effect.sync(() => {
      const call = open(state, { method: "GET", path: "/models", key: undefined, inference: false })
      settle(state, call, { status: 200 })
      return Body.json(call, Info.models(state))
    })
  )

const unknown = (state: State) =>
  HttpRouter.add(
    "*",
    "/*",
    Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
      const path = new URL(request.url, "http://localhost").pathname.replace(prefix, "")
      const call = open(state, { method: request.method, path, key: undefined, inference: false })
      return Body.error(state, call, notFound404())
    })
  )

/** All routes of one simulator. */
export const layer = (state: State) =>
  Layer.mergeAll(
    HttpRouter.addAll(
      skins.map((skin) => HttpRouter.route("POST", `${prefix}${skin.path}`, handler(state, skin)))
    ),
    read(state, "/key", (key) => ({ body: Info.keyInfo(state, key) })),
    read(state, "/credits", (key) => (key.management ? { body: Info.credits(key) } : notManagement403())),
    read(state, "/generation", (key, params) => generation(state, key, params)),
    models(state),
    unknown(state)
  )
