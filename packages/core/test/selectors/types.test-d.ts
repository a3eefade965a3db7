/**
 * What the compiler must refuse. `tsc -b` checks this file with all tests: an `@ts-expect-error` over a line that compiles is
 * itself an error, so nothing here can rot.
 */
import { Filter, Selector } from "@evenkeel/core"
import type { Candidate } from "@evenkeel/core"
import { Context, Effect, pipe, type Scope } from "effect"

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <_Claim extends true>(): void => {}

const { random } = Selector
const floor = Filter.creditAtLeast(5)
const suspect: Filter.Ineligible = { reason: "suspect", scope: "key", since: undefined, until: undefined }

export const refused = (): void => {
  // --- every combinator gives a selector, in both styles

  const piped = pipe(
    random,
    Selector.prefer((candidate) => candidate.tier === 0),
    Selector.tiered(),
    Selector.tiered({ spillAt: { share: 0.5 } }),
    Selector.sticky,
    Selector.affinity(),
    Selector.affinity({ by: "key" }),
    Selector.slowStart("10 seconds"),
    Selector.weightedBy((candidate, context) => candidate.weight * (context.attempt + 1)),
    Selector.unlessFewerThan({ count: 2 }, floor),
    Selector.shadow(random, () => {})
  )
  holds<Same<typeof piped, Selector.Selector>>()
  const first = Selector.prefer(random, (candidate: Candidate.Candidate) => candidate.tier === 0)
  holds<Same<typeof first, Selector.Selector>>()
  holds<Same<ReturnType<typeof Selector.sticky>, Selector.Selector>>()

  // --- a selector needs nothing but its scope

  holds<Same<Effect.Services<Selector.Selector["make"]>, Scope.Scope>>()
  holds<Same<Effect.Error<Selector.Selector["make"]>, never>>()
  class Remote extends Context.Service<Remote, { readonly factor: number }>()("test/Remote") {}
  const needy = { name: "needy", make: Effect.as(Remote, { pick: () => undefined as never }) }
  // @ts-expect-error: its picker needs a service
  Selector.sticky(needy)
  const failing = { name: "failing", make: Effect.fail("no picker") }
  // @ts-expect-error: its picker may not come about
  Selector.sticky(failing)

  // --- filters are not selectors, and not predicates

  // @ts-expect-error: a filter is no selector
  Selector.affinity()(floor)
  // @ts-expect-error: a filter is no selector
  Selector.affinity(floor, {})
  // @ts-expect-error: a filter is no selector
  Selector.sticky(floor)
  // @ts-expect-error: a filter is no selector
  Selector.layer(floor)
  // @ts-expect-error: a filter is no selector
  Selector.split({ all: { percent: 100, selector: floor } })
  // @ts-expect-error: a filter is no selector
  Selector.shadow(random, floor, () => {})
  // @ts-expect-error: a filter says no where a predicate says yes
  Selector.prefer(floor)
  // @ts-expect-error: a filter says no where a predicate says yes
  Selector.prefer(random, floor)
  // @ts-expect-error: a predicate is no filter
  Selector.unlessFewerThan({ count: 1 }, (candidate: Candidate.Candidate) => candidate.tier === 0)
  // @ts-expect-error: a selector is no filter
  Filter.all(random)
  // @ts-expect-error: a selector is no filter
  Filter.not(random, suspect)

  // --- candidates are typed, and read-only

  // @ts-expect-error: there is no such field
  Selector.prefer(random, (candidate) => candidate.region === "eu")
  // @ts-expect-error: a weight is a number
  Selector.weightedBy(random, (candidate) => candidate.labels["weight"])
  Selector.weightedBy(random, (candidate) => {
    // @ts-expect-error: only the pool writes
    candidate.weight = 2
    return 1
  })
  // @ts-expect-error: picking is synchronous
  Selector.prefer(random, async (candidate) => candidate.tier === 0)
  // @ts-expect-error: picking is synchronous
  Selector.make("effectful", (candidates) => Effect.succeed(candidates[0]))

  // --- options

  // @ts-expect-error: one measure or the other
  Selector.tiered({ spillAt: { share: 0.5, perWeight: 2 } })
  // @ts-expect-error: one of them
  Selector.tiered({ spillAt: {} })
  // @ts-expect-error: one measure or the other
  Selector.unlessFewerThan({ count: 1, fraction: 0.5 }, floor)
  // @ts-expect-error: one of them
  Selector.unlessFewerThan({}, floor)
  // @ts-expect-error: by the account or the key
  Selector.affinity({ by: "workspace" })
  // @ts-expect-error: there is no such option
  Selector.affinity({ bound: 2 })

  // --- a split has arms

  Selector.split({ all: { percent: 100, selector: random } })
  // @ts-expect-error: at least one
  Selector.split({})
  // @ts-expect-error: each with its percentage
  Selector.split({ all: { selector: random } })
  // @ts-expect-error: which is a number
  Selector.split({ all: { percent: "100", selector: random } })

  // --- what is true of no filters cannot be said of any

  Filter.all()
  // @ts-expect-error: at least one
  Filter.any()
  // @ts-expect-error: with what is told
  Filter.not(floor, {})

  // --- switching

  void Effect.map(Selector.switchable(random), ({ current, selector, switch: to }) => {
    holds<Same<typeof selector, Selector.Selector>>()
    holds<Same<typeof current, Effect.Effect<Selector.Selector>>>()
    holds<Same<ReturnType<typeof to>, Effect.Effect<void>>>()
    // @ts-expect-error: what is switched to is a selector
    return to(floor)
  })
  // @ts-expect-error: it has to be made first
  Selector.sticky(Selector.switchable(random))
}
