/**
 * The entry of every request: its key, its place in the books, and the faults that come before every check.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Scope from "effect/Scope"
import type { FaultAction } from "./actions.ts"
import { authenticate, refused, secretOf } from "./admission.ts"
import * as Body from "./body.ts"
import { abort, type Call, open, settle } from "./call.ts"
import { type FaultRequest, hit } from "./faults.ts"
import { record, string } from "./json.ts"
import type { Skin } from "./skins/skin.ts"
import type { State } from "./state.ts"
import { isWireError, type WireError } from "./wire.ts"

/**
 * Opens the call of a request, which settles at the latest when the scope of the request closes: the server closes it
 * once the answer has left or the client has gone.
 */
export const begin = Effect.fnUntraced(function* (
  state: State,
  path: string,
  inference: boolean
): Effect.fn.Return<
  { readonly call: Call; readonly denied: WireError | undefined },
  never,
  HttpServerRequest.HttpServerRequest | Scope.Scope
> {
  const request = yield* HttpServerRequest.HttpServerRequest
  return yield* Effect.acquireRelease(
    Effect.sync(() => {
      const secret = secretOf(request.headers)
      const found = typeof secret === "string" ? authenticate(state, secret) : secret
      const key = isWireError(found) ? undefined : found
      const call = open(state, { method: request.method, path, key, inference })
      return { call, denied: isWireError(found) ? found : undefined }
    }),
    ({ call }) => Effect.sync(() => abort(state, call))
  )
})

// Applies a fault that comes before every check; answers nothing for a stall that ends.
const applyEarly = Effect.fnUntraced(function* (
  state: State,
  call: Call,
  fault: FaultAction | undefined,
  reword: Skin["reword"]
): Effect.fn.Return<
  HttpServerResponse.HttpServerResponse | undefined,
  never,
  HttpServerRequest.HttpServerRequest
> {
  if (fault === undefined) return undefined
  call.fault = fault._tag
  switch (fault._tag) {
    case "Status":
      return Body.error(state, call, fault, reword)
    case "Reset":
      settle(state, call, { status: undefined, code: "reset" })
      return yield* Body.reset
    case "Stall":
      return yield* Effect.as(
        fault.duration === undefined ? Effect.never : Effect.sleep(Duration.fromInputUnsafe(fault.duration)),
        undefined
      )
    case "Garbage":
      settle(state, call, { status: 200, code: "garbage" })
      return Body.garbage(call)
    default:
      return undefined
  }
})

/** What `/key` and its like share with inference: the key must be good, and a fault may come first. */
export const guard = Effect.fnUntraced(function* (
  state: State,
  opened: { readonly call: Call; readonly denied: WireError | undefined },
  body: unknown,
  options: { readonly inference: boolean; readonly reword?: Skin["reword"] }
): Effect.fn.Return<
  HttpServerResponse.HttpServerResponse | undefined,
  never,
  HttpServerRequest.HttpServerRequest
> {
  const { call, denied } = opened
  const fault = hit(state, faultRequest(call, body), { early: true, inference: options.inference })
  const broken = yield* applyEarly(state, call, fault, options.reword)
  if (broken !== undefined) return broken
  const refusal = denied ?? (call.key === undefined ? undefined : refused(state, call.key))
  return refusal === undefined ? undefined : Body.error(state, call, refusal, options.reword)
})

/** What fault rules see of a request. */
export const faultRequest = (call: Call, body: unknown): FaultRequest => ({
  key: call.key?.name,
  account: call.key?.account.name,
  model: string(record(body)["model"]),
  method: call.method,
  path: call.path,
  stream: call.stream,
  body
})
