import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { Candidate, PickContext } from "../Candidate.ts"
import type { Picker, Selector } from "../Selector.ts"
import { told, type Candidates } from "../internal/selectors/around.ts"

/**
 * One pick of a selector, and what its shadow would have picked.
 */
export interface Comparison {
  readonly context: PickContext
  readonly chosen: Candidate
  /** `undefined` where facts of the shadow's own leave it no key, or it failed. */
  readonly shadow: Candidate | undefined
  /** What the shadow threw, if it did. */
  readonly error: unknown
  /** Picks so far, this one among them. */
  readonly picks: number
  /** Of those, the ones in which both chose the same key. */
  readonly agreed: number
}

/**
 * A second selector decides in parallel, and its choice is only told.
 *
 * **When to use**
 *
 * To see what another strategy would do with the requests of production, without risk. Then give it some (`split`), then all.
 *
 * **Details**
 *
 * The shadow decides on the same candidates, less those that its own facts (`eligible`) speak against; these facts keep no
 * request from a key. Its random numbers are its own, from a fixed seed: with it or without, the choices of the first
 * selector are the same.
 *
 * Its picker is told how all uses settle, also of keys that it would not have picked: what strategies learn from outcomes are
 * facts about keys (how fast, how reliable), and it would learn of nothing else in production. So a picker which counts its
 * own picks against settlements is misled here.
 *
 * Whatever the shadow or `record` throws, a request never sees. Only a shadow that cannot be made is a defect, at the start of
 * the balancer.
 *
 * **Gotchas**
 *
 * `record` runs inside the pick: it must be quick, as an increment or an append is. Candidates are live; copy what is to be
 * kept. The load that the shadow sees is what the first selector has made of it.
 *
 * **Example**
 *
 * ```ts
 * import { Balancer, KeyPool, Selector } from "@evenkeel/core"
 * import { Effect, Layer, pipe } from "effect"
 *
 * let agreement = 0
 * const first = Selector.make("first", (candidates) => candidates[0])
 * const last = Selector.make("last", (candidates) => candidates.at(-1)!)
 * const selector = pipe(first, Selector.shadow(last, ({ agreed, picks }) => void (agreement = agreed / picks)))
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provide(Selector.layer(selector)),
 *   Layer.provide(KeyPool.layer({ keys: ["sk-0000001", "sk-0000002"] }))
 * )
 * const use = Balancer.Balancer.use((balancer) => balancer.use(() => Effect.void))
 * await Effect.runPromise(Effect.provide(use, live))
 * agreement // => 0
 * ```
 */
export const shadow: {
  (other: Selector, record: (comparison: Comparison) => void): (main: Selector) => Selector
  (main: Selector, other: Selector, record: (comparison: Comparison) => void): Selector
} = dual(3, (main: Selector, other: Selector, record: (comparison: Comparison) => void): Selector => ({
  name: `shadow(${main.name}, ${other.name})`,
  ...(main.eligible === undefined ? {} : { eligible: main.eligible }),
  make: Effect.zipWith(main.make, other.make, (decides, watches) => {
    const shade = shadeOf(watches, other)
    let picks = 0
    let agreed = 0
    return {
      pick: (candidates, context) => {
        const chosen = decides.pick(candidates, context)
        picks++
        let shadow: Candidate | undefined
        let error: unknown
        try {
          shadow = shade.pick(candidates, context)
          if (shadow === chosen) agreed++
        } catch (thrown) {
          error = thrown
        }
        unheard(() => record({ context, chosen, shadow, error, picks, agreed }))
        return chosen
      },
      ...(decides.rank === undefined
        ? {}
        : { rank: (candidates, context) => decides.rank!(candidates, context) }),
      settled: (...how) => {
        // The shadow first: what the one that decides throws is to be heard.
        unheard(() => shade.settled(...how))
        decides.settled?.(...how)
      },
      forget: (id) => {
        unheard(() => watches.forget?.(id))
        decides.forget?.(id)
      }
    }
  })
}))

const shadeOf = (picker: Picker, { eligible, name }: Selector) => {
  const random = sequence()
  const { settled } = told(picker)
  /** The shadow's own contexts, by those that the pool will tell the settlement with. */
  const contexts = new WeakMap<PickContext, PickContext>()
  return {
    pick: (candidates: Candidates, context: PickContext): Candidate | undefined => {
      const own = { ...context, random }
      if (settled !== undefined) contexts.set(context, own)
      const [first, ...rest] =
        eligible === undefined ? candidates : candidates.filter((one) => eligible(one, own) === undefined)
      if (first === undefined) return undefined
      const chosen = picker.pick(rest.length + 1 === candidates.length ? candidates : [first, ...rest], own)
      if (candidates.includes(chosen)) return chosen
      throw new Error(`The selector "${name}" chose a key that it was not offered`)
    },
    settled: (...[candidate, outcome, timing, context]: Parameters<NonNullable<Picker["settled"]>>) => {
      if (settled === undefined) return
      const own = contexts.get(context)
      // Left to the collector of garbage, they would cost a microsecond each.
      contexts.delete(context)
      // What the pool tells of a pick that the shadow never saw is none of its.
      if (own !== undefined) settled(candidate, outcome, timing, own)
    }
  }
}

const unheard = (run: () => void): void => {
  try {
    run()
  } catch {
    // The shadow is no part of the request.
  }
}

/** Numbers from 0 to 1, the same in each run (mulberry32, T. Ettinger). */
const sequence = (): (() => number) => {
  let state = 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
