import { dual } from "effect/Function"
import type { Candidate } from "../Candidate.ts"
import type { Selector } from "../Selector.ts"
import { around, isFilled, isSelector, told, type Candidates } from "../internal/selectors/around.ts"
import { hashOf, unitOf } from "../internal/selectors/hash.ts"
import { PerKey } from "../internal/selectors/perKey.ts"

/**
 * Options of `affinity`.
 */
export interface AffinityOptions {
  /**
   * A key takes no more than so many times its share of the requests in flight; from 1 up, `Infinity` for no bound. Default
   * 1.5, the knee: in a simulation of 200 sessions of very different size over 8 keys, 81 % of the requests meet their
   * own key (70 to 90 % by the luck of the assignment), and the busiest key has 1.47 times the mean load. With 1.25 it is
   * 67 % and 1.25 times, without a bound 2.3 times.
   */
  readonly factor?: number | undefined
  /**
   * What requests with the same affinity should meet again.
   *
   * - `"account"`, the default: the account, and in it the key. OpenRouter keeps prompt caches by account, model and
   *   conversation, so another key of the account finds them too, and one of another account does not. A key whose account is
   *   not known counts as an account of its own
   * - `"key"`: the key
   */
  readonly by?: "account" | "key" | undefined
}

/**
 * Requests with the same affinity meet the same account and key, as long as that can serve and is not overloaded.
 *
 * **When to use**
 *
 * For sessions and prompt caches over several accounts: a conversation whose cache is warm costs less and answers sooner.
 *
 * **Details**
 *
 * Rendezvous hashing with weights: of all keys the one with the greatest −weight / ln(hash of key and affinity). When a key
 * comes or goes, only the affinities move that it gets or had; nothing is remembered, and every process chooses alike. An
 * account weighs as much as all its keys that the balancer has seen, so the affinities of one that cannot serve stay with
 * its account.
 *
 * The load is bounded as in Google's consistent hashing with bounded loads: a key that has ⌈factor · (requests in flight + 1) ·
 * its share of the weights⌉ or more in flight is passed over for the next in the order of that affinity. Accounts are
 * bounded so against each other, and keys within their account. One is always below its bound.
 *
 * Requests without an affinity are the inner selector's. It also hears how the others settle.
 *
 * Throws a `RangeError` that names the option when one is out of its range.
 *
 * Sources: D. Thaler, C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM ToN 1998; V. Mirrokni, M.
 * Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018.
 *
 * **Example**
 *
 * ```ts
 * import { Balancer, KeyPool, Selector } from "@evenkeel/core"
 * import { Effect, Layer, pipe } from "effect"
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provide(Selector.layer(pipe(Selector.random, Selector.affinity()))),
 *   Layer.provide(
 *     KeyPool.layer({
 *       keys: [
 *         { id: "a", secret: "sk-0000001", account: "one" },
 *         { id: "b", secret: "sk-0000002", account: "two" }
 *       ]
 *     })
 *   )
 * )
 * const served = Effect.gen(function* () {
 *   const balancer = yield* Balancer.Balancer
 *   const use = balancer.use((lease) => Effect.succeed(lease.key.account), { affinity: "session-1" })
 *   return new Set(yield* Effect.replicateEffect(use, 10)).size
 * })
 *
 * await Effect.runPromise(Effect.provide(served, live)) // => 1
 * ```
 */
export const affinity: {
  (options?: AffinityOptions): (inner: Selector) => Selector
  (inner: Selector, options?: AffinityOptions): Selector
} = dual(
  ([first]) => isSelector(first),
  (inner: Selector, { by = "account", factor = 1.5 }: AffinityOptions = {}): Selector => {
    if (!(factor >= 1)) {
      throw new RangeError(`Selector.affinity: factor must be a number from 1 up, and is ${String(factor)}`)
    }
    if (by !== "account" && by !== "key") {
      throw new RangeError(`Selector.affinity: by must be "account" or "key", and is ${String(by)}`)
    }
    return around(inner, "affinity", (picker) => {
      const home = homes(factor, by)
      return {
        pick: (candidates, context) =>
          context.affinity === undefined
            ? picker.pick(candidates, context)
            : home.pick(candidates, hashOf(context.affinity)),
        rank: (candidates, context) => {
          if (context.affinity === undefined) return picker.rank?.(candidates, context) ?? []
          const hash = hashOf(context.affinity)
          const order: Array<Candidate> = []
          let left: ReadonlyArray<Candidate> = candidates
          while (isFilled(left)) {
            const next = home.pick(left, hash)
            order.push(next)
            left = left.filter((candidate) => candidate !== next)
          }
          return order
        },
        ...told(picker),
        forget: (id) => {
          home.forget(id)
          picker.forget?.(id)
        }
      }
    })
  }
)

/** An account, as its keys make it up. */
interface House {
  readonly hash: number
  /** The weights of all its keys, also of those that cannot serve now: its affinities stay with it, on the other keys. */
  owned: number
  /** The weights, and the requests in flight, of those that the pick of this round is offered. */
  weight: number
  inFlight: number
  round: number
}

interface Seat {
  of: Candidate
  readonly hash: number
  house: House
  /** As the house knows them. */
  account: string | undefined
  weight: number
}

const homes = (factor: number, by: "account" | "key") => {
  const everybody = houseOf(0)
  /** The house of an account lasts as long as one of its keys does. */
  const find = ({ account, id }: Candidate): House => {
    if (by === "key") return everybody
    if (account === undefined) return houseOf(hashOf(id))
    for (const seat of seats.values()) if (seat.account === account) return seat.house
    return houseOf(hashOf(account))
  }
  const leave = ({ house, weight }: Seat): void => void (house.owned -= weight)
  const enter = (seat: Seat): Seat => {
    const { account, weight } = seat.of
    if (account !== seat.account) {
      seat.account = undefined
      seat.house = find(seat.of)
      seat.account = account
    }
    seat.weight = weight
    seat.house.owned += weight
    return seat
  }
  const seats: PerKey<Seat> = new PerKey((of) => {
    const { account, id, weight } = of
    return enter({ of, hash: hashOf(id), house: find(of), account, weight })
  })
  let round = 0
  return {
    pick: (candidates: Candidates, affinity: number): Candidate => {
      const offered = seats.all(candidates)
      round++
      let weight = 0
      let inFlight = 0
      for (const seat of offered) {
        const { of } = seat
        // The account may be learnt, and all but the id changed.
        if (seat.account !== of.account || seat.weight !== of.weight) {
          leave(seat)
          enter(seat)
        }
        const { house } = seat
        if (house.round !== round) {
          house.round = round
          house.weight = 0
          house.inFlight = 0
        }
        weight += of.weight
        inFlight += of.inFlight
        house.weight += of.weight
        house.inFlight += of.inFlight
      }
      // A whole number is at or above ⌈x⌉ where it is at or above x.
      let room = factor * (inFlight + 1)
      let home = offered[0].house
      let unit = 0
      if (by === "account") {
        let owned = 0
        for (const { house } of offered) {
          if (house.inFlight * weight >= room * house.weight) continue
          const other = unitOf(affinity, house.hash)
          if (!wins(other, house.owned, unit, owned)) continue
          home = house
          unit = other
          owned = house.owned
        }
      }
      room = factor * (home.inFlight + 1)
      let chosen: Candidate | undefined
      unit = 0
      for (const { hash, house, of } of offered) {
        if (house !== home || of.inFlight * home.weight >= room * of.weight) continue
        const other = unitOf(affinity, hash)
        if (chosen !== undefined && !wins(other, of.weight, unit, chosen.weight)) continue
        chosen = of
        unit = other
      }
      return chosen ?? offered[0].of
    },
    forget: (id: string): void => {
      const seat = seats.forget(id)
      if (seat !== undefined) leave(seat)
    }
  }
}

/** Whether −weight / ln(unit) is greater than that of the other; equal weights, as most are, need no logarithm. */
const wins = (unit: number, weight: number, otherUnit: number, otherWeight: number): boolean =>
  weight === otherWeight ? unit > otherUnit : Math.log(unit) / weight > Math.log(otherUnit) / otherWeight

const houseOf = (hash: number): House => ({ hash, owned: 0, weight: 0, inFlight: 0, round: 0 })
