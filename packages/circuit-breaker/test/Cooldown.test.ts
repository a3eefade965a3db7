import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { candidateOf, contextAt, failure } from "./circuits.ts"

/** The lengths of openings in a row, each probe failing. */
const lengths = (cooldown: CircuitBreaker.Cooldown, count: number, random: () => number = () => 0) => {
  const trip = CircuitBreaker.consecutive(1)
  const { breaker } = CircuitBreaker.make({ key: { trip, cooldown } })
  const found: Array<number> = []
  const candidate = candidateOf({ id: "a" })
  let now = 0
  for (let i = 0; i < count; i++) {
    const context = contextAt(now, undefined, random)
    breaker.record(candidate, context, breaker.admit(candidate, context), failure(), now)
    const until = breaker.filter(candidate, context)!.until!
    found.push(until - now)
    now = until
  }
  return found
}

describe("openings in a row", () => {
  it("are all as long where one duration is given, and as the function says where that is", () => {
    assert.deepStrictEqual(lengths("2 seconds", 3), [2000, 2000, 2000])
    assert.deepStrictEqual(lengths({ seconds: 2 }, 2), [2000, 2000])
    assert.deepStrictEqual(
      lengths((openings) => openings * 100, 3),
      [100, 200, 300]
    )
  })

  it("double up to a most, or grow by another factor, and never overflow", () => {
    assert.deepStrictEqual(lengths({ base: 100, max: 500, jitter: "none" }, 4), [100, 200, 400, 500])
    assert.deepStrictEqual(
      lengths({ base: 100, max: 500, factor: 1.5, jitter: "none" }, 4),
      [100, 150, 225, 337.5]
    )
    assert.deepStrictEqual(lengths({ base: 100, max: 500, factor: 1, jitter: "none" }, 2), [100, 100])
    assert.strictEqual(lengths({ base: 1, max: 2, jitter: "none" }, 2000).at(-1), 2)
  })

  it.effect("are spread over the upper half by equal jitter, which is the default, over all by full", () =>
    Effect.gen(function* () {
      const random = yield* Random.Random
      const dice = () => random.nextDoubleUnsafe()
      const spread = (jitter: CircuitBreaker.Backoff["jitter"]) => {
        const found = lengths({ base: 1000, max: 1000, jitter }, 2000, dice)
        return [Math.min(...found), Math.max(...found), found.reduce((a, b) => a + b) / found.length]
      }
      for (const jitter of [undefined, "equal"] as const) {
        const [least, most, mean] = spread(jitter)
        assert.isTrue(least! > 500 && least! < 510 && most! > 990 && most! <= 1000)
        assert.isTrue(Math.abs(mean! - 750) < 15)
      }
      const [least, most, mean] = spread("full")
      assert.isTrue(least! > 0 && least! < 20 && most! > 990 && most! <= 1000)
      assert.isTrue(Math.abs(mean! - 500) < 30)
    }).pipe(Random.withSeed("jitter"))
  )
})
