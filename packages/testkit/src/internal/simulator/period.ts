/**
 * The periods of a key's cap. OpenRouter resets at midnight UTC, weeks run Monday to Sunday, months start on the 1st.
 */

/** How often the cap of a key starts anew; `null` on the wire means never. */
export type LimitReset = "daily" | "weekly" | "monthly"

const dayMillis = 86_400_000

/** The epoch milliseconds at which the period that holds `now` began. */
export const startOf = (period: LimitReset, now: number): number => {
  const day = Math.floor(now / dayMillis)
  switch (period) {
    case "daily":
      return day * dayMillis
    case "weekly":
      // Day 0 of the epoch was a Thursday, three days after a Monday.
      return (day - ((((day + 3) % 7) + 7) % 7)) * dayMillis
    case "monthly": {
      const date = new Date(now)
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1)
    }
  }
}

/** The epoch milliseconds at which the period that holds `now` ends, and the cap is whole again. */
export const endOf = (period: LimitReset, now: number): number => {
  switch (period) {
    case "daily":
      return startOf("daily", now) + dayMillis
    case "weekly":
      return startOf("weekly", now) + 7 * dayMillis
    case "monthly": {
      const date = new Date(now)
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)
    }
  }
}

/** An ISO 8601 time in UTC, as the wire writes it. */
export const iso = (millis: number): string => new Date(millis).toISOString()
