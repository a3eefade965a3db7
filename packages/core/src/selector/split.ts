import * as Effect from "effect/Effect"
import type { PickContext } from "../Candidate.ts"
import * as Filter from "../Filter.ts"
import type { Picker, Selector } from "../Selector.ts"
import { isFilled, type Candidates } from "../internal/selectors/around.ts"
import { hashOf, unitOf } from "../internal/selectors/hash.ts"

/**
 * One of the selectors of a `split`, and the requests it gets.
 */
export interface Arm {
  readonly selector: Selector
  /** From 0 to 100; those of all arms add up to 100. */
  readonly percent: number
}

/**
 * Each request goes to one of several selectors, by percentages.
 *
 * **When to use**
 *
 * To try a strategy on a few requests first (a canary). To see what it would do without letting it, use `shadow`.
 *
 * **Details**
 *
 * Requests with an affinity always go to the same arm, in every process, so a session stays in its arm. When percentages
 * change, only so many sessions move as must, if the arms and their order stay. Other requests are drawn at random, each
 * attempt anew.
 *
 * The facts of an arm's own (`eligible`) hold for the requests of that arm alone. If they leave it no key, the next arm takes
 * the request; only when the facts of all arms speak against a key is it told as ineligible.
 *
 * Each arm has a picker of its own, which is told of the uses it has picked the key for, and of all keys that leave. The order
 * that `explain` tells is that of the request's arm, and without an affinity that of the largest one.
 *
 * `name` is the name of the selector, and which sessions go where depends on it: give a split inside another one, or a new
 * trial that should meet other sessions than the last, a name of its own.
 *
 * Throws a `RangeError` that names the field when a percentage is out of its range, or they do not add up.
 *
 * **Example**
 *
 * ```ts
 * import { Selector } from "@evenkeel/core"
 *
 * const selector = Selector.split({
 *   canary: { percent: 5, selector: Selector.powerOfTwo((candidate) => candidate.inFlight) },
 *   rest: { percent: 95, selector: Selector.random }
 * })
 * selector.name // => "split(canary, rest)"
 * ```
 */
export const split = <const Arms extends Readonly<Record<string, Arm>>>(
  arms: keyof Arms extends never ? never : Arms,
  name = `split(${Object.keys(arms).join(", ")})`
): Selector => {
  const used = checked(arms)
  const facts = used.flatMap(({ selector: { eligible } }) => (eligible === undefined ? [] : [eligible]))
  const [fact, ...others] = facts
  return {
    name,
    // A key that one arm could use can serve.
    ...(fact === undefined || facts.length < used.length ? {} : { eligible: Filter.any(fact, ...others) }),
    make: Effect.map(
      Effect.forEach(used, ({ percent, selector: { eligible, make } }) =>
        Effect.map(make, (picker): Open => ({ percent, eligible, picker }))
      ),
      (open) => picker(open, hashOf(name))
    )
  }
}

interface Open {
  readonly percent: number
  readonly eligible: Filter.Filter | undefined
  readonly picker: Picker
}

const picker = (arms: ReadonlyArray<Open>, salt: number): Picker => {
  const largest = arms.reduce((one, other) => (other.percent > one.percent ? other : one))
  const arm = (point: number): number => {
    let left = point * 100
    for (let i = 0; i < arms.length; i++) {
      left -= arms[i]!.percent
      if (left < 0) return i
    }
    return arms.length - 1
  }
  const home = (affinity: string): number => arm(unitOf(hashOf(affinity), salt))
  /** Whose pick it was. Weak, because the use of a key that has left is not told of any more. */
  const picked = new WeakMap<PickContext, Open>()
  const listening = arms.some(({ picker }) => picker.settled !== undefined)
  /** The arm that serves, the one at `index` if it can, and what it is offered. */
  const serving = (candidates: Candidates, context: PickContext, index: number) => {
    for (let i = 0; i < arms.length; i++) {
      const open = arms[(index + i) % arms.length]!
      const offered = allowed(open, candidates, context)
      if (offered !== undefined) return { open, offered }
    }
    // What spoke against all of them was a guess, and is overlooked.
    return { open: arms[index]!, offered: candidates }
  }
  return {
    pick: (candidates, context) => {
      const { affinity } = context
      const { offered, open } = serving(
        candidates,
        context,
        affinity === undefined ? arm(context.random()) : home(affinity)
      )
      if (listening) picked.set(context, open)
      return open.picker.pick(offered, context)
    },
    rank: (candidates, context) => {
      const { affinity } = context
      const index = affinity === undefined ? arms.indexOf(largest) : home(affinity)
      const { offered, open } = serving(candidates, context, index)
      return open.picker.rank?.(offered, context) ?? []
    },
    settled: (candidate, outcome, timing, context) => {
      const open = picked.get(context)
      // Left to the collector of garbage, they would cost a microsecond each.
      picked.delete(context)
      open?.picker.settled?.(candidate, outcome, timing, context)
    },
    forget: (id) => {
      for (const { picker } of arms) picker.forget?.(id)
    }
  }
}

const allowed = (
  { eligible }: Open,
  candidates: Candidates,
  context: PickContext
): Candidates | undefined => {
  if (eligible === undefined || candidates.every((one) => eligible(one, context) === undefined))
    return candidates
  const some = candidates.filter((one) => eligible(one, context) === undefined)
  return isFilled(some) ? some : undefined
}

const checked = (arms: Readonly<Record<string, Arm>>): ReadonlyArray<Arm> => {
  const entries = Object.entries(arms)
  if (entries.length === 0) throw new RangeError("Selector.split: arms must be at least one, and are none")
  let sum = 0
  for (const [name, { percent }] of entries) {
    if (!(percent >= 0 && percent <= 100)) {
      throw new RangeError(`Selector.split: ${name}.percent must be from 0 to 100, and is ${String(percent)}`)
    }
    sum += percent
  }
  // Thirds do not add up exactly.
  if (Math.abs(sum - 100) > 1e-6) {
    throw new RangeError(`Selector.split: percent of all arms must add up to 100, and adds up to ${sum}`)
  }
  // An arm of 0 % gets nothing, also where another cannot serve.
  return entries.map(([, arm]) => arm).filter(({ percent }) => percent > 0)
}
