import { Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { paceOf, type From } from "./paces.ts"

const tenASecond = { requestsPerMinute: 600, burst: 10 }

describe("requests per minute", () => {
  it("vector 58 (GCRA by hand): 10 a second, burst 10", () => {
    for (const scope of ["key", "account"] as const) {
      const { filter, use } = paceOf({ [scope]: tenASecond })
      for (let i = 0; i < 10; i++) assert.isTrue(use(0))
      assert.deepStrictEqual(filter(0), { reason: "paced", scope, since: 0, until: 100 })
      assert.isFalse(use(99))
      assert.isTrue(use(100))
      assert.deepStrictEqual(filter(150), { reason: "paced", scope, since: 100, until: 200 })
      assert.isTrue(use(200))
      assert.isFalse(use(200))
    }
  })

  it("are spread evenly without a burst, also after a rest", () => {
    const { filter, use } = paceOf({ account: { requestsPerMinute: 20 } })
    for (const start of [0, 1_000_000]) {
      assert.isTrue(use(start))
      assert.strictEqual(filter(start)?.until, start + 3000)
      assert.isFalse(use(start + 2999))
      assert.isTrue(use(start + 3000))
    }
  })

  it("may be fewer than one", () => {
    const { filter, use } = paceOf({ key: { requestsPerMinute: 0.25 } })
    assert.isTrue(use(7))
    assert.strictEqual(filter(8)?.until, 240_007)
    assert.isTrue(use(240_007))
  })

  it("are counted whatever becomes of the request", () => {
    const { filter, open } = paceOf({ account: { requestsPerMinute: 60 } })
    open(0)!.settle(Outcome.ignored())
    assert.strictEqual(filter(500)?.until, 1000)
  })

  it("of an account are those of all its keys; a key whose account is not known is one of its own", () => {
    const { filter, use } = paceOf({ account: { requestsPerMinute: 60 } })
    assert.isTrue(use(0, { id: "a", account: "acme" }))
    assert.strictEqual(filter(0, { id: "b", account: "acme" })?.until, 1000)
    assert.isTrue(use(0, { id: "c", account: "other" }))
    assert.isTrue(use(0, { id: "d" }))
    assert.isTrue(use(0, { id: "e" }))
    assert.strictEqual(filter(0, { id: "d" })?.until, 1000)
    // The owner of a key becomes known, and counts from then on.
    assert.isTrue(use(5, { id: "d", account: "late" }))
    assert.isFalse(use(5, { id: "d", account: "acme" }))
  })

  it("of several limits the one that holds longest is told", () => {
    const { filter, use } = paceOf({
      key: { requestsPerMinute: 60 },
      accounts: { slow: { requestsPerMinute: 30 }, quick: { requestsPerMinute: 120 } }
    })
    assert.isTrue(use(0, { id: "a", account: "slow" }))
    assert.isTrue(use(0, { id: "b", account: "quick" }))
    const verdict = (from: From) => [filter(0, from)?.scope, filter(0, from)?.until]
    assert.deepStrictEqual(verdict({ id: "a", account: "slow" }), ["account", 2000])
    assert.deepStrictEqual(verdict({ id: "b", account: "quick" }), ["key", 1000])
    assert.deepStrictEqual(verdict({ id: "c", account: "quick" }), ["account", 500])
  })

  it("a named entry replaces the general one as a whole", () => {
    const { filter, use } = paceOf({
      key: { requestsPerMinute: 60, maxInFlight: 1 },
      keys: { vip: {}, busy: { maxInFlight: 2 } }
    })
    for (const id of ["vip", "busy"]) for (let i = 0; i < 100; i++) assert.isTrue(use(0, { id }))
    assert.isTrue(use(0))
    assert.isDefined(filter(0))
  })

  it("a use that is forced on what is spent is owed", () => {
    const { filter, force } = paceOf({ key: { requestsPerMinute: 60 } })
    for (let i = 0; i < 3; i++) force(0).settle()
    assert.strictEqual(filter(0)?.until, 3000)
  })

  it("asking changes nothing", () => {
    const { filter, pacing, use } = paceOf({ key: tenASecond, account: tenASecond })
    for (let i = 0; i < 1000; i++) assert.isUndefined(filter(i % 7))
    for (let i = 0; i < 10; i++) assert.isTrue(use(0))
    for (let i = 0; i < 100; i++) assert.strictEqual(filter(i)?.until, 100)
    assert.isTrue(use(100))
    assert.isDefined(pacing)
  })

  it("a clock that is set back holds nobody for the difference, and lets nobody through for it", () => {
    const { filter, use } = paceOf({ key: { requestsPerMinute: 60 } })
    assert.isTrue(use(3_600_000))
    assert.strictEqual(filter(0)?.until, 1000)
    assert.isFalse(use(999))
    assert.isTrue(use(1000))
    assert.isFalse(use(1999))
    assert.isTrue(use(2000))
  })
})

describe("tokens per minute", () => {
  const limits = { tokensPerMinute: 6000, tokenBurst: 1000 }

  it("are what requests say they may take", () => {
    const { filter, use } = paceOf({ account: limits })
    assert.isTrue(use(0, { tokens: 600 }))
    assert.isTrue(use(0, { tokens: 400 }))
    assert.deepStrictEqual(filter(0, { tokens: 1 }), {
      reason: "paced",
      scope: "account",
      since: 0,
      until: 10
    })
    assert.strictEqual(filter(0, { tokens: 250 })?.until, 2500)
    assert.isTrue(use(2500, { tokens: 250 }))
  })

  it("of a request that does not say, or says no number, are none", () => {
    const { use } = paceOf({ key: limits })
    assert.isTrue(use(0, { tokens: 1000 }))
    for (const tokens of [undefined, 0, NaN, -5, Infinity]) {
      assert.isTrue(use(0, tokens === undefined ? {} : { tokens }))
    }
    assert.isFalse(use(9, { tokens: 1 }))
    assert.isTrue(use(10, { tokens: 1 }))
  })

  it("a request that takes more than there ever is passes when all is there, and is paid off", () => {
    const { filter, use } = paceOf({ key: limits })
    assert.isTrue(use(0, { tokens: 1 }))
    assert.strictEqual(filter(0, { tokens: 5000 })?.until, 10)
    assert.isTrue(use(10, { tokens: 5000 }))
    assert.strictEqual(filter(10, { tokens: 1 })?.until, 10 + 40_010)
    assert.strictEqual(filter(10, { tokens: 5000 })?.until, 10 + 50_000)
    // Who takes none is not held by what others owe.
    assert.isUndefined(filter(10))
  })

  it("without a burst every request waits for the same: until the ones before are paid off", () => {
    const { filter, use } = paceOf({ key: { tokensPerMinute: 6000 } })
    assert.isTrue(use(0, { tokens: 500 }))
    for (const tokens of [1, 10, 100_000]) assert.strictEqual(filter(0, { tokens })?.until, 5000)
    assert.isTrue(use(5000, { tokens: 100_000 }))
  })

  it("and requests per minute hold together", () => {
    const { filter, use } = paceOf({ key: { requestsPerMinute: 60, tokensPerMinute: 6000 } })
    assert.isTrue(use(0, { tokens: 50 }))
    assert.strictEqual(filter(0, { tokens: 1 })?.until, 1000)
    assert.isTrue(use(1000, { tokens: 300 }))
    assert.strictEqual(filter(1000, { tokens: 1 })?.until, 4000)
    assert.strictEqual(filter(1000)?.until, 2000)
  })
})
