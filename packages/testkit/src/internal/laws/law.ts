/**
 * A law as data, how it is broken, and the search for the smallest program that breaks it.
 */
import type { Selector } from "@evenkeel/core"
import * as Arbitrary from "effect/Arbitrary"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { chance } from "./byHand.ts"
import { draw, lines, type Program } from "./program.ts"
import { play, Stage, start, type Watch } from "./stage.ts"

export interface Law {
  readonly name: string
  /** The law in a sentence. */
  readonly says: string
  /** Succeeds if the selector keeps it. */
  readonly check: Effect.Effect<void, LawBroken>
}

export class LawBroken extends Data.TaggedError("LawBroken")<{
  readonly selector: string
  readonly law: string
  readonly says: string
  /** What was seen. */
  readonly problem: string
  readonly seed: string | number
  readonly program: Program
}> {
  override get message(): string {
    return [
      `The selector "${this.selector}" breaks the law "${this.law}": ${this.says}.`,
      `Seen: ${this.problem}`,
      `By this program, with the seed ${JSON.stringify(this.seed)}:`,
      ...lines(this.program).map((line) => `  ${line}`)
    ].join("\n")
  }
}

/** What all laws of one selector are checked with. */
export interface Subject {
  readonly selector: Selector.Selector
  readonly seed: string | number
  readonly runs: number
}

/** What is wrong; `undefined` if nothing is. */
export type Verdict = string | undefined

/** A law that holds for every value of an arbitrary, each of which stands for a program. */
export const forAll = <A>(
  { runs, seed, selector }: Subject,
  law: Omit<Law, "check"> & {
    readonly values: Arbitrary.Arbitrary<A>
    readonly programOf: (value: A) => Program
    readonly verdict: (value: A) => Effect.Effect<Verdict>
    readonly runs?: number
    readonly maxShrinks?: number
  }
): Law => {
  const broken = (problem: string, program: Program) =>
    new LawBroken({ selector: selector.name, law: law.name, says: law.says, problem, seed, program })
  const property = (value: A) =>
    Effect.flatMap(law.verdict(value), (problem) =>
      problem === undefined ? Effect.succeed(true) : Effect.fail(broken(problem, law.programOf(value)))
    )
  const check = Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const result = yield* Arbitrary.checkEffect(law.values, property, {
      runs: law.runs ?? runs,
      size: 40,
      maxShrinks: law.maxShrinks ?? 2000,
      seed: `${seed} ${law.name}`
    })
    if (result._tag === "Passed") return
    // The failure that is told is that of the smallest value. Nothing is filtered or replayed, so there is no other end.
    return yield* result._tag === "Falsified" && result.failure._tag === "PropertyError"
      ? result.failure.error
      : Effect.die(result)
  }).pipe(Effect.provide(TestClock.layer()))
  return { name: law.name, says: law.says, check }
}

/** A new picker, with the numbers that it may draw; everything about it is decided by the seed. */
export const fresh = (
  { seed, selector }: Subject,
  salt: string | number = ""
): Effect.Effect<{ readonly picker: Selector.Picker; readonly random: () => number }, never, Scope.Scope> =>
  Effect.all({
    picker: Random.withSeed(selector.make, `${seed} make ${salt}`),
    random: chance(`${seed} draws ${salt}`)
  })

/** Plays a program on a new picker. */
export const played = (
  subject: Subject,
  program: Program,
  options: { readonly watch?: Watch; readonly ranks?: boolean } = {}
): Effect.Effect<Stage> =>
  Effect.gen(function* () {
    const { picker, random } = yield* fresh(subject)
    const stage = new Stage({
      picker,
      eligible: subject.selector.eligible,
      random: draw(program.draws, random),
      ...options
    })
    play(stage, program)
    return stage
  }).pipe(Effect.scoped)
