/**
 * Filters are *facts*: why a key cannot serve a request now, and until when. They are the only source of "no key".
 *
 * The test between a filter and a selector: if ignoring it would make the request fail, it is a filter.
 */
import { dual } from "effect/Function"
import type { Candidate, PickContext } from "./Candidate.ts"
import type { FaultReason, FaultScope } from "./Outcome.ts"

/**
 * Why a key cannot serve: a fault that benches it or its owner, or one of the states of a key and a request.
 *
 * - `saturated`: `maxInFlight` requests are in flight
 * - `draining`: the key takes no new requests
 * - `probing`: the key is on probation, and its one probe is under way
 * - `circuit-open`: the circuit breaker is open
 * - `warming`: it has just recovered, and has as many requests in flight as it may have so soon
 * - `paced`: a limit of requests or tokens per time is reached
 * - `shared`: this process has used up its share of what is left of the credit, until it hears of the other processes
 * - `below-floor`: the strategy wants more credit than is left
 * - `tried`: this request was already refused on this key
 *
 * Filters of your own may use other words.
 */
export type Reason =
  | FaultReason
  | "saturated"
  | "draining"
  | "probing"
  | "circuit-open"
  | "warming"
  | "paced"
  | "shared"
  | "below-floor"
  | "tried"
  | (string & {})

/**
 * The verdict of a filter that says no.
 */
export interface Ineligible {
  readonly reason: Reason
  /** Whose fault it is; `request` when it lies in this request (as `tried`). */
  readonly scope: FaultScope | "request"
  /** Since when, in milliseconds since the epoch; `undefined` if not known. */
  readonly since: number | undefined
  /** Until when, in milliseconds since the epoch; `undefined` if only an event can tell (a permit, a top-up). */
  readonly until: number | undefined
  /**
   * It is a guess from failures, not a fact. When only guesses keep a request from all keys, they are overlooked: a
   * guess never takes the last key.
   */
  readonly soft?: boolean | undefined
}

/**
 * Says why a candidate cannot serve, or `undefined` if it can. Synchronous, and without side effects: `explain` calls it too.
 */
export type Filter = (candidate: Candidate, context: PickContext) => Ineligible | undefined

/**
 * All filters must agree; the first that says no gives the reason. What is only a guess (`soft`) gives it where no other
 * says no: it must not hide a fact.
 */
export const all = (...filters: ReadonlyArray<Filter>): Filter => {
  if (filters.length === 1) return filters[0]!
  return (candidate, context) => {
    let guess: Ineligible | undefined
    for (const filter of filters) {
      const no = filter(candidate, context)
      if (no === undefined) continue
      if (no.soft !== true) return no
      guess ??= no
    }
    return guess
  }
}

/**
 * At least one filter must agree.
 *
 * **Details**
 *
 * When none does, it tells the verdict that ends first, because the key is back as soon as one of them agrees; where no end
 * is known, the first. If one of them is only a guess (`soft`), so is the whole, and that one is told.
 *
 * **Example**
 *
 * ```ts
 * import { Filter } from "@evenkeel/core"
 *
 * const foreign: Filter.Ineligible = { reason: "foreign", scope: "key", since: undefined, until: undefined }
 * const domestic: Filter.Filter = ({ labels }) => (labels["region"] === "eu" ? undefined : foreign)
 *
 * // Rich, or at home.
 * const filter = Filter.any(Filter.creditAtLeast(100), domestic)
 * filter.length // => 2
 * ```
 */
export const any =
  (first: Filter, ...others: ReadonlyArray<Filter>): Filter =>
  (candidate, context) => {
    let told = first(candidate, context)
    for (const filter of others) {
      if (told === undefined) return undefined
      const no = filter(candidate, context)
      if (no === undefined || endsFirst(no, told)) told = no
    }
    return told
  }

const endsFirst = (one: Ineligible, other: Ineligible): boolean =>
  (one.soft === true) === (other.soft === true)
    ? (one.until ?? Infinity) < (other.until ?? Infinity)
    : one.soft === true

/**
 * Refuses what the filter lets pass, with this verdict, and lets pass what it refuses, be it a fact or a guess.
 */
export const not: {
  (verdict: Ineligible): (filter: Filter) => Filter
  (filter: Filter, verdict: Ineligible): Filter
} = dual(
  2,
  (filter: Filter, verdict: Ineligible): Filter =>
    (candidate, context) =>
      filter(candidate, context) === undefined ? verdict : undefined
)

/**
 * The filter as a guess: it is overlooked when otherwise no key could serve.
 *
 * **When to use**
 *
 * For suspicions, which must not take the last key. To have it overlooked sooner, when few keys would be left, use
 * `Selector.unlessFewerThan`: how many are left is nothing a filter, which sees one key at a time, can know.
 */
export const soft =
  (filter: Filter): Filter =>
  (candidate, context) => {
    const no = filter(candidate, context)
    if (no === undefined || no.soft === true) return no
    const { reason, scope, since, until } = no
    return { reason, scope, since, until, soft: true }
  }

/**
 * Only keys with at least `usd` of credit left. Keys whose credit is uncapped or not known pass.
 */
export const creditAtLeast = (usd: number): Filter => {
  const belowFloor: Ineligible = { reason: "below-floor", scope: "key", since: undefined, until: undefined }
  return (candidate) => (candidate.credit !== undefined && candidate.credit < usd ? belowFloor : undefined)
}
