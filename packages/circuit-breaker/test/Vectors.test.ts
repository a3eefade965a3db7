/**
 * The scenarios by which other breakers are tested, by the numbers of our collection, with the file each comes from.
 * Where our answer is another one by design, the test says so and asserts ours.
 *
 * Not here:
 *
 * - 35 (Envoy's outlier detection by success rate), the mean and the deviation: ejection relative to the other hosts. Our
 *   circuits are absolute, and it is the scopes that keep a common failure from opening those of all keys. Its ejection
 *   time applies, and is here.
 * - 36 (grpc-js' outlier detection), the failure percentage over all hosts, for the same reason. What a user sees of it
 *   (the bad one is left alone, and tried again) is here.
 */
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { circuitsOf, failure, fault, ignored, keyCircuits, success } from "./circuits.ts"

const { any, consecutive, failureRate, withinWindow } = CircuitBreaker
const one = consecutive(1)

/** Plays outcomes (`s`, `f`), one each `step` milliseconds, and gives the number, from 1, of the one that trips. */
const play = (policy: CircuitBreaker.TripPolicy, outcomes: string, step = 1): number | undefined => {
  const trip = policy.make()
  for (let i = 0; i < outcomes.length; i++) {
    if (outcomes[i] === "s") trip.success(i * step)
    else if (trip.failure(i * step) !== undefined) return i + 1
  }
  return undefined
}

const s = (n: number): string => "s".repeat(n)
const f = (n: number): string => "f".repeat(n)

describe("outlier detection", () => {
  it("35. an ejection of 30 s is in force at 19,999 ms, and over at 50,001 (Envoy, outlier_detection_impl_test.cc)", () => {
    const { filter, use } = keyCircuits({ trip: one, cooldown: "30 seconds" })
    use(failure(), 0)
    assert.strictEqual(filter(19_999)?.reason, "circuit-open")
    assert.isUndefined(filter(50_001))
  })

  it("36. of five keys the bad one is left alone, and tried again later (grpc-js, test-outlier-detection.ts)", () => {
    const { use } = keyCircuits({ trip: withinWindow({ failures: 3, window: "1 minute" }), cooldown: 3000 })
    const calls = (now: number, count: number): number => {
      let failed = 0
      for (let i = 0; i < count; i++) {
        const id = ["bad", "b", "c", "d", "e"][i % 5]!
        if (use(id === "bad" ? failure() : success, now, id) && id === "bad") failed++
      }
      return failed
    }
    // Ten of fifty fail there before the interval ends; here the third ejects.
    assert.strictEqual(calls(0, 50), 3)
    assert.strictEqual(calls(1000, 10), 0)
    // Then errors again: here one, the probe's.
    assert.strictEqual(calls(3000, 50), 1)
  })
})

describe("failures in a row", () => {
  it("37. consecutive(3): none, none, 5 s; a success and a revival reset (Finagle, FailureAccrualPolicyTest.scala)", () => {
    const { filter, use } = keyCircuits({ trip: consecutive(3), cooldown: "5 seconds" })
    use(failure(), 0)
    assert.isUndefined(filter(0))
    use(failure(), 0)
    assert.isUndefined(filter(0))
    use(failure(), 0)
    assert.strictEqual(filter(0)?.until, 5000)
    // Revived.
    use(success, 5000)
    for (const outcome of [failure(), failure(), success, failure(), failure()]) use(outcome, 5000)
    assert.isUndefined(filter(5000))
    use(failure(), 5000)
    assert.isDefined(filter(5000))
  })

  it("39. 2 failures shut, the probe's failure doubles, a straggler is ignored, one success opens (linkerd, consecutive_failures.rs)", () => {
    const cooldown = { base: "1 second", max: "100 seconds", jitter: "none" } as const
    const { filter, open, use } = keyCircuits({ trip: consecutive(2), cooldown })
    const straggler = open(0)!
    use(failure(), 0)
    use(failure(), 0)
    assert.strictEqual(filter(999)?.until, 1000)
    straggler.settle(success, 999)
    assert.strictEqual(filter(999)?.until, 1000)
    const permit = open(1000)!
    assert.isUndefined(open(1000))
    permit.settle(failure(), 1000)
    assert.strictEqual(filter(1000)?.until, 3000)
    assert.isTrue(use(success, 3000))
    // Closed, and the policy has forgotten: it takes two failures again.
    use(failure(), 3000)
    assert.isUndefined(filter(3000))
  })
})

describe("rates", () => {
  it("38. 50 % of 100 after 100 successes: Finagle's average trips at the 70th failure, a window at the 50th (FailureAccrualPolicyTest.scala)", () => {
    // By design: Finagle's rate is an exponentially weighted average, which never forgets wholly. A window says what it
    // holds: after 50 failures at one a second, 50 successes are left in the last 100 s.
    const policy = failureRate({ threshold: 0.5, window: "100 seconds", buckets: 100, minimumCalls: 5 })
    assert.strictEqual(play(policy, s(100) + f(100), 1000), 150)
    // Within one moment nothing has left the window, and half of all calls is the 100th failure.
    assert.strictEqual(play(policy, s(100) + f(100), 0), 200)
  })

  const linkerd = failureRate({ threshold: 0.5, window: "10 seconds", minimumCalls: 5 })

  it("40. 10 s in 10 buckets, 5 calls at least: the 5th failure trips, 2 of 10 do not, 60 idle days are safe (linkerd, success_rate.rs)", () => {
    assert.strictEqual(play(linkerd, f(5)), 5)
    assert.strictEqual(play(linkerd, f(5), 1900), 5)
    assert.isUndefined(play(linkerd, f(2) + s(8)))
    const gone = linkerd.make()
    for (let i = 0; i < 4; i++) gone.failure(0)
    assert.isUndefined(gone.failure(10_500))
    const idle = linkerd.make()
    for (let i = 0; i < 4; i++) idle.failure(0)
    assert.isUndefined(idle.failure(60 * 86_400_000))
  })

  it("41. in a row or by rate: a throttled answer is a failure of both, and both at once report the first (linkerd, unified.rs)", () => {
    const rate = failureRate({ threshold: 0.2, window: "10 seconds", minimumCalls: 3 })
    const cooldown = { base: "1 second", max: "100 seconds", jitter: "none" } as const
    const { filter, open, use } = circuitsOf({
      account: { trip: any(consecutive(5), rate), cooldown, slowStart: false }
    })
    const throttled = fault("account", { reason: "throttled" })
    // There one success and then two 429s; here a circuit hears from its first fault on, so the success comes second.
    use(throttled, 0)
    use(success, 0)
    assert.isUndefined(filter(0))
    use(throttled, 0)
    assert.strictEqual(filter(0)?.until, 1000)
    // A 429 fails the probe.
    open(1000)!.settle(throttled, 1000)
    assert.strictEqual(filter(1000)?.until, 3000)
    // After a recovery that has lasted, the openings begin anew.
    use(success, 3000)
    for (let i = 0; i < 3; i++) use(throttled, 5000)
    assert.strictEqual(filter(5000)?.until, 6000)
    const both = any(
      consecutive(5),
      failureRate({ threshold: 0.2, window: "10 seconds", minimumCalls: 5 })
    ).make()
    for (let i = 0; i < 4; i++) both.failure(0)
    assert.strictEqual(both.failure(0), "consecutive(5)")
    // By design: there a 429 does not count in a row. Here a fault has one meaning, and `counts` may say otherwise.
    assert.strictEqual(play(any(consecutive(5), linkerd), f(5)), 5)
  })

  it("42. over four calls E,S,S,S,S is 100, 50, 33.33, 25 and 0 % (resilience4j, FixedSizeSlidingWindowMetricsTest.java)", () => {
    // A window of time that holds four calls, one each second; by probing with a last failure the rate is seen.
    const trips = (outcomes: string, threshold: number): boolean =>
      play(
        failureRate({ threshold, window: "4 seconds", buckets: 4, minimumCalls: 1 }),
        `${outcomes}f`,
        1000
      ) ===
      outcomes.length + 1
    // f: 100 % of 1; sf: 50 % of 2; ssf: 33.33 % of 3; sssf: 25 % of 4, and so on, as the oldest leaves.
    const rates = ["", "s", "ss", "sss", "ssss", "sssss"].map((before) =>
      [1, 0.5, 1 / 3, 0.25].find((threshold) => trips(before, threshold))
    )
    assert.deepStrictEqual(rates, [1, 0.5, 1 / 3, 0.25, 0.25, 0.25])
    // The E that came first has left by the fifth call: what is left is the last one's own quarter.
    assert.isUndefined(
      play(failureRate({ threshold: 0.5, window: "4 seconds", buckets: 4, minimumCalls: 2 }), "fsssf", 1000)
    )
    assert.strictEqual(
      play(failureRate({ threshold: 0.5, window: "5 seconds", buckets: 5, minimumCalls: 5 }), "fssff", 1000),
      5
    )
  })

  it("43. 3 failures of 5, at least 5: open at 60 %, the next is refused (resilience4j, CircuitBreakerStateMachineTest.java)", () => {
    const trip = failureRate({ threshold: 0.6, window: "1 minute", minimumCalls: 5 })
    const { filter, use } = keyCircuits({ trip })
    // From the first fault on, for that makes the circuit.
    for (const outcome of [failure(), success, failure(), success]) use(outcome, 0)
    assert.isUndefined(filter(0))
    use(failure(), 0)
    assert.isFalse(use(success, 0))
    // There a success may complete the number and open; here only a failure does.
    assert.isUndefined(play(trip, "fffss"))
  })

  it("46. at least 50 calls: 49 failures no, 25 of 50 no, 26 of 50 opens (cockatiel, CountBreaker.test.ts)", () => {
    // There more than half must fail; here the threshold itself trips, so it lies just above.
    const fifty = failureRate({ threshold: 0.51, window: "1 minute", minimumCalls: 50 })
    assert.isUndefined(play(fifty, f(49)))
    assert.isUndefined(play(fifty, s(25) + f(25)))
    assert.strictEqual(play(fifty, s(24) + f(26)), 50)
  })

  it("47. (calls, least, rate, threshold): (10, 10, .1, .1) breaks, (9, 10) and no failure do not (Polly, AdvancedCircuitBehaviorTests.cs)", () => {
    const polly = failureRate({ threshold: 0.1, window: "30 seconds", minimumCalls: 10 })
    assert.strictEqual(play(polly, `${s(9)}f`), 10)
    assert.isUndefined(play(polly, `${s(8)}f`))
    assert.isUndefined(play(polly, s(100)))
  })
})

describe("half-open", () => {
  it("44. beyond the permits none, a release gives one back, failure opens, success closes (resilience4j, CircuitBreakerStateMachineTest.java)", () => {
    // By design one permit instead of four: one request is enough to ask with, and each costs money.
    const { filter, open, use } = keyCircuits({ trip: one, cooldown: 1000 })
    use(failure(), 0)
    const permit = open(1000)!
    assert.isUndefined(open(1000))
    // An ignored one frees its permit.
    permit.settle(ignored, 1000)
    open(1000)!.settle(failure(), 1000)
    assert.strictEqual(filter(1000)?.reason, "circuit-open")
    open(2000)!.settle(success, 2000)
    assert.isUndefined(filter(2000))
  })

  it("45. open for 5 s: refused at 3, allowed at 6; a second time 7.5 s: refused at 6, allowed at 11 (resilience4j, CircuitBreakerStateMachineTest.java)", () => {
    const cooldown = { base: "5 seconds", max: "1 minute", factor: 1.5, jitter: "none" } as const
    const { use } = keyCircuits({ trip: one, cooldown })
    use(failure(), 0)
    assert.isFalse(use(success, 3000))
    assert.isTrue(use(failure(), 6000))
    assert.isFalse(use(success, 6000 + 6000))
    assert.isTrue(use(success, 6000 + 11_000))
    assert.isTrue(use(success, 6000 + 11_000))
  })

  it.effect(
    "48. an interrupted probe frees its slot, an old failure is ignored, a second call refused, open with no time left eligible (Effect 4.1)",
    () =>
      Effect.gen(function* () {
        const { open, stateAt, use, filter } = keyCircuits({ trip: one, cooldown: 1000 })
        const [early, late] = [open(0)!, open(0)!]
        use(failure(), 0)
        // Nobody has asked since the time was up, and it is eligible all the same.
        assert.strictEqual((yield* stateAt(1000))._tag, "HalfOpen")
        assert.isUndefined(filter(1000))
        const probe = open(1000)!
        early.settle(failure("1 hour"), 1001)
        assert.isUndefined(open(1001))
        assert.strictEqual(filter(1001)?.reason, "probing")
        // An interruption is `Ignored`.
        probe.settle(Outcome.ignored(), 1002)
        const next = open(1002)!
        late.settle(failure(Duration.infinity), 1003)
        next.settle(success, 1003)
        assert.deepStrictEqual(yield* stateAt(1003), { _tag: "Closed" })
      })
  )
})
