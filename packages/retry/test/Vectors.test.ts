/**
 * Vectors of other projects, by the numbers of our list, and one of our own.
 *
 * Not here, because they are other algorithms: 51 (failsafe-go bounds the retries that are in flight at once; ours bounds
 * them in time, for a retry of an LLM request is in flight for a minute or more), 52 (AWS's tokens are given back by a
 * success and do not expire, so that the first outage after a quiet day is met with all 500), 53 (AWS's adaptive rate is
 * a limiter, not a retry policy), 55 (the SRE book's throttle refuses first attempts, which is the breaker's and the
 * pool's). 54 (Retry-After) is the classifier's, who reads it.
 */
import { Outcome } from "@evenkeel/core"
import { Retry, RetryBudget } from "@evenkeel/retry"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Random } from "effect"

describe("49: tower, tower/src/retry/budget/tps_budget.rs", () => {
  const budgetOf = (perSecond: number, ratio: number) =>
    RetryBudget.make({ window: "1 second", perSecond, ratio })
  // tower's time begins with the budget, ours with the epoch.
  for (const start of [0, 1_234_500, 1_234_567]) {
    it(`tps_empty, from ${start}`, () => {
      assert.isFalse(budgetOf(0, 1).withdraw(start))
    })

    it(`tps_leaky, from ${start}`, () => {
      const budget = budgetOf(0, 1)
      budget.deposit(start)
      assert.isFalse(budget.withdraw(start + 3000))
    })

    it(`tps_reserve, from ${start}`, () => {
      const budget = budgetOf(5, 1)
      const answers = Array.from({ length: 6 }, () => budget.withdraw(start))
      assert.deepStrictEqual(answers, [true, true, true, true, true, false])
    })
  }

  it("tps_slots", () => {
    const budget = budgetOf(0, 0.5)
    budget.deposit(0)
    budget.deposit(0)
    assert.isTrue(budget.withdraw(901))
    budget.deposit(2902)
    budget.deposit(3203)
    budget.deposit(4004)
    assert.isTrue(budget.withdraw(4004))
  })
})

describe("50: Finagle, RetryBudgetTest.scala", () => {
  const retriesOf = (ratio: number, perSecond: number, seconds: number): number => {
    const budget = RetryBudget.make({ ratio, perSecond, window: Duration.seconds(seconds) })
    assert.strictEqual(budget.balance(0), perSecond * seconds)
    let retries = 0
    for (let i = 0; i < 10_000; i++) {
      budget.deposit(0)
      if (budget.withdraw(0)) retries++
      else assert.strictEqual(budget.balance(0), 0)
    }
    return retries
  }

  // Finagle allows for an error of 1, because its prices are whole numbers.
  for (const ratio of [0.0001, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.99, 0.999, 0.9999]) {
    it(`10,000 requests at ${ratio} are ${10_000 * ratio} retries`, () => {
      assert.strictEqual(retriesOf(ratio, 0, 60), Math.round(10_000 * ratio))
    })
  }

  it("a floor is added, over the window", () => {
    assert.strictEqual(retriesOf(0, 10, 1), 10)
    assert.strictEqual(retriesOf(0, 5, 2), 10)
    assert.strictEqual(retriesOf(0.1, 10, 1), 1010)
    assert.strictEqual(retriesOf(0.5, 5, 2), 5010)
  })

  it("a ratio greater than 1", () => {
    const budget = RetryBudget.make({ ratio: 2, perSecond: 0, window: "1 minute" })
    for (let i = 0; i < 10_000; i++) budget.deposit(0)
    assert.strictEqual(budget.balance(0), 20_000)
  })

  it("neither floor nor ratio is an empty budget", () => {
    assert.strictEqual(retriesOf(0, 0, 10), 0)
  })
})

describe("59: a total outage, 10,000 requests at 100 a second, at most 3 retries", () => {
  /** Attempts for each request, by the decisions of the policy, in a virtual time of milliseconds. */
  const attemptsOf = Effect.fnUntraced(function* (options?: Retry.Options) {
    const policy = Retry.make(options)
    const down = Outcome.faulted({ scope: "upstream", reason: "unavailable" })
    const due = new Map<number, Array<Effect.Success<typeof policy.start>>>()
    const later = (at: number, session: Effect.Success<typeof policy.start>) => {
      const others = due.get(at)
      if (others === undefined) due.set(at, [session])
      else others.push(session)
    }
    let [attempts, requests] = [0, 0]
    for (let now = 0; requests < 10_000 || due.size > 0; now++) {
      if (now % 10 === 0 && requests < 10_000) {
        requests++
        policy.begun?.(now)
        later(now, yield* policy.start)
      }
      // A back-off of no time at all is due in the same millisecond.
      for (const session of due.get(now) ?? []) {
        const failure = {
          keyId: "a",
          upstream: "model",
          alternatives: false,
          nowMillis: now,
          deadline: Infinity
        }
        const decision = yield* session.decide({ ...failure, attempt: attempts++, outcome: down })
        if (decision._tag === "Retry") later(now + Duration.toMillis(decision.delay), session)
      }
      due.delete(now)
    }
    return attempts / requests
  })

  it.effect("makes at most 1.31 attempts a request, and 4 without a budget", () =>
    Effect.gen(function* () {
      const ratio = yield* attemptsOf()
      assert.isAtMost(ratio, 1.31)
      // Nor is the budget left unused.
      assert.isAbove(ratio, 1.29)
      assert.strictEqual(yield* attemptsOf({ budget: false }), 4)
    }).pipe(Random.withSeed("outage"))
  )

  it.effect("makes as many as ratio and floor come to", () =>
    Effect.gen(function* () {
      assert.isAtMost(yield* attemptsOf({ budget: { perSecond: 0 } }), 1.2)
      assert.isAtMost(yield* attemptsOf({ budget: { perSecond: 1 } }), 1.22)
    }).pipe(Random.withSeed("outage"))
  )
})
