/**
 * What every selector must keep, as properties to run on one's own, under any test runner.
 *
 * Random programs (keys that join and leave, picks, outcomes in any order) are played on live candidates as the pool keeps
 * them, and a program that breaks a law is shrunk to the smallest that still does (Claessen and Hughes, "QuickCheck: A
 * Lightweight Tool for Random Testing of Haskell Programs", ICFP 2000).
 */
import type { Candidate, Selector } from "@evenkeel/core"
import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { behaviour } from "./internal/laws/behaviour.ts"
import * as ByHand from "./internal/laws/byHand.ts"
import { collector } from "./internal/laws/collector.ts"
import * as Internal from "./internal/laws/law.ts"
import { boundedLaw } from "./internal/laws/memory.ts"
import { fairLaw, orderLaw, weightedLaw } from "./internal/laws/shares.ts"

/**
 * A law as data: its name, what it says in a sentence, and a check that succeeds if the selector keeps it.
 */
export type Law = Internal.Law

/**
 * A law that was broken: which one and by which selector, what was seen, and the seed and the smallest program that show
 * it. The message says it all.
 */
export const LawBroken = Internal.LawBroken
export type LawBroken = Internal.LawBroken

/**
 * What a selector claims beyond the laws of all, and how hard it is tried.
 */
export interface Options {
  /** Claims that of keys that are alike none starves and all get the same share. */
  readonly fair?: boolean | undefined
  /** Claims that shares are as the weights of the keys, where these differ in nothing else. */
  readonly weighted?: boolean | undefined
  /**
   * Says that the order of the pool is meant to matter, as it does to a strategy that uses keys up one after the other. The
   * law `order` is then not asked.
   */
  readonly ordered?: boolean | undefined
  /** Decides all that is random. Default `"evenkeel"`, so that a test that passes passes again. */
  readonly seed?: string | number | undefined
  /**
   * Programs for each law; the laws of shares measure a tenth as many pools. A whole number from 1 up. Default 100, with
   * which all laws together take a second or two.
   */
  readonly runs?: number | undefined
}

/**
 * The laws of a selector; throws a `RangeError` on an option out of range.
 *
 * **When to use**
 *
 * To make each law a test of its own. `check` is one test of them all.
 *
 * **Details**
 *
 * | law | says |
 * |---|---|
 * | `total` | pick chooses one of the candidates, the very object |
 * | `lone` | a lone candidate is chosen |
 * | `read-only` | candidates, their list and the context are read, and never written to |
 * | `pure` | time and chance come from the context alone, not from `Date`, `Math.random`, a clock or a random service |
 * | `seeded` | a seed fixes the choices, also of a second picker: nothing is shared between those of one selector |
 * | `outcomes` | outcomes are taken in any order, also after `forget` |
 * | `rank` | `rank` holds exactly the candidates, changes nothing and draws no random number |
 * | `tolerant` | no number makes it throw or choose nothing: credit that is `NaN`, weights of 1e300, a clock set back |
 * | `order` | the place in the list earns nothing; not asked if `ordered` |
 * | `fair` | of keys that are alike none is left out of 24 · n picks in a row, and all get the same share; if `fair` |
 * | `weighted` | shares are as weights; if `weighted` |
 * | `bounded` | the heap does not grow while 100,000 keys come and go; left out where garbage cannot be collected at will |
 *
 * Each law looks at its own matter alone, so a selector with one fault breaks one law. Shares must agree within 4 standard
 * errors; one that does not is measured again with five times the runs before it is a verdict. Ties may go to the first in
 * turn, as long as that evens out: a cursor kept by key id does, one over places does not where not all can serve.
 *
 * **Gotchas**
 *
 * `Date`, `Math.random`, `performance.now` and `crypto` are replaced while a picker has its synchronous turn. A source that
 * a module has kept for itself (`const { random } = Math`) is not seen by `pure`; `seeded` sees it.
 *
 * `bounded` weighs the keys that it forgets, not sessions: what is kept for each affinity is for the strategy to limit.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 * import { SelectorLaws } from "@evenkeel/testkit"
 *
 * const cheapest = Selector.leastBy((key) => key.tier, "cheapest")
 * SelectorLaws.laws(cheapest, { fair: true }).length // => 11
 *
 * // With @effect/vitest: for (const law of laws) it.effect(law.name, () => law.check)
 * ```
 */
export const laws = (selector: Selector.Selector, options: Options = {}): ReadonlyArray<Law> => {
  const { runs = 100, seed = "evenkeel" } = options
  if (!(Number.isSafeInteger(runs) && runs >= 1)) {
    throw new RangeError(`SelectorLaws: runs must be a whole number from 1 up, and is ${String(runs)}`)
  }
  const subject = { selector, seed, runs }
  const collect = collector()
  return [
    ...behaviour(subject),
    ...(options.ordered === true ? [] : [orderLaw(subject)]),
    ...(options.fair === true ? [fairLaw(subject)] : []),
    ...(options.weighted === true ? [weightedLaw(subject)] : []),
    ...(collect === undefined ? [] : [boundedLaw(subject, collect)])
  ]
}

/**
 * Checks all laws, one after the other, and fails with the first that is broken. Throws a `RangeError` on an option out of
 * range.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 * import { SelectorLaws } from "@evenkeel/testkit"
 * import { Effect } from "effect"
 *
 * // With @effect/vitest: it.effect("keeps the laws", () => SelectorLaws.check(mine, { fair: true }))
 * const first = Selector.make("first", (candidates) => candidates[0])
 * const broken = await Effect.runPromise(Effect.flip(SelectorLaws.check(first)))
 *
 * broken.law // => "order"
 * ```
 */
export const check = (selector: Selector.Selector, options?: Options): Effect.Effect<void, LawBroken> =>
  Effect.forEach(laws(selector, options), (law) => law.check, { discard: true })

/**
 * A candidate of no pool, for tests of what is special to a strategy: an idle key of weight 1 and no owner, but for what is
 * said here.
 *
 * **Example**
 *
 * ```ts
 * import { SelectorLaws } from "@evenkeel/testkit"
 *
 * SelectorLaws.candidate("a", { weight: 5 }).weight // => 5
 * ```
 */
export const candidate: (
  id: string,
  fields?: Partial<Omit<Candidate.Candidate, "id">>
) => Candidate.Candidate = ByHand.candidate

/**
 * The circumstances of a pick in no balancer: the first try, at time 0, but for what is said here. Without a `random` it
 * has no chance, and a selector that needs one is told so by an exception.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 * import { SelectorLaws } from "@evenkeel/testkit"
 * import { Effect } from "effect"
 *
 * const { pick } = await Effect.runPromise(Effect.scoped(Selector.random.make))
 * const candidates = [SelectorLaws.candidate("a"), SelectorLaws.candidate("b")] as const
 * const last = SelectorLaws.context({ random: () => 0.9 })
 *
 * pick(candidates, last).id // => "b"
 * ```
 */
export const context: (fields?: Partial<Candidate.PickContext>) => Candidate.PickContext = ByHand.context

/**
 * How often a new picker chooses each of the candidates, in their order, when none of them changes; chance is the fiber's,
 * so that `Random.withSeed` fixes it.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 * import { SelectorLaws } from "@evenkeel/testkit"
 * import { Effect } from "effect"
 *
 * const loads = [SelectorLaws.candidate("busy", { inFlight: 3 }), SelectorLaws.candidate("idle")] as const
 * const leastBusy = Selector.leastBy((key) => key.inFlight)
 *
 * await Effect.runPromise(SelectorLaws.counts(leastBusy, loads, 100)) // => [0, 100]
 * ```
 */
export const counts: (
  selector: Selector.Selector,
  candidates: Arr.NonEmptyReadonlyArray<Candidate.Candidate>,
  picks: number,
  fields?: Partial<Candidate.PickContext>
) => Effect.Effect<ReadonlyArray<number>> = ByHand.counts
