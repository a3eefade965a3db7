/**
 * What became of a request, as a line of the output: the fields of OpenAI's batch output, and which key served, what it cost,
 * how often it was tried.
 */
import type { Errors, Lease } from "@evenkeel/core"
import { ChatResponse, type OpenRouter } from "@evenkeel/openrouter"
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import { instant } from "../format.ts"
import type { Request } from "./request.ts"

export interface Record {
  /** `line-` and where it stands in the input. */
  readonly id: string
  readonly custom_id: string | null
  readonly response: {
    readonly status_code: number
    readonly request_id: string | null
    readonly body: ChatResponse.ChatResponse
  } | null
  readonly error: {
    /** A class of the classifier's table, or one of ours: `transport`, `no-eligible-key`, … */
    readonly code: string
    readonly message: string
    readonly status_code: number | null
    /** When a key may serve again, as far as that is known. */
    readonly retry_at: string | null
  } | null
  /** The key that served, or the last one that was tried. */
  readonly key: string | null
  /** USD, as far as the answers told it. */
  readonly cost: number | null
  /** Uses of keys. */
  readonly attempts: number
  readonly duration_ms: number
}

/** A request that is through. */
export interface Settled {
  readonly record: Record
  readonly ok: boolean
  /** USD that is known to be spent. */
  readonly cost: number
  /** Uses that may have been billed, and did not tell. */
  readonly unknown: number
}

export const settled = (
  request: Request,
  exit: Exit.Exit<ChatResponse.ChatResponse, OpenRouter.CallError>,
  lease: Lease.Lease | undefined,
  durationMillis: number
): Settled => {
  const about = {
    id: `line-${request.line}`,
    custom_id: request.customId ?? null,
    duration_ms: durationMillis
  }
  if (exit._tag === "Success") {
    const body = exit.value
    const cost = ChatResponse.cost(body)
    const record: Record = {
      ...about,
      response: { status_code: 200, request_id: body.id ?? null, body },
      error: null,
      key: lease?.key.id ?? null,
      cost: cost ?? null,
      attempts: (lease?.context.attempt ?? 0) + 1
    }
    return { record, ok: true, cost: cost ?? 0, unknown: cost === undefined ? 1 : 0 }
  }
  const { attempts, cutOff, ...error } = failure(exit.cause)
  const costs = attempts.map(({ outcome }) => outcome.cost)
  const cost = costs.reduce<number>((sum, one) => sum + (one ?? 0), 0)
  const record: Record = {
    ...about,
    response: null,
    error,
    key: cutOff ?? attempts.at(-1)?.keyId ?? null,
    cost,
    attempts: attempts.length + (cutOff === undefined ? 0 : 1)
  }
  const untold = costs.filter((one) => one === undefined).length
  return { record, ok: false, cost, unknown: untold + (cutOff === undefined ? 0 : 1) }
}

type Failure = NonNullable<Record["error"]> & {
  readonly attempts: ReadonlyArray<Errors.Attempt>
  /** The key whose use the deadline has cut off. */
  readonly cutOff: string | undefined
}

const failure = (cause: Cause.Cause<OpenRouter.CallError>): Failure => {
  const fail = cause.reasons.find((reason) => reason._tag === "Fail")
  if (fail === undefined) {
    const message = Cause.pretty(cause)
    return { code: "defect", message, status_code: null, retry_at: null, attempts: [], cutOff: undefined }
  }
  const { error } = fail
  const { attempts, message } = error
  if (error._tag !== "OpenRouterError") {
    const retry_at = instant(error.retryAt) ?? null
    return {
      code: refusals[error._tag],
      message,
      status_code: null,
      retry_at,
      attempts,
      cutOff: cutOffOf(error)
    }
  }
  const { reason } = error
  const answered = reason._tag === "Answered"
  const code = answered || reason._tag === "Broken" ? reason.class : codes[reason._tag]
  return {
    code,
    message,
    status_code: answered ? reason.status : null,
    retry_at: null,
    attempts,
    cutOff: undefined
  }
}

const refusals = {
  NoEligibleKey: "no-eligible-key",
  DeadlineExceeded: "deadline-exceeded",
  PermitLost: "permit-lost"
} as const

const cutOffOf = (error: Exclude<OpenRouter.CallError, { readonly _tag: "OpenRouterError" }>) => {
  switch (error._tag) {
    case "NoEligibleKey":
      return undefined
    case "DeadlineExceeded":
      return error.inFlight
    case "PermitLost":
      return error.keyId
  }
}

const codes = {
  Transport: "transport",
  Undecodable: "undecodable",
  InvalidRequest: "invalid-request"
} as const
