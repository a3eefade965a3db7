/**
 * The control API: what a test does to keys, accounts and rules while requests run.
 */
import * as Effect from "effect/Effect"
import { add as addRule, type FaultRule } from "./faults.ts"
import * as Ledger from "./ledger.ts"
import type { SimulatorAccount, SimulatorKey } from "./options.ts"
import { type SimulatorSnapshot, snapshot } from "./records.ts"
import { checkAccount, checkKey, expiryOf, InvalidOptions, secretOf } from "./settings.ts"
import { addKey, type AccountState, type KeyState, now, type State } from "./state.ts"

/** What may change of a key. */
export type KeyPatch = Partial<Omit<SimulatorKey, "name" | "secret">>

/** What may change of an account. */
export type AccountPatch = Partial<Omit<SimulatorAccount, "name">>

const missing = (field: string, name: string, names: Iterable<string>): InvalidOptions =>
  new InvalidOptions({ field: `${field} "${name}"`, expected: `one of: ${Array.from(names).join(", ")}` })

const find = <A>(field: string, name: string, all: ReadonlyMap<string, A>): A => {
  const found = all.get(name)
  if (found === undefined) throw missing(field, name, all.keys())
  return found
}

const patchKey = (state: State, key: KeyState, patch: KeyPatch): void => {
  checkKey("patch", patch, Array.from(state.accounts.keys()))
  const { account, expiresAt, usage, ...fields } = patch
  // A field that is given as undefined is left as it is.
  for (const [name, value] of Object.entries(fields))
    if (value !== undefined) Object.assign(key, { [name]: value })
  if (account !== undefined) key.account = find("account", account, state.accounts)
  if (expiresAt !== undefined) key.expiresAt = expiryOf(expiresAt)
  if (usage === undefined) return
  key.spending = Ledger.make(usage, now(state))
  key.shown = Ledger.make(usage, now(state))
  key.recent = []
}

const patchAccount = (account: AccountState, patch: AccountPatch): void => {
  checkAccount("patch", patch)
  for (const [name, value] of Object.entries(patch))
    if (value !== undefined) Object.assign(account, { [name]: value })
}

const insertKey = (state: State, key: SimulatorKey): void => {
  checkKey("key", key, Array.from(state.accounts.keys()))
  if (state.keys.has(key.name)) throw new InvalidOptions({ field: "key.name", expected: "unique" })
  if (state.secrets.has(secretOf(key))) throw new InvalidOptions({ field: "key.secret", expected: "unique" })
  addKey(state, key)
}

const dropKey = (state: State, name: string): void => {
  const key = find("key", name, state.keys)
  state.keys.delete(name)
  state.secrets.delete(key.secret)
}

const insertRule = (state: State, rule: FaultRule) => {
  if (!(rule.probability === undefined || (rule.probability >= 0 && rule.probability <= 1))) {
    throw new InvalidOptions({ field: "rule.probability", expected: "from 0 to 1" })
  }
  const added = addRule(state, rule)
  return {
    remove: Effect.sync(() => {
      state.rules = state.rules.filter((other) => other !== added)
    }),
    hits: Effect.sync(() => added.hits)
  }
}

const waitUntil = (
  state: State,
  predicate: (snapshot: SimulatorSnapshot) => boolean
): Effect.Effect<SimulatorSnapshot> =>
  Effect.callback((resume) => {
    const look = () => {
      const current = snapshot(state)
      if (!predicate(current)) return
      state.watchers.delete(look)
      resume(Effect.succeed(current))
    }
    state.watchers.add(look)
    look()
    return Effect.sync(() => state.watchers.delete(look))
  })

/** The control API of one simulator. A wrong name or value is a mistake in the test: it dies with what was expected. */
export const make = (state: State) => ({
  setKey: (name: string, patch: KeyPatch) =>
    Effect.sync(() => patchKey(state, find("key", name, state.keys), patch)),
  addKey: (key: SimulatorKey) => Effect.sync(() => insertKey(state, key)),
  removeKey: (name: string) => Effect.sync(() => dropKey(state, name)),
  revoke: (name: string) =>
    Effect.sync(() => {
      find("key", name, state.keys).revoked = true
    }),
  restore: (name: string) =>
    Effect.sync(() => {
      find("key", name, state.keys).revoked = false
    }),
  setAccount: (name: string, patch: AccountPatch) =>
    Effect.sync(() => patchAccount(find("account", name, state.accounts), patch)),
  fault: (rule: FaultRule) => Effect.sync(() => insertRule(state, rule)),
  clearFaults: Effect.sync(() => {
    state.rules = []
  }),
  waitUntil: (predicate: (snapshot: SimulatorSnapshot) => boolean) => waitUntil(state, predicate)
})
