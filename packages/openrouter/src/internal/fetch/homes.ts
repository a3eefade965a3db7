/**
 * Which key made what lives on at OpenRouter: stored responses, files, videos, batches, and the records of generations.
 * A later request that names one of them must go to the same key, or to another of its account.
 */
import * as Effect from "effect/Effect"
import type { HttpClientResponse } from "effect/http"
import type { Filter, Selector } from "@evenkeel/core"
import { record } from "../classifier/facts.ts"
import type { Outgoing } from "./request.ts"

/** The key that made something. */
export interface Home {
  readonly keyId: string
  readonly account: string | undefined
}

/** How many ids are remembered of each kind, the least recently named leave first: about 2 MB. */
const most = 10_000

/** A map that forgets what was not asked for longest. */
class Recent<A> {
  private readonly map = new Map<string, A>()

  get size(): number {
    return this.map.size
  }

  get(id: string): A | undefined {
    const value = this.map.get(id)
    if (value !== undefined) this.set(id, value)
    return value
  }

  set(id: string, value: A): void {
    this.map.delete(id)
    this.map.set(id, value)
    if (this.map.size > most) this.map.delete(this.map.keys().next().value!)
  }
}

/** Endpoints whose answers name what they have made. */
const makes = /\/(responses|files|videos|batches)(\/|$)/

export class Homes {
  private readonly made = new Recent<Home>()
  /** Kept apart: every completion has one, and they would crowd out what is worth more. */
  private readonly generations = new Recent<Home>()

  /** Learns from a successful answer. */
  learn(out: Outgoing, response: HttpClientResponse.HttpClientResponse, body: unknown, home: Home): void {
    const generation = response.headers["x-generation-id"]
    if (generation !== undefined) this.generations.set(generation, home)
    const fields = record(body)
    if (fields === undefined) return
    if (!makes.test(out.url.pathname)) {
      const { id } = fields
      if (typeof id === "string") this.generations.set(id, home)
      return
    }
    if (record(out.json)?.["store"] === false) return
    for (const item of Array.isArray(fields["data"]) ? [fields, ...fields["data"]] : [fields]) {
      for (const [name, value] of Object.entries(record(item) ?? {})) {
        if (typeof value === "string" && (name === "id" || name.endsWith("file_id")))
          this.made.set(value, home)
      }
    }
  }

  /** Where a request belongs; `undefined` if anywhere. Of several homes the first counts: no key has them all. */
  of(url: URL, json: unknown): Home | undefined {
    const id = url.searchParams.get("id")
    const queried = id === null ? undefined : (this.generations.get(id) ?? this.made.get(id))
    if (queried !== undefined || this.made.size === 0) return queried
    for (const segment of url.pathname.split("/")) {
      const home = this.made.get(decoded(segment))
      if (home !== undefined) return home
    }
    return this.within(json)
  }

  /** The first home among the ids in a body, at any depth: `previous_response_id`, `file_id`, `file_ids`, … */
  private within(value: unknown, name = ""): Home | undefined {
    if (typeof value === "string") return /(^|_)ids?$/.test(name) ? this.made.get(value) : undefined
    if (typeof value !== "object" || value === null) return undefined
    const parts = Array.isArray(value) ? value.map((part) => [name, part] as const) : Object.entries(value)
    for (const [part, inner] of parts) {
      const home = this.within(inner, part)
      if (home !== undefined) return home
    }
    return undefined
  }
}

const decoded = (segment: string): string => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

const elsewhere: Filter.Ineligible = {
  reason: "elsewhere",
  scope: "request",
  since: undefined,
  until: undefined
}

/** Only the home, and the keys of its account. */
export const near =
  ({ account, keyId }: Home): Filter.Filter =>
  (candidate) =>
    candidate.id === keyId || (account !== undefined && candidate.account === account) ? undefined : elsewhere

const mark = "@evenkeel/openrouter/home:"

/** The affinity of a request that belongs to a key. */
export const affinityTo = ({ keyId }: Home): string => mark + keyId

/** The selector, preferring the home of a request that has one. */
export const homeward = (selector: Selector.Selector): Selector.Selector => ({
  ...selector,
  make: Effect.map(selector.make, (picker): Selector.Picker => ({
    pick: (candidates, context) => {
      const { affinity } = context
      const home = affinity?.startsWith(mark)
        ? candidates.find((candidate) => mark + candidate.id === affinity)
        : undefined
      return home ?? picker.pick(candidates, context)
    },
    settled: (...args) => picker.settled?.(...args),
    forget: (id) => picker.forget?.(id)
  }))
})
