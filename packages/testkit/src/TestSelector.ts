/**
 * Selectors for tests of programs built on Evenkeel: they make the choice of a key the test's own, or watch it.
 */
import { Selector, type Candidate, type Outcome } from "@evenkeel/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * Always the key of this id; when it cannot serve, the first that can, because a selector never refuses.
 *
 * **Example**
 *
 * ```ts
 * import { Balancer, KeyPool } from "@evenkeel/core"
 * import { TestSelector } from "@evenkeel/testkit"
 * import { Effect, Layer } from "effect"
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provide(TestSelector.fixed("b")),
 *   Layer.provide(KeyPool.layer({ keys: [{ id: "a", secret: "secret-1" }, { id: "b", secret: "secret-2" }] }))
 * )
 * const served = Balancer.Balancer.use((balancer) => balancer.use((lease) => Effect.succeed(lease.key.id)))
 *
 * await Effect.runPromise(Effect.provide(served, live)) // => "b"
 * ```
 */
export const fixed = (id: string): Layer.Layer<Selector.Selector> =>
  Selector.layer(Selector.make("fixed", (candidates) => candidates.find((c) => c.id === id) ?? candidates[0]))

/**
 * The keys of these ids, one a pick; from the last on, that one again.
 *
 * **Gotchas**
 *
 * An id that cannot serve when its turn comes is a mistake of the test, and a defect that says so.
 */
export const scripted = (ids: ReadonlyArray<string>): Layer.Layer<Selector.Selector> => {
  if (ids.length === 0) throw new RangeError("ids must be a list of at least one key id")
  return Selector.layer({
    name: "scripted",
    make: Effect.sync(() => {
      let turn = 0
      return {
        pick: (candidates) => {
          const id = ids[Math.min(turn++, ids.length - 1)]!
          const chosen = candidates.find((candidate) => candidate.id === id)
          if (chosen !== undefined) return chosen
          const offered = candidates.map((candidate) => candidate.id).join(", ")
          throw new Error(`The script wants the key ${id} at pick ${turn}, and can have ${offered}`)
        }
      }
    })
  })
}

/** A pick that has been recorded, with copies of what the selector saw. */
export interface Pick {
  readonly chosen: string
  readonly offered: ReadonlyArray<Candidate.Candidate>
  readonly context: Candidate.PickContext
}

/** How a use ended, and on which key. */
export interface Settlement {
  readonly id: string
  readonly outcome: Outcome.Outcome
  readonly elapsedMillis: number
}

/**
 * What a recording selector has seen.
 */
export class Recording extends Context.Service<
  Recording,
  {
    /** The picks so far; the last 10,000 of them. */
    readonly picks: Effect.Effect<ReadonlyArray<Pick>>
    /** The settlements so far; the last 10,000 of them. */
    readonly settlements: Effect.Effect<ReadonlyArray<Settlement>>
  }
>()("@evenkeel/testkit/TestSelector/Recording") {}

const maxRecords = 10_000

/**
 * Records every pick and settlement of another selector, without changing its choices.
 */
export const recording = (inner: Selector.Selector): Layer.Layer<Selector.Selector | Recording> => {
  const picks: Array<Pick> = []
  const settlements: Array<Settlement> = []
  const keep = <A>(records: Array<A>, record: A) => {
    records.push(record)
    if (records.length > maxRecords) records.shift()
  }
  const selector: Selector.Selector = {
    ...inner,
    name: `recording(${inner.name})`,
    make: Effect.map(inner.make, (picker) => ({
      ...picker,
      pick: (candidates, context) => {
        // Copied before the inner selector has its turn: candidates are live.
        const offered = candidates.map((candidate) => ({ ...candidate }))
        const chosen = picker.pick(candidates, context)
        keep(picks, { chosen: chosen.id, offered, context: { ...context } })
        return chosen
      },
      settled: (candidate, outcome, timing, context) => {
        keep(settlements, { id: candidate.id, outcome, elapsedMillis: timing.elapsedMillis })
        picker.settled?.(candidate, outcome, timing, context)
      }
    }))
  }
  return Layer.merge(
    Selector.layer(selector),
    Layer.succeed(Recording, {
      picks: Effect.sync(() => [...picks]),
      settlements: Effect.sync(() => [...settlements])
    })
  )
}
