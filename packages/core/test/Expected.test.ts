// What is expected of the others by the time a pick goes by what they told.
import { assert, describe, it } from "@effect/vitest"
import { expected, type Reported } from "../src/internal/expected.ts"
import { rngOf } from "./utils.ts"

const of = (counts: ReadonlyArray<number>, weights: ReadonlyArray<number> = []): ReadonlyArray<Reported> =>
  counts.map((count, n) => ({ count, weight: weights[n] ?? 1 }))

const sum = (counts: ReadonlyArray<number>) => counts.reduce((a, b) => a + b, 0)

/** Never prefers a key for what it lacks. */
const last = () => 1

describe("expected counts", () => {
  it("are what was told while nobody begins anything", () => {
    assert.deepStrictEqual(expected(of([3, 0, 7]), 0, last), [3, 0, 7])
    assert.deepStrictEqual(expected(of([0, 0]), 5, last), [0, 0])
    assert.deepStrictEqual(expected([], 5, last), [])
  })

  it("fill up from the emptiest, and what stands out stays", () => {
    // As many begin as it takes for half of the 16 to end: 6, 2 and 0 are left, and 8 fill up the two lower ones.
    assert.deepStrictEqual(expected(of([12, 4, 0]), 16 * Math.LN2, last), [6, 5, 5])
    const [most, ...others] = expected(of([90, 5, 5]), 10, last)
    assert.closeTo(most!, 90 * Math.exp(-0.1), 1 / 64)
    assert.deepStrictEqual(others[0], others[1])
  })

  it("keep the sum, whatever was told", () => {
    const random = rngOf(1)
    for (let n = 0; n < 200; n++) {
      const counts = Array.from({ length: 12 }, () => Math.floor(random() * 40))
      const weights = Array.from({ length: 12 }, () => 1 + Math.floor(random() * 3))
      const found = expected(of(counts, weights), random() * 300, last)
      assert.closeTo(sum(found), sum(counts), sum(weights) / 64, JSON.stringify({ counts, weights }))
    }
  })

  it("are even, by weight, when the news is too old to say anything", () => {
    assert.deepStrictEqual(expected(of([12, 0, 0], [1, 1, 2]), Infinity, last), [3, 3, 6])
  })

  it("prefer what lacks most: each process for itself, all together about as much as it lacks", () => {
    const random = rngOf(2)
    const told = of([0, 5, 10, 30])
    const preferred = [0, 0, 0, 0]
    for (let n = 0; n < 10_000; n++) {
      const found = expected(told, 20, random)
      const least = Math.min(...found)
      const all = found.filter((count) => count === least).length
      for (const [key, count] of found.entries()) if (count === least) preferred[key]! += 1 / all
    }
    // The level is what the lower three have with what begins meanwhile.
    const left = Math.exp(-20 / 45)
    const level = (15 * left + 45 * (1 - left)) / 3
    const lacks = [0, 5, 10].map((count) => level - count * left)
    assert.strictEqual(preferred[3], 0)
    assert.isAbove(preferred[0]!, preferred[1]!)
    assert.isAbove(preferred[1]!, preferred[2]!)
    for (const [key, lack] of lacks.entries())
      assert.closeTo(preferred[key]! / 10_000, lack / sum(lacks), 0.1)
  })

  it("are exact in binary: a use that comes and goes leaves the count as it was", () => {
    for (const count of expected(of([1, 2, 3, 4, 5, 6]), 7, last)) assert.strictEqual(count + 1 - 1, count)
    assert.isTrue(expected(of([1, 2, 3]), 7, last).every((count) => Number.isInteger(count * 64)))
  })
})
