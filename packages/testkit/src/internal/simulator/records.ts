/**
 * What the simulator tells about its requests. No record and no snapshot holds a secret.
 */
import { endOf, iso } from "./period.ts"
import { spent } from "./ledger.ts"
import {
  type AccountState,
  freeDailyLimit,
  freeRequestsToday,
  headroom,
  type KeyState,
  now,
  type State
} from "./state.ts"

/** One finished request. Records are in the order in which requests ended. */
export interface RequestRecord {
  /** The value of `X-Generation-Id`. */
  readonly id: string
  /** The name of the key; `undefined` if the request had none that is known. */
  readonly key: string | undefined
  readonly account: string | undefined
  readonly method: string
  /** The path after the base URL, such as `/chat/completions`. */
  readonly path: string
  readonly model: string | undefined
  readonly stream: boolean
  /** The HTTP status; `undefined` if the request ended before one was sent. */
  readonly status: number | undefined
  /** The code of the error, also of an error inside a 200; `undefined` for a success. */
  readonly code: number | string | undefined
  /** `metadata.limit_source` of the error. */
  readonly limitSource: string | undefined
  /** The tag of the fault action that was applied. */
  readonly fault: string | undefined
  /** Epoch milliseconds. */
  readonly startedAt: number
  /** Epoch milliseconds. */
  readonly endedAt: number
  /** USD charged. */
  readonly cost: number
  readonly promptTokens: number
  readonly completionTokens: number
  /** Whether the client went away before the answer was complete. */
  readonly aborted: boolean
}

/** A key at one instant. */
export interface KeySnapshot {
  readonly name: string
  readonly account: string
  readonly inFlight: number
  /** The highest `inFlight` so far. */
  readonly maxInFlight: number
  /** Inference requests that reached the simulator with this key. */
  readonly requests: number
  /** Other requests, such as `GET /key`. */
  readonly reads: number
  readonly ok: number
  readonly aborted: number
  /** Inference requests that failed, by HTTP status; `"200"` counts answers that failed after it, `"none"` those without. */
  readonly failed: Readonly<Record<string, number>>
  /** USD spent in total, without the lag of `/key`. */
  readonly usage: number
  readonly limit: number | null
  /** `limit` less what the current period has spent, without the lag of `/key`; negative when the cap was overrun. */
  readonly limitRemaining: number | null
  /** ISO 8601; `null` for a cap that never resets. */
  readonly resetsAt: string | null
  readonly disabled: boolean
  readonly revoked: boolean
}

/** An account at one instant. */
export interface AccountSnapshot {
  readonly name: string
  readonly balance: number
  readonly usage: number
  readonly inFlight: number
  /** USD that the estimates of requests in flight hold. */
  readonly held: number
  /** Requests refused with a 429 by the limits of the account. */
  readonly throttled: number
  readonly freeRequestsToday: number
  readonly freeRequestsPerDay: number
}

/** Everything at one instant. */
export interface SimulatorSnapshot {
  readonly inFlight: number
  readonly keys: ReadonlyArray<KeySnapshot>
  readonly accounts: ReadonlyArray<AccountSnapshot>
}

const keySnapshot = (state: State, key: KeyState): KeySnapshot => ({
  name: key.name,
  account: key.account.name,
  inFlight: key.inFlight,
  maxInFlight: key.maxInFlight,
  requests: key.requests,
  reads: key.reads,
  ok: key.ok,
  aborted: key.aborted,
  failed: Object.fromEntries(key.failed),
  usage: spent(key.spending, null, now(state)),
  limit: key.limit,
  limitRemaining: headroom(state, key),
  resetsAt: key.limitReset === null ? null : iso(endOf(key.limitReset, now(state))),
  disabled: key.disabled,
  revoked: key.revoked
})

const accountSnapshot = (state: State, account: AccountState): AccountSnapshot => ({
  name: account.name,
  balance: account.balance,
  usage: account.usage,
  inFlight: account.inFlight,
  held: account.held,
  throttled: account.throttled,
  freeRequestsToday: freeRequestsToday(state, account),
  freeRequestsPerDay: freeDailyLimit(account)
})

/** A copy of what matters; the simulator goes on without changing it. */
export const snapshot = (state: State): SimulatorSnapshot => ({
  inFlight: state.inFlight,
  keys: Array.from(state.keys.values(), (key) => keySnapshot(state, key)),
  accounts: Array.from(state.accounts.values(), (account) => accountSnapshot(state, account))
})

/** The log, cut to its size. */
export const requests = (state: State): ReadonlyArray<RequestRecord> =>
  state.log.slice(-state.settings.logSize)

/** Adds a record; the log is cut when it has grown to twice its size, so that a request pays for no copy. */
export const append = (state: State, record: RequestRecord): void => {
  state.log.push(record)
  if (state.log.length >= state.settings.logSize * 2) state.log = state.log.slice(-state.settings.logSize)
}
