/**
 * What the tests of combinators share.
 */
import { Outcome, Selector } from "@evenkeel/core"
import type { Candidate } from "@evenkeel/core"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { candidate, contextOf, rngOf } from "../utils.ts"

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** A key whose fields the test may change, as the pool changes those of its views. */
export type Live = Mutable<Candidate.Candidate>

export type Offered = readonly [Candidate.Candidate, ...Array<Candidate.Candidate>]

export const offer = (candidates: ReadonlyArray<Candidate.Candidate>): Offered => {
  const [first, ...rest] = candidates
  if (first === undefined) throw new Error("Nothing is offered")
  return [first, ...rest]
}

/** Live keys of these one-word names. */
export const lives = (names: string, fields: Partial<Candidate.Candidate> = {}): ReadonlyArray<Live> =>
  names.split(" ").map((name) => candidate(name, fields))

export const pickerOf = (selector: Selector.Selector): Selector.Picker =>
  Effect.runSync(Effect.scoped(selector.make))

export const context = (fields: Partial<Candidate.PickContext> = {}): Candidate.PickContext => ({
  ...contextOf(rngOf(1)),
  ...fields
})

/** The first of the candidates, in their order. */
export const first = Selector.make(
  "first",
  (candidates) => candidates[0],
  (candidates) => candidates
)

/** The last of the candidates. */
export const last = Selector.make("last", (candidates) => candidates.at(-1)!)

/** At random by weight: it shows which weights it sees. */
export const weighted = Selector.proportional((one) => one.weight, "weighted")

/** What a picker was asked and told, for a combinator that must pass it on. */
export interface Log {
  readonly picked: Array<string>
  readonly settled: Array<string>
  readonly forgotten: Array<string>
}

/** Another selector, with a log of what its pickers are asked and told. It has a `this`, as a picker may. */
export const logging = (inner: Selector.Selector): readonly [Selector.Selector, Log] => {
  const log: Log = { picked: [], settled: [], forgotten: [] }
  class Logged implements Selector.Picker {
    private readonly log = log
    private readonly inner: Selector.Picker
    constructor(inner: Selector.Picker) {
      this.inner = inner
    }
    pick(...args: Parameters<Selector.Picker["pick"]>) {
      const chosen = this.inner.pick(...args)
      this.log.picked.push(chosen.id)
      return chosen
    }
    rank(...args: Parameters<Selector.Picker["pick"]>) {
      return this.inner.rank?.(...args) ?? []
    }
    settled(...args: Parameters<NonNullable<Selector.Picker["settled"]>>) {
      this.log.settled.push(args[0].id)
      this.inner.settled?.(...args)
    }
    forget(id: string) {
      this.log.forgotten.push(id)
      this.inner.forget?.(id)
    }
  }
  return [{ ...inner, make: Effect.map(inner.make, (picker) => new Logged(picker)) }, log]
}

export const timing: Selector.Timing = { nowMillis: 0, elapsedMillis: 0, answerMillis: 0 }

export const success = Outcome.success()

/** How often each is picked. */
export const countsOf = (
  picker: Selector.Picker,
  candidates: ReadonlyArray<Candidate.Candidate>,
  picks: number,
  fields: Partial<Candidate.PickContext> = {}
): ReadonlyArray<number> => {
  const random = rngOf(1)
  const counts = new Map(candidates.map(({ id }) => [id, 0]))
  for (let n = 0; n < picks; n++) {
    const { id } = picker.pick(offer(candidates), context({ random, ...fields }))
    counts.set(id, counts.get(id)! + 1)
  }
  return [...counts.values()]
}

/** Within 4 standard deviations of the expected shares. */
export const assertShares = (counts: ReadonlyArray<number>, shares: ReadonlyArray<number>): void => {
  const total = counts.reduce((a, b) => a + b)
  for (const [index, share] of shares.entries()) {
    const sigma = Math.sqrt(total * share * (1 - share))
    assert.approximately(
      counts[index]!,
      total * share,
      4 * sigma,
      `${counts.join(" ")} for ${shares.join(" ")}`
    )
  }
}

export const idsOf = (candidates: ReadonlyArray<Candidate.Candidate>): string =>
  candidates.map(({ id }) => id).join(" ")
