import { assert, describe, it } from "@effect/vitest"
import { type Candidate, Selector } from "@evenkeel/core"
import { SelectorLaws } from "@evenkeel/testkit"
import { Clock, Effect, Random } from "effect"

type Picker = Selector.Picker
type Pick = Picker["pick"]

/** A selector from a picker that is made anew each time. */
const selectorOf = (picker: () => Picker): Selector.Selector => ({
  name: "broken",
  make: Effect.sync(picker)
})

const atRandom: Pick = (candidates, { random }) => candidates[Math.floor(random() * candidates.length)]!
const lowestId = (candidates: ReadonlyArray<Candidate.Candidate>) =>
  candidates.reduce((a, b) => (b.id < a.id ? b : a))
const sortInPlace = (candidates: ReadonlyArray<Candidate.Candidate>) =>
  // oxlint-disable-next-line unicorn/no-array-sort -- This is the mistake.
  (candidates as Array<Candidate.Candidate>).sort((a, b) => (a.id > b.id ? -1 : 1))
/** The next by id, so that the order of the pool is no matter. */
const byTurn = (candidates: ReadonlyArray<Candidate.Candidate>, turn: number) =>
  candidates.toSorted((a, b) => (a.id < b.id ? -1 : 1))[Math.floor(turn) % candidates.length]!
const claims = { fair: true, weighted: true }

interface Broken {
  readonly law: string
  readonly how: string
  readonly selector: Selector.Selector
  readonly options?: SelectorLaws.Options
}

const pickOf = (pick: Pick) => selectorOf(() => ({ pick }))
const withRank = (rank: NonNullable<Picker["rank"]>) => selectorOf(() => ({ pick: atRandom, rank }))

let shared = 0

const broken: ReadonlyArray<Broken> = [
  { law: "total", how: "chooses nothing", selector: pickOf(() => undefined as never) },
  { law: "total", how: "is asynchronous", selector: pickOf((() => Promise.resolve()) as never) },
  { law: "total", how: "returns a copy", selector: pickOf((all, at) => ({ ...atRandom(all, at) })) },
  {
    law: "total",
    how: "chooses what it was offered before",
    selector: selectorOf(() => {
      let before: Candidate.Candidate | undefined
      return { pick: (all) => (all.length === 1 ? all[0] : (before ??= lowestId(all))) }
    })
  },
  {
    law: "lone",
    how: "throws where there is no choice",
    selector: pickOf((all, at) => {
      if (all.length < 2) throw new Error("too few")
      return atRandom(all, at)
    })
  },
  {
    law: "read-only",
    how: "counts on the candidate",
    selector: pickOf((all, at) => {
      const chosen = atRandom(all, at) as { inFlight: number } & Candidate.Candidate
      chosen.inFlight++
      return chosen
    })
  },
  {
    law: "read-only",
    how: "sorts the list that it is given",
    selector: pickOf((all) => sortInPlace(all)[0]!)
  },
  {
    law: "read-only",
    how: "labels what has settled",
    selector: selectorOf(() => ({
      pick: atRandom,
      settled: (one) => void ((one.labels as Record<string, string>)["seen"] = "yes")
    }))
  },
  {
    law: "pure",
    how: "asks the time",
    selector: pickOf((all) => byTurn(all, Date.now() / 50))
  },
  {
    law: "pure",
    how: "asks for today",
    selector: pickOf((all) => byTurn(all, new Date().getTime() / 50))
  },
  {
    law: "pure",
    how: "throws dice",
    selector: pickOf((all) => all[Math.floor(Math.random() * all.length)]!)
  },
  {
    law: "pure",
    how: "runs an effect that asks the clock",
    selector: pickOf((all) => byTurn(all, Effect.runSync(Clock.currentTimeMillis) / 50))
  },
  {
    law: "pure",
    how: "runs an effect that throws dice",
    selector: pickOf((all) => all[Math.floor(Effect.runSync(Random.next) * all.length)]!)
  },
  {
    law: "seeded",
    how: "has one cursor for all its pickers",
    selector: pickOf((all) => byTurn(all, shared++))
  },
  {
    law: "outcomes",
    how: "has no place for outcomes of a key that has left",
    selector: selectorOf(() => {
      const counts = new Map<string, { n: number }>()
      return {
        pick: (all, at) => {
          const chosen = atRandom(all, at)
          if (!counts.has(chosen.id)) counts.set(chosen.id, { n: 0 })
          return chosen
        },
        settled: ({ id }) => void counts.get(id)!.n++,
        forget: (id) => void counts.delete(id)
      }
    })
  },
  { law: "rank", how: "ranks the best alone", selector: withRank((all) => [all[0]]) },
  { law: "rank", how: "ranks copies", selector: withRank((all) => all.map((one) => ({ ...one }))) },
  {
    law: "rank",
    how: "sorts the list that it is given",
    selector: withRank((all) => sortInPlace(all).toReversed())
  },
  {
    law: "rank",
    how: "draws a number",
    selector: withRank((all, { random }) => (random() < 0.5 ? all : all.toReversed()))
  },
  {
    law: "rank",
    how: "takes a turn",
    selector: selectorOf(() => {
      let turn = 0
      return {
        pick: (all) => byTurn(all, turn++),
        rank: (all) => all.toSorted(() => (turn++, 0))
      }
    })
  },
  {
    law: "tolerant",
    how: "compares what is no number",
    selector: pickOf((all, { random }) => {
      let chosen: Candidate.Candidate | undefined
      let most = 0
      let ties = 1
      for (const one of all) {
        const credit = one.credit ?? 100
        if (credit > most) {
          chosen = one
          most = credit
          ties = 1
        } else if (credit === most && random() * ++ties < 1) chosen = one
      }
      return chosen!
    })
  },
  {
    law: "tolerant",
    how: "adds weights up to infinity",
    selector: pickOf((all, { random }) => {
      let left = random() * all.reduce((sum, { weight }) => sum + weight, 0)
      return all.find(({ weight }) => (left -= weight) < 0)!
    }),
    options: claims
  },
  { law: "order", how: "always has the first", selector: pickOf((all) => all[0]) },
  {
    law: "order",
    how: "gives ties to the first",
    selector: pickOf((all) => all.reduce((a, b) => (b.inFlight < a.inFlight ? b : a)))
  },
  { law: "fair", how: "starves all but one", selector: pickOf(lowestId), options: { fair: true } },
  {
    law: "fair",
    how: "gives one more than its share",
    selector: pickOf((all, at) => (at.random() < 0.1 ? lowestId(all) : atRandom(all, at))),
    options: { fair: true }
  },
  {
    law: "fair",
    how: "stays where it is",
    selector: selectorOf(() => {
      let current: string | undefined
      return {
        pick: (all, at) => {
          const chosen = all.find(({ id }) => id === current) ?? atRandom(all, at)
          current = chosen.id
          return chosen
        }
      }
    }),
    options: { fair: true }
  },
  { law: "weighted", how: "does not look at weights", selector: pickOf(atRandom), options: claims },
  ...(
    [
      ["ids", (seen: Set<unknown>, one: Candidate.Candidate) => seen.add(one.id)],
      ["views", (seen: Set<unknown>, one: Candidate.Candidate) => seen.add(one)]
    ] as const
  ).map(([what, keep]): Broken => ({
    law: "bounded",
    how: `keeps ${what} for ever`,
    selector: selectorOf(() => {
      const seen = new Set<unknown>()
      return {
        pick: (all, at) => {
          const chosen = atRandom(all, at)
          keep(seen, chosen)
          return chosen
        }
      }
    })
  })),
  {
    law: "bounded",
    how: "keeps a number for each outcome",
    selector: selectorOf(() => {
      const history: Array<number> = []
      return {
        pick: atRandom,
        settled: (_one, _outcome, { elapsedMillis }) => void history.push(elapsedMillis)
      }
    })
  }
]

/** The names of the laws that the selector breaks. A broken one is found by a third of the programs. */
/** The laws that it breaks; for `bounded` half a second is needed, and it is asked only where it matters. */
const brokenBy = (selector: Selector.Selector, options?: SelectorLaws.Options, bounded = false) =>
  Effect.map(
    Effect.forEach(
      SelectorLaws.laws(selector, { ...options, runs: 30 }).filter(
        ({ name }) => bounded || name !== "bounded"
      ),
      (law) => Effect.flip(law.check).pipe(Effect.option)
    ),
    (found) => found.flatMap((error) => (error._tag === "Some" ? [error.value.law] : []))
  )

describe("SelectorLaws", () => {
  describe("a selector is refused by the law it breaks, and by no other: one that", () => {
    for (const { how, law, options, selector } of broken) {
      it.effect(`${how}: ${law}`, () =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* brokenBy(selector, options, law === "bounded"), [law])
        })
      )
    }
  })

  describe("the selectors of core keep them, with what they claim", () => {
    const leaves: ReadonlyArray<readonly [Selector.Selector, SelectorLaws.Options]> = [
      [Selector.random, { fair: true }],
      [Selector.leastBy(({ inFlight }) => inFlight), { fair: true }],
      [Selector.powerOfTwo(({ inFlight }) => inFlight), { fair: true }],
      [Selector.proportional(({ weight }) => weight), { fair: true, weighted: true }]
    ]
    for (const [selector, options] of leaves) {
      it.effect(selector.name, () => SelectorLaws.check(selector, options))
    }
  })

  it.effect("a strategy that keeps a session on its key earns it nothing in the list", () => {
    const sticky = selectorOf(() => {
      const keyOf = new Map<string | undefined, string>()
      return {
        pick: (all, at) => {
          const chosen = all.find(({ id }) => id === keyOf.get(at.affinity)) ?? atRandom(all, at)
          keyOf.set(at.affinity, chosen.id)
          return chosen
        },
        forget: (id) => {
          for (const [session, key] of keyOf) if (key === id) keyOf.delete(session)
        }
      }
    })
    return SelectorLaws.check(sticky)
  })

  it.effect("a cursor over places is unfair as soon as not all can serve", () =>
    Effect.gen(function* () {
      let pickers = 0
      const naive = selectorOf(() => {
        let turn = 0
        pickers++
        return { pick: (all) => all[turn++ % all.length]! }
      })
      assert.deepStrictEqual(yield* brokenBy(naive), ["order"])
      assert.isAbove(pickers, 100)
    })
  )

  it.effect("the facts of a selector are its filter: what it says cannot serve is not offered", () =>
    SelectorLaws.check({
      ...pickOf((all, at) => {
        if (all.some(({ credit }) => credit === 7)) throw new Error("poor")
        return atRandom(all, at)
      }),
      eligible: ({ credit }) =>
        credit === 7 ? { reason: "below-floor", scope: "key", since: 0, until: undefined } : undefined
    })
  )

  it.effect("says what was seen, and the seed and the smallest program that show it", () =>
    Effect.gen(function* () {
      const forgetful = {
        name: "forgetful",
        make: Effect.sync((): Picker => {
          const known = new Set<string>()
          return {
            pick: (all, at) => {
              const chosen = atRandom(all, at)
              known.add(chosen.id)
              return chosen
            },
            settled: ({ id }) => {
              if (!known.has(id)) throw new Error(`Who is ${id}?`)
            },
            forget: (id) => void known.delete(id)
          }
        })
      }
      const error = yield* Effect.flip(SelectorLaws.check(forgetful, { seed: 7 }))
      assert.instanceOf(error, SelectorLaws.LawBroken)
      assert.strictEqual(
        error.message,
        [
          'The selector "forgetful" breaks the law "outcomes": outcomes are taken in any order, also after forget.',
          "Seen: settled threw Error: Who is k0?",
          "By this program, with the seed 7:",
          "  Join k0",
          "  Pick",
          "  Leave k0",
          "  Settle 0 Success"
        ].join("\n")
      )
      assert.deepStrictEqual(
        error.program.steps.map(({ _tag }) => _tag),
        ["Pick", "Leave", "Settle"]
      )
    })
  )

  it.effect("the same seed finds the same program, another one another", () =>
    Effect.gen(function* () {
      const { selector } = broken.find(({ law }) => law === "tolerant")!
      const found = (seed: number) => Effect.map(Effect.flip(SelectorLaws.check(selector, { seed })), String)
      assert.strictEqual(yield* found(1), yield* found(1))
      assert.notStrictEqual(yield* found(1), yield* found(2))
    })
  )

  it.effect("time and chance are the world's again afterwards, also after a pick that throws", () =>
    Effect.gen(function* () {
      const before = [Date, Math.random, performance.now, crypto.randomUUID, crypto.getRandomValues]
      yield* Effect.flip(SelectorLaws.check(pickOf(() => assert.fail("no"))))
      assert.deepStrictEqual(
        [Date, Math.random, performance.now, crypto.randomUUID, crypto.getRandomValues],
        before
      )
      assert.isFalse(Object.hasOwn(performance, "now"))
    })
  )

  it("a law is asked only where it is claimed", () => {
    const names = (options?: SelectorLaws.Options) =>
      SelectorLaws.laws(Selector.random, options).map(({ name }) => name)
    const always = ["total", "lone", "read-only", "pure", "seeded", "outcomes", "rank", "tolerant"]
    assert.deepStrictEqual(names(), [...always, "order", "bounded"])
    assert.deepStrictEqual(names({ ordered: true }), [...always, "bounded"])
    assert.deepStrictEqual(names(claims), [...always, "order", "fair", "weighted", "bounded"])
  })

  it("runs out of range are refused, by name and with what is allowed", () => {
    for (const runs of [0, -1, 1.5, NaN, Infinity]) {
      assert.throws(
        () => SelectorLaws.laws(Selector.random, { runs }),
        RangeError,
        `runs must be a whole number from 1 up, and is ${runs}`
      )
    }
  })

  it("a context has no chance unless it is given one", () => {
    assert.throws(() => SelectorLaws.context().random(), Error, "give it `random`")
  })
})
