import { Outcome, RetryPolicy } from "@evenkeel/core"
import { Retry, RetryBudget } from "@evenkeel/retry"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Random, Schedule } from "effect"

/** Makes every random number the same. */
const withRandom = (value: number) =>
  Effect.provideService(Random.Random, { nextDoubleUnsafe: () => value, nextIntUnsafe: () => 0 })

const faulted = (
  scope: Outcome.FaultScope,
  options: {
    readonly retryAfter?: Duration.Input
    readonly retryable?: Outcome.Retryable
    readonly status?: number
    readonly cost?: number | undefined
    readonly alternatives?: boolean
    readonly nowMillis?: number
    readonly deadline?: number
    readonly keyId?: string
  } = {}
): RetryPolicy.Failure => {
  const {
    alternatives = false,
    keyId = "a",
    nowMillis = 0,
    retryAfter,
    deadline = Infinity,
    ...rest
  } = options
  const told = retryAfter === undefined ? undefined : Duration.fromInputUnsafe(retryAfter)
  const outcome = Outcome.faulted({ scope, reason: "unavailable", retryAfter: told, ...rest })
  return { keyId, attempt: 0, outcome, upstream: "model", alternatives, nowMillis, deadline }
}

/** What one session decides: milliseconds for a wait, else the tag. */
const decideAll = Effect.fnUntraced(function* (
  options: Retry.Options | undefined,
  failures: ReadonlyArray<RetryPolicy.Failure>
) {
  const session = yield* Retry.make(options).start
  const decisions: Array<number | string> = []
  for (const failure of failures) {
    const decision = yield* session.decide(failure)
    decisions.push(decision._tag === "Retry" ? Duration.toMillis(decision.delay) : decision._tag)
  }
  return decisions
})

const repeat = <A>(n: number, value: A): Array<A> => Array.from({ length: n }, () => value)

/** So many keys fail, each for the first time. */
const keys = (n: number, scope: Outcome.FaultScope, options?: Parameters<typeof faulted>[1]) =>
  Array.from({ length: n }, (_, i) => faulted(scope, { ...options, keyId: `key-${i}` }))

describe("rotation", () => {
  it.effect("goes on without a bound of its own, and without a wait", () =>
    Effect.gen(function* () {
      const hundred = yield* decideAll(undefined, keys(100, "key", { retryAfter: "1 day" }))
      assert.deepStrictEqual(hundred, repeat(100, "Rotate"))
    })
  )

  it.effect("stops after `rotations`, and then does not fall back to waiting", () =>
    Effect.gen(function* () {
      const three = keys(3, "account")
      assert.deepStrictEqual(yield* decideAll({ rotations: 2 }, three), ["Rotate", "Rotate", "Stop"])
      assert.deepStrictEqual(yield* decideAll({ rotations: 0 }, three), ["Stop", "Stop", "Stop"])
    })
  )

  it.effect("and back-offs are counted apart", () =>
    Effect.gen(function* () {
      const [a, b] = keys(2, "key") as [RetryPolicy.Failure, RetryPolicy.Failure]
      const failures = [a, faulted("upstream"), b, faulted("upstream"), faulted("upstream")]
      const decisions = yield* decideAll({ times: 2, rotations: 1, schedule: Schedule.spaced(7) }, failures)
      assert.deepStrictEqual(decisions, ["Rotate", 7, "Stop", 7, "Stop"])
    })
  )

  it.effect("to a key that has failed before is one of `times`, for a token of the budget", () =>
    Effect.gen(function* () {
      const [a, b] = keys(2, "key") as [RetryPolicy.Failure, RetryPolicy.Failure]
      const failures = [a, b, a, b, a]
      assert.deepStrictEqual(yield* decideAll({ times: 2 }, failures), [...repeat(4, "Rotate"), "Stop"])
      const mixed = [a, a, faulted("upstream"), a]
      const schedule = Schedule.spaced(7)
      assert.deepStrictEqual(yield* decideAll({ times: 2, schedule }, mixed), ["Rotate", "Rotate", 7, "Stop"])
      const budget = RetryBudget.make({ ratio: 0, perSecond: 0.1 })
      assert.deepStrictEqual(yield* decideAll({ budget }, failures), [
        ...repeat(3, "Rotate"),
        ...repeat(2, "Stop")
      ])
    })
  )
})

describe("back-off", () => {
  it.effect("never retries what nothing cures", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* decideAll(undefined, [faulted("upstream", { retryable: "never" })]), [
        "Stop"
      ])
    })
  )

  it.effect("doubles from 500 ms to 8 s, and no random number exceeds that", () =>
    Effect.gen(function* () {
      const decisions = decideAll({ times: 7 }, repeat(8, faulted("host")))
      const upper = yield* decisions.pipe(withRandom(1 - 2 ** -53))
      assert.deepStrictEqual(upper, [500, 1000, 2000, 4000, 8000, 8000, 8000, "Stop"])
      assert.deepStrictEqual(yield* decisions.pipe(withRandom(0)), [...repeat(7, 0), "Stop"])
      assert.deepStrictEqual((yield* decisions.pipe(withRandom(0.5))).slice(0, 3), [250, 500, 1000])
    })
  )

  it.effect("waits 3 times by default", () =>
    Effect.gen(function* () {
      const decisions = yield* decideAll(undefined, repeat(4, faulted("upstream"))).pipe(withRandom(0.5))
      assert.deepStrictEqual(decisions, [250, 500, 1000, "Stop"])
    })
  )

  it.effect("spreads evenly from 0 to the whole window", () =>
    Effect.gen(function* () {
      const delays = yield* Effect.forEach(repeat(4000, 0), () => decideAll(undefined, [faulted("upstream")]))
      const tenths = repeat(10, 0).map((_, i) => {
        const within = delays.filter(([delay]) => Math.min(9, Math.floor(Number(delay) / 50)) === i)
        return within.length
      })
      // 400 each; five standard deviations are 95.
      for (const tenth of tenths) assert.approximately(tenth, 400, 95)
    }).pipe(Random.withSeed("spread"))
  )

  it.effect("ends with the schedule, which is told of each failure", () =>
    Effect.gen(function* () {
      const schedule = Schedule.spaced("1 second").pipe(
        Schedule.setInputType<RetryPolicy.Failure>(),
        Schedule.modifyDelay(({ input }) =>
          Effect.succeed(input.outcome.status === 529 ? "5 seconds" : "1 second")
        ),
        Schedule.upTo({ times: 2 })
      )
      const failures = [faulted("upstream", { status: 529 }), faulted("upstream"), faulted("upstream")]
      assert.deepStrictEqual(yield* decideAll({ schedule, times: 10 }, failures), [5000, 1000, "Stop"])
    })
  )

  it.effect("is never longer than maxDelay", () =>
    Effect.gen(function* () {
      const failures = [faulted("upstream"), faulted("upstream")]
      const schedule = Schedule.spaced("1 hour")
      assert.deepStrictEqual(yield* decideAll({ schedule }, failures), [30_000, 30_000])
      assert.deepStrictEqual(yield* decideAll({ schedule, maxDelay: 20 }, failures), [20, 20])
    })
  )

  it.effect("starts anew with each session", () =>
    Effect.gen(function* () {
      const policy = Retry.make({ times: 1, rotations: 1 })
      for (let i = 0; i < 3; i++) {
        const session = yield* policy.start
        assert.strictEqual((yield* session.decide(faulted("key")))._tag, "Rotate")
        assert.strictEqual((yield* session.decide(faulted("upstream")))._tag, "Retry")
      }
    })
  )
})

describe("Retry-After", () => {
  it.effect("is the least delay; beyond maxDelay it ends the request", () =>
    Effect.gen(function* () {
      const after = (retryAfter: Duration.Input) =>
        decideAll(undefined, [faulted("upstream", { retryAfter })]).pipe(withRandom(0))
      assert.deepStrictEqual(yield* after("10 seconds"), [10_000])
      assert.deepStrictEqual(yield* after("30 seconds"), [30_000])
      assert.deepStrictEqual(yield* after("30001 millis"), ["Stop"])
      assert.deepStrictEqual(yield* after("120 seconds"), ["Stop"])
      assert.deepStrictEqual(yield* after("3 days"), ["Stop"])
      assert.deepStrictEqual(yield* after(Duration.infinity), ["Stop"])
      assert.deepStrictEqual(yield* after("0 seconds"), [0])
      assert.deepStrictEqual(yield* after("1500 micros"), [2])
    })
  )

  it.effect("of 0 does not take the back-off away", () =>
    Effect.gen(function* () {
      const decisions = yield* decideAll(undefined, repeat(3, faulted("upstream", { retryAfter: 0 })))
      assert.isTrue(decisions.every((delay) => Number(delay) > 0))
    }).pipe(withRandom(0.5))
  )

  it.effect("any of 20,000 waits is at least what was asked for, and at most maxDelay", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 20_000; i++) {
        const asked = (yield* Random.next) * 40_000
        const [decision] = yield* decideAll({ budget: false }, [faulted("upstream", { retryAfter: asked })])
        if (asked > 30_000) assert.strictEqual(decision, "Stop")
        else assert.isTrue(Number(decision) >= asked && Number(decision) <= Math.min(asked + 501, 30_000))
      }
    }).pipe(Random.withSeed("asked"))
  )
})

describe("another model", () => {
  const overloaded = faulted("upstream", { alternatives: true, retryAfter: "1 day" })

  it.effect("is tried at once, for one token of the budget, and while there are tokens", () =>
    Effect.gen(function* () {
      const budget = RetryBudget.make({ ratio: 0, perSecond: 0.2 })
      const decisions = yield* decideAll({ budget, times: 0 }, repeat(3, overloaded))
      assert.deepStrictEqual(decisions, ["Rotate", "Rotate", "Stop"])
      assert.strictEqual(budget.balance(0), 0)
    })
  )

  it.effect("does not help where the host is at fault", () =>
    Effect.gen(function* () {
      const decisions = yield* decideAll({ schedule: Schedule.spaced(7) }, [
        faulted("host", { alternatives: true })
      ])
      assert.deepStrictEqual(decisions, [7])
    })
  )

  it.effect("is one of `rotations`; when they are spent, time is left to help", () =>
    Effect.gen(function* () {
      const failures = repeat(4, faulted("upstream", { alternatives: true }))
      const decisions = yield* decideAll({ rotations: 1, times: 2, schedule: Schedule.spaced(7) }, failures)
      assert.deepStrictEqual(decisions, ["Rotate", 7, 7, "Stop"])
    })
  )
})

describe("what may have been billed", () => {
  const cost = undefined

  it.effect("is tried once more by default, whoever is at fault", () =>
    Effect.gen(function* () {
      for (const failure of [
        faulted("upstream", { cost }),
        faulted("host", { cost }),
        faulted("key", { cost }),
        faulted("upstream", { cost, alternatives: true })
      ]) {
        const [first, second] = yield* decideAll(undefined, repeat(2, failure))
        assert.notStrictEqual(first, "Stop")
        assert.strictEqual(second, "Stop")
      }
    })
  )

  it.effect("is tried as often as `billed` says", () =>
    Effect.gen(function* () {
      const failures = repeat(4, faulted("upstream", { cost }))
      const times = Effect.fnUntraced(function* (billed: number) {
        const decisions = yield* decideAll({ billed, schedule: Schedule.spaced(7) }, failures)
        return decisions.filter((decision) => decision === 7).length
      })
      assert.strictEqual(yield* times(0), 0)
      assert.strictEqual(yield* times(2), 2)
      // Then `times` ends it.
      assert.strictEqual(yield* times(Infinity), 3)
    })
  )

  it.effect("does not count what was not billed", () =>
    Effect.gen(function* () {
      const failures = [
        faulted("upstream"),
        faulted("upstream", { cost }),
        faulted("key"),
        faulted("upstream"),
        faulted("upstream", { cost })
      ]
      const decisions = yield* decideAll({ times: 9, schedule: Schedule.spaced(7) }, failures)
      assert.deepStrictEqual(decisions, [7, 7, "Rotate", 7, "Stop"])
    })
  )
})

describe("the budget", () => {
  const one = { ratio: 0, perSecond: 0.1 }

  it.effect("is one of all requests of a policy", () =>
    Effect.gen(function* () {
      const policy = Retry.make({ budget: one })
      const decide = (nowMillis: number) =>
        Effect.flatMap(policy.start, (session) => session.decide(faulted("upstream", { nowMillis })))
      assert.strictEqual((yield* decide(0))._tag, "Retry")
      assert.strictEqual((yield* decide(9999))._tag, "Stop")
      assert.strictEqual((yield* decide(10_000))._tag, "Retry")
    })
  )

  it.effect("a retry that would begin behind the deadline takes nothing of it", () =>
    Effect.gen(function* () {
      const policy = Retry.make({ budget: one, schedule: Schedule.spaced("1 second") })
      const decide = (deadline: number) =>
        Effect.flatMap(policy.start, (session) => session.decide(faulted("upstream", { deadline })))
      assert.strictEqual((yield* decide(1000))._tag, "Stop")
      assert.strictEqual((yield* decide(1001))._tag, "Retry")
      assert.strictEqual((yield* decide(1001))._tag, "Stop")
    })
  )

  it.effect("is paid for by the requests that begin", () =>
    Effect.gen(function* () {
      const policy = Retry.make({ budget: { ratio: 0.2, perSecond: 0 } })
      const decide = Effect.flatMap(policy.start, (session) => session.decide(faulted("upstream")))
      for (let i = 0; i < 4; i++) policy.begun?.(0)
      assert.strictEqual((yield* decide)._tag, "Stop")
      policy.begun?.(0)
      assert.strictEqual((yield* decide)._tag, "Retry")
      assert.strictEqual((yield* decide)._tag, "Stop")
    })
  )

  it.effect("is not drawn on by rotation, nor by what does not come to a retry", () =>
    Effect.gen(function* () {
      const budget = RetryBudget.make()
      const full = budget.balance(0)
      const left = Effect.fnUntraced(function* (
        failures: Array<RetryPolicy.Failure>,
        options?: Retry.Options
      ) {
        yield* decideAll({ ...options, budget }, failures)
        return budget.balance(0)
      })
      assert.strictEqual(yield* left(keys(5, "key")), full)
      assert.strictEqual(yield* left([faulted("upstream", { retryable: "never" })]), full)
      assert.strictEqual(yield* left([faulted("upstream")], { times: 0 }), full)
      assert.strictEqual(yield* left([faulted("upstream", { retryAfter: "1 day" })]), full)
      assert.strictEqual(yield* left([faulted("upstream", { cost: undefined })], { billed: 0 }), full)
      const over = Schedule.recurs(0)
      assert.strictEqual(yield* left([faulted("upstream")], { schedule: over }), full)
      assert.strictEqual(yield* left([faulted("upstream")]), full - 1)
    })
  )

  it.effect("may be shared, and may be none", () =>
    Effect.gen(function* () {
      const budget = RetryBudget.make(one)
      assert.notStrictEqual((yield* decideAll({ budget }, [faulted("host")]))[0], "Stop")
      assert.strictEqual((yield* decideAll({ budget }, [faulted("host")]))[0], "Stop")
      const none = Retry.make({ budget: false })
      assert.isUndefined(none.begun)
      const many = yield* decideAll({ budget: false, times: Infinity }, repeat(1000, faulted("host")))
      assert.notInclude(many, "Stop")
    })
  )

  it.effect("of a layer begins with each of its builds", () =>
    Effect.gen(function* () {
      const layer = Retry.layer({ budget: one })
      const decide = Effect.gen(function* () {
        const session = yield* (yield* RetryPolicy.RetryPolicy).start
        return (yield* session.decide(faulted("upstream")))._tag
      })
      const twice = Effect.all([decide, decide])
      assert.deepStrictEqual(yield* Effect.provide(twice, layer), ["Retry", "Stop"])
      assert.deepStrictEqual(yield* Effect.provide(twice, layer), ["Retry", "Stop"])
    })
  )
})

describe("options", () => {
  it("out of range are refused with the name of the field and the range", () => {
    const whole = /must be a whole number from 0 up, or Infinity/
    for (const bad of [-1, 1.5, NaN, -Infinity]) {
      assert.throws(() => Retry.make({ times: bad }), RangeError, /Retry: times/)
      assert.throws(() => Retry.make({ times: bad }), RangeError, whole)
      assert.throws(() => Retry.layer({ rotations: bad }), RangeError, /Retry: rotations/)
      assert.throws(() => Retry.make({ billed: bad }), RangeError, /Retry: billed/)
    }
    for (const bad of [0, -1, NaN, Infinity, "Infinity"] as const) {
      assert.throws(
        () => Retry.make({ maxDelay: bad }),
        RangeError,
        /maxDelay must be a finite duration greater than 0/
      )
    }
    for (const bad of [-1, NaN, "-1 seconds"] as const) {
      assert.throws(
        () => Retry.make({ patience: bad }),
        RangeError,
        /Retry: patience must be a duration from 0/
      )
    }
    assert.throws(() => Retry.layer({ budget: { ratio: -1 } }), RangeError, /RetryBudget: ratio/)
    Retry.make({ times: 0, rotations: 0, billed: 0, maxDelay: 1, patience: 0 })
    Retry.make({ times: Infinity, rotations: Infinity, billed: Infinity, patience: Infinity })
  })

  it("say how patient a request is: 30 seconds, unless told", () => {
    const patience = (options?: Retry.Options) => Duration.toMillis(Retry.make(options).patience!)
    assert.deepStrictEqual(
      [
        patience(),
        patience({ patience: 0 }),
        patience({ patience: "1 hour" }),
        patience({ patience: Infinity })
      ],
      [30_000, 0, 3_600_000, Infinity]
    )
  })
})
