/**
 * The law of bounded state: keys come and go, and what the picker keeps does not grow.
 *
 * A closure cannot be looked into, so the heap is weighed before and after a hundred thousand keys have come and gone, each
 * time with the garbage collected. Nothing else can run in between, because it is one synchronous turn.
 */
import { type Candidate, Outcome, type Selector } from "@evenkeel/core"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { watching } from "./ambient.ts"
import { candidate, context } from "./byHand.ts"
import { fresh, type Law, LawBroken, type Subject } from "./law.ts"
import type { Program } from "./program.ts"
import { start } from "./stage.ts"

const says = "state does not grow while keys come and go"

/** Keys that come and go before the first weighing, so that tables and compiled code have their size. */
const warmUp = 20_000
/** Keys between the two weighings: a table that doubles when it is full must do so once at least. */
const batch = 100_000
/** What a number in an array takes. All that grows with the keys takes more; the runtime's own stays far below it. */
const bytes = 8
/** V8 drops code that was not used for 6 collections: it must be gone before, or its release would hide what leaks. */
const aging = 8

/** `collect` must have collected the garbage when it returns. */
export const boundedLaw = (subject: Subject, collect: () => void): Law => ({
  name: "bounded",
  says,
  check: Effect.gen(function* () {
    const { seed, selector } = subject
    // What grew once may have been the runtime's own.
    if ((yield* grown(subject, collect)) < bytes) return
    const left = yield* grown(subject, collect)
    if (left < bytes) return
    const problem = `${batch} keys came and went, and each left ${left.toFixed(0)} bytes behind`
    return yield* new LawBroken({
      selector: selector.name,
      law: "bounded",
      says,
      problem,
      seed,
      program: cycle
    })
  })
})

/** The bytes of heap that each key leaves behind. */
const grown = (subject: Subject, collect: () => void) =>
  Effect.gen(function* () {
    const { picker, random } = yield* fresh(subject)
    let nowMillis = start
    const pass = passage(picker, subject.selector.eligible, () =>
      context({ random, nowMillis: nowMillis++, affinity: `s${nowMillis % 5}` })
    )
    return watching({ nowMillis: () => nowMillis, random, asked: () => {} }, () => {
      const weighAfter = (from: number, to: number, collections: number) => {
        for (let key = from; key < to; key++) pass(key)
        for (let n = 0; n < collections; n++) collect()
        return process.memoryUsage().heapUsed
      }
      const before = weighAfter(0, warmUp, aging)
      return (weighAfter(warmUp, warmUp + batch, 2) - before) / batch
    })
  }).pipe(Effect.scoped)

/** Three keys at a time: each joins, serves with the others, and leaves when nothing of it is in flight. */
const passage = (
  picker: Selector.Picker,
  eligible: Selector.Selector["eligible"],
  contextOf: () => Candidate.PickContext
) => {
  const pool: Array<Candidate.Candidate> = []
  const serve = (outcome: Outcome.Outcome) => {
    const at = contextOf()
    const offered = pool.filter((one) => eligible?.(one, at) === undefined)
    if (!Arr.isArrayNonEmpty(offered)) return
    const chosen = picker.pick(offered, at)
    // What is no choice is the matter of another law.
    if (!offered.includes(chosen)) return
    picker.settled?.(chosen, outcome, { nowMillis: at.nowMillis, elapsedMillis: 9, answerMillis: 9 }, at)
  }
  return (key: number): void => {
    pool.push(candidate(`k${key}`, { credit: 100 }))
    try {
      serve(served)
      serve(failed)
    } catch {
      // So is what is thrown.
    }
    if (pool.length < 3) return
    const { id } = pool.shift()!
    try {
      picker.forget?.(id)
    } catch {
      // As above.
    }
  }
}

const served = Outcome.success(0.01)
const failed = Outcome.faulted({ scope: "key", reason: "unavailable" })

/** What is done with each of the keys. */
const cycle: Program = {
  draws: "seeded",
  keys: [{ credit: 100 }],
  steps: [
    { _tag: "Pick", request: {} },
    { _tag: "Settle", use: 0, outcome: served },
    { _tag: "Leave", key: 0 }
  ]
}
