/**
 * The picker of smooth weighted round robin, over cursors that tests can look at.
 */
import type { Picker } from "@evenkeel/core/Selector"

/** What a key is owed, in picks. Over a set that stays the same the sum is 0 after each pick. */
export interface Cursor {
  owed: number
}

/**
 * The most a key may carry into a pick, either way. No fixed set of keys is known to get there (a search found 1.55), so
 * it cuts off only what changing sets may pile up.
 */
export const mostOwed = 2

/** Thirds and sevenths do not add up to exactly 1: what differs by less than this is a tie, and the first one wins it. */
const slack = 1e-9

export const smooth = (cursors: Map<string, Cursor>): Picker => ({
  // Beyond that the pool itself goes round: it offers the next 64 each time.
  enough: 64,
  pick: (candidates) => {
    let total = 0
    for (const candidate of candidates) total += candidate.weight
    let chosen = candidates[0]
    let lead: Cursor | undefined
    for (const candidate of candidates) {
      let cursor = cursors.get(candidate.id)
      if (cursor === undefined) {
        cursor = { owed: 0 }
        cursors.set(candidate.id, cursor)
      }
      const carried = Math.max(-mostOwed, Math.min(mostOwed, cursor.owed))
      cursor.owed = carried + candidate.weight / total
      if (lead === undefined || cursor.owed > lead.owed + slack) {
        chosen = candidate
        lead = cursor
      }
    }
    lead!.owed -= 1
    return chosen
  },
  rank: (candidates) => {
    const total = candidates.reduce((sum, { weight }) => sum + weight, 0)
    const next = candidates.map((candidate) => {
      const owed = cursors.get(candidate.id)?.owed ?? 0
      return [candidate, Math.max(-mostOwed, Math.min(mostOwed, owed)) + candidate.weight / total] as const
    })
    next.sort(([, a], [, b]) => (Math.abs(a - b) <= slack ? 0 : b - a))
    return next.map(([candidate]) => candidate)
  },
  forget: (id) => void cursors.delete(id)
})
