/**
 * Keys from the environment, or from any other `ConfigProvider`.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Key from "./Key.ts"

/**
 * Reads the keys of the program from `Config`. The first of these that is set is used:
 *
 * - `OPENROUTER_KEYS`: a list, separated by commas or white space
 * - `OPENROUTER_API_KEY`: one key
 * - `OPENROUTER_KEY_1` … `OPENROUTER_KEY_n`, without a gap
 *
 * Each entry is a secret, or `name=secret` with a name of 1 to 32 letters, digits, `.`, `_` and `-`, which becomes the
 * id of the key.
 *
 * Fails with `InvalidKey`, naming the position, on an empty entry or a gap, and when none of them is set. Duplicates are
 * refused by the pool that takes the keys.
 */
export const fromConfig: Effect.Effect<
  ReadonlyArray<Key.Input>,
  Key.InvalidKey | Config.ConfigError
> = Effect.gen(function* () {
  const list = yield* optional("OPENROUTER_KEYS")
  if (list !== undefined) return (yield* split(list)).map(parseEntry)
  const single = yield* optional("OPENROUTER_API_KEY")
  if (single !== undefined) return [parseEntry(single)]
  return (yield* numbered).map(parseEntry)
})

const optional = (name: string): Effect.Effect<string | undefined, Config.ConfigError> =>
  Effect.map(Config.option(Config.Redacted(name)), (value) =>
    Option.isSome(value) ? Redacted.value(value.value) : undefined
  )

const invalid = (position: number | undefined, expected: string) =>
  new Key.InvalidKey({ position, field: "keys", expected })

const split = (list: string): Effect.Effect<ReadonlyArray<string>, Key.InvalidKey> => {
  const separator = list.includes(",") ? "," : /\s+/
  const entries = list
    .trim()
    .split(separator)
    .map((entry) => entry.trim())
  // A comma behind the last entry is a habit, not a mistake.
  if (entries.length > 1 && entries.at(-1) === "") entries.pop()
  const empty = entries.indexOf("")
  return empty < 0
    ? Effect.succeed(entries)
    : Effect.fail(
        invalid(empty + 1, "without empty entries (OPENROUTER_KEYS is separated by commas or white space)")
      )
}

/** How far behind the last numbered key another one is looked for, so that a gap is not taken for the end. */
const lookAhead = 10

const numbered = Effect.gen(function* () {
  const entries: Array<string> = []
  let missing: number | undefined
  for (let n = 1; missing === undefined || n <= missing + lookAhead; n++) {
    const entry = yield* optional(`OPENROUTER_KEY_${n}`)
    if (entry === undefined) missing ??= n
    else if (missing !== undefined) {
      return yield* invalid(missing, `set: OPENROUTER_KEY_${n} is, but OPENROUTER_KEY_${missing} is not`)
    } else entries.push(entry)
  }
  if (entries.length === 0) {
    return yield* invalid(
      undefined,
      "set as OPENROUTER_KEYS (a list), OPENROUTER_API_KEY, or OPENROUTER_KEY_1 … OPENROUTER_KEY_n"
    )
  }
  return entries
})

/** A name is short and a secret is long, so that the padding of a token that ends in `=` is not taken for a secret. */
const named = /^([A-Za-z0-9._-]{1,32})=(\S{8,})$/

const parseEntry = (entry: string): Key.Input => {
  const match = named.exec(entry)
  return match === null ? entry : { id: match[1]!, secret: match[2]! }
}
