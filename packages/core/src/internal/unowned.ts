/**
 * Benches of keys and owners that this process does not know yet: they hold as soon as it does. What is learnt of an owner may
 * come after the news that it is benched, and a key may be added here later than elsewhere.
 */
import type { FaultScope } from "../Outcome.ts"
import type { Fact } from "../SharedFacts.ts"

export type Benched = Extract<Fact, { readonly _tag: "Benched" }>

/** Benches at a time; beyond that the oldest is let go. */
const most = 1024

export class Unowned {
  private readonly benches = new Map<string, Benched>()

  put(bench: Benched): void {
    const name = nameOf(bench)
    const known = this.benches.get(name)
    // Of two deadlines the later one holds.
    if (known !== undefined && known.until >= bench.until) return
    this.benches.delete(name)
    this.benches.set(name, bench)
    if (this.benches.size > most) this.benches.delete(this.benches.keys().next().value!)
  }

  /** The bench was lifted. */
  lift(bench: Pick<Benched, "scope" | "id" | "within">): void {
    this.benches.delete(nameOf(bench))
  }

  /** There is a key or an owner of this name now, or all of its benches were lifted. */
  take(scope: FaultScope, id: string): ReadonlyArray<Benched> {
    if (this.benches.size === 0) return none
    const taken = [...this.benches.values()].filter((bench) => bench.scope === scope && bench.id === id)
    for (const bench of taken) this.lift(bench)
    return taken
  }
}

const none: ReadonlyArray<Benched> = []
const nameOf = ({ id, scope, within }: Pick<Benched, "scope" | "id" | "within">): string =>
  JSON.stringify([scope, id, within])
