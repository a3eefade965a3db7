import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { circuitsOf, fault, ignored, success } from "./circuits.ts"

const trip = CircuitBreaker.consecutive(1)

/** Closed again at 1,000, and from then on in its slow start. */
const warming = (slowStart?: CircuitBreaker.ScopeOptions["slowStart"]) => {
  const it = circuitsOf({ account: { trip, cooldown: 1000, slowStart } })
  const way = (id: string) => ({ id, account: "acme" })
  it.use(fault("account"), 0, way("a"))
  it.use(success, 1000, way("a"))
  return {
    ...it,
    filter: (now: number) => it.filter(now, way("b")),
    open: (now: number, id = "b") => it.open(now, way(id))
  }
}

describe("what has recovered", () => {
  it("serves one request at a time, one more with each success, over all of its keys", () => {
    const { filter, open } = warming()
    const first = open(1000)!
    assert.deepStrictEqual(filter(1001), {
      reason: "warming",
      scope: "account",
      since: 1000,
      until: 31_000
    })
    assert.isUndefined(open(1001, "c"))
    first.settle(success, 1002)
    const both = [open(1002)!, open(1002, "c")!]
    assert.isUndefined(open(1002))
    for (const lease of both) lease.settle(success, 1003)
    const four = [1, 2, 3, 4].map(() => open(1003)!)
    assert.isUndefined(open(1003))
    // What taught nothing, or failed, gives back its place, and earns no other.
    four[0]!.settle(ignored, 1004)
    four[1]!.settle(fault("upstream"), 1004)
    assert.isDefined(open(1004))
    assert.isDefined(open(1004))
    assert.isUndefined(open(1004))
  })

  it("is trusted after 30 s, or after as long as is said, or at once", () => {
    for (const [slowStart, until] of [
      [undefined, 31_000],
      ["2 seconds", 3000]
    ] as const) {
      const { filter, open } = warming(slowStart)
      open(1000)
      assert.strictEqual(filter(until - 1)?.reason, "warming")
      assert.isUndefined(filter(until))
      // And stays so.
      for (let i = 0; i < 100; i++) assert.isDefined(open(until))
      assert.isUndefined(filter(until))
    }
    const { filter, open } = warming(false)
    for (let i = 0; i < 100; i++) assert.isDefined(open(1000))
    assert.isUndefined(filter(1000))
  })

  it("gets back the places of a key that has left, and of uses that a new opening has overtaken", () => {
    const left = warming()
    left.open(1000, "gone")
    assert.isDefined(left.filter(1000))
    left.circuits.breaker.forget("gone")
    assert.isUndefined(left.filter(1000))

    const again = warming()
    again.open(1000)!.settle(fault("account"), 1000)
    assert.strictEqual(again.filter(1000)?.reason, "circuit-open")
    const probe = again.open(2000)!
    assert.strictEqual(again.filter(2000)?.reason, "probing")
    probe.settle(success, 2000)
    again.open(2000)!.settle(success, 2000)
    again.open(2000)
    again.open(2000)
    assert.strictEqual(again.filter(2000)?.reason, "warming")
  })

  it.effect("by a hand starts slowly after a close, and not after a reset", () =>
    Effect.gen(function* () {
      const { circuits, open, stateAt } = circuitsOf()
      for (const [hand, second] of [
        ["close", false],
        ["reset", true]
      ] as const) {
        yield* circuits.open("a")
        yield* circuits[hand]("a")
        const first = open(0)!
        assert.strictEqual(open(0) !== undefined, second)
        assert.deepStrictEqual(yield* stateAt(0), { _tag: "Closed" })
        first.settle(ignored, 0)
      }
      // Closing what is closed is no recovery.
      yield* circuits.close("a")
      assert.isDefined(open(0))
      assert.isDefined(open(0))
    })
  )
})
