import type { Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { circuitsOf, fault, success } from "./circuits.ts"

const scopes: ReadonlyArray<Outcome.FaultScope> = ["key", "workspace", "account", "upstream", "host"]
const way = { id: "a", upstream: "model" }

describe("the defaults", () => {
  const down = (scope: Outcome.FaultScope, outcomes: Iterable<boolean>, step = 100) => {
    const { filter, force } = circuitsOf()
    let n = 0
    for (const failed of outcomes) {
      force(n * step, way).settle(failed ? fault(scope) : success, n * step)
      n++
      if (filter(n * step, way) !== undefined) return n
    }
    return undefined
  }
  const always = Array.from({ length: 100 }, () => true)

  it("notice what is down within 3 requests of a key, 5 of an owner and 10 of an upstream or the host", () => {
    assert.deepStrictEqual(
      scopes.map((scope) => down(scope, always)),
      [3, 5, 5, 10, 10]
    )
  })

  it.effect(
    "leave an upstream alone that fails 30 % of the time, busy or idle, and not one that fails 90 %",
    () =>
      Effect.gen(function* () {
        for (const step of [10, 300, 3000]) {
          const some: Array<boolean> = []
          for (let i = 0; i < 10_000; i++) some.push((yield* Random.next) < 0.3)
          assert.isUndefined(down("upstream", some, step))
          const most: Array<boolean> = []
          for (let i = 0; i < 100; i++) most.push((yield* Random.next) < 0.9)
          assert.isDefined(down("upstream", most, step))
        }
      }).pipe(Random.withSeed("flaky"))
  )

  it("open for a minute, 5 s and 5 s, twice as long each time, up to 10 min, 5 min and 30 s", () => {
    const lengths = (scope: Outcome.FaultScope) => {
      const { filter, force, open } = circuitsOf()
      for (let i = 0; i < 10; i++) force(0, way).settle(fault(scope), 0)
      const found: Array<number> = []
      let now = 0
      for (let i = 0; i < 9; i++) {
        const until = filter(now, way)!.until!
        found.push((until - now) / 1000)
        now = until
        open(now, way)!.settle(fault(scope), now)
      }
      return found
    }
    assert.deepStrictEqual(lengths("key"), [60, 120, 240, 480, 600, 600, 600, 600, 600])
    assert.deepStrictEqual(lengths("account"), [5, 10, 20, 40, 80, 160, 300, 300, 300])
    assert.deepStrictEqual(lengths("workspace"), lengths("account"))
    assert.deepStrictEqual(lengths("upstream"), [5, 10, 20, 30, 30, 30, 30, 30, 30])
    assert.deepStrictEqual(lengths("host"), lengths("upstream"))
  })
})
