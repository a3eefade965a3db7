import { RetryBudget } from "@evenkeel/retry"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"

const times = (n: number, f: () => void): void => {
  for (let i = 0; i < n; i++) f()
}

describe("a budget", () => {
  it("starts with the floor of one window", () => {
    assert.strictEqual(RetryBudget.make().balance(0), 100)
    assert.strictEqual(RetryBudget.make({ perSecond: 0.5, window: "1 minute" }).balance(1e12), 30)
  })

  it("is exact for each ratio of hundredths, which whole prices are not", () => {
    for (let percent = 1; percent <= 100; percent++) {
      const budget = RetryBudget.make({ ratio: percent / 100, perSecond: 0 })
      times(100, () => budget.deposit(0))
      assert.strictEqual(budget.balance(0), percent)
      times(percent, () => assert.isTrue(budget.withdraw(0)))
      assert.isFalse(budget.withdraw(0))
    }
  })

  it("may give each request several retries, or none at all", () => {
    const many = RetryBudget.make({ ratio: 2.5, perSecond: 0 })
    times(4, () => many.deposit(0))
    assert.strictEqual(many.balance(0), 10)
    const none = RetryBudget.make({ ratio: 0, perSecond: 0 })
    times(1000, () => none.deposit(0))
    assert.isFalse(none.withdraw(0))
  })

  it("forgets a request, and a retry, after the window", () => {
    const budget = RetryBudget.make({ ratio: 1, perSecond: 0.1 })
    budget.deposit(0)
    assert.deepStrictEqual([budget.balance(9999), budget.balance(10_000)], [2, 1])
    assert.isTrue(budget.withdraw(10_000))
    assert.deepStrictEqual([budget.balance(19_999), budget.balance(20_000)], [0, 1])
  })

  it("neither saves nor owes anything after an idle night", () => {
    const budget = RetryBudget.make({ ratio: 1 })
    times(5000, () => budget.deposit(0))
    times(3000, () => budget.withdraw(1))
    assert.strictEqual(budget.balance(1), 2100)
    assert.strictEqual(budget.balance(12 * 3_600_000), 100)
    const owing = RetryBudget.make({ ratio: 0.2 })
    times(100, () => owing.withdraw(0))
    assert.deepStrictEqual([owing.balance(0), owing.balance(12 * 3_600_000)], [0, 100])
  })

  it("is not refilled by a clock that goes back, and goes on with one that stands", () => {
    const budget = RetryBudget.make({ ratio: 0.5, perSecond: 0.1 })
    assert.isTrue(budget.withdraw(3_600_000))
    assert.isFalse(budget.withdraw(0))
    times(2, () => budget.deposit(0))
    assert.isTrue(budget.withdraw(0))
    assert.isFalse(budget.withdraw(3_600_000))
  })

  it("is not changed by a look at it, nor by a retry that it refuses", () => {
    const budget = RetryBudget.make({ ratio: 0, perSecond: 0.1 })
    times(100, () => assert.strictEqual(budget.balance(0), 1))
    assert.isTrue(budget.withdraw(0))
    times(100, () => assert.isFalse(budget.withdraw(0)))
    assert.strictEqual(budget.balance(10_000), 1)
  })
})

describe("any history", () => {
  const slot = 100

  it.effect("allows exactly what a list of all requests and retries does", () =>
    Effect.gen(function* () {
      for (let run = 0; run < 50; run++) {
        const ratio = yield* Random.nextIntBetween(0, 20)
        const floor = yield* Random.nextIntBetween(0, 10)
        const budget = RetryBudget.make({ ratio: ratio / 10, perSecond: floor, window: "1 second" })
        const begun: Array<number> = []
        const retried: Array<number> = []
        let now = 1_000_000
        for (let step = 0; step < 500; step++) {
          const idle = yield* Random.next
          now += idle < 0.01 ? 5000 : Math.floor(idle * 40)
          const since = (Math.floor(now / slot) - 9) * slot
          const within = (list: ReadonlyArray<number>) => list.filter((time) => time >= since).length
          // In tenths, so that this model knows no fractions.
          const tenths = within(begun) * ratio + (floor - within(retried)) * 10
          assert.strictEqual(budget.balance(now), Math.max(0, Math.floor(tenths / 10)))
          if (yield* Random.nextBoolean) {
            budget.deposit(now)
            begun.push(now)
          } else if (budget.withdraw(now)) {
            assert.isAtLeast(tenths, 10)
            retried.push(now)
          } else assert.isBelow(tenths, 10)
        }
      }
    }).pipe(Random.withSeed("history"))
  )

  it.effect("costs no more than ratio · requests, and the floor of the time it takes", () =>
    Effect.gen(function* () {
      for (let run = 0; run < 50; run++) {
        const ratio = yield* Random.next
        const perSecond = (yield* Random.next) * 20
        const budget = RetryBudget.make({ ratio, perSecond, window: "1 second" })
        let [now, requests, retries] = [0, 0, 0]
        for (let step = 0; step < 5000; step++) {
          now += (yield* Random.next) * 10
          if ((yield* Random.next) < 0.3) {
            budget.deposit(now)
            requests++
          } else if (budget.withdraw(now)) retries++
        }
        const windows = Math.ceil((Math.floor(now / slot) + 1) / 10)
        assert.isAtMost(retries, ratio * requests + perSecond * windows + 1e-6)
        // It is no bound of zero: nearly all of it was asked for.
        assert.isAbove(retries, 0.8 * (ratio * requests + perSecond * (windows - 1)))
      }
    }).pipe(Random.withSeed("bound"))
  )
})

describe("options", () => {
  it("out of range are refused with the name of the field and the range", () => {
    for (const bad of [-0.1, NaN, Infinity]) {
      assert.throws(
        () => RetryBudget.make({ ratio: bad }),
        RangeError,
        /ratio must be a finite number from 0 up/
      )
      assert.throws(
        () => RetryBudget.make({ perSecond: bad }),
        RangeError,
        /perSecond must be a finite number/
      )
    }
    for (const bad of [0, -1, NaN, Infinity]) {
      assert.throws(() => RetryBudget.make({ window: bad }), RangeError, /window must be a finite duration/)
    }
  })
})
