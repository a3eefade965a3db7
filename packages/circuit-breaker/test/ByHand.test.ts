import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { failure, ignored, keyCircuits, success } from "./circuits.ts"

const one = CircuitBreaker.consecutive(1)

describe("by hand", () => {
  it.effect("opens for a while or until it is closed, and what is in flight changes nothing", () =>
    Effect.gen(function* () {
      const { circuits, filter, open, stateAt, use } = keyCircuits()
      const inFlight = open(0)!
      yield* circuits.open("a", "10 seconds")
      inFlight.settle(success, 1)
      assert.strictEqual(filter(9999)?.until, 10_000)
      yield* circuits.open("a")
      assert.deepStrictEqual(filter(9e12), {
        reason: "circuit-open",
        scope: "key",
        since: 0,
        until: undefined,
        soft: false
      })
      assert.deepStrictEqual(yield* stateAt(5), { _tag: "Open", since: 0, until: undefined, by: "hand" })
      yield* circuits.close("a")
      assert.deepStrictEqual(yield* circuits.state("a"), { _tag: "Closed" })
      assert.isTrue(use(success, 5))
      // A key that nobody has used yet.
      yield* circuits.open("b", "1 second")
      assert.isFalse(use(success, 5, "b"))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(circuits.open("b", -1))))
    })
  )

  it.effect("a probe under way has no say in what a hand has decided", () =>
    Effect.gen(function* () {
      const { circuits, filter, open, use } = keyCircuits({ trip: one, cooldown: 1000 })
      use(failure(), 0)
      const first = open(1000)!
      yield* TestClock.setTime(1000)
      yield* circuits.close("a")
      first.settle(failure(), 1000)
      assert.isUndefined(filter(1000))
      use(failure(), 1000)
      const second = open(2000)!
      yield* circuits.open("a")
      second.settle(success, 2000)
      assert.isDefined(filter(9e12))
    })
  )

  it.effect(
    "of two deadlines the later one holds, and what a hand has opened is a fact, whatever succeeds",
    () =>
      Effect.gen(function* () {
        const { circuits, filter, force, use } = keyCircuits({ trip: one, cooldown: 1000 })
        use(failure(), 0)
        assert.strictEqual(filter(0)?.soft, true)
        yield* TestClock.setTime(400)
        yield* circuits.open("a", 100)
        // As long as the failures have it, since then, and by hand.
        const no = { reason: "circuit-open", scope: "key", since: 0, until: 1000, soft: false } as const
        assert.deepStrictEqual(filter(400), no)
        yield* circuits.open("a", 2000)
        assert.deepStrictEqual(filter(400), { ...no, until: 2400 })
        yield* circuits.open("a", 100)
        assert.deepStrictEqual(filter(400), { ...no, until: 2400 })
        force(400).settle(success, 400)
        assert.deepStrictEqual(filter(400), { ...no, until: 2400 })
        // When its time is up the probe decides, and what the probe finds is a guess again.
        use(failure(), 2400)
        assert.deepStrictEqual(filter(2400), { ...no, since: 2400, until: 3400, soft: true })
        yield* TestClock.setTime(2400)
        assert.deepStrictEqual(yield* circuits.state("a"), {
          _tag: "Open",
          since: 2400,
          until: 3400,
          by: "probe"
        })
      })
  )

  it.effect("close keeps the number of openings, reset forgets it", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const cooldown = (openings: number) => seen.push(openings) * 1000
      const { circuits, use } = keyCircuits({ trip: one, cooldown })
      use(failure(), 0)
      yield* circuits.close("a")
      use(failure(), 0)
      yield* circuits.reset("a")
      use(failure(), 0)
      yield* circuits.close("nobody")
      assert.deepStrictEqual(yield* circuits.state("nobody"), { _tag: "Closed" })
      assert.deepStrictEqual(seen, [1, 2, 1])
    })
  )
})

describe("state", () => {
  it.effect("reads without a side effect, from Closed to HalfOpen and back", () =>
    Effect.gen(function* () {
      const { circuits, open, stateAt, use } = keyCircuits({ trip: one, cooldown: 1000 })
      assert.deepStrictEqual(yield* stateAt(0), { _tag: "Closed" })
      use(failure(), 0)
      const by = "consecutive(1)"
      assert.deepStrictEqual(yield* stateAt(999), { _tag: "Open", since: 0, until: 1000, by })
      const half = { _tag: "HalfOpen", since: 0, probing: false, by } as const
      assert.deepStrictEqual(yield* stateAt(1000), half)
      assert.deepStrictEqual(yield* stateAt(1000), half)
      use(success, 1000, "b")
      assert.deepStrictEqual(yield* circuits.troubled, [{ scope: "key", id: "a", state: half }])
      const probe = open(1000)!
      assert.deepStrictEqual(yield* stateAt(1000), { ...half, probing: true })
      probe.settle(ignored, 1200)
      assert.deepStrictEqual(yield* stateAt(1200), half)
      use(success, 1200)
      assert.deepStrictEqual(yield* circuits.troubled, [])
      // By whom is told anew each time, and kept when a probe fails.
      yield* circuits.open("a", 1)
      assert.deepStrictEqual(yield* stateAt(1200), { _tag: "Open", since: 1200, until: 1201, by: "hand" })
      use(success, 2000)
      use(failure(), 2000)
      use(failure(), 3000)
      assert.deepStrictEqual(yield* stateAt(3000), { _tag: "Open", since: 3000, until: 4000, by })
    })
  )

  it("of a key that has left is gone, and a late result does not bring it back", () => {
    const { circuits, filter, open, use } = keyCircuits({ trip: one })
    const late = open(0)!
    use(failure(), 0)
    circuits.breaker.forget("a")
    late.settle(failure(), 0)
    assert.isUndefined(filter(0))
    // The same id again: another circuit, with generations of its own.
    const fresh = open(0)!
    late.settle(failure(), 0)
    assert.isUndefined(filter(0))
    fresh.settle(failure(), 0)
    assert.isDefined(filter(0))
  })
})
