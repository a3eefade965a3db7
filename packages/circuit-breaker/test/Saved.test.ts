import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { circuitsOf, fault, success } from "./circuits.ts"

const one: CircuitBreaker.ScopeOptions = {
  trip: CircuitBreaker.consecutive(1),
  cooldown: { base: 1000, max: 60_000, jitter: "none" }
}
const options: CircuitBreaker.Options = { key: one, account: one, upstream: one, host: one }
const way = { id: "a", account: "acme", upstream: "model" }

describe("persist and restore", () => {
  it.effect("carry what is not closed into another process, as JSON, with deadlines and openings", () =>
    Effect.gen(function* () {
      const before = circuitsOf(options)
      before.use(fault("account"), 0, way)
      before.open(1000, way)!.settle(fault("account"), 1000)
      before.use(fault("host"), 0, "b")
      before.use(success, 1000, "b")
      yield* before.circuits.open({ scope: "upstream", id: "model" })
      const by = "consecutive(1)"
      const saved = yield* before.circuits.persist
      assert.deepStrictEqual(saved, {
        circuits: [
          {
            scope: "upstream",
            id: "model",
            since: 0,
            until: null,
            by: "hand",
            hand: true,
            openings: 0,
            openMillis: 0
          },
          {
            scope: "account",
            id: "acme",
            since: 1000,
            until: 3000,
            by,
            hand: false,
            openings: 2,
            openMillis: 2000
          }
        ]
      })
      const json = JSON.stringify(saved)
      assert.deepStrictEqual(Schema.decodeUnknownSync(CircuitBreaker.Saved)(JSON.parse(json)), saved)

      const after = circuitsOf(options)
      yield* after.circuits.restore(JSON.parse(json))
      assert.deepStrictEqual(yield* after.circuits.troubled, yield* before.circuits.troubled)
      assert.strictEqual(after.filter(0, { id: "b", upstream: "model" })?.soft, false)
      const acme = { id: "a", account: "acme" }
      assert.strictEqual(after.filter(2999, acme)?.soft, true)
      // The third opening in a row.
      after.open(3000, acme)!.settle(fault("account"), 3000)
      assert.strictEqual(after.filter(3000, acme)?.until, 7000)
    })
  )

  it.effect("of a circuit that is open by now the later deadline holds, and a fact stays one", () =>
    Effect.gen(function* () {
      const saved = (until: number | null, hand: boolean) => ({
        circuits: [{ scope: "key", id: "a", since: 5, until, by: "saved", hand, openings: 1, openMillis: 1 }]
      })
      const { circuits, filter, open } = circuitsOf(options)
      const late = open(0)!
      yield* circuits.open("a", 1000)
      yield* circuits.restore(saved(500, false))
      assert.deepStrictEqual(filter(0), {
        reason: "circuit-open",
        scope: "key",
        since: 0,
        until: 1000,
        soft: false
      })
      yield* circuits.restore(saved(2000, false))
      assert.deepStrictEqual([filter(0)?.until, filter(0)?.soft], [2000, false])
      yield* circuits.restore(saved(null, false))
      late.settle(success, 0)
      assert.deepStrictEqual([filter(9e12)?.reason, filter(9e12)?.until], ["circuit-open", undefined])
      // A time that is over by now: the next request is the probe.
      const due = circuitsOf(options)
      yield* due.circuits.restore(saved(0, false))
      assert.isTrue(due.open(0)!.probe)
    })
  )

  it.effect("refuses what it has not written, by the name of the field, and takes nothing of it", () =>
    Effect.gen(function* () {
      const good = {
        scope: "key",
        id: "a",
        since: 0,
        until: 9,
        by: "x",
        hand: true,
        openings: 1,
        openMillis: 1
      }
      const { circuits } = circuitsOf()
      const fieldOf = (saved: unknown) =>
        Effect.map(Effect.flip(circuits.restore(saved)), (error) => {
          assert.instanceOf(error, CircuitBreaker.InvalidSaved)
          assert.isTrue(error.message.length > error.field.length + 2)
          return error.field
        })
      assert.strictEqual(yield* fieldOf(undefined), "")
      assert.strictEqual(yield* fieldOf({}), "circuits")
      assert.strictEqual(yield* fieldOf({ circuits: 1 }), "circuits")
      for (const [field, bad] of [
        ["scope", "planet"],
        ["id", ""],
        ["since", "now"],
        ["until", undefined],
        ["until", Infinity],
        ["by", 1],
        ["hand", "yes"],
        ["openings", 1.5],
        ["openings", -1],
        ["openMillis", -1]
      ] as const) {
        const circuit = { ...good, [field]: bad }
        assert.strictEqual(yield* fieldOf({ circuits: [good, circuit] }), `circuits[1].${field}`)
      }
      assert.deepStrictEqual(yield* circuits.troubled, [])
    })
  )
})

describe("changes", () => {
  const collect = (circuits: CircuitBreaker.CircuitBreaker["Service"], count: number) =>
    Effect.forkChild(Stream.runCollect(Stream.take(circuits.changes, count)), { startImmediately: true })

  it.effect("are told from the subscription on, each from where the last one led", () =>
    Effect.gen(function* () {
      const { circuits, force, open, use } = circuitsOf(options)
      use(fault("host"), 0, "unheard")
      const seen = yield* collect(circuits, 9)
      use(fault("host"), 0, "a")
      yield* TestClock.setTime(5)
      use(fault("key"), 1000, "a")
      open(2000, "a")!.settle(fault("upstream"), 2000)
      open(2000, "a")!.settle(fault("key"), 2100)
      force(2100, "a").settle(success, 2200)
      yield* circuits.open("a")
      yield* circuits.open("a")
      yield* circuits.close("a")
      yield* circuits.close("a")
      use(fault("key"), 40_000, "a")
      const host = { scope: "host", id: "host" } as const
      const key = { scope: "key", id: "a" } as const
      const by = "consecutive(1)"
      assert.deepStrictEqual(yield* Fiber.join(seen), [
        { ...host, from: "Open", to: "HalfOpen", at: 1000, by },
        { ...key, from: "Closed", to: "Open", at: 1000, by },
        { ...key, from: "Open", to: "HalfOpen", at: 2000, by },
        { ...key, from: "HalfOpen", to: "Open", at: 2100, by },
        { ...host, from: "HalfOpen", to: "Closed", at: 2200, by: "probe" },
        { ...key, from: "Open", to: "Closed", at: 2200, by: "success" },
        { ...key, from: "Closed", to: "Open", at: 5, by: "hand" },
        { ...key, from: "Open", to: "Open", at: 5, by: "hand" },
        { ...key, from: "Open", to: "Closed", at: 5, by: "hand" }
      ])
    })
  )

  it.effect("of who falls behind the oldest are lost, and of who has left nothing is kept", () =>
    Effect.gen(function* () {
      const { circuits } = circuitsOf()
      const seen: Array<number> = []
      const slow = yield* Effect.forkChild(
        Stream.runForEach(circuits.changes, (change) => Effect.sync(() => seen.push(Number(change.id)))),
        { startImmediately: true }
      )
      // No fiber runs in between.
      for (let i = 0; i < 3000; i++) Effect.runSync(circuits.open(String(i)))
      yield* Effect.yieldNow
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(
        seen,
        Array.from({ length: 1024 }, (_, i) => 1976 + i)
      )
      yield* Fiber.interrupt(slow)
      yield* circuits.open("later")
      yield* TestClock.adjust(1)
      assert.lengthOf(seen, 1024)
    })
  )
})
