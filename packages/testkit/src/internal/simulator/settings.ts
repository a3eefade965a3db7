/**
 * Checks the options, names the field that is wrong, and fills in the defaults.
 */
import * as Duration from "effect/Duration"
import * as Hash from "effect/Hash"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { SimulatorAccount, SimulatorKey, SimulatorModel, SimulatorOptions } from "./options.ts"
import { defaultModels } from "./options.ts"

/** An option out of range. `field` is its path in the options, such as `keys[2].limit`. */
export class InvalidOptions extends Schema.TaggedError<InvalidOptions>()("InvalidOptions", {
  field: Schema.String,
  expected: Schema.String
}) {
  override get message(): string {
    return `Simulator options: ${this.field} must be ${this.expected}`
  }
}

/** The options with every default in place. */
export interface Settings {
  readonly port: number
  readonly keys: ReadonlyArray<SimulatorKey>
  readonly accounts: ReadonlyArray<SimulatorAccount>
  readonly models: ReadonlyArray<SimulatorModel>
  readonly latency: NonNullable<SimulatorOptions["latency"]>
  readonly tokensPerSecond: number
  readonly chunkDelayMillis: number
  readonly completion: SimulatorOptions["completion"]
  readonly keyLagMillis: number
  readonly spentKeyStatus: 402 | 403
  readonly inFlightRetryAfter: number
  readonly emptyUsageChoices: boolean
  readonly acceptUnknownKeys: boolean
  readonly logSize: number
  readonly drainMillis: number
}

const must = (field: string, holds: boolean, expected: string): void => {
  if (!holds) throw new InvalidOptions({ field, expected })
}

const amount = (field: string, value: number | null | undefined): void =>
  must(field, value === undefined || value === null || value >= 0, "0 or more")

const count = (field: string, value: number | undefined): void =>
  must(field, value === undefined || (Number.isInteger(value) && value > 0), "a whole number above 0")

const unique = (field: string, values: ReadonlyArray<string>): void => {
  const first = values.findIndex((value, index) => values.indexOf(value) !== index)
  // The value itself is not shown: for secrets the index is all that may be said.
  must(`${field.replace("[]", `[${first}]`)}`, first === -1, "unique")
}

/**
 * The secret of a key that is given none. It does not contain the name: names become ids, which are logged, and a client
 * may well refuse an id that gives away a part of the secret.
 */
export const defaultSecret = (name: string): string =>
  `sk-or-v1-simulated-${(Hash.string(name) >>> 0).toString(16).padStart(8, "0")}`

/** The secret a key answers to. */
export const secretOf = (key: SimulatorKey): string =>
  key.secret === undefined
    ? defaultSecret(key.name)
    : typeof key.secret === "string"
      ? key.secret
      : Redacted.value(key.secret)

/** The expiry of a key in epoch milliseconds. */
export const expiryOf = (expiresAt: SimulatorKey["expiresAt"]): number | null =>
  expiresAt === undefined || expiresAt === null ? null : new Date(expiresAt).getTime()

/** Checks the fields that a key's patch may set; throws {@link InvalidOptions}. */
export const checkKey = (
  field: string,
  key: Partial<SimulatorKey>,
  accounts: ReadonlyArray<string>
): void => {
  must(`${field}.name`, key.name !== "", "not empty")
  must(`${field}.secret`, key.secret === undefined || secretOf({ name: "", ...key }) !== "", "not empty")
  must(
    `${field}.account`,
    key.account === undefined || accounts.includes(key.account),
    `one of the accounts: ${accounts.join(", ")}`
  )
  amount(`${field}.limit`, key.limit)
  must(
    `${field}.limitReset`,
    key.limitReset === undefined ||
      key.limitReset === null ||
      ["daily", "weekly", "monthly"].includes(key.limitReset),
    `"daily", "weekly", "monthly" or null`
  )
  amount(`${field}.usage`, key.usage)
  must(`${field}.usage`, key.usage === undefined || Number.isFinite(key.usage), "finite")
  const expiry = expiryOf(key.expiresAt)
  must(
    `${field}.expiresAt`,
    expiry === null || Number.isFinite(expiry),
    "an ISO 8601 time or epoch milliseconds"
  )
}

/** Checks the fields that an account's patch may set; throws {@link InvalidOptions}. */
export const checkAccount = (field: string, account: Partial<SimulatorAccount>): void => {
  must(`${field}.name`, account.name !== "", "not empty")
  must(`${field}.balance`, !Number.isNaN(account.balance ?? 0), "a number")
  amount(`${field}.inFlightBudget`, account.inFlightBudget)
  count(`${field}.requestsPerMinute`, account.requestsPerMinute)
  count(`${field}.freeRequestsPerMinute`, account.freeRequestsPerMinute)
  count(`${field}.freeRequestsPerDay`, account.freeRequestsPerDay)
}

const checkModel = (field: string, model: SimulatorModel): void => {
  must(`${field}.id`, model.id !== "", "not empty")
  amount(`${field}.promptPrice`, model.promptPrice)
  amount(`${field}.completionPrice`, model.completionPrice)
  count(`${field}.contextLength`, model.contextLength)
  count(`${field}.maxCompletionTokens`, model.maxCompletionTokens)
}

const checkLatency = (latency: SimulatorOptions["latency"]): void => {
  if (latency === undefined || typeof latency === "function") return
  const [min, max] = typeof latency === "number" ? [latency, latency] : latency
  must(
    "latency",
    min >= 0 && max >= min && Number.isFinite(max),
    "milliseconds, or [min, max] with 0 <= min <= max"
  )
}

const millis = (field: string, input: Duration.Input | undefined): number => {
  const duration = input === undefined ? Duration.zero : Duration.fromInputUnsafe(input)
  const value = Duration.toMillis(duration)
  must(field, Number.isFinite(value) && value >= 0, "a finite duration of 0 or more")
  return value
}

/** Checks options and fills in defaults; throws {@link InvalidOptions}. */
export const make = (options: SimulatorOptions): Settings => {
  const accounts = options.accounts ?? [{ name: "default" }]
  const keys = options.keys ?? [{ name: "key-1" }, { name: "key-2" }, { name: "key-3" }]
  const models = options.models ?? defaultModels
  must("accounts", accounts.length > 0, "at least one account")
  must("models", models.length > 0, "at least one model")
  accounts.forEach((account, index) => checkAccount(`accounts[${index}]`, account))
  const names = accounts.map((account) => account.name)
  keys.forEach((key, index) => checkKey(`keys[${index}]`, key, names))
  models.forEach((model, index) => checkModel(`models[${index}]`, model))
  unique("accounts[].name", names)
  unique(
    "keys[].name",
    keys.map((key) => key.name)
  )
  unique("keys[].secret", keys.map(secretOf))
  unique(
    "models[].id",
    models.map((model) => model.id)
  )
  const port = options.port ?? 0
  must("port", Number.isInteger(port) && port >= 0 && port <= 65_535, "a whole number from 0 to 65535")
  checkLatency(options.latency)
  must("tokensPerSecond", (options.tokensPerSecond ?? 1) > 0, "above 0")
  must("inFlightRetryAfter", Number.isInteger(options.inFlightRetryAfter ?? 2), "a whole number of seconds")
  amount("inFlightRetryAfter", options.inFlightRetryAfter)
  must("spentKeyStatus", [402, 403].includes(options.spentKeyStatus ?? 403), "402 or 403")
  count("logSize", options.logSize)
  return {
    port,
    keys,
    accounts,
    models,
    latency: options.latency ?? 0,
    tokensPerSecond: options.tokensPerSecond ?? Infinity,
    chunkDelayMillis: millis("chunkDelay", options.chunkDelay),
    completion: options.completion,
    keyLagMillis: millis("keyLag", options.keyLag),
    spentKeyStatus: options.spentKeyStatus ?? 403,
    inFlightRetryAfter: options.inFlightRetryAfter ?? 2,
    emptyUsageChoices: options.emptyUsageChoices ?? false,
    acceptUnknownKeys: options.acceptUnknownKeys ?? false,
    logSize: options.logSize ?? 10_000,
    drainMillis: millis("drain", options.drain)
  }
}
