import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"

const { any, consecutive, failureRate, withinWindow } = CircuitBreaker

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

describe("consecutive", () => {
  it("trips at the n-th in a row; a success and a reset start anew (Finagle's FailureAccrualPolicyTest)", () => {
    assert.strictEqual(play(consecutive(3), "fff"), 3)
    assert.strictEqual(play(consecutive(3), "ffsff"), undefined)
    assert.strictEqual(play(consecutive(3), "ffsfff"), 6)
    assert.strictEqual(play(consecutive(1), "sssf"), 4)
    const trip = consecutive(3).make()
    trip.failure(0)
    trip.failure(0)
    trip.reset()
    assert.isUndefined(trip.failure(0))
    assert.isUndefined(trip.failure(0))
    assert.strictEqual(trip.failure(0), "consecutive(3)")
  })

  it("keeps a memory for each circuit", () => {
    const policy = any(consecutive(2), withinWindow({ failures: 2, window: 10 }))
    const [a, b] = [policy.make(), policy.make()]
    a.failure(0)
    assert.isUndefined(b.failure(0))
    assert.strictEqual(a.failure(0), "consecutive(2)")
  })
})

describe("withinWindow", () => {
  const three = withinWindow({ failures: 3, window: "60 seconds" })

  it("counts failures whatever succeeds in between, and forgets them to the millisecond", () => {
    assert.strictEqual(play(three, "fsssfsssf"), 9)
    assert.strictEqual(play(three, "fff", 29_999), 3)
    assert.strictEqual(play(three, "fff", 30_000), undefined)
    assert.strictEqual(play(three, f(1000), 30_000), undefined)
    assert.strictEqual(play(withinWindow({ failures: 1, window: 1 }), "sf", 1e9), 2)
  })

  it("a reset forgets", () => {
    const trip = three.make()
    trip.failure(0)
    trip.failure(1)
    trip.reset()
    assert.isUndefined(trip.failure(2))
    assert.isUndefined(trip.failure(3))
    assert.isDefined(trip.failure(4))
  })
})

describe("failureRate", () => {
  const linkerd = failureRate({ threshold: 0.5, window: "10 seconds", minimumCalls: 5 })

  it("trips at the least number of calls (linkerd's success_rate)", () => {
    assert.strictEqual(play(linkerd, "ffff"), undefined)
    assert.strictEqual(play(linkerd, "fffff"), 5)
    assert.strictEqual(play(linkerd, `${f(2)}${s(8)}`), undefined)
  })

  it("a bucket leaves when its time is up, and 60 idle days leave nothing (linkerd; cockatiel 3.2.1 fails)", () => {
    const early = linkerd.make()
    const late = linkerd.make()
    for (let i = 0; i < 4; i++) {
      early.failure(0)
      late.failure(0)
    }
    assert.isDefined(early.failure(9999))
    assert.isUndefined(late.failure(10_500))
    const recent = linkerd.make()
    for (let i = 0; i < 4; i++) recent.failure(1000)
    assert.isDefined(recent.failure(10_500))
    const idle = linkerd.make()
    for (let i = 0; i < 4; i++) idle.failure(0)
    assert.isUndefined(idle.failure(60 * 86_400_000))
    for (let i = 0; i < 3; i++) idle.failure(60 * 86_400_000)
    assert.isDefined(idle.failure(60 * 86_400_000))
  })

  it("the threshold itself trips: 0.1 of 10 is 1 (Polly's AdvancedCircuitBehaviorTests), but not of 9", () => {
    const polly = failureRate({ threshold: 0.1, window: "1 minute", minimumCalls: 10 })
    assert.strictEqual(play(polly, `${s(9)}f`), 10)
    assert.strictEqual(play(polly, `${s(8)}f`), undefined)
    assert.strictEqual(play(polly, s(10)), undefined)
    // 7 / 100 is exactly what 0.07 says, while 0.07 * 100 is a little more than 7.
    assert.strictEqual(
      play(failureRate({ threshold: 0.07, window: 1000, minimumCalls: 100 }), s(93) + f(7)),
      100
    )
  })

  it("only a failure trips", () => {
    assert.strictEqual(play(linkerd, "ffffs"), undefined)
    assert.strictEqual(play(linkerd, "ffffsf"), 6)
  })

  it("a clock that was set back brings nothing back", () => {
    const trip = linkerd.make()
    for (let i = 0; i < 4; i++) trip.failure(0)
    trip.success(25_000)
    assert.isUndefined(trip.failure(0))
  })

  it("a reset forgets", () => {
    const trip = linkerd.make()
    for (let i = 0; i < 4; i++) trip.failure(0)
    trip.reset()
    for (let i = 0; i < 4; i++) assert.isUndefined(trip.failure(1))
    assert.isDefined(trip.failure(1))
  })
})

describe("any", () => {
  const policy = any(consecutive(5), failureRate({ threshold: 0.2, window: "1 minute", minimumCalls: 3 }))

  it("tells which one trips; of two at once the first (linkerd's unified)", () => {
    const rate = policy.make()
    rate.success(0)
    assert.isUndefined(rate.failure(0))
    assert.strictEqual(rate.failure(0), "failureRate(0.2 of 3 in 60000 ms)")
    const both = any(
      consecutive(3),
      failureRate({ threshold: 0.2, window: "1 minute", minimumCalls: 3 })
    ).make()
    both.failure(0)
    both.failure(0)
    assert.strictEqual(both.failure(0), "consecutive(3)")
  })

  it("resets all of them, and the ones behind hear of what trips the first", () => {
    const trip = any(withinWindow({ failures: 2, window: 5 }), consecutive(3)).make()
    const play = () => [trip.failure(0), trip.failure(1), trip.failure(100)]
    const expected = [undefined, "withinWindow(2 in 5 ms)", "consecutive(3)"]
    assert.deepStrictEqual(play(), expected)
    trip.reset()
    assert.deepStrictEqual(play(), expected)
  })
})

describe("against a plain list of all that happened", () => {
  /** What lies within the window, by a filter over everything. */
  const size = 7
  const window = 1000
  const bucketOf = (time: number): number => Math.floor((time * size) / window)

  it.effect("30,000 steps of both windows", () =>
    Effect.gen(function* () {
      const rate = failureRate({ threshold: 0.4, window, minimumCalls: 6, buckets: size }).make()
      const within = withinWindow({ failures: 4, window }).make()
      let events: Array<{ readonly time: number; readonly failed: boolean }> = []
      let now = 1_700_000_000_000
      let tripped = 0
      for (let step = 0; step < 30_000; step++) {
        const dice = yield* Random.next
        // Mostly bursts, gaps of about the window, and now and then a long sleep.
        now +=
          dice < 0.9 ? Math.floor(dice * 200) : dice < 0.99 ? Math.floor((dice - 0.9) * 20_000) : 3_600_000
        if ((yield* Random.next) < 0.002) {
          rate.reset()
          within.reset()
          events = []
        }
        const failed = (yield* Random.next) < 0.4
        events.push({ time: now, failed })
        if (!failed) {
          rate.success(now)
          within.success(now)
          continue
        }
        const inBuckets = events.filter(({ time }) => bucketOf(time) > bucketOf(now) - size)
        const share = inBuckets.filter((event) => event.failed).length / inBuckets.length
        const opens = inBuckets.length >= 6 && share >= 0.4
        assert.strictEqual(rate.failure(now) !== undefined, opens, `rate at step ${step}`)
        assert.isTrue(inBuckets.every(({ time }) => time > now - window))
        const failures = events.filter((event) => event.failed && event.time > now - window).length
        assert.strictEqual(within.failure(now) !== undefined, failures >= 4, `count at step ${step}`)
        if (opens) tripped++
        events = events.slice(-200)
      }
      // Neither hardly ever nor nearly always, or the comparison would say little.
      assert.isAbove(tripped, 1000)
      assert.isBelow(tripped, 11_000)
    }).pipe(Random.withSeed("windows"))
  )
})

describe("options", () => {
  it("out of range are refused with the name of the field and the range", () => {
    const rate = { threshold: 0.5, window: 1000, minimumCalls: 1 }
    for (const bad of [0, -1, 1.5, NaN, Infinity]) {
      assert.throws(() => consecutive(bad), RangeError, /failures must be a whole number from 1 up/)
      assert.throws(() => withinWindow({ failures: bad, window: 1 }), RangeError, /failures must be/)
      assert.throws(() => failureRate({ ...rate, minimumCalls: bad }), RangeError, /minimumCalls must be/)
      assert.throws(() => failureRate({ ...rate, buckets: bad }), RangeError, /buckets must be/)
      assert.throws(
        () => failureRate({ ...rate, threshold: bad }),
        RangeError,
        /threshold must be .* up to 1/
      )
    }
    for (const bad of [0, -1, NaN, Infinity]) {
      assert.throws(
        () => withinWindow({ failures: 1, window: bad }),
        RangeError,
        /window must be a finite duration/
      )
      assert.throws(
        () => failureRate({ ...rate, window: bad }),
        RangeError,
        /window must be a finite duration/
      )
    }
  })
})
