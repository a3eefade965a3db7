import { Errors, Outcome, type RetryPolicy } from "@evenkeel/core"
import { Retry } from "@evenkeel/retry"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"

/** Makes every random number the same. */
const withRandom = (value: number) =>
  Effect.provideService(Random.Random, { nextDoubleUnsafe: () => value, nextIntUnsafe: () => 0 })

const faulted = (
  scope: Outcome.FaultScope,
  options: {
    readonly retryAfter?: Duration.Input
    readonly retryable?: Outcome.Retryable
    readonly status?: number
  } = {}
): RetryPolicy.Failure => {
  const { retryAfter, ...rest } = options
  const told = retryAfter === undefined ? undefined : Duration.fromInputUnsafe(retryAfter)
  const outcome = Outcome.faulted({ scope, reason: "unavailable", retryAfter: told, ...rest })
  return { _tag: "Faulted", keyId: "a", attempt: 0, outcome }
}

const refused = (until: number | undefined): RetryPolicy.Failure => ({
  _tag: "Refused",
  attempt: 0,
  error: Errors.noEligibleKey([
    { keyId: "a", account: undefined, reason: "throttled", scope: "key", since: 0, until }
  ])
})

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

describe("rotation", () => {
  it.effect("goes on without a bound of its own, and without a wait", () =>
    Effect.gen(function* () {
      const hundred = yield* decideAll(undefined, repeat(100, faulted("key", { retryAfter: "1 day" })))
      assert.deepStrictEqual(hundred, repeat(100, "Rotate"))
    })
  )

  it.effect("stops after `rotations`, and then does not fall back to waiting", () =>
    Effect.gen(function* () {
      const three = repeat(3, faulted("account"))
      assert.deepStrictEqual(yield* decideAll({ rotations: 2 }, three), ["Rotate", "Rotate", "Stop"])
      assert.deepStrictEqual(yield* decideAll({ rotations: 0 }, three), ["Stop", "Stop", "Stop"])
    })
  )

  it.effect("and waits are counted apart", () =>
    Effect.gen(function* () {
      const failures = [
        faulted("key"),
        faulted("upstream"),
        faulted("key"),
        faulted("upstream"),
        faulted("upstream")
      ]
      const decisions = yield* decideAll({ times: 2, rotations: 1, schedule: Schedule.spaced(7) }, failures)
      assert.deepStrictEqual(decisions, ["Rotate", 7, "Stop", 7, "Stop"])
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
          Effect.succeed(input._tag === "Faulted" && input.outcome.status === 529 ? "5 seconds" : "1 second")
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
        const until = (yield* Random.nextBoolean)
          ? refused(asked)
          : faulted("upstream", { retryAfter: asked })
        const [decision] = yield* decideAll(undefined, [until])
        if (asked > 30_000) assert.strictEqual(decision, "Stop")
        else assert.isTrue(Number(decision) >= asked && Number(decision) <= Math.min(asked + 501, 30_000))
      }
    }).pipe(Random.withSeed("asked"))
  )
})

describe("a refusal", () => {
  it.effect("is waited for until the first key returns, if anybody knows when", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_000_000)
      const at = (millis: number | undefined) =>
        decideAll(undefined, [refused(millis === undefined ? undefined : 1_000_000 + millis)])
      assert.deepStrictEqual(yield* at(undefined), ["Stop"])
      assert.deepStrictEqual(yield* at(10_000).pipe(withRandom(0)), [10_000])
      assert.deepStrictEqual(yield* at(10_000).pipe(withRandom(0.5)), [10_250])
      assert.deepStrictEqual(yield* at(30_000).pipe(withRandom(0.5)), [30_000])
      assert.deepStrictEqual(yield* at(30_001), ["Stop"])
      // A reset that is past and has not been read yet: not at once, or a herd would spin.
      assert.deepStrictEqual(yield* at(-5000).pipe(withRandom(0.5)), [250])
    })
  )

  it.effect("counts as one of `times`, and leaves the schedule where it is", () =>
    Effect.gen(function* () {
      const failures = [refused(100), faulted("upstream"), refused(100), faulted("upstream")]
      const decisions = yield* decideAll({ schedule: Schedule.exponential(10) }, failures).pipe(withRandom(0))
      assert.deepStrictEqual(decisions, [100, 10, 100, "Stop"])
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
    }
    for (const bad of [0, -1, NaN, Infinity, "Infinity"] as const) {
      assert.throws(
        () => Retry.make({ maxDelay: bad }),
        RangeError,
        /maxDelay must be a finite duration greater than 0/
      )
    }
    Retry.make({ times: 0, rotations: 0, maxDelay: 1 })
    Retry.make({ times: Infinity, rotations: Infinity })
  })
})
