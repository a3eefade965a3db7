import { Limiter } from "@evenkeel/core"
import { Pacing } from "@evenkeel/pacing"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect } from "effect"
import { TestClock } from "effect/testing"
import { paceOf, throttled } from "./paces.ts"

describe("options", () => {
  const refused: ReadonlyArray<readonly [Pacing.Options, string]> = [
    [
      { account: { requestsPerMinute: 0 } },
      "account.requestsPerMinute must be a finite number greater than 0, not 0"
    ],
    [{ accounts: { acme: { requestsPerMinute: NaN } } }, "accounts.acme.requestsPerMinute must be a finite"],
    [
      { keys: { a: { tokensPerMinute: -1 } } },
      "keys.a.tokensPerMinute must be a finite number greater than 0"
    ],
    [{ key: { tokensPerMinute: Infinity } }, "key.tokensPerMinute must be a finite number greater than 0"],
    [{ key: { requestsPerMinute: 60, burst: 0 } }, "key.burst must be a whole number from 1 up, not 0"],
    [{ key: { requestsPerMinute: 60, burst: 1.5 } }, "key.burst must be a whole number"],
    [{ keys: { a: { burst: 5 } } }, "keys.a.burst must be given together with keys.a.requestsPerMinute"],
    [{ key: { tokensPerMinute: 60, tokenBurst: Infinity } }, "key.tokenBurst must be a whole number"],
    [{ key: { tokenBurst: 5 } }, "key.tokenBurst must be given together with key.tokensPerMinute"],
    [
      { account: { maxInFlight: 0 } },
      "account.maxInFlight must be a whole number from 1 up, or Infinity, not 0"
    ],
    [{ accounts: { acme: { maxInFlight: 2.5 } } }, "accounts.acme.maxInFlight must be a whole number"],
    [{ adaptive: { min: 0 } }, "adaptive.min must be a whole number from 1 up"],
    [
      { adaptive: { min: 5, max: 4 } },
      "adaptive.max must be a whole number from adaptive.min up, or Infinity"
    ],
    [{ adaptive: { max: NaN } }, "adaptive.max must be"],
    [{ adaptive: { backoff: 1 } }, "adaptive.backoff must be a number greater than 0 and less than 1"],
    [{ adaptive: { backoff: 0 } }, "adaptive.backoff must be"],
    [{ adaptive: { forgetAfter: 0 } }, "adaptive.forgetAfter must be a duration greater than 0"],
    [{ adaptive: { forgetAfter: "soon" as never } }, "adaptive.forgetAfter must be"]
  ]
  for (const [options, message] of refused) {
    it(`refused: ${message}`, () => {
      for (const make of [Pacing.make, Pacing.layer]) {
        try {
          make(options)
        } catch (error) {
          assert.instanceOf(error, RangeError)
          assert.include((error as RangeError).message, `Pacing: ${message}`)
          continue
        }
        assert.fail("it was taken")
      }
    })
  }

  it("at the ends of their ranges are taken", () => {
    const limits = { requestsPerMinute: 1e-3, burst: 1, tokensPerMinute: 1e9, tokenBurst: 1e9 }
    Pacing.make({ key: { ...limits, maxInFlight: Infinity }, account: {}, keys: { constructor: limits } })
    Pacing.make({ adaptive: { min: 4, max: 4, backoff: 0.01, forgetAfter: "Infinity" } })
  })
})

describe("the service", () => {
  it.effect("tells what has been used, and how far", () =>
    Effect.gen(function* () {
      const account = { tokensPerMinute: 6000, tokenBurst: 1000, maxInFlight: 5 }
      const key = { requestsPerMinute: 60, burst: 3 }
      const { open, pacing } = paceOf({ account, key })
      assert.deepStrictEqual(yield* pacing.state, { keys: new Map(), accounts: new Map() })
      open(0, { id: "a", account: "acme", tokens: 300 })
      open(0, { id: "a", account: "acme", tokens: 690 })!.settle(throttled)
      open(0, { id: "b", tokens: 4000 })!.settle()
      const { accounts, keys } = yield* pacing.state
      const none = { learnt: undefined, requestsLeft: undefined, tokensLeft: undefined, until: undefined }
      assert.deepStrictEqual(
        accounts,
        new Map([
          ["acme", { ...none, limits: account, inFlight: 1, learnt: 1, tokensLeft: 10 }],
          ["key:b", { ...none, limits: account, inFlight: 0, tokensLeft: -3000, until: 30_010 }]
        ])
      )
      assert.deepStrictEqual(
        keys,
        new Map([
          ["a", { ...none, limits: key, inFlight: 1, requestsLeft: 1 }],
          ["b", { ...none, limits: key, inFlight: 0, requestsLeft: 2 }]
        ])
      )
      yield* TestClock.setTime(60_000)
      assert.strictEqual((yield* pacing.state).accounts.get("key:b")?.tokensLeft, 1000)
      assert.strictEqual((yield* pacing.state).keys.get("a")?.requestsLeft, 3)
    })
  )

  it.effect("limits an account while it runs, and what it has taken stays taken", () =>
    Effect.gen(function* () {
      const { filter, open, pacing, use } = paceOf({ account: { requestsPerMinute: 60, burst: 2 } })
      const acme = { account: "acme" }
      assert.isTrue(use(0, acme))
      yield* pacing.limitAccount("acme", { requestsPerMinute: 6, burst: 1, maxInFlight: 1 })
      assert.strictEqual(filter(0, acme)?.until, 10_000)
      assert.isTrue(use(0, { id: "b", account: "other" }))
      const held = open(10_000, acme)!
      assert.strictEqual(filter(20_000, acme)?.reason, "saturated")
      held.settle()
      yield* TestClock.setTime(15_000)
      yield* pacing.limitAccount("acme", undefined)
      // Half of one had come back, and one more may come at once.
      assert.isTrue(use(15_000, acme))
      assert.strictEqual(filter(15_000, acme)?.until, 15_500)
      yield* pacing.limitAccount("acme", {})
      for (let i = 0; i < 100; i++) assert.isTrue(use(15_000, acme))
    })
  )

  it.effect("limits a key, used or not, and an account of one key by its name", () =>
    Effect.gen(function* () {
      const { filter, pacing, use } = paceOf()
      yield* pacing.limitKey("new", { requestsPerMinute: 60 })
      assert.isTrue(use(0, { id: "new" }))
      assert.strictEqual(filter(0, { id: "new" })?.scope, "key")
      for (const id of ["a", "b"]) {
        if (id === "a") assert.isTrue(use(0, { id }))
        yield* pacing.limitAccount(`key:${id}`, { requestsPerMinute: 60 })
        assert.isTrue(use(0, { id }))
        assert.strictEqual(filter(0, { id })?.scope, "account")
      }
      yield* pacing.limitKey("new", undefined)
      assert.isUndefined(filter(0, { id: "new" }))
      // A name that only looks alike is another account.
      yield* pacing.limitAccount("key.b", { requestsPerMinute: 0.001 })
      assert.strictEqual(filter(0, { id: "b" })?.until, 1000)
    })
  )

  it.effect("dies of a limit out of range, and goes on with the old one", () =>
    Effect.gen(function* () {
      const { filter, pacing, use } = paceOf({ key: { requestsPerMinute: 60 } })
      assert.isTrue(use(0))
      const exit = yield* Effect.exit(pacing.limitKey("a", { requestsPerMinute: -1 }))
      assert.isTrue(exit._tag === "Failure" && Cause.hasDies(exit.cause))
      assert.include(String(exit._tag === "Failure" && Cause.squash(exit.cause)), "keys.a.requestsPerMinute")
      assert.strictEqual(filter(0)?.until, 1000)
    })
  )

  it.effect("comes with the port, and each layer has limits of its own", () =>
    Effect.gen(function* () {
      const layer = Pacing.layer({ key: { maxInFlight: 1 } })
      const both = Effect.gen(function* () {
        const pacing = yield* Pacing.Pacing
        assert.strictEqual(yield* Limiter.Limiter, pacing.limiter)
        return pacing
      })
      const one = yield* Effect.provide(both, layer, { local: true })
      const two = yield* Effect.provide(both, layer, { local: true })
      yield* one.limitKey("a", {})
      assert.notStrictEqual(one, two)
      assert.strictEqual(yield* Limiter.Limiter, Limiter.unlimited)
    })
  )
})

describe("memory", () => {
  it.effect("of keys is freed when they leave, and of accounts when they rest and there are many", () =>
    Effect.gen(function* () {
      const { limiter, open, pacing } = paceOf({ account: { requestsPerMinute: 60 } })
      const busy = open(0, { id: "busy", account: "busy" })!
      const heard = open(0, { id: "heard", account: "heard" })!
      heard.settle(throttled)
      for (let i = 0; i < 20_000; i++) {
        const id = `key ${i}`
        open(i * 10, { id, account: `account ${i}` })!.settle()
        limiter.forget(id)
      }
      yield* TestClock.setTime(200_000)
      const { accounts, keys } = yield* pacing.state
      assert.strictEqual(keys.size, 2)
      assert.isAtMost(accounts.size, 1024)
      assert.strictEqual(accounts.get("busy")?.inFlight, 1)
      assert.strictEqual(accounts.get("heard")?.learnt, 1)
      busy.settle()
      assert.strictEqual((yield* pacing.state).accounts.get("busy")?.inFlight, 0)
    })
  )

  it.effect("never lets go of an account that has something in flight or to wait for", () =>
    Effect.gen(function* () {
      const { filter, open, pacing } = paceOf({ account: { requestsPerMinute: 60 } })
      const uses = Array.from({ length: 3000 }, (_, i) => open(0, { id: "a", account: `busy ${i}` })!)
      assert.strictEqual((yield* pacing.state).accounts.size, 3000)
      for (const use of uses) use.settle()
      for (let i = 0; i < 3000; i++) assert.isDefined(filter(500, { id: "b", account: `busy ${i}` }))
      for (let i = 0; i < 3000; i++) open(2000, { id: "b", account: `next ${i}` })!.settle()
      assert.isAtMost((yield* pacing.state).accounts.size, 4096)
    })
  )
})
