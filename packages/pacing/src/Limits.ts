/**
 * The limits of one key or one account.
 */

/**
 * What a key or an account may take. What is left out has no limit.
 *
 * **Details**
 *
 * Rates are token buckets that hold `burst` and `tokenBurst`: within any minute no more passes than the rate and what the
 * bucket holds beyond the first, so by default never more than `requestsPerMinute` requests.
 *
 * A request takes the `tokens` it was asked to be leased with, and none if it came without. One that takes more tokens than
 * the bucket holds passes when that is full, and later ones wait until it is paid off: within a minute the tokens are at
 * most the rate, what the bucket holds, and one such request.
 *
 * **Gotchas**
 *
 * With a `tokenBurst` a large request waits until enough tokens have come back, and small ones may overtake it; without one
 * every request waits for the same.
 */
export interface Limits {
  /** Greater than 0. */
  readonly requestsPerMinute?: number | undefined
  /**
   * How many requests may come at once after a rest: a whole number from 1 up. Default 1, requests come evenly spread: the
   * only choice with which no minute ever sees more than the rate.
   */
  readonly burst?: number | undefined
  /** Greater than 0; prompt and answer together, as far as the request says. */
  readonly tokensPerMinute?: number | undefined
  /** How many tokens may come at once after a rest: a whole number from 1 up. Default 1, as for requests. */
  readonly tokenBurst?: number | undefined
  /** How many requests may be in flight: a whole number from 1 up, or `Infinity`. */
  readonly maxInFlight?: number | undefined
}
