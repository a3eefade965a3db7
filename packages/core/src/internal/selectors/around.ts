/**
 * What combinators are made of: a selector around another one.
 */
import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { Candidate, PickContext } from "../../Candidate.ts"
import type { Picker, Selector } from "../../Selector.ts"

export type Candidates = Arr.NonEmptyReadonlyArray<Candidate>

/** Tells a selector from options, for functions that take it as their first argument or not at all. */
export const isSelector = (value: unknown): value is Selector =>
  typeof value === "object" && value !== null && "make" in value

/** A selector that has the facts of the inner one, and a picker made of its. */
export const around = (inner: Selector, name: string, make: (picker: Picker) => Picker): Selector => ({
  name: `${name}(${inner.name})`,
  ...(inner.eligible === undefined ? {} : { eligible: inner.eligible }),
  make: Effect.map(inner.make, make)
})

/** What a picker is told, passed on. Called as methods: a picker may be an object with a `this`. */
export const told = (picker: Picker): Pick<Picker, "settled" | "forget"> => ({
  ...(picker.settled === undefined ? {} : { settled: (...args) => picker.settled!(...args) }),
  ...(picker.forget === undefined ? {} : { forget: (id) => picker.forget!(id) })
})

/** An order, if the inner picker has one to make it of. */
export const ranked = (picker: Picker, rank: NonNullable<Picker["rank"]>): Pick<Picker, "rank"> =>
  picker.rank === undefined ? {} : { rank }

/**
 * The candidates that `keeps` keeps, and all if it keeps none. The same array where nothing is left out, so that the
 * common case allocates nothing.
 */
export const narrow = (
  candidates: Candidates,
  context: PickContext,
  keeps: (candidate: Candidate, context: PickContext) => boolean
): Candidates => {
  let some: Array<Candidate> | undefined
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[i]!
    if (keeps(candidate, context)) some?.push(candidate)
    else some ??= candidates.slice(0, i)
  }
  return some !== undefined && isFilled(some) ? some : candidates
}

export const isFilled = (candidates: ReadonlyArray<Candidate>): candidates is Candidates =>
  candidates.length > 0

/**
 * A selector whose inner one chooses among a part of the candidates, which is never empty. In its order the best part comes
 * first, then the best part of the others, and so on.
 */
export const narrowing = (
  inner: Selector,
  name: string,
  best: (candidates: Candidates, context: PickContext) => Candidates
): Selector =>
  around(inner, name, (picker) => ({
    pick: (candidates, context) => picker.pick(best(candidates, context), context),
    ...ranked(picker, (candidates, context) => {
      const order: Array<Candidate> = []
      let left: ReadonlyArray<Candidate> = candidates
      while (isFilled(left)) {
        const part = best(left, context)
        order.push(...picker.rank!(part, context))
        left = left.filter((candidate) => !part.includes(candidate))
      }
      return order
    }),
    ...told(picker)
  }))
