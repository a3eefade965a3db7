// A strategy of one's own: keys labelled "batch" serve at night, the others by day, and within those the one that has
// been quickest of late.
import { Selector } from "@evenkeel/core"
import type { Candidate } from "@evenkeel/core"
import { Effect } from "effect"

const isNight = (nowMillis: number) => new Date(nowMillis).getUTCHours() < 6

/** A metric is enough for a strategy: the least of it serves, and ties are broken evenly. */
const quickest = (candidate: Candidate.Candidate) => candidate.latency ?? 0

export const nightShift: Selector.Selector = {
  name: "night-shift",
  make: Effect.map(Selector.leastBy(quickest).make, (inner) => ({
    ...inner,
    pick: (candidates, context) => {
      const shift = isNight(context.nowMillis) ? "batch" : "interactive"
      // A preference, not a fact: when no key of the shift can serve, the others do.
      const [first, ...rest] = candidates.filter((candidate) => candidate.labels["shift"] === shift)
      return inner.pick(first === undefined ? candidates : [first, ...rest], context)
    }
  }))
}
