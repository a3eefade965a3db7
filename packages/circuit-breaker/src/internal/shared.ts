/**
 * Openings and closings that travel between processes: what is heard is taken, and not handed on.
 */
import type { SharedFacts } from "@evenkeel/core"
import type { Circuits } from "./circuits.ts"
import type { Book } from "./cell.ts"

/** Tells the others what opens and closes here; answers with the function that takes what they tell. */
export const share = (
  { book, scopes }: Circuits,
  { publish }: SharedFacts.SharedFacts
): ((fact: SharedFacts.Fact, nowMillis: number) => void) => {
  const tell: Book["share"] = ({ until }, { by, id, scope, to }) => {
    if (to === "Open") publish({ _tag: "Opened", scope, id, until, by })
    else if (to === "Closed") publish({ _tag: "Closed", scope, id })
  }
  book.share = tell
  return (fact, nowMillis) => {
    if (fact._tag !== "Opened" && fact._tag !== "Closed") return
    const { id, scope } = fact
    book.share = undefined
    try {
      if (fact._tag === "Closed") scopes[scope].all.get(id)?.close("elsewhere", nowMillis)
      else {
        const { by, until } = fact
        const hand = by === "hand"
        const saved = { by, hand, since: nowMillis, until: until < Infinity ? until : null }
        // How often it has opened in a row is each process's own count.
        scopes[scope].get(id).restore({ scope, id, ...saved, openings: 0, openMillis: 0 }, nowMillis)
      }
    } finally {
      book.share = tell
    }
  }
}
