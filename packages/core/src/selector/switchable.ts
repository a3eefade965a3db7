import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { PickContext } from "../Candidate.ts"
import type { Picker, Selector } from "../Selector.ts"

/**
 * A selector that can be replaced while balancers use it.
 */
export interface Switchable {
  /** What balancers are given. */
  readonly selector: Selector
  /** Replaces what decides, in all balancers that use it. */
  readonly switch: (next: Selector) => Effect.Effect<void>
  /** What decides now. */
  readonly current: Effect.Effect<Selector>
}

/**
 * Makes a selector that can be replaced while it runs.
 *
 * **When to use**
 *
 * To change the strategy of a service by an operator's word, or by the time of day, without a restart.
 *
 * **Details**
 *
 * The new picker is made in a scope of its own before anything changes; then all balancers change over in one step, the facts
 * of the selector (`eligible`) with them, and the scopes of the old pickers close. If the new one cannot be made, everything
 * stays as it was. Switches happen one after the other.
 *
 * Counts, credit and benches are the pool's and go on. What a picker has learnt is its own and goes with it. Uses under way
 * are told to the picker that chose their key, also when its scope is closed, as at the end of a balancer.
 *
 * **Gotchas**
 *
 * A request that already waits hears of new facts when it next looks for a key: when a use ends, or a key returns.
 *
 * **Example**
 *
 * ```ts
 * import { Balancer, KeyPool, Selector } from "@evenkeel/core"
 * import { Effect, Layer } from "effect"
 *
 * const first = Selector.make("first", (candidates) => candidates[0])
 * const last = Selector.make("last", (candidates) => candidates.at(-1)!)
 *
 * const served = Effect.gen(function* () {
 *   const strategy = yield* Selector.switchable(first)
 *   const live = Balancer.layer.pipe(
 *     Layer.provide(Selector.layer(strategy.selector)),
 *     Layer.provide(
 *       KeyPool.layer({
 *         keys: [
 *           { id: "a", secret: "sk-0000001" },
 *           { id: "b", secret: "sk-0000002" }
 *         ]
 *       })
 *     )
 *   )
 *   const use = Balancer.Balancer.use((balancer) => balancer.use((lease) => Effect.succeed(lease.key.id)))
 *   return yield* Effect.provide(Effect.all([use, Effect.andThen(strategy.switch(last), use)]), live)
 * })
 *
 * await Effect.runPromise(served) // => ["a", "b"]
 * ```
 */
export const switchable = (initial: Selector): Effect.Effect<Switchable> =>
  Effect.sync(() => {
    const lock = Semaphore.makeUnsafe(1)
    /** One for each balancer. */
    const seats = new Set<Tenure>()
    let current = initial
    return {
      selector: {
        name: "switchable",
        eligible: (candidate, context) => current.eligible?.(candidate, context),
        make: Effect.map(
          Effect.acquireRelease(
            lock.withPermit(
              Effect.suspend(() =>
                Effect.map(open(current, 1, identity), ([first]) => {
                  const seat = { ...first! }
                  seats.add(seat)
                  return seat
                })
              )
            ),
            (seat) =>
              lock.withPermit(
                Effect.suspend(() => {
                  seats.delete(seat)
                  return close([seat.scope])
                })
              )
          ),
          pickerOf
        )
      },
      current: Effect.sync(() => current),
      switch: (next) =>
        lock.withPermit(
          Effect.uninterruptibleMask((restore) =>
            Effect.flatMap(open(next, seats.size, restore), (opened) => {
              const before = Array.from(seats, ({ scope }) => scope)
              let i = 0
              for (const seat of seats) Object.assign(seat, opened[i++])
              current = next
              return close(before)
            })
          )
        )
    }
  })

/** The picker of a balancer for now, and the scope it was made in. */
interface Tenure {
  picker: Picker
  scope: Scope.Closeable
}

/** Makes so many pickers; none if one of them cannot be made. */
const open = (
  selector: Selector,
  count: number,
  restore: <A>(effect: Effect.Effect<A>) => Effect.Effect<A>
): Effect.Effect<ReadonlyArray<Tenure>> => {
  const scopes = Array.from({ length: count }, () => Scope.makeUnsafe())
  const make = (scope: Scope.Closeable) =>
    Effect.map(Scope.provide(selector.make, scope), (picker) => ({ picker, scope }))
  // Outside of what can be interrupted, so that no picker is lost on the way.
  return Effect.onError(restore(Effect.forEach(scopes, make)), () => close(scopes))
}

const close = (scopes: ReadonlyArray<Scope.Closeable>): Effect.Effect<void> =>
  Effect.forEach(scopes, (scope) => Scope.close(scope, Exit.void), { discard: true })

const pickerOf = (seat: Tenure): Picker => {
  /** Whose pick it was. Weak, because the use of a key that has left is not told of any more. */
  const picked = new WeakMap<PickContext, Picker>()
  return {
    pick: (candidates, context) => {
      const { picker } = seat
      if (picker.settled !== undefined) picked.set(context, picker)
      return picker.pick(candidates, context)
    },
    rank: (candidates, context) => seat.picker.rank?.(candidates, context) ?? [],
    settled: (candidate, outcome, timing, context) => {
      const picker = picked.get(context)
      // Left to the collector of garbage, they would cost a microsecond each.
      picked.delete(context)
      picker?.settled?.(candidate, outcome, timing, context)
    },
    forget: (id) => seat.picker.forget?.(id)
  }
}
