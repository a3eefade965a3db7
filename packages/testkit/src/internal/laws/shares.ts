/**
 * The laws of shares: what many picks over the same keys come to.
 *
 * The unit of chance is the run of a new picker, not the pick: a strategy that keeps a session on its key draws once a run.
 * So shares are compared by how far runs of the same selector differ (Welch's t), and a difference of more than 4 standard
 * errors is only a suspicion: it is looked at again with a new seed and five times the runs before it is a verdict.
 */
import { Outcome } from "@evenkeel/core"
import * as Arr from "effect/Array"
import type * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import { chance, type Candidates } from "./byHand.ts"
import { forAll, fresh, type Law, type Subject, type Verdict } from "./law.ts"
import { alike, type Program, type Traits, unlike, weighted } from "./program.ts"
import { Stage } from "./stage.ts"

/** In which order candidates are offered: that of the pool, the reverse, or another one at each pick. */
const orders = ["forth", "back", "shuffled"] as const
type Order = (typeof orders)[number]

interface Plan {
  readonly order: Order
  /** How many uses are in flight at most. */
  readonly inFlight: number
  readonly picks: number
}

/** Turns that take keys in order round off to whole picks; more than so many picks is no rounding. */
const rounding = 4
const sigmas = 4
const runs = 12
const picks = 200
/** Keys that are left out so many turns in a row by chance alone: once in 26 billion. */
const patience = 24

export const orderLaw = (subject: Subject): Law =>
  law(subject, "order", "the place in the list earns nothing", unlike, (keys, salt, times) =>
    Effect.gen(function* () {
      const [forth, ...others] = yield* Effect.forEach(orders, (order) =>
        measured(subject, keys, { order, inFlight: 4, picks }, salt, times)
      )
      for (const [which, other] of others.entries()) {
        for (const key of keys.keys()) {
          const [a, b] = [statsOf(forth!, key), statsOf(other, key)]
          const error = Math.sqrt((a.variance + b.variance) / times)
          if (Math.abs(a.mean - b.mean) > sigmas * error + rounding / picks) {
            return `k${key} was chosen by ${percent(a.mean)} of ${picks} picks, and by ${percent(b.mean)} with the candidates ${orders[which + 1]}`
          }
        }
      }
      return undefined
    })
  )

export const fairLaw = (subject: Subject): Law =>
  law(
    subject,
    "fair",
    "of keys that are alike each has its turn, and the same share",
    alike,
    (keys, salt, times) =>
      Effect.gen(function* () {
        const plan = { order: "shuffled", inFlight: 1, picks: 2 * picks } as const
        const found = yield* measured(subject, keys, plan, salt, times)
        const longest = patience * keys.length
        for (const { waits } of found) {
          const key = waits.findIndex((wait) => wait > longest)
          if (key !== -1)
            return `k${key} was left out of ${waits[key]} picks in a row, of ${keys.length} keys`
        }
        return stray(
          found,
          keys.map(() => 1 / keys.length),
          plan
        )
      })
  )

export const weightedLaw = (subject: Subject): Law =>
  law(subject, "weighted", "shares are as weights", weighted, (keys, salt, times) =>
    Effect.gen(function* () {
      const plan = { order: "shuffled", inFlight: 1, picks } as const
      const total = keys.reduce((sum, { weight }) => sum + weight!, 0)
      const shares = keys.map(({ weight }) => weight! / total)
      return stray(yield* measured(subject, keys, plan, salt, times), shares, plan)
    })
  )

type Pools = Arbitrary.Arbitrary<ReadonlyArray<Traits>>

const law = (
  subject: Subject,
  name: string,
  says: string,
  values: Pools,
  suspicion: (keys: ReadonlyArray<Traits>, salt: string, times: number) => Effect.Effect<Verdict>
): Law =>
  forAll(subject, {
    name,
    says,
    values,
    // A pool is dearer than a program: each is measured by thousands of picks.
    runs: Math.ceil(subject.runs / 10),
    maxShrinks: 10,
    programOf: (keys): Program => ({ draws: "seeded", keys, steps: [] }),
    verdict: (keys) =>
      Effect.flatMap(suspicion(keys, "first", runs), (suspected) =>
        suspected === undefined ? Effect.succeed(undefined) : suspicion(keys, "again", 5 * runs)
      )
  })

/** What a run came to, for each key. */
interface Found {
  readonly shares: ReadonlyArray<number>
  /** The longest it was left out, in picks. */
  readonly waits: ReadonlyArray<number>
}

const measured = (
  subject: Subject,
  keys: ReadonlyArray<Traits>,
  plan: Plan,
  salt: string,
  times: number
): Effect.Effect<ReadonlyArray<Found>> =>
  Effect.forEach(
    Array.from({ length: times }, (_, run) => run),
    (run) => Effect.scoped(once(subject, keys, plan, `${salt} ${plan.order} ${run}`))
  )

const once = (subject: Subject, keys: ReadonlyArray<Traits>, plan: Plan, salt: string) =>
  Effect.gen(function* () {
    const { picker, random } = yield* fresh(subject, salt)
    const lots = yield* chance(`${subject.seed} lots ${salt}`)
    const stage = new Stage({ picker, eligible: subject.selector.eligible, random })
    stage.watching(() => {
      for (const [key, traits] of keys.entries()) stage.join(key, traits)
      for (let n = 0; n < plan.picks; n++) {
        stage.pick({ affinity: `s${Math.floor(lots() * 5)}` }, arrange(plan.order, lots))
        stage.wait(50)
        const most = Math.floor(lots() * plan.inFlight)
        while (stage.inFlight > most) stage.settle(Math.floor(lots() * stage.inFlight), Outcome.success())
      }
    })
    return foundIn(stage.chosen, keys.length)
  })

const arrange =
  (order: Order, lots: () => number) =>
  (views: Candidates): Candidates => {
    if (order === "forth") return views
    if (order === "back") return Arr.reverse(views)
    const shuffled = [...views] as typeof views & Array<Candidates[0]>
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = Math.floor(lots() * (i + 1))
      const one = shuffled[i]!
      shuffled[i] = shuffled[j]!
      shuffled[j] = one
    }
    return shuffled
  }

const foundIn = (chosen: ReadonlyArray<string | undefined>, size: number): Found => {
  const counts = Array.from({ length: size }, () => 0)
  const last = Array.from({ length: size }, () => -1)
  const waits = Array.from({ length: size }, () => 0)
  const ends = (key: number, at: number) => {
    waits[key] = Math.max(waits[key]!, at - last[key]! - 1)
    last[key] = at
  }
  for (const [at, id] of chosen.entries()) {
    // What chooses nothing has no shares; that is the matter of another law.
    if (id === undefined) continue
    const key = Number(id.slice(1))
    counts[key]!++
    ends(key, at)
  }
  for (const key of counts.keys()) ends(key, chosen.length)
  return { shares: counts.map((count) => count / Math.max(1, chosen.length)), waits }
}

const statsOf = (found: ReadonlyArray<Found>, key: number) => {
  const shares = found.map((one) => one.shares[key]!)
  const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length
  const squares = shares.reduce((sum, share) => sum + (share - mean) ** 2, 0)
  return { mean, variance: squares / (shares.length - 1) }
}

/** The first key whose share is not what it should be. */
const stray = (found: ReadonlyArray<Found>, shares: ReadonlyArray<number>, plan: Plan): Verdict => {
  for (const [key, share] of shares.entries()) {
    const { mean, variance } = statsOf(found, key)
    if (Math.abs(mean - share) > sigmas * Math.sqrt(variance / found.length) + rounding / plan.picks) {
      return `k${key} was chosen by ${percent(mean)} of the picks, and its share is ${percent(share)}`
    }
  }
  return undefined
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
