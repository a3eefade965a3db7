/**
 * The way of one inference request: authentication, faults, checks, answer.
 */
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Scope from "effect/Scope"
import type { FaultAction, InnerError } from "./actions.ts"
import { admit } from "./admission.ts"
import { billedLength, echo, finish, lastUserMessage, maxTokensOf, promptText, tokens } from "./answer.ts"
import * as Body from "./body.ts"
import { type Bill, type Call, hold, nothing, settle } from "./call.ts"
import { begin, faultRequest, guard } from "./entry.ts"
import { hit } from "./faults.ts"
import { list, parse, record, string } from "./json.ts"
import type { SimulatorModel } from "./options.ts"
import * as Plan from "./plan.ts"
import type { Generation, Skin } from "./skins/skin.ts"
import { findModel, type KeyState, type State } from "./state.ts"
import { badRequest400, invalidModel400, noEndpoints404 } from "./upstreamErrors.ts"
import { isWireError, type WireError } from "./wire.ts"

type Handler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  never,
  HttpServerRequest.HttpServerRequest | Scope.Scope
>

/** Milliseconds until the first token. */
const latency = (state: State): number => {
  const setting = state.settings.latency
  if (typeof setting === "number") return setting
  if (typeof setting === "function") return setting(state.random)
  return setting[0] + (setting[1] - setting[0]) * state.random.nextDoubleUnsafe()
}

// The model that answers: the first known one of `model` and the fallbacks in `models`.
const pickModel = (state: State, body: unknown): SimulatorModel | WireError => {
  const wanted = [record(body)["model"], ...list(record(body)["models"])].flatMap((id) => string(id) ?? [])
  const first = wanted[0]
  if (first === undefined) return badRequest400("No models provided")
  const found = wanted.map((id) => findModel(state, id)).find((model) => model !== undefined)
  if (found !== undefined) return found
  const variant = /^(.+):(free|thinking|extended)$/.exec(first)?.[1]
  return variant !== undefined && findModel(state, variant) !== undefined
    ? noEndpoints404(first)
    : invalidModel400(first)
}

// Passes every check and holds the estimate, or says why not.
const check = (
  state: State,
  call: Call,
  key: KeyState,
  skin: Skin,
  body: unknown
): { readonly model: SimulatorModel; readonly messages: ReadonlyArray<unknown> } | WireError => {
  if (body === undefined) return badRequest400("Invalid JSON body")
  const messages = skin.messages(body)
  if (messages === undefined) return badRequest400('Input required: specify "prompt" or "messages"')
  const model = pickModel(state, body)
  if (isWireError(model)) return model
  call.model = model
  const promptTokens = tokens(promptText(messages).length)
  const maxTokens = skin.generates ? maxTokensOf(body) : 0
  const held = admit(state, key, model, { promptTokens, maxTokens })
  if (typeof held !== "number") return held
  hold(state, call, held)
  return { model, messages }
}

const generate = (
  state: State,
  call: Call,
  skin: Skin,
  body: unknown,
  admitted: { readonly model: SimulatorModel; readonly messages: ReadonlyArray<unknown> },
  fault: FaultAction | undefined
): Generation => {
  const { messages, model } = admitted
  const request = {
    model: model.id,
    path: skin.path,
    body,
    lastUserMessage: lastUserMessage(messages),
    stream: call.stream
  }
  const result =
    !skin.generates || fault?._tag === "EmptyCompletion" ? "" : (state.settings.completion ?? echo)(request)
  const answer = finish(result, Math.min(maxTokensOf(body) ?? Infinity, model.maxCompletionTokens))
  return {
    id: call.id,
    created: Math.floor(call.startedAt / 1000),
    model,
    provider: model.provider ?? model.id.split("/")[0] ?? model.id,
    promptTokens: tokens(promptText(messages).length),
    answer:
      fault?._tag === "ChoiceError"
        ? { ...answer, text: answer.text.slice(0, answer.text.length / 2) }
        : answer,
    body,
    emptyUsageChoices: state.settings.emptyUsageChoices
  }
}

const innerErrorOf = (fault: FaultAction | undefined): InnerError | undefined =>
  fault?._tag === "ChoiceError" || fault?._tag === "OkWithErrorBody" ? fault.error : undefined

// The bill of a complete answer that is not a stream.
const wholeBill = (skin: Skin, generation: Generation, fault: FaultAction | undefined): Bill => {
  if (fault?._tag === "OkWithErrorBody") return nothing
  return skin.generates ? Plan.finalBill(generation) : Plan.billFor(generation, 0)
}

const answerWhole = Effect.fnUntraced(function* (
  state: State,
  call: Call,
  skin: Skin,
  generation: Generation,
  fault: FaultAction | undefined
): Effect.fn.Return<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> {
  const owed = wholeBill(skin, generation, fault)
  // An aborted request that is not a stream is billed in full.
  call.owed = () => owed
  const millis =
    latency(state) + (tokens(billedLength(generation.answer)) * 1000) / state.settings.tokensPerSecond
  if (millis > 0) yield* Effect.sleep(millis)
  const error = innerErrorOf(fault)
  if (fault?._tag === "OkWithErrorBody") {
    settle(state, call, { status: 200, code: fault.error.code })
    return Body.json(call, skin.failed(generation, fault.error))
  }
  const body = skin.result(generation, owed, error)
  if (fault?._tag === "Cut" || fault?._tag === "SlowBody") {
    const steps = Plan.json(JSON.stringify(body), owed, fault)
    return yield* Body.stream(state, call, steps, { contentType: "application/json", owed: () => owed })
  }
  settle(state, call, { status: 200, code: error?.code, bill: owed })
  return Body.json(call, body)
})

const answerStream = (
  state: State,
  call: Call,
  skin: Skin,
  generation: Generation,
  fault: FaultAction | undefined
) => {
  const whole = Plan.finalBill(generation)
  // Providers that cannot cancel go on to the end, and the whole answer is owed.
  const owed = (billed: number): Bill =>
    generation.model.cancellable === false ? whole : Plan.billFor(generation, billed)
  const steps = Plan.stream(generation, skin.stream(generation), state.settings, {
    latencyMillis: latency(state),
    fault
  })
  return Body.stream(state, call, steps, { contentType: "text/event-stream", owed })
}

/** The handler of an inference endpoint. */
export const handler = (state: State, skin: Skin): Handler =>
  Effect.gen(function* () {
    const opened = yield* begin(state, skin.path, true)
    const { call } = opened
    const request = yield* HttpServerRequest.HttpServerRequest
    const body = parse(yield* Effect.orElseSucceed(request.text, () => ""))
    call.stream = record(body)["stream"] === true && skin.generates
    const stopped = yield* guard(state, opened, body, { inference: true, reword: skin.reword })
    if (stopped !== undefined || call.key === undefined) return stopped ?? Body.json(call, {})
    const admitted = check(state, call, call.key, skin, body)
    if (isWireError(admitted)) return Body.error(state, call, admitted, skin.reword)
    const fault = hit(state, faultRequest(call, body), { early: false, inference: true })
    if (fault !== undefined) call.fault = fault._tag
    const generation = generate(state, call, skin, body, admitted, fault)
    call.generation = generation
    return yield* call.stream && fault?._tag !== "OkWithErrorBody"
      ? answerStream(state, call, skin, generation, fault)
      : answerWhole(state, call, skin, generation, fault)
  })
