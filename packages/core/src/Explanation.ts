/**
 * Why a key can serve a request, or cannot: one record for `explain`, for errors, for events and for spans.
 */
import type { Ineligible } from "./Filter.ts"

/**
 * The numbers of one key at one time. It holds no secret.
 */
export interface KeyNumbers {
  readonly keyId: string
  readonly account: string | undefined
  readonly workspace: string | undefined
  readonly tier: number
  readonly weight: number
  readonly inFlight: number
  readonly maxInFlight: number
  /** USD left; `undefined`: uncapped, or not known. */
  readonly credit: number | undefined
  /** Smoothed milliseconds of successful uses; `undefined` before the first. */
  readonly latency: number | undefined
}

/**
 * A key that could serve.
 */
export interface EligibleKey extends KeyNumbers {
  readonly eligible: true
  /** From 1: the place among the keys that could serve, as the selector prefers them; `undefined` if it does not say. */
  readonly rank: number | undefined
  /** A guess against the key that is overlooked, because no other key is left. */
  readonly overlooked: Ineligible | undefined
}

/**
 * A key that could not serve: why, whose fault it is, since when and until when.
 */
export interface IneligibleKey extends KeyNumbers, Ineligible {
  readonly eligible: false
}

/**
 * Why one key could, or could not, serve one request.
 */
export type KeyReport = EligibleKey | IneligibleKey

/**
 * What would become of a request now.
 */
export interface Explanation {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The upstream that would serve: the one asked for, or the first alternative that could. */
  readonly upstream: string | undefined
  /** In the order of the pool. */
  readonly keys: ReadonlyArray<KeyReport>
  /** The earliest time at which any key could serve, in milliseconds since the epoch; `undefined` if none is known. */
  readonly retryAt: number | undefined
  /** Requests that wait. */
  readonly waiting: number
}

/**
 * The earliest `until` of the keys that cannot serve; `undefined` if none is known.
 */
export const earliest = (keys: ReadonlyArray<KeyReport>): number | undefined => {
  let least: number | undefined
  for (const key of keys) {
    if (!key.eligible && key.until !== undefined && (least === undefined || key.until < least))
      least = key.until
  }
  return least
}
