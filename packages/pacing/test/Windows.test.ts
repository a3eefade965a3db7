/**
 * What a rate promises, on random arrivals: never more in any minute, never less than there is, and the same decisions as
 * Effect's own limiter wherever that one is exact.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { RateLimiter } from "effect/persistence"
import { forSeeds, paceOf, rngOf } from "./paces.ts"

interface Passed {
  readonly at: number
  readonly tokens: number
}

/** The most that any minute saw, of what was let through in the order of time. */
const busiestMinute = (passed: ReadonlyArray<Passed>, weight: (one: Passed) => number): number => {
  let most = 0
  let sum = 0
  let first = 0
  for (const one of passed) {
    sum += weight(one)
    while (passed[first]!.at <= one.at - 60_000) sum -= weight(passed[first++]!)
    most = Math.max(most, sum)
  }
  return most
}

const between = (random: () => number, low: number, high: number): number =>
  low + Math.floor(random() * (high - low + 1))

describe("on random arrivals", () => {
  it("no minute sees more than the rate and what the burst is beyond one", () => {
    let reached = 0
    forSeeds(60, (seed) => {
      const random = rngOf(seed)
      const requestsPerMinute = between(random, 1, 400)
      const burst = random() < 0.3 ? 1 : between(random, 1, 60)
      const { filter, use } = paceOf({ account: { requestsPerMinute, burst } })
      const passed: Array<Passed> = []
      let now = 1_700_000_000_000
      for (let i = 0; i < 5000; i++) {
        const roll = random()
        if (roll < 0.6) now = filter(now)?.until ?? now
        else if (roll < 0.8) now += between(random, 0, 120_000 / requestsPerMinute)
        else if (roll < 0.81) now += between(random, 0, 200_000)
        if (use(now)) passed.push({ at: now, tokens: 0 })
      }
      const most = busiestMinute(passed, () => 1)
      assert.isAtMost(most, requestsPerMinute + burst - 1)
      if (most === requestsPerMinute + burst - 1) reached++
    })
    // The bound is reached, so a looser limiter would be seen.
    if (process.env["EVENKEEL_SEED"] === undefined) assert.isAbove(reached, 30)
  })

  it("no minute sees more tokens than the rate and the burst, and one request that is larger than that", () => {
    forSeeds(60, (seed) => {
      const random = rngOf(seed)
      const tokensPerMinute = between(random, 1000, 1_000_000)
      const tokenBurst = between(random, 1, tokensPerMinute)
      const largest = random() < 0.5 ? tokenBurst : tokensPerMinute * 2
      const { filter, use } = paceOf({ account: { tokensPerMinute, tokenBurst } })
      const passed: Array<Passed> = []
      let now = 0
      for (let i = 0; i < 3000; i++) {
        const tokens = between(random, 1, largest)
        if (random() < 0.7) now = filter(now, { tokens })?.until ?? now
        else now += between(random, 0, 20_000)
        if (use(now, { tokens })) passed.push({ at: now, tokens })
      }
      const owed = largest > tokenBurst ? largest : 0
      assert.isAtMost(
        busiestMinute(passed, (one) => one.tokens),
        tokensPerMinute + tokenBurst + owed
      )
    })
  })

  it("a greedy caller gets the rate, to the last request of ten hours", () => {
    for (const requestsPerMinute of [1, 7, 13, 59, 61, 600, 997, 7919]) {
      for (const burst of [1, 2, 50]) {
        const { filter, use } = paceOf({ key: { requestsPerMinute, burst } })
        const minutes = Math.min(600, Math.ceil(200_000 / requestsPerMinute))
        let count = 0
        for (let now = 0; now < minutes * 60_000; now = filter(now)?.until ?? now) if (use(now)) count++
        assert.isAtLeast(count, requestsPerMinute * minutes, `${requestsPerMinute} burst ${burst}`)
        assert.isAtMost(count, requestsPerMinute * minutes + burst - 1)
      }
    }
  })

  it("nothing is lost where several requests fall into a millisecond", () => {
    for (const requestsPerMinute of [50_000, 60_000, 90_001, 6_000_000]) {
      const { filter, use } = paceOf({ key: { requestsPerMinute } })
      let count = 0
      for (let now = 0; now < 3000;) {
        if (use(now)) count++
        else now = filter(now)!.until!
      }
      // The first at once, and then as many as have come back by the last millisecond.
      assert.strictEqual(count, 1 + Math.floor((2999 * requestsPerMinute) / 60_000))
    }
  })

  it("a rate of tokens is kept over a long time", () => {
    const random = rngOf(3)
    const { filter, use } = paceOf({ key: { tokensPerMinute: 70_001 } })
    let tokens = 0
    let now = 0
    let last = 0
    while (now < 24 * 3_600_000) {
      last = between(random, 1, 9000)
      assert.isTrue(use(now, { tokens: last }))
      tokens += last
      now = filter(now, { tokens: 1 })!.until!
    }
    const rate = 70_001 * (now / 60_000)
    assert.isAtLeast(tokens, rate - 2)
    assert.isAtMost(tokens, rate + 2)
  })
})

describe("Effect's RateLimiter", () => {
  /** Milliseconds between two tokens of a whole rate. */
  const wholes = Array.from({ length: 300 }, (_, i) => i + 1).filter((interval) => 60_000 % interval === 0)

  it.effect("decides the same, where its rates are whole milliseconds", () =>
    Effect.gen(function* () {
      const effects = yield* RateLimiter.RateLimiter
      const clock = { now: 0 }
      const consume = Effect.runSyncExitWith(Context.make(Clock.Clock, clockOf(clock)))
      let passed = 0
      let refused = 0
      forSeeds(40, (seed) => {
        const random = rngOf(seed)
        const interval = wholes[between(random, 0, wholes.length - 1)]!
        const limit = between(random, 1, 20)
        const { filter, use } = paceOf({ key: { tokensPerMinute: 60_000 / interval, tokenBurst: limit } })
        for (let i = 0; i < 1000; i++) {
          clock.now += random() < 0.4 ? 0 : between(random, 0, interval * 3)
          const tokens = between(random, 1, limit)
          const until = filter(clock.now, { tokens })?.until
          const exit = consume(
            effects.consume({
              algorithm: "token-bucket",
              key: `${seed}`,
              limit,
              window: limit * interval,
              tokens
            })
          )
          assert.strictEqual(use(clock.now, { tokens }), exit._tag === "Success", `request ${i}`)
          if (exit._tag === "Success") passed++
          else {
            refused++
            const [failure] = exit.cause.reasons
            assert.isTrue(failure?._tag === "Fail" && failure.error.reason._tag === "RateLimitExceeded")
            if (failure?._tag !== "Fail" || failure.error.reason._tag !== "RateLimitExceeded") continue
            const told = clock.now + Duration.toMillis(failure.error.reason.retryAfter)
            assert.strictEqual(until, told)
          }
        }
      })
      assert.isAbove(Math.min(passed, refused), 200)
    }).pipe(Effect.provide(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))))
  )
})

const clockOf = (clock: { now: number }): Clock.Clock => ({
  currentTimeMillisUnsafe: () => clock.now,
  currentTimeMillis: Effect.sync(() => clock.now),
  currentTimeNanosUnsafe: () => BigInt(clock.now) * 1_000_000n,
  currentTimeNanos: Effect.sync(() => BigInt(clock.now) * 1_000_000n),
  monotonicTimeNanosUnsafe: () => BigInt(clock.now) * 1_000_000n,
  monotonicTimeNanos: Effect.sync(() => BigInt(clock.now) * 1_000_000n),
  sleep: () => Effect.never
})
