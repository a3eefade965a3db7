/**
 * The mutable state of one simulator. All of it changes in synchronous steps, so that no two requests can interleave
 * inside one.
 */
import type * as Clock from "effect/Clock"
import type * as Random from "effect/Random"
import type { Rule } from "./faults.ts"
import * as Ledger from "./ledger.ts"
import type { SimulatorAccount, SimulatorKey, SimulatorModel } from "./options.ts"
import { type LimitReset, startOf } from "./period.ts"
import type { RequestRecord } from "./records.ts"
import { expiryOf, secretOf, type Settings } from "./settings.ts"

/** A count of requests in the current clock minute or UTC day. */
export interface Window {
  start: number
  count: number
}

export interface AccountState {
  readonly name: string
  balance: number
  usage: number
  organizationId: string | undefined
  userId: string
  freeTier: boolean
  requestsPerMinute: number | undefined
  inFlightBudget: number | undefined
  freeRequestsPerMinute: number
  freeRequestsPerDay: number | undefined
  inFlight: number
  /** USD that the estimates of requests in flight hold together. */
  held: number
  throttled: number
  readonly minute: Window
  readonly freeMinute: Window
  readonly freeDay: Window
}

export interface KeyState {
  readonly name: string
  readonly secret: string
  account: AccountState
  workspace: string | null
  limit: number | null
  limitReset: LimitReset | null
  includeByokInLimit: boolean
  disabled: boolean
  revoked: boolean
  expiresAt: number | null
  management: boolean
  /** What has been spent; the checks before a request read it. */
  spending: Ledger.Ledger
  /** What `/key` shows: charges move here from `recent` once they are older than the lag. */
  shown: Ledger.Ledger
  recent: Array<Ledger.Charge>
  inFlight: number
  maxInFlight: number
  requests: number
  reads: number
  ok: number
  aborted: number
  readonly failed: Map<string, number>
}

export interface State {
  readonly settings: Settings
  readonly clock: Clock.Clock
  readonly random: Random.Random
  readonly accounts: Map<string, AccountState>
  readonly keys: Map<string, KeyState>
  readonly secrets: Map<string, KeyState>
  /** The finished requests, oldest first; may hold up to twice the size of the log before it is cut. */
  log: Array<RequestRecord>
  /** What `/generation` finds, by id; bounded like the log. */
  readonly generations: Map<string, { readonly account: string | undefined; readonly data: unknown }>
  rules: ReadonlyArray<Rule>
  /** Called whenever a request begins, is let in, or ends. */
  readonly watchers: Set<() => void>
  inFlight: number
  unknownKeys: number
}

/** The time in epoch milliseconds. */
export const now = (state: State): number => state.clock.currentTimeMillisUnsafe()

/** Tells the watchers that a request began, was let in, or ended. */
export const notify = (state: State): void => {
  for (const watcher of state.watchers) watcher()
}

const makeAccount = (account: SimulatorAccount): AccountState => ({
  name: account.name,
  balance: account.balance ?? Infinity,
  usage: 0,
  organizationId: account.organizationId,
  userId: account.userId ?? `user_simulated_${account.name}`,
  freeTier: account.freeTier ?? false,
  requestsPerMinute: account.requestsPerMinute,
  inFlightBudget: account.inFlightBudget,
  freeRequestsPerMinute: account.freeRequestsPerMinute ?? 20,
  freeRequestsPerDay: account.freeRequestsPerDay,
  inFlight: 0,
  held: 0,
  throttled: 0,
  minute: { start: 0, count: 0 },
  freeMinute: { start: 0, count: 0 },
  freeDay: { start: 0, count: 0 }
})

/** Adds a key whose options were checked. */
export const addKey = (state: State, key: SimulatorKey): KeyState => {
  const account =
    key.account === undefined ? state.accounts.values().next().value : state.accounts.get(key.account)
  if (account === undefined) throw new Error(`Simulator: no account for key "${key.name}"`)
  const at = now(state)
  const made: KeyState = {
    name: key.name,
    secret: secretOf(key),
    account,
    workspace: key.workspace ?? null,
    limit: key.limit ?? null,
    limitReset: key.limitReset ?? null,
    includeByokInLimit: key.includeByokInLimit ?? false,
    disabled: key.disabled ?? false,
    revoked: false,
    expiresAt: expiryOf(key.expiresAt),
    management: key.management ?? false,
    spending: Ledger.make(key.usage ?? 0, at),
    shown: Ledger.make(key.usage ?? 0, at),
    recent: [],
    inFlight: 0,
    maxInFlight: 0,
    requests: 0,
    reads: 0,
    ok: 0,
    aborted: 0,
    failed: new Map()
  }
  state.keys.set(made.name, made)
  state.secrets.set(made.secret, made)
  return made
}

/** A fresh state from checked settings. */
export const make = (settings: Settings, clock: Clock.Clock, random: Random.Random): State => {
  const state: State = {
    settings,
    clock,
    random,
    accounts: new Map(settings.accounts.map((account) => [account.name, makeAccount(account)])),
    keys: new Map(),
    secrets: new Map(),
    log: [],
    generations: new Map(),
    rules: [],
    watchers: new Set(),
    inFlight: 0,
    unknownKeys: 0
  }
  for (const key of settings.keys) addKey(state, key)
  return state
}

/** Books what a request cost on the key and on its account. */
export const charge = (state: State, key: KeyState, cost: number): void => {
  if (cost === 0) return
  const at = now(state)
  Ledger.add(key.spending, at, cost)
  key.recent.push({ at, cost })
  showOlder(state, key)
  key.account.usage = Ledger.usd(key.account.usage + cost)
  key.account.balance = Ledger.usd(key.account.balance - cost)
}

/** Moves the charges that have become older than the lag to where `/key` shows them. */
export const showOlder = (state: State, key: KeyState): void => {
  const horizon = now(state) - state.settings.keyLagMillis
  let moved = 0
  for (const recent of key.recent) {
    if (recent.at > horizon) break
    Ledger.add(key.shown, recent.at, recent.cost)
    moved++
  }
  if (moved > 0) key.recent.splice(0, moved)
  Ledger.roll(key.shown, now(state))
}

/** USD that a key may still spend; `null` without a cap. May be negative. */
export const headroom = (state: State, key: KeyState): number | null =>
  key.limit === null ? null : Ledger.usd(key.limit - Ledger.spent(key.spending, key.limitReset, now(state)))

/** The id that stands for the account on the wire. */
export const accountId = (account: AccountState): string => account.organizationId ?? account.userId

/** The free requests an account may make in a day: 1000, or 50 if it has never paid. */
export const freeDailyLimit = (account: AccountState): number =>
  account.freeRequestsPerDay ?? (account.freeTier ? 50 : 1000)

/** The free requests an account has made in the current UTC day. */
export const freeRequestsToday = (state: State, account: AccountState): number =>
  account.freeDay.start === startOf("daily", now(state)) ? account.freeDay.count : 0

/** The model that an id means: routing suffixes such as `:nitro` name the same model. */
export const findModel = (state: State, id: string): SimulatorModel | undefined => {
  if (id === "openrouter/auto") return state.settings.models[0]
  const base = id.replace(/:(nitro|floor|exacto|online)$/, "")
  return state.settings.models.find((model) => model.id === base)
}
