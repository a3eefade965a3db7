/**
 * An API key: a secret, a stable id under which everything else speaks of it, and who owns it.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { keyedHash } from "./internal/keyedHash.ts"

/**
 * An API key as the pool holds it. Make it with `Key.make`, which validates.
 */
export interface Key {
  /** Stable and loggable; by default a short keyed hash of the secret. */
  readonly id: string
  readonly secret: Redacted.Redacted<string>
  /** Keys of one account share its balance and its rate limits; `undefined` if not known. */
  readonly account: string | undefined
  readonly workspace: string | undefined
  /** Greater than 0 and finite. Default 1. */
  readonly weight: number
  /** A whole number from 0 up; lower is preferred by strategies that look at tiers. Default 0. */
  readonly tier: number
  /** The most requests in flight at once: a whole number from 1 up, or `Infinity`, the default. */
  readonly maxInFlight: number
  readonly labels: Readonly<Record<string, string>>
}

/**
 * What may be said about a key besides its secret.
 */
export interface Traits {
  readonly account?: string | undefined
  readonly workspace?: string | undefined
  readonly weight?: number | undefined
  readonly tier?: number | undefined
  readonly maxInFlight?: number | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
}

/**
 * A key as the user gives it: just the secret, or a record.
 */
export type Input =
  | string
  | Redacted.Redacted<string>
  | (Traits & {
      readonly secret: string | Redacted.Redacted<string>
      /** Your own name for the key: 1 to 64 characters, and none of it taken from the secret. */
      readonly id?: string | undefined
    })

/**
 * A key, or a list of keys, is not usable as given.
 *
 * The message names the position in the list (from 1), the field and what is allowed, and never the secret.
 */
export class InvalidKey extends Data.TaggedError("InvalidKey")<{
  /** Where in the given list, from 1; `undefined` for a key given alone. */
  readonly position: number | undefined
  readonly field:
    | "secret"
    | "id"
    | "account"
    | "workspace"
    | "weight"
    | "tier"
    | "maxInFlight"
    | "labels"
    | "keys"
  readonly expected: string
}> {
  override get message(): string {
    const where = this.position === undefined ? "" : `key at position ${this.position}: `
    return `${where}${this.field} must be ${this.expected}`
  }
}

/**
 * Makes a key, with a default id of 10 hexadecimal digits: an HMAC-SHA-256 of the secret under a fixed key of
 * Evenkeel's, so that the same secret has the same id in every process and the id gives none of it away.
 *
 * Fails with `InvalidKey` on an empty secret, an id that is empty, too long or contains a part of the secret, or a trait
 * out of range.
 */
export const make = Effect.fnUntraced(function* (
  input: Input,
  position?: number
): Effect.fn.Return<Key, InvalidKey> {
  const record = typeof input === "string" || Redacted.isRedacted(input) ? { secret: input } : input
  const fail = (field: InvalidKey["field"], expected: string) => new InvalidKey({ position, field, expected })
  if (typeof record !== "object" || record === null) {
    return yield* fail("secret", "a string, a Redacted string, or a record with a secret")
  }
  const raw = Redacted.isRedacted(record.secret) ? Redacted.value(record.secret) : record.secret
  if (typeof raw !== "string" || raw.trim() === "") return yield* fail("secret", "a non-empty string")
  const secret = raw.trim()
  if (!/^[\x21-\x7e]+$/.test(secret)) {
    return yield* fail("secret", "printable ASCII without spaces, as an HTTP header can carry it")
  }
  const id = record.id ?? (yield* Effect.promise(() => keyedHash(secret)))
  if (typeof id !== "string" || id.length < 1 || id.length > 64) {
    return yield* fail("id", "a name of 1 to 64 characters")
  }
  if (record.id !== undefined && sharesText(id, secret)) {
    return yield* fail("id", "a name that contains no part of the secret: ids are logged")
  }
  const traits = validate(record)
  if (traits !== undefined) return yield* fail(...traits)
  return {
    id,
    secret: Redacted.make(secret, { label: id }),
    account: record.account,
    workspace: record.workspace,
    weight: record.weight ?? 1,
    tier: record.tier ?? 0,
    maxInFlight: record.maxInFlight ?? Infinity,
    labels: record.labels ?? {}
  }
})

/**
 * Makes all keys of a list, and refuses duplicates: of a secret, which would count one key twice, and of an id.
 */
export const makeAll = Effect.fnUntraced(function* (
  inputs: ReadonlyArray<Input>
): Effect.fn.Return<ReadonlyArray<Key>, InvalidKey> {
  const keys: Array<Key> = []
  for (const [index, input] of inputs.entries()) {
    const key = yield* make(input, index + 1)
    const refused = duplicate(keys, key, index + 1)
    if (refused !== undefined) return yield* refused
    keys.push(key)
  }
  return keys
})

/**
 * Why `key` cannot join `keys`: the same secret would be counted as two keys, the same id would speak of two.
 */
export const duplicate = (
  keys: ReadonlyArray<Key>,
  key: Key,
  position: number | undefined
): InvalidKey | undefined => {
  for (const [index, other] of keys.entries()) {
    const same =
      Redacted.value(other.secret) === Redacted.value(key.secret)
        ? "secret"
        : other.id === key.id
          ? "id"
          : undefined
    if (same !== undefined) {
      return new InvalidKey({
        position,
        field: same,
        expected: `unique: it is the same as at position ${index + 1}`
      })
    }
  }
  return undefined
}

/**
 * Applies changed traits to a key; its id and its secret stay.
 */
export const change = (key: Key, traits: Traits): Effect.Effect<Key, InvalidKey> => {
  const invalid = validate(traits)
  if (invalid !== undefined) {
    return Effect.fail(new InvalidKey({ position: undefined, field: invalid[0], expected: invalid[1] }))
  }
  return Effect.succeed({
    ...key,
    account: "account" in traits ? traits.account : key.account,
    workspace: "workspace" in traits ? traits.workspace : key.workspace,
    weight: traits.weight ?? key.weight,
    tier: traits.tier ?? key.tier,
    maxInFlight: traits.maxInFlight ?? key.maxInFlight,
    labels: traits.labels ?? key.labels
  })
}

const validate = (traits: Traits): readonly [InvalidKey["field"], string] | undefined => {
  const { account, workspace, weight, tier, maxInFlight, labels } = traits
  if (account !== undefined && (typeof account !== "string" || account === ""))
    return ["account", "a non-empty string"]
  if (workspace !== undefined && (typeof workspace !== "string" || workspace === "")) {
    return ["workspace", "a non-empty string"]
  }
  if (weight !== undefined && !(typeof weight === "number" && weight > 0 && weight < Infinity)) {
    return ["weight", "a finite number greater than 0"]
  }
  if (tier !== undefined && !(Number.isInteger(tier) && tier >= 0))
    return ["tier", "a whole number from 0 up"]
  if (
    maxInFlight !== undefined &&
    !(maxInFlight === Infinity || (Number.isInteger(maxInFlight) && maxInFlight >= 1))
  ) {
    return ["maxInFlight", "a whole number from 1 up, or Infinity"]
  }
  if (
    labels !== undefined &&
    (typeof labels !== "object" || Object.values(labels).some((v) => typeof v !== "string"))
  ) {
    return ["labels", "a record of strings"]
  }
  return undefined
}

/** The length from which a shared run of characters counts as a part of the secret. */
const telling = 6

const sharesText = (id: string, secret: string): boolean => {
  // The public prefix of every OpenRouter key tells nothing.
  const told = secret.replace(/^sk-or-v1-/, "")
  if (told.length < telling) return id.includes(told)
  for (let i = 0; i + telling <= told.length; i++) {
    if (id.includes(told.slice(i, i + telling))) return true
  }
  return false
}
