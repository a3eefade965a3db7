/**
 * What happens to a pool, as data: keys that join and leave, picks, outcomes in any order, time that passes. Programs are
 * drawn at random, and shrink to the smallest one that still breaks a law.
 */
import { type Candidate, Outcome } from "@evenkeel/core"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"

/** What is said of a key; the rest is as `candidate` has it. */
export interface Traits extends Partial<
  Pick<
    Candidate.Candidate,
    "account" | "weight" | "tier" | "maxInFlight" | "credit" | "creditResetsAt" | "latency"
  >
> {
  /** The share of its limit that a limiter leaves the key; none without a limit. */
  readonly headroom?: number | undefined
}

export interface Request extends Partial<
  Pick<Candidate.PickContext, "attempt" | "affinity" | "tokens" | "estimate">
> {}

/** Keys are named by their number; `use` is the place among those in flight, counted in turn. */
export type Step =
  | { readonly _tag: "Pick"; readonly request: Request }
  | { readonly _tag: "Settle"; readonly use: number; readonly outcome: Outcome.Outcome }
  | { readonly _tag: "Join"; readonly key: number; readonly traits: Traits }
  | { readonly _tag: "Leave"; readonly key: number }
  /** Takes a key out of what is offered, and the next time back. */
  | { readonly _tag: "Bench"; readonly key: number }
  | { readonly _tag: "Change"; readonly key: number; readonly traits: Traits }
  | { readonly _tag: "Wait"; readonly millis: number }

/** How the numbers of `context.random` fall: by the seed, or always at one end of their range. */
export type Draws = "seeded" | "least" | "most"

export interface Program {
  readonly draws: Draws
  readonly keys: ReadonlyArray<Traits>
  readonly steps: ReadonlyArray<Step>
}

const int = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

/** One of these; what comes earlier is simpler. */
const oneOf = <A>(...values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(int(0, values.length - 1), (index) => values[index]!)

/** Numbers as a pool may have them. Few, so that ties are frequent. */
const sane = {
  account: oneOf(undefined, "a", "b"),
  weight: oneOf(undefined, 2, 5, 0.5),
  tier: oneOf(undefined, 1, 2),
  maxInFlight: oneOf(undefined, 3, 1),
  credit: oneOf(undefined, 100, 50, 7),
  creditResetsAt: oneOf(undefined, 1_800_000_000_000, 1_900_000_000_000),
  latency: oneOf(undefined, 200, 1000),
  headroom: oneOf(undefined, 1, 0.25)
}

/** Numbers that a reading, a clock or an arithmetic slip may come up with. A weight is still greater than 0. */
const odd = {
  ...sane,
  weight: oneOf(undefined, 5e-324, 1e-9, 1e300, Number.MAX_VALUE),
  tier: oneOf(undefined, Number.MAX_SAFE_INTEGER),
  credit: oneOf(undefined, 0, -0, -5, NaN, Infinity, -Infinity, 5e-324, Number.MAX_VALUE),
  creditResetsAt: oneOf(undefined, 0, NaN, Infinity, -Infinity),
  latency: oneOf(undefined, 0, NaN, Infinity, 5e-324, Number.MAX_VALUE),
  headroom: oneOf(undefined, 0, NaN, Infinity, -1)
}

type Numbers = { readonly [K in keyof Traits]-?: Arbitrary.Arbitrary<Traits[K]> }

/** Only what is given is kept, so that a report shows nothing beside the point. */
const given = <A extends object>(fields: A): { [K in keyof A]?: Exclude<A[K], undefined> } => {
  const found: { [K in keyof A]?: A[K] } = {}
  for (const field in fields) if (fields[field] !== undefined) found[field] = fields[field]
  return found as { [K in keyof A]?: Exclude<A[K], undefined> }
}

const traitsOf = (numbers: Numbers): Arbitrary.Arbitrary<Traits> =>
  Arbitrary.map(Arbitrary.all(numbers), given)

const request = (estimate: Arbitrary.Arbitrary<number | undefined>): Arbitrary.Arbitrary<Request> =>
  Arbitrary.map(
    Arbitrary.all({
      attempt: oneOf(undefined, 1, 2),
      affinity: oneOf(undefined, "s1", "s2", "s3"),
      tokens: oneOf(undefined, 100, 100_000),
      estimate
    }),
    given
  )

const outcomes = oneOf<Outcome.Outcome>(
  Outcome.success(0.01),
  Outcome.success(),
  Outcome.ignored(),
  Outcome.faulted({ scope: "key", reason: "throttled" }),
  Outcome.faulted({ scope: "account", reason: "exhausted" }),
  Outcome.faulted({ scope: "upstream", reason: "unavailable" })
)

const tags = oneOf<Step["_tag"]>(
  ...(["Pick", "Pick", "Pick", "Pick", "Settle", "Settle", "Settle"] as const),
  ...(["Change", "Bench", "Join", "Leave", "Wait"] as const)
)

const stepOf = (
  traits: Arbitrary.Arbitrary<Traits>,
  estimate: Arbitrary.Arbitrary<number | undefined>,
  millis: Arbitrary.Arbitrary<number>
): Arbitrary.Arbitrary<Step> => {
  const key = int(0, 7)
  const fields: { readonly [Tag in Step["_tag"]]: Arbitrary.Arbitrary<Omit<Step, "_tag">> } = {
    Pick: Arbitrary.all({ request: request(estimate) }),
    Settle: Arbitrary.all({ use: int(0, 9), outcome: outcomes }),
    Join: Arbitrary.all({ key, traits }),
    Leave: Arbitrary.all({ key }),
    Bench: Arbitrary.all({ key }),
    Change: Arbitrary.all({ key, traits }),
    Wait: Arbitrary.all({ millis })
  }
  return Arbitrary.flatMap(tags, (_tag) => Arbitrary.map(fields[_tag], (rest) => ({ _tag, ...rest }) as Step))
}

const programsOf = (
  traits: Arbitrary.Arbitrary<Traits>,
  step: Arbitrary.Arbitrary<Step>,
  draws: Arbitrary.Arbitrary<Draws>
): Arbitrary.Arbitrary<Program> =>
  Arbitrary.all({
    draws,
    keys: Arbitrary.array(traits, { minLength: 1, maxLength: 5 }),
    steps: Arbitrary.array(step, { minLength: 1, maxLength: 60 })
  })

/** Programs as a pool may live through them. */
export const programs: Arbitrary.Arbitrary<Program> = programsOf(
  traitsOf(sane),
  stepOf(traitsOf(sane), oneOf(undefined, 0.5), oneOf(0, 20, 1000, 60_000)),
  Arbitrary.Constant("seeded")
)

/** Programs with numbers that should not be, among them a clock that is set back and draws at the ends of their range. */
export const oddPrograms: Arbitrary.Arbitrary<Program> = programsOf(
  traitsOf(odd),
  stepOf(traitsOf(odd), oneOf(undefined, NaN, Infinity, 0), oneOf(0, 1000, -3_600_000)),
  oneOf<Draws>("seeded", "least", "most")
)

/** The same program with nothing odd in it. */
export const calm = ({ keys, steps }: Program): Program => ({
  draws: "seeded",
  keys: keys.map(ordinary),
  steps: steps.map((step) => {
    switch (step._tag) {
      case "Join":
      case "Change":
        return { ...step, traits: ordinary(step.traits) }
      case "Pick":
        return { ...step, request: { ...step.request, estimate: undefined } }
      case "Wait":
        return { ...step, millis: Math.abs(step.millis) }
      default:
        return step
    }
  })
})

/** What decides who can serve stays. */
const ordinary = ({ maxInFlight }: Traits): Traits => given({ maxInFlight })

/** A pool that stays as it is: keys that differ. */
export const unlike: Arbitrary.Arbitrary<ReadonlyArray<Traits>> = Arbitrary.array(traitsOf(sane), {
  minLength: 2,
  maxLength: 5
})

/** Keys that do not differ in anything, and can always serve. */
export const alike: Arbitrary.Arbitrary<ReadonlyArray<Traits>> = Arbitrary.map(
  Arbitrary.all({
    size: int(2, 5),
    traits: traitsOf({ ...sane, maxInFlight: Arbitrary.Constant(undefined) })
  }),
  ({ size, traits }) => Array.from({ length: size }, () => traits)
)

/** Keys that differ in their weight alone, and can always serve. */
export const weighted: Arbitrary.Arbitrary<ReadonlyArray<Traits>> = Arbitrary.map(
  Arbitrary.all({
    weights: Arbitrary.array(oneOf(1, 2, 3, 5, 10), { minLength: 2, maxLength: 5 }),
    credit: sane.credit,
    latency: sane.latency
  }),
  ({ weights, ...rest }) => weights.map((weight) => given({ weight, ...rest }))
)

/** The numbers of `context.random` as a program has them fall. */
export const draw = (draws: Draws, seeded: () => number): (() => number) =>
  draws === "seeded" ? seeded : draws === "least" ? () => 0 : () => 1 - Number.EPSILON / 2

const plain = (value: unknown): string =>
  typeof value === "object" && value !== null
    ? `{ ${Object.entries(value)
        .map(([name, field]) => `${name}: ${plain(field)}`)
        .join(", ")} }`
    : typeof value === "string"
      ? JSON.stringify(value)
      : Object.is(value, -0)
        ? "-0"
        : String(value)

const wordsOf = (step: Step): string => {
  const { _tag, ...fields } = step
  const rest = Object.values(fields).map((field, index) => {
    if (index === 0 && _tag !== "Pick" && _tag !== "Settle" && _tag !== "Wait") return `k${field}`
    if (_tag === "Settle" && index === 1) return (field as Outcome.Outcome)._tag
    return typeof field === "object" && Object.keys(field).length === 0 ? "" : plain(field)
  })
  return [_tag, ...rest].filter((word) => word !== "").join(" ")
}

/** A line for each step, as a report shows them. */
export const lines = ({ draws, keys, steps }: Program): ReadonlyArray<string> => [
  ...(draws === "seeded" ? [] : [`Draws ${draws}`]),
  ...keys.map((traits, key) => wordsOf({ _tag: "Join", key, traits })),
  ...steps.map(wordsOf)
]
