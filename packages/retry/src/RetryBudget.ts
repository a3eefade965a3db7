/**
 * A budget over all requests of a policy: each request pays a little in, each retry takes one out.
 *
 * A bound on the retries of one request does not bound those of all: while an upstream is down every request fails, and
 * three retries each are four times the load on what is already broken. The budget lets single failures be retried at
 * once, and holds back when most of them fail.
 *
 * Sources: Finagle's `RetryBudget` (ratio, floor, tokens that expire) and tower's `TpsBudget` (ten slots), whose defaults
 * these are; "Addressing Cascading Failures", Site Reliability Engineering, 2016. Both of the models store the price of a
 * retry as a whole number, so that tower takes 30 % for 33.3 %; here the counts are whole and the ratio is exact.
 */
import type * as Duration from "effect/Duration"
import { amount, positiveMillis } from "./internal/ranges.ts"

/**
 * Options of a budget.
 */
export interface Options {
  /** Retries that each request adds, from 0 up. Default 0.2: a total outage costs a fifth more, not three times more. */
  readonly ratio?: number | undefined
  /**
   * Retries a second besides, from 0 up, so that a client of few requests may retry too. Default 10, which a process
   * hardly notices; with less than 50 requests a second it is the larger part, and what matters for many small clients of
   * one upstream.
   */
  readonly perSecond?: number | undefined
  /**
   * How long a request counts; finite and greater than 0. Default 10 seconds: long enough to smooth bursts, too short to
   * save up for an outage.
   */
  readonly window?: Duration.Input | undefined
}

/**
 * A budget. Synchronous, for it stands in the way of every request; times are in milliseconds since the epoch.
 */
export interface RetryBudget {
  /** A request begins. */
  readonly deposit: (nowMillis: number) => void
  /** A retry would begin: `true` if it may, and then it is paid for. */
  readonly withdraw: (nowMillis: number) => boolean
  /** How many retries may begin now. */
  readonly balance: (nowMillis: number) => number
}

/**
 * Makes a budget.
 *
 * **When to use**
 *
 * To share one budget between several policies of one upstream, or to show its balance; else the option of `Retry` makes
 * one by itself.
 *
 * **Details**
 *
 * A retry may begin if then, over the last window, retries ≤ `ratio` · requests + `perSecond` · window. The window moves
 * in tenths, by the time that has passed, so an idle night empties it. Counts are whole numbers: nothing is rounded, and
 * nothing drifts.
 *
 * A time before the latest counts as the latest. Under a clock that was set back the window therefore stands still until it
 * is reached again: requests go on to pay in, and only the floor is not filled up.
 *
 * Throws a `RangeError` that names the option and its range.
 *
 * **Gotchas**
 *
 * It belongs to one process. N processes have N floors.
 *
 * **Example**
 *
 * ```ts
 * import { Retry, RetryBudget } from "@evenkeel/retry"
 *
 * const budget = RetryBudget.make({ ratio: 0.3, perSecond: 0 })
 * const [chat, embeddings] = [Retry.make({ budget }), Retry.make({ budget })]
 *
 * for (let i = 0; i < 5; i++) {
 *   chat.begun?.(0)
 *   embeddings.begun?.(0)
 * }
 * budget.balance(0) // => 3
 * budget.withdraw(0) // => true
 * budget.balance(0) // => 2
 * budget.balance(60_000) // => 0
 * ```
 */
export const make = (options: Options = {}): RetryBudget => {
  const ratio = amount("RetryBudget: ratio", options.ratio ?? 0.2)
  const perSecond = amount("RetryBudget: perSecond", options.perSecond ?? 10)
  const windowMillis = positiveMillis("RetryBudget: window", options.window ?? "10 seconds")
  const floor = (perSecond * windowMillis) / 1000
  const slotMillis = windowMillis / slots
  const requests = Array.from({ length: slots }, () => 0)
  const retries = Array.from({ length: slots }, () => 0)
  let [totalRequests, totalRetries, current, since] = [0, 0, 0, 0]

  /** Empties the slots that have left the window since the last call. */
  const advance = (nowMillis: number): void => {
    const passed = Math.floor((nowMillis - since) / slotMillis)
    if (passed <= 0) return
    since += passed * slotMillis
    for (let i = Math.min(passed, slots); i > 0; i--) {
      current = (current + 1) % slots
      totalRequests -= requests[current]!
      totalRetries -= retries[current]!
      requests[current] = retries[current] = 0
    }
  }

  const balance = (nowMillis: number): number => {
    advance(nowMillis)
    // 100 · 0.29 is a hair below 29 in floating point.
    return Math.max(0, Math.floor(totalRequests * ratio + floor - totalRetries + 1e-9))
  }

  return {
    deposit: (nowMillis) => {
      advance(nowMillis)
      totalRequests++
      requests[current]!++
    },
    withdraw: (nowMillis) => {
      if (balance(nowMillis) === 0) return false
      totalRetries++
      retries[current]!++
      return true
    },
    balance
  }
}

const slots = 10
