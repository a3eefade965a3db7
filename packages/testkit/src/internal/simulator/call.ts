/**
 * One request, from the moment its key is known to its end. It is counted in flight in the step that opens it and
 * settled exactly once, however it ends.
 */
import { remember } from "./generations.ts"
import { usd } from "./ledger.ts"
import type { SimulatorModel } from "./options.ts"
import { append } from "./records.ts"
import type { Generation } from "./skins/skin.ts"
import { charge, type KeyState, notify, now, type State } from "./state.ts"

/** What a request is billed. */
export interface Bill {
  readonly cost: number
  readonly promptTokens: number
  readonly completionTokens: number
}

export const nothing: Bill = { cost: 0, promptTokens: 0, completionTokens: 0 }

/** The price of a number of tokens. */
export const bill = (model: SimulatorModel, promptTokens: number, completionTokens: number): Bill => ({
  cost: usd(promptTokens * model.promptPrice + completionTokens * model.completionPrice),
  promptTokens,
  completionTokens
})

/** How a request ended. */
export interface Ending {
  /** The HTTP status, if one was sent. */
  readonly status: number | undefined
  readonly code?: number | string | undefined
  readonly limitSource?: string | undefined
  readonly bill?: Bill | undefined
  readonly aborted?: boolean | undefined
}

/** A request under way. */
export interface Call {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly key: KeyState | undefined
  /** Inference is counted; reading `/key` is not. */
  readonly inference: boolean
  readonly startedAt: number
  model: SimulatorModel | undefined
  stream: boolean
  /** The tag of the fault that is applied. */
  fault: string | undefined
  /** USD held of the account's in-flight budget. */
  held: number
  /** The status that has been sent, for a request that is aborted after it. */
  sent: number | undefined
  /** What is answered, once that is known. */
  generation: Generation | undefined
  /** What is owed if the client goes away now. */
  owed: () => Bill
  settled: boolean
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/** An id such as `gen-1779358422-LrEwL8SmYSWNlAzrHKq2`. */
export const generationId = (state: State): string => {
  let id = `gen-${Math.floor(now(state) / 1000)}-`
  for (let i = 0; i < 20; i++) id += letters[Math.floor(state.random.nextDoubleUnsafe() * letters.length)]
  return id
}

/** Opens a request and counts it. */
export const open = (
  state: State,
  options: {
    readonly method: string
    readonly path: string
    readonly key: KeyState | undefined
    readonly inference: boolean
  }
): Call => {
  const call: Call = {
    ...options,
    id: generationId(state),
    startedAt: now(state),
    model: undefined,
    stream: false,
    fault: undefined,
    held: 0,
    sent: undefined,
    generation: undefined,
    owed: () => nothing,
    settled: false
  }
  if (call.inference) state.inFlight++
  const key = call.key
  if (key !== undefined && call.inference) {
    key.requests++
    key.inFlight++
    key.maxInFlight = Math.max(key.maxInFlight, key.inFlight)
    key.account.inFlight++
  } else if (key !== undefined) {
    key.reads++
  }
  notify(state)
  return call
}

/** Holds an estimate of the account's in-flight budget until the request is settled. */
export const hold = (state: State, call: Call, amount: number): void => {
  if (call.key === undefined) return
  call.held = amount
  call.key.account.held = usd(call.key.account.held + amount)
  notify(state)
}

const count = (key: KeyState, ending: Ending): void => {
  if (ending.aborted === true) {
    key.aborted++
  } else if (ending.status === 200 && ending.code === undefined) {
    key.ok++
  } else {
    const status = String(ending.status ?? "none")
    key.failed.set(status, (key.failed.get(status) ?? 0) + 1)
  }
}

/** Ends a request: releases, bills, counts and records it. Later calls do nothing. */
export const settle = (state: State, call: Call, ending: Ending): void => {
  if (call.settled) return
  call.settled = true
  const owed = ending.bill ?? nothing
  const key = call.key
  if (call.inference) state.inFlight--
  if (key !== undefined) {
    if (call.inference) {
      key.inFlight--
      key.account.inFlight--
      key.account.held = usd(key.account.held - call.held)
      count(key, ending)
    }
    charge(state, key, owed.cost)
  }
  if (call.generation !== undefined) remember(state, call, call.generation, owed, ending.aborted ?? false)
  append(state, {
    id: call.id,
    key: key?.name,
    account: key?.account.name,
    method: call.method,
    path: call.path,
    model: call.model?.id,
    stream: call.stream,
    status: ending.status,
    code: ending.code,
    limitSource: ending.limitSource,
    fault: call.fault,
    startedAt: call.startedAt,
    endedAt: now(state),
    ...owed,
    aborted: ending.aborted ?? false
  })
  notify(state)
}

/** The client went away: bills what is owed so far. */
export const abort = (state: State, call: Call): void =>
  settle(state, call, { status: call.sent, bill: call.settled ? nothing : call.owed(), aborted: true })
