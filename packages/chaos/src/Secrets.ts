/**
 * Whether a text shows a secret, a part of one, or either in another encoding.
 */
import { rngOf } from "./Seed.ts"
import * as util from "node:util"

/** Characters of which some change when they are put into a URL or into base64. */
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_"

/** What all keys of OpenRouter begin with: it tells nothing. */
const prefix = "sk-or-v1-"

/** A secret that nobody else has, the same for the same name. */
export const secretOf = (name: string): string => {
  const random = rngOf(Array.from(name).reduce((hash, char) => Math.imul(hash, 31) + char.charCodeAt(0), 7))
  return `${prefix}${Array.from({ length: 48 }, () => alphabet[Math.floor(random() * alphabet.length)]).join("")}`
}

/** A run of so many characters is a part of a secret. */
const telling = 8
/** In hexadecimal digits each is two of them; half as many are met by chance among the ids of some thousand spans. */
const tellingDigits = 2 * telling

/** All that a secret may look like in letters: as it is, in a URL, and in base64 wherever it begins there. */
const formsOf = (secret: string): ReadonlyArray<string> => {
  const told = secret.slice(prefix.length)
  const shifted = [0, 1, 2].map((n) => Buffer.from(told.slice(n)))
  return [
    told,
    encodeURIComponent(told),
    // The last characters depend on what follows.
    ...shifted.flatMap((bytes) => [
      bytes.toString("base64").slice(0, -4),
      bytes.toString("base64url").slice(0, -4)
    ])
  ]
}

/** Finds the parts of these secrets that occur in a text, in any of their forms. */
export const finder = (secrets: ReadonlyArray<string>): ((text: string) => ReadonlyArray<string>) => {
  const parts = new Set(secrets.flatMap(formsOf).flatMap((form) => runsOf(form, telling)))
  const digits = new Set(secrets.map(hexOf).flatMap((form) => runsOf(form, tellingDigits)))
  return (text) => [
    ...runsOf(text, telling).filter((run) => parts.has(run)),
    ...runsOf(text, tellingDigits).filter((run) => digits.has(run))
  ]
}

const hexOf = (secret: string): string => Buffer.from(secret.slice(prefix.length)).toString("hex")

const runsOf = (text: string, length: number): Array<string> =>
  Array.from({ length: Math.max(0, text.length - length + 1) }, (_, at) => text.slice(at, at + length))

/** All the text that a log, an error report or a debugger could show of a value. */
export const textOf = (value: unknown): string => {
  const shown = [asJson(value), util.inspect(value, { depth: 20, showHidden: true, getters: true })]
  for (let error = value, depth = 0; error instanceof Error && depth < 10; error = error.cause, depth++)
    shown.push(String(error), error.message, error.stack ?? "")
  return [...shown, asString(value)].join("\n")
}

const asString = (value: unknown): string => {
  try {
    return String(value)
  } catch {
    return "[no string]"
  }
}

const asJson = (value: unknown): string => {
  const seen = new WeakSet<object>()
  const plain = (_: string, part: unknown) => {
    if (typeof part === "bigint") return String(part)
    if (typeof part !== "object" || part === null) return part
    if (seen.has(part)) return "[again]"
    seen.add(part)
    return part instanceof Map || part instanceof Set ? Array.from(part) : part
  }
  try {
    return JSON.stringify(value, plain) ?? ""
  } catch (error) {
    // Not everything can be JSON; what it says about that must be as clean.
    return String(error)
  }
}
