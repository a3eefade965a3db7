/**
 * Filters are *facts*: why a key cannot serve a request now, and until when. They are the only source of "no key".
 *
 * The test between a filter and a selector: if ignoring it would make the request fail, it is a filter.
 */
import type { Candidate, PickContext } from "./Candidate.ts"
import type { FaultReason, FaultScope } from "./Outcome.ts"

/**
 * Why a key cannot serve: a fault that benches it or its owner, or one of the states of a key and a request.
 *
 * - `saturated`: `maxInFlight` requests are in flight
 * - `draining`: the key takes no new requests
 * - `probing`: the key is on probation, and its one probe is under way
 * - `circuit-open`: the circuit breaker is open
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
}

/**
 * Says why a candidate cannot serve, or `undefined` if it can. Synchronous, and without side effects: `explain` calls it too.
 */
export type Filter = (candidate: Candidate, context: PickContext) => Ineligible | undefined

/**
 * All filters must agree; the first that says no gives the reason.
 */
export const all = (...filters: ReadonlyArray<Filter>): Filter => {
  if (filters.length === 1) return filters[0]!
  return (candidate, context) => {
    for (const filter of filters) {
      const no = filter(candidate, context)
      if (no !== undefined) return no
    }
    return undefined
  }
}

/**
 * Only keys with at least `usd` of credit left. Keys whose credit is uncapped or not known pass.
 */
export const creditAtLeast = (usd: number): Filter => {
  const belowFloor: Ineligible = { reason: "below-floor", scope: "key", since: undefined, until: undefined }
  return (candidate) => (candidate.credit !== undefined && candidate.credit < usd ? belowFloor : undefined)
}
