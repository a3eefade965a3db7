/**
 * When caps are filled up again: midnight UTC, weeks from Monday, months from the first (OpenRouter's API reference,
 * "Create an API key").
 */
export type Period = "daily" | "weekly" | "monthly"

export const isPeriod = (value: unknown): value is Period =>
  value === "daily" || value === "weekly" || value === "monthly"

/** The first boundary after `now`, in milliseconds since the epoch. */
export const nextReset = (period: Period, now: number): number => {
  const date = new Date(now)
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()]
  switch (period) {
    case "daily":
      return Date.UTC(year, month, day + 1)
    case "weekly":
      // Sunday is 0: six days after the Monday that began its week.
      return Date.UTC(year, month, day + 7 - ((date.getUTCDay() + 6) % 7))
    case "monthly":
      return Date.UTC(year, month + 1, 1)
  }
}
