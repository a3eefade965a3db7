/**
 * The laws of a single call. Each looks at its own matter alone: a selector that breaks one of them is refused by that one.
 */
import type { Candidate, Selector } from "@evenkeel/core"
import * as Effect from "effect/Effect"
import { forAll, type Law, played, type Subject, type Verdict } from "./law.ts"
import { calm, oddPrograms, type Program, programs } from "./program.ts"
import type { Call, Watch } from "./stage.ts"

export const behaviour = (subject: Subject): ReadonlyArray<Law> => {
  const watched = (name: string, says: string, watch: Watch): Law =>
    law(name, says, (program) => Effect.map(played(subject, program, { watch, ranks: true }), seen))
  const law = (name: string, says: string, verdict: (program: Program) => Effect.Effect<Verdict>) =>
    forAll(subject, { name, says, values: programs, programOf: (program) => program, verdict })

  return [
    watched("total", "pick chooses one of the candidates, the very object", (call) =>
      call.name === "pick" && call.offered.length > 1 ? mischoice(call) : undefined
    ),
    watched("lone", "a lone candidate is chosen", (call, picker) => {
      if (call.name !== "pick" || call.offered.length !== 1) return undefined
      const problem = mischoice(call)
      // Whether it is for being alone shows with a second one.
      return problem !== undefined && choosesOfTwo(call, picker) ? problem : undefined
    }),
    watched("read-only", "candidates, their list and the context are read, and never written to", (call) =>
      call.wrote === undefined || call.name === "rank" ? undefined : `${call.name} wrote to ${call.wrote}`
    ),
    watched("pure", "time and chance come from the context alone", (call) =>
      call.asked === undefined ? undefined : `${call.name} asked ${call.asked}`
    ),
    law("seeded", "a seed fixes the choices", (program) =>
      Effect.map(twice(subject, program), ([one, other]) =>
        difference(one, other, "a second run of the same")
      )
    ),
    watched("outcomes", "outcomes are taken in any order, also after forget", (call) =>
      call.thrown !== undefined && (call.name === "settled" || call.name === "forget")
        ? `${call.name} threw ${describe(call.thrown.error, [])}`
        : undefined
    ),
    law("rank", "rank holds exactly the candidates, and neither changes nor draws anything", (program) =>
      Effect.gen(function* () {
        const ranked = yield* played(subject, program, { ranks: true, watch: misrank })
        if (ranked.problem !== undefined) return ranked.problem
        const [one, other] = yield* twice(subject, program)
        // What differs without it is not for being asked.
        if (difference(one, other, "") !== undefined) return undefined
        return difference(one, ranked.chosen, "the same with rank before each pick")
      })
    ),
    forAll(subject, {
      name: "tolerant",
      says: "no number, however odd, makes it throw or choose nothing",
      values: oddPrograms,
      programOf: (program) => program,
      verdict: (program) =>
        Effect.gen(function* () {
          const { problem } = yield* played(subject, program, { ranks: true, watch: upset })
          if (problem === undefined) return undefined
          const { problem: anyway } = yield* played(subject, calm(program), { ranks: true, watch: upset })
          return anyway === undefined ? problem : undefined
        })
    })
  ]
}

const seen = (stage: { readonly problem: Verdict }): Verdict => stage.problem

const twice = (subject: Subject, program: Program) =>
  Effect.map(
    Effect.all([played(subject, program), played(subject, program)]),
    ([one, other]) => [one.chosen, other.chosen] as const
  )

const difference = (
  one: ReadonlyArray<string | undefined>,
  other: ReadonlyArray<string | undefined>,
  which: string
): Verdict => {
  const at = one.findIndex((id, index) => id !== other[index])
  return at === -1 ? undefined : `pick ${at + 1} chose ${one[at]}, and ${other[at]} in ${which}`
}

/** A choice that is none. */
const mischoice = ({ offered, result, thrown }: Call): Verdict => {
  if (thrown === undefined && offered.includes(result as Candidate.Candidate)) return undefined
  const ids = offered.map(({ id }) => id).join(", ")
  return thrown === undefined
    ? `pick of ${ids} returned ${describe(result, offered)}`
    : `pick of ${ids} threw ${describe(thrown.error, offered)}`
}

const choosesOfTwo = ({ context, offered }: Call, picker: Selector.Picker): boolean => {
  const one = offered[0]!
  const two = [one, { ...one, id: `${one.id}-twin` }] as const
  try {
    return two.includes(picker.pick(two, context!) as (typeof two)[number])
  } catch {
    return false
  }
}

const misrank: Watch = ({ drawn, name, offered, result, thrown, wrote }) => {
  if (name !== "rank") return undefined
  if (thrown !== undefined) return `rank threw ${describe(thrown.error, offered)}`
  if (wrote !== undefined) return `rank wrote to ${wrote}`
  if (drawn > 0) return "rank drew a random number"
  const ranked: ReadonlyArray<unknown> = Array.isArray(result) ? result : []
  const exact = ranked.length === offered.length && offered.every((one) => ranked.includes(one))
  const ids = offered.map(({ id }) => id).join(", ")
  const answer = Array.isArray(result)
    ? ranked.map((one) => describe(one, offered)).join(", ")
    : String(result)
  return exact ? undefined : `rank of ${ids} returned ${answer}`
}

/** What odd numbers may do. A lone candidate leaves nothing to compare, and is the matter of another law. */
const upset: Watch = (call) => {
  if (call.name === "pick" && call.offered.length > 1) return mischoice(call)
  return call.name === "rank" && call.thrown !== undefined
    ? `rank threw ${describe(call.thrown.error, [])}`
    : undefined
}

const describe = (value: unknown, offered: ReadonlyArray<Candidate.Candidate>): string => {
  if (value instanceof Error) return `${value.name}: ${value.message}`
  if (typeof value !== "object" || value === null) return String(value)
  if (!("id" in value)) return `a ${value.constructor?.name ?? "value"}`
  const id = String(value.id)
  if (offered.includes(value as Candidate.Candidate)) return id
  return offered.some((one) => one.id === id) ? `a copy of ${id}` : `${id}, which was not offered`
}
