import { Outcome } from "@evenkeel/core"
import type { Pacing } from "@evenkeel/pacing"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import { paceOf, rngOf, throttled, type Use } from "./paces.ts"

const saturated = (scope: "key" | "account") => ({
  reason: "saturated",
  scope,
  since: undefined,
  until: undefined
})

describe("requests in flight", () => {
  it("vector 57 (Netflix SimpleLimiterTest): of 10 the 11th is refused, and passes when one is released", () => {
    for (const scope of ["key", "account"] as const) {
      const { filter, open } = paceOf({ [scope]: { maxInFlight: 10 } })
      const uses = Array.from({ length: 10 }, () => open(0)!)
      assert.deepStrictEqual(filter(0), saturated(scope))
      assert.isUndefined(open(0))
      uses[3]!.settle()
      assert.isDefined(open(0))
      assert.isUndefined(open(0))
    }
  })

  it("vector 57: 100 times 1000 interleaved, never above 10", () => {
    const { filter, open, pacing } = paceOf({ account: { maxInFlight: 10 } })
    const random = rngOf(57)
    const left = Array.from({ length: 100 }, () => 1000)
    const held: Array<Use | undefined> = left.map(() => undefined)
    let inFlight = 0
    let most = 0
    for (let done = 0; done < 100_000;) {
      const caller = Math.floor(random() * 100)
      const use = held[caller]
      if (use !== undefined) {
        use.settle()
        held[caller] = undefined
        inFlight--
        done++
      } else if (left[caller]! > 0) {
        assert.strictEqual(filter(0, { account: "acme" }) === undefined, inFlight < 10)
        const opened = open(0, { id: `k${caller % 7}`, account: "acme" })
        if (opened === undefined) continue
        held[caller] = opened
        left[caller]!--
        most = Math.max(most, ++inFlight)
      }
    }
    assert.strictEqual(most, 10)
    assert.strictEqual(Effect.runSync(pacing.state).accounts.get("acme")?.inFlight, 0)
  })

  it("a rate is told before a permit, for it has a time", () => {
    const { filter, open } = paceOf({ key: { maxInFlight: 1 }, account: { requestsPerMinute: 60 } })
    open(0)
    assert.strictEqual(filter(999)?.reason, "paced")
    assert.deepStrictEqual(filter(1000), saturated("key"))
  })

  it("a use is settled once, and one that nobody opened not at all", () => {
    const { filter, limiter, open } = paceOf({ key: { maxInFlight: 2 } })
    const first = open(0)!
    open(0)
    first.settle()
    first.settle()
    limiter.forget("nobody")
    assert.isDefined(open(0))
    assert.isDefined(filter(0))
  })

  it("of a key that has left are given back to its account, and come back with nobody", () => {
    const { filter, limiter, open } = paceOf({ account: { maxInFlight: 3 } })
    const acme = { account: "acme" }
    const uses = ["a", "a", "b"].map((id) => open(0, { id, ...acme })!)
    assert.isUndefined(open(0, { id: "c", ...acme }))
    limiter.forget("a")
    limiter.forget("a")
    open(0, { id: "a", ...acme })
    open(0, { id: "c", ...acme })
    assert.deepStrictEqual(filter(0, { id: "c", ...acme }), saturated("account"))
    // Late uses of the key that was there before.
    uses[0]!.settle()
    uses[1]!.settle()
    assert.isDefined(filter(0, { id: "c", ...acme }))
  })

  it("are given back to the account they were counted on, whoever owns the key by then", () => {
    const { filter, limiter, open, pacing } = paceOf({ account: { maxInFlight: 1 } })
    const use = open(0)!
    assert.isDefined(filter(0))
    // What was unknown becomes known.
    const later = open(0, { account: "acme" })!
    assert.isDefined(filter(0, { account: "acme" }))
    use.settle()
    assert.isDefined(filter(0, { account: "acme" }))
    assert.isUndefined(filter(0))
    const last = open(0, { account: "other" })!
    later.settle()
    assert.isUndefined(filter(0, { account: "acme" }))
    limiter.forget("a")
    assert.isUndefined(filter(0, { account: "other" }))
    last.settle()
    for (const { inFlight } of Effect.runSync(pacing.state).accounts.values()) assert.strictEqual(inFlight, 0)
  })
})

describe("the limit that throttles teach", () => {
  const learnt = (pacing: Pacing.Pacing["Service"], now: number, account = "key:a") =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now)
      return (yield* pacing.state).accounts.get(account)?.learnt
    })

  /** As many uses as are let through. */
  const fill = (open: (now: number) => Use | undefined, now: number, most = 1000): Array<Use> => {
    const uses: Array<Use> = []
    while (uses.length < most) {
      const use = open(now)
      if (use === undefined) break
      uses.push(use)
    }
    return uses
  }

  it.effect("vector 56 (Netflix AIMDLimitTest): a drop makes 27 of 30", () =>
    Effect.gen(function* () {
      const { open, pacing } = paceOf()
      const crowd = fill(open, 0, 34)
      crowd[0]!.settle(throttled)
      assert.strictEqual(yield* learnt(pacing, 0), 30)
      for (const use of crowd) use.settle()
      open(1)!.settle(throttled)
      assert.strictEqual(yield* learnt(pacing, 1), 27)
    })
  )

  it.effect("vector 56 (Netflix AIMDLimitTest): a success with 10 in flight makes 21 of 20", () =>
    Effect.gen(function* () {
      const { open, pacing } = paceOf()
      const crowd = fill(open, 0, 23)
      crowd[0]!.settle(throttled)
      assert.strictEqual(yield* learnt(pacing, 0), 20)
      for (const use of crowd) use.settle()
      // Nine are less than half of it.
      fill(open, 1, 9)[0]!.settle()
      assert.strictEqual(yield* learnt(pacing, 1), 20)
      fill(open, 1, 2)[0]!.settle()
      assert.strictEqual(yield* learnt(pacing, 1), 21)
    })
  )

  it("is none before the first throttle", () => {
    const { filter, open } = paceOf()
    fill(open, 0, 5000)
    assert.isUndefined(filter(0))
  })

  it("holds, and is told without a time", () => {
    const { filter, open } = paceOf()
    const crowd = fill(open, 0, 10)
    crowd.pop()!.settle(throttled)
    assert.deepStrictEqual(filter(0), saturated("account"))
    crowd.pop()!.settle()
    assert.isDefined(open(0))
    assert.isUndefined(open(0))
  })

  it.effect("goes down once for one crowd, whatever the rest of it meets", () =>
    Effect.gen(function* () {
      const { open, pacing } = paceOf()
      const crowd = fill(open, 0, 100)
      for (const use of crowd.splice(0, 60)) use.settle(throttled)
      assert.strictEqual(yield* learnt(pacing, 0), 90)
      for (const use of crowd) use.settle()
      assert.strictEqual(yield* learnt(pacing, 0), 90)
      const next = fill(open, 0)
      assert.strictEqual(next.length, 90)
      for (const use of next) use.settle(throttled)
      assert.strictEqual(yield* learnt(pacing, 0), 81)
    })
  )

  it.effect("goes no lower than min, no higher than max, and no higher than maxInFlight", () =>
    Effect.gen(function* () {
      for (const [options, low, high] of [
        [{}, 1, undefined],
        [{ adaptive: { min: 3, max: 8 } }, 3, 8],
        [{ account: { maxInFlight: 7 } }, 1, 7]
      ] as const) {
        const { open, pacing } = paceOf(options)
        for (let i = 0; i < 40; i++) open(i)!.settle(throttled)
        assert.strictEqual(yield* learnt(pacing, 40), low)
        for (let round = 0; round < 20; round++) for (const use of fill(open, 50)) use.settle()
        if (high !== undefined) assert.strictEqual(yield* learnt(pacing, 50), high)
        else assert.isAbove((yield* learnt(pacing, 50))!, 100)
      }
    })
  )

  it.effect("goes down by the backoff that is asked for", () =>
    Effect.gen(function* () {
      const { open, pacing } = paceOf({ adaptive: { backoff: 0.5 } })
      fill(open, 0, 64)[0]!.settle(throttled)
      assert.strictEqual(yield* learnt(pacing, 0), 32)
    })
  )

  it.effect("is forgotten after a quiet time, and the next one starts from what is in flight", () =>
    Effect.gen(function* () {
      for (const [forgetAfter, millis] of [
        [undefined, 600_000],
        [Duration.seconds(5), 5000]
      ] as const) {
        const { open, pacing } = paceOf({ adaptive: forgetAfter === undefined ? true : { forgetAfter } })
        for (const use of fill(open, 0, 10)) use.settle(throttled)
        assert.strictEqual(yield* learnt(pacing, millis - 1), 9)
        assert.strictEqual(fill(open, millis - 1).length, 9)
        assert.isUndefined(yield* learnt(pacing, millis))
        const crowd = fill(open, millis, 50)
        assert.strictEqual(crowd.length, 50)
        crowd[0]!.settle(throttled)
        assert.strictEqual(yield* learnt(pacing, millis), 53)
      }
    })
  )

  it.effect("belongs to the account, whichever of its keys was throttled", () =>
    Effect.gen(function* () {
      const { open, pacing } = paceOf()
      const from = (id: string) => ({ id, account: "acme" })
      const uses = ["a", "b", "c", "d"].map((id) => open(0, from(id))!)
      uses[0]!.settle(Outcome.faulted({ scope: "key", reason: "throttled" }))
      assert.strictEqual(yield* learnt(pacing, 0, "acme"), 3)
      assert.isUndefined(open(0, from("e")))
      assert.isDefined(open(0, { id: "f", account: "other" }))
    })
  )

  it("learns from nothing but the account's own throttles", () => {
    const others = [
      Outcome.success(),
      Outcome.ignored(),
      Outcome.faulted({ scope: "upstream", reason: "throttled" }),
      Outcome.faulted({ scope: "host", reason: "throttled" }),
      Outcome.faulted({ scope: "workspace", reason: "throttled" }),
      Outcome.faulted({ scope: "account", reason: "exhausted" }),
      Outcome.faulted({ scope: "key", reason: "unavailable" }),
      Outcome.faulted({ scope: "account", reason: "throttled", within: ":free" })
    ]
    for (const outcome of others) {
      const { filter, open } = paceOf()
      const crowd = fill(open, 0, 10)
      for (const use of crowd.splice(0, 5)) use.settle(outcome)
      assert.isUndefined(filter(0))
    }
    const { filter, open } = paceOf({ adaptive: false })
    for (const use of fill(open, 0, 10)) use.settle(throttled)
    fill(open, 0, 50)
    assert.isUndefined(filter(0))
  })
})
