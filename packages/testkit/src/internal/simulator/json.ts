/**
 * Lenient readers of untyped JSON. The simulator accepts what OpenRouter accepts, so a field of an unexpected type reads
 * as absent instead of failing the request.
 */

/** A JSON value. */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** A JSON object, or anything else that can be read by key. */
export type JsonRecord = { readonly [key: string]: unknown }

export const isRecord = (value: unknown): value is JsonRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const record = (value: unknown): JsonRecord => (isRecord(value) ? value : {})

export const list = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

export const string = (value: unknown): string | undefined =>
  typeof value === "string" && value.length > 0 ? value : undefined

export const number = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined

/** The text of a message's content: a string, or an array of parts of which the text ones count. */
export const text = (content: unknown): string =>
  typeof content === "string"
    ? content
    : list(content)
        .map((part) => string(record(part)["text"]) ?? "")
        .join("")

/** Parses JSON; `undefined` for text that is none. */
export const parse = (source: string): unknown => {
  try {
    return JSON.parse(source)
  } catch {
    return undefined
  }
}
