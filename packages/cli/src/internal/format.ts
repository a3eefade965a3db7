/**
 * Amounts and times as people read them.
 */

/** Four digits that tell something: a request often costs less than a cent. */
export const usd = (amount: number): string => {
  const size = Math.abs(amount)
  return `$${amount.toFixed(size === 0 || size >= 1 ? 2 : size >= 0.001 ? 4 : 6)}`
}

const units = [
  ["d", 86_400],
  ["h", 3600],
  ["m", 60],
  ["s", 1]
] as const

/** The two greatest units: `2h 5m`, `41s`. */
export const duration = (millis: number): string => {
  let seconds = Math.max(0, Math.round(millis / 1000))
  const parts: Array<string> = []
  for (const [unit, size] of units) {
    const count = Math.floor(seconds / size)
    if (count === 0 && !(unit === "s" && parts.length === 0)) {
      if (parts.length > 0) break
      continue
    }
    parts.push(`${count}${unit}`)
    seconds -= count * size
    if (parts.length === 2) break
  }
  return parts.join(" ")
}

/** A time as seen from `now`: `in 2h 5m`, `now`. */
export const until = (at: number, now: number): string => (at <= now ? "now" : `in ${duration(at - now)}`)

/** ISO 8601; a date cannot hold every number. */
export const instant = (at: number | undefined): string | undefined =>
  at === undefined || Math.abs(at) > 8.64e15 ? undefined : new Date(at).toISOString()
