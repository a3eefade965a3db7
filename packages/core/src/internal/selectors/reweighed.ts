/**
 * A selector whose inner one sees the candidates with other weights.
 */
import type * as Arr from "effect/Array"
import type { Candidate, PickContext } from "../../Candidate.ts"
import type { Picker, Selector } from "../../Selector.ts"
import { around, ranked, told } from "./around.ts"
import { PerKey, type Kept } from "./perKey.ts"

/** A candidate with a weight of its own. All else is read from the original, and so is live too. */
export interface Reweighed extends Kept, Candidate {
  weight: number
  /** Since when its weight grows, in milliseconds since the epoch; for those who have it grow. */
  since: number | undefined
}

type Fields = Exclude<keyof Candidate, "weight">

// As a record, so that a field that `Candidate` gains cannot be missing here.
const fields: { readonly [Field in Fields]-?: true } = {
  id: true,
  account: true,
  workspace: true,
  tier: true,
  labels: true,
  inFlight: true,
  maxInFlight: true,
  credit: true,
  creditResetsAt: true,
  includesByok: true,
  latency: true
}

// Properties of the object itself, so that a copy of it has them, with getters that all share, so that all have one shape.
const getters: PropertyDescriptorMap = Object.fromEntries(
  (Object.keys(fields) as Array<Fields>).map((field) => [
    field,
    {
      enumerable: true,
      get(this: Reweighed) {
        return this.of[field]
      }
    }
  ])
)

const hidden: PropertyDescriptorMap = { of: { enumerable: false }, since: { enumerable: false } }

const reweigh = (candidate: Candidate): Reweighed => {
  const view = { of: candidate, since: undefined, weight: candidate.weight }
  Object.defineProperties(view, hidden)
  return Object.defineProperties(view, getters) as Reweighed
}

export interface Weighing {
  /** By what the weight is multiplied. It changes nothing. */
  readonly factor: (view: Reweighed, context: PickContext) => number
  /** Sees what a pick is offered before it is weighed. */
  readonly offered?: (views: ReadonlyArray<Reweighed>, context: PickContext) => void
  readonly settled?: NonNullable<Picker["settled"]>
}

/** Weights stay above 0 and finite, so that no division by them, and no sum of them, ends in no number. */
const least = 1e-9
const most = 1e9

export const reweighed = (
  inner: Selector,
  name: string,
  start: (views: PerKey<Reweighed>) => Weighing
): Selector =>
  around(inner, name, (picker) => {
    const views = new PerKey(reweigh)
    const weighing = start(views)
    const weighed = (all: Arr.NonEmptyReadonlyArray<Reweighed>, context: PickContext) => {
      for (const view of all) {
        const factor = weighing.factor(view, context)
        // What is no number fails the comparison.
        view.weight = view.of.weight * (factor > least ? Math.min(factor, most) : least)
      }
      return all
    }
    const original = (candidate: Candidate): Candidate => (candidate as Partial<Kept>).of ?? candidate
    const { settled } = told(picker)
    return {
      pick: (candidates, context) => {
        const all = views.all(candidates)
        weighing.offered?.(all, context)
        return original(picker.pick(weighed(all, context), context))
      },
      ...ranked(picker, (candidates, context) =>
        picker.rank!(weighed(views.all(candidates), context), context).map(original)
      ),
      ...(settled === undefined && weighing.settled === undefined
        ? {}
        : {
            settled: (candidate, ...how) => {
              weighing.settled?.(candidate, ...how)
              settled?.(views.peek(candidate), ...how)
            }
          }),
      forget: (id) => {
        views.forget(id)
        picker.forget?.(id)
      }
    }
  })
