/**
 * What a picker keeps for each key, by its id, until the key is forgotten.
 */
import type * as Arr from "effect/Array"
import type { Candidate } from "../../Candidate.ts"
import type { Candidates } from "./around.ts"

/** Something kept for a key, with the newest view of it. */
export interface Kept {
  of: Candidate
}

export class PerKey<S extends Kept> {
  private readonly byId = new Map<string, S>()
  private readonly make: (candidate: Candidate) => S
  private last: ReadonlyArray<S> = []

  constructor(make: (candidate: Candidate) => S) {
    this.make = make
  }

  /** What is kept for each of them, in their order. As long as they stay the same, nothing is looked up or allocated. */
  all(candidates: Candidates): Arr.NonEmptyReadonlyArray<S> {
    const { last } = this
    let same = last.length === candidates.length
    for (let i = 0; same && i < last.length; i++) same = last[i]!.of === candidates[i]
    if (!same) this.last = candidates.map((candidate) => this.keep(candidate))
    return this.last as unknown as Arr.NonEmptyReadonlyArray<S>
  }

  /** What is kept for the key, or something new that is not kept: a use may settle when its key has left. */
  peek(candidate: Candidate): S {
    return this.byId.get(candidate.id) ?? this.make(candidate)
  }

  values(): Iterable<S> {
    return this.byId.values()
  }

  forget(id: string): S | undefined {
    const kept = this.byId.get(id)
    this.byId.delete(id)
    this.last = []
    return kept
  }

  private keep(candidate: Candidate): S {
    let kept = this.byId.get(candidate.id)
    if (kept === undefined) this.byId.set(candidate.id, (kept = this.make(candidate)))
    else kept.of = candidate
    return kept
  }
}
