import { Balancer, KeyPool, Selector } from "@evenkeel/core"
import type { Candidate } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Domain } from "../src/internal/domain.ts"
import { key, layerOf } from "./utils.ts"

const names = Array.from({ length: 200 }, (_, i) => `k${i}`)

/** A selector for which eight are enough, and what each pick was offered. */
const watched = () => {
  const offers: Array<ReadonlyArray<string>> = []
  const pick = (candidates: readonly [Candidate.Candidate, ...ReadonlyArray<Candidate.Candidate>]) => {
    offers.push(candidates.map(({ id }) => id))
    return candidates[0]
  }
  return { offers, selector: Selector.make("watched", pick, undefined, 8) }
}

describe("a pool with more keys than a pick needs", () => {
  it.effect(
    "offers as many as are enough, one key further on each time, until all have been offered as often",
    () => {
      const { offers, selector } = watched()
      return Effect.gen(function* () {
        const balancer = yield* Balancer.Balancer
        yield* Effect.repeat(
          balancer.use(() => Effect.void),
          { times: names.length - 1 }
        )
        assert.deepStrictEqual(
          offers,
          names.map((_, n) => Array.from({ length: 8 }, (_, i) => names[(n + i) % names.length]!))
        )
      }).pipe(Effect.provide(layerOf({ keys: names.map((name) => key(name)), selector })))
    }
  )

  it.effect("passes over those that cannot serve, and finds the only one that can", () => {
    const { offers, selector } = watched()
    return Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const pool = yield* KeyPool.KeyPool
      for (const id of names.slice(1))
        yield* pool.bench({ scope: "key", id, reason: "throttled", for: "1 hour" })
      for (let turn = 0; turn < 3; turn++)
        assert.strictEqual(yield* balancer.use((lease) => Effect.succeed(lease.key.id)), "k0")
      assert.deepStrictEqual(offers, [["k0"], ["k0"], ["k0"]])
      yield* pool.bench({ scope: "key", id: "k0", reason: "throttled", for: "1 hour" })
      assert.strictEqual((yield* Effect.flip(balancer.use(() => Effect.void)))._tag, "NoEligibleKey")
    }).pipe(Effect.provide(layerOf({ keys: names.map((name) => key(name)), selector })))
  })

  it.effect("goes on when keys leave between two searches", () => {
    const { offers, selector } = watched()
    return Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const pool = yield* KeyPool.KeyPool
      for (const id of names.slice(0, 190)) {
        yield* balancer.use(() => Effect.void)
        yield* pool.remove(id)
      }
      assert.isTrue(offers.every((offer) => offer.length === 8 && new Set(offer).size === 8))
      assert.strictEqual((yield* pool.snapshot).keys.length, 10)
    }).pipe(Effect.provide(layerOf({ keys: names.map((name) => key(name)), selector })))
  })

  it("does not count the uses of all its keys to say that none of them is in the way", () => {
    const domain = new Domain("account", "acme")
    const uncounted = {
      get inFlight(): number {
        throw new Error("counted")
      }
    }
    domain.members.add(uncounted as never)
    assert.isUndefined(domain.blocks({ attempt: 0, nowMillis: 0, random: () => 0 } as never))
  })
})
