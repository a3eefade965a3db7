import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import type { Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { circuitsOf, fault, ignored, success, type Way } from "./circuits.ts"

const one: CircuitBreaker.ScopeOptions = {
  trip: CircuitBreaker.consecutive(1),
  cooldown: 1000,
  slowStart: false
}
const options: CircuitBreaker.Options = { key: one, workspace: one, account: one, upstream: one, host: one }
const scopes: ReadonlyArray<Outcome.FaultScope> = ["key", "workspace", "account", "upstream", "host"]

const way: Way = { id: "a", account: "acme", workspace: "ops", upstream: "model" }
/** Each differs from `way` in all but one circuit, and in the host, which all have in common. */
const sharing: Readonly<Record<Outcome.FaultScope, Way>> = {
  key: { id: "a" },
  workspace: { id: "b", workspace: "ops" },
  account: { id: "b", account: "acme" },
  upstream: { id: "b", upstream: "model" },
  host: { id: "b" }
}
const ids = { key: "a", workspace: "ops", account: "acme", upstream: "model", host: "host" }

describe("the slots of a probe", () => {
  const opened = () => {
    const it = circuitsOf(options)
    const leases = scopes.map((scope) => [scope, it.open(0, way)!] as const)
    for (const [scope, lease] of leases) lease.settle(fault(scope), 0)
    return it
  }
  const probing = (it: ReturnType<typeof opened>) =>
    Object.values(sharing).filter((other) => it.filter(1000, other)?.reason === "probing").length

  it("are freed where they were taken, when the key has changed hands meanwhile", () => {
    for (const outcome of [success, ignored, fault("account"), fault("key")]) {
      const it = opened()
      const probe = it.open(1000, way)!
      assert.strictEqual(probing(it), 5)
      const moved: Way = { ...way, account: "other", workspace: "other" }
      probe.settle(outcome, 1000, moved)
      assert.strictEqual(probing(it), 0)
      // Nothing is said of the owner that it had.
      assert.isTrue(it.open(1000, sharing.account)!.probe)
    }
  })

  it("are freed when its key leaves, also those of other scopes, and what becomes of it is not heard", () => {
    const it = opened()
    const probe = it.open(1000, way)!
    assert.strictEqual(probing(it), 5)
    it.circuits.breaker.forget("a")
    assert.strictEqual(probing(it), 0)
    const next = it.open(1000, { ...way, id: "b" })!
    assert.isTrue(next.probe)
    probe.settle(fault("host"), 1000)
    assert.strictEqual(it.filter(1000, "c")?.reason, "probing")
    next.settle(success, 1000)
    assert.isUndefined(it.filter(1000, "c"))
  })

  it("go with the circuits of a key whose owners are not known", () => {
    const { circuits, filter, use } = circuitsOf(options)
    use(fault("account"), 0, "a")
    circuits.breaker.forget("a")
    assert.isUndefined(filter(0, "a"))
  })

  it("are freed when a policy of the user's own throws", () => {
    let broken = false
    const cooldown = () => {
      if (broken) throw new Error("broken")
      return 1000
    }
    const { filter, open, use } = circuitsOf({ ...options, host: { ...one, cooldown } })
    use(fault("host"), 0, way)
    broken = true
    assert.throws(() => open(1000, way)!.settle(fault("host"), 1000), /broken/)
    assert.isUndefined(filter(1000, way))
  })

  it.effect("belong to the hand's generation after a hand has opened or closed", () =>
    Effect.gen(function* () {
      for (const hand of ["open", "close", "reset"] as const) {
        const it = opened()
        const probe = it.open(1000, way)!
        yield* it.stateAt(1000)
        for (const scope of scopes) yield* it.circuits[hand]({ scope, id: ids[scope] })
        for (const outcome of [success, fault("host")]) probe.settle(outcome, 1000)
        assert.strictEqual(probing(it), 0)
        const no = it.filter(1000, way)
        assert.deepStrictEqual(
          [no?.reason, no?.soft],
          hand === "open" ? ["circuit-open", false] : [undefined, undefined]
        )
      }
    })
  )
})
