/**
 * What a key has spent: in total and in the current UTC day, week and month.
 */
import { type LimitReset, startOf } from "./period.ts"

/** A running account of spending, in USD. It is changed in place. */
export interface Ledger {
  total: number
  daily: number
  weekly: number
  monthly: number
  /** Epoch milliseconds of the last look, to find out which periods have ended since. */
  at: number
}

/** One charge that `/key` may not show yet. */
export interface Charge {
  readonly at: number
  readonly cost: number
}

/** Money is rounded to a millionth of a microdollar, so that sums of floats compare equal to the expected literal. */
export const usd = (amount: number): number => Math.round(amount * 1e12) / 1e12

/** A ledger that starts with `usage` spent, all of it in the current periods. */
export const make = (usage: number, now: number): Ledger => ({
  total: usage,
  daily: usage,
  weekly: usage,
  monthly: usage,
  at: now
})

/** Empties the periods that have ended since the last look. */
export const roll = (ledger: Ledger, now: number): void => {
  if (now <= ledger.at) return
  for (const period of ["daily", "weekly", "monthly"] as const) {
    if (startOf(period, now) > startOf(period, ledger.at)) ledger[period] = 0
  }
  ledger.at = now
}

/** Books a charge at its time. */
export const add = (ledger: Ledger, at: number, cost: number): void => {
  roll(ledger, at)
  ledger.total = usd(ledger.total + cost)
  ledger.daily = usd(ledger.daily + cost)
  ledger.weekly = usd(ledger.weekly + cost)
  ledger.monthly = usd(ledger.monthly + cost)
}

/** What counts against a cap: the spending of its period, or all of it when the cap never resets. */
export const spent = (ledger: Ledger, reset: LimitReset | null, now: number): number => {
  roll(ledger, now)
  return reset === null ? ledger.total : ledger[reset]
}
