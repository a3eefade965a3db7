/**
 * Small things about values of unknown shape, which is what a wire brings.
 */
import type * as Schema from "effect/Schema"

export type Fields = Readonly<Record<string, unknown>>

const isRecord = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const record = (value: unknown): Fields => (isRecord(value) ? value : {})

export const records = (value: unknown): ReadonlyArray<Fields> =>
  Array.isArray(value) ? value.filter(isRecord) : []

/** A string that says something. */
export const text = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined

export const number = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined

/** Without the fields that are not known: metadata are JSON, and JSON has no `undefined`. */
export const known = <A extends object>(fields: A): Known<A> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

/** What has been parsed from JSON is JSON. */
export const json = (value: Fields): { readonly [field: string]: Schema.Json } => value as never

type Known<A> = { [K in keyof A as undefined extends A[K] ? never : K]: A[K] } & {
  [K in keyof A as undefined extends A[K] ? K : never]?: Exclude<A[K], undefined>
}
