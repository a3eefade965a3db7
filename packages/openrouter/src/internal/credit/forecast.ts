/** When a key runs dry if it goes on spending as it does. */

const hour = 3_600_000
/** A forecast for longer than a year is none. */
const furthest = 365 * 24 * hour

export interface Spending {
  /** USD left; `undefined`: uncapped, or not known. */
  readonly remaining: number | undefined
  /** USD an hour. */
  readonly burnRate: number
  /** When the cap is filled up again, in milliseconds since the epoch. */
  readonly resetsAt: number | undefined
}

/**
 * Milliseconds since the epoch; `at` for a key that is dry already. `undefined` for one that does not run dry: it has no
 * known end, does not spend, or is filled up before.
 */
export const exhaustedAt = ({ burnRate, remaining, resetsAt }: Spending, at: number): number | undefined => {
  if (remaining === undefined) return undefined
  if (remaining <= 0) return at
  if (!(burnRate > 0)) return undefined
  const left = (remaining / burnRate) * hour
  if (left > furthest) return undefined
  const end = at + left
  return resetsAt !== undefined && resetsAt > at && resetsAt <= end ? undefined : end
}
