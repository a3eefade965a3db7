/**
 * Candidates and circumstances of no pool, for a picker on its own.
 */
import type { Candidate, Selector } from "@evenkeel/core"
import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

export type Candidates = Arr.NonEmptyReadonlyArray<Candidate.Candidate>

export const candidate = (
  id: string,
  fields: Partial<Omit<Candidate.Candidate, "id">> = {}
): Candidate.Candidate => ({
  id,
  account: undefined,
  workspace: undefined,
  weight: 1,
  tier: 0,
  labels: {},
  inFlight: 0,
  maxInFlight: Infinity,
  credit: undefined,
  latency: undefined,
  ...fields
})

export const context = (fields: Partial<Candidate.PickContext> = {}): Candidate.PickContext => ({
  attempt: 0,
  nowMillis: 0,
  random: noChance,
  affinity: undefined,
  upstream: undefined,
  tokens: undefined,
  estimate: undefined,
  ...fields
})

// A default that is a number would hide that a strategy needs chance.
const noChance = (): number => {
  throw new Error("This context has no chance: give it `random`")
}

/** Numbers from 0 to 1 that the seed alone decides. */
export const chance = (seed: string | number): Effect.Effect<() => number> =>
  Random.Random.pipe(
    Effect.map((random) => () => random.nextDoubleUnsafe()),
    Random.withSeed(seed)
  )

export const counts = (
  selector: Selector.Selector,
  candidates: Candidates,
  picks: number,
  fields: Partial<Candidate.PickContext> = {}
): Effect.Effect<ReadonlyArray<number>> =>
  Effect.gen(function* () {
    const picker = yield* selector.make
    const random = yield* Random.Random
    const circumstances = context({ random: () => random.nextDoubleUnsafe(), ...fields })
    const found = new Map(candidates.map((one) => [one, 0]))
    for (let n = 0; n < picks; n++) {
      const chosen = picker.pick(candidates, circumstances)
      found.set(chosen, found.get(chosen)! + 1)
    }
    return [...found.values()]
  }).pipe(Effect.scoped)
