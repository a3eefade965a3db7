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

describe("a fault", () => {
  for (const scope of scopes) {
    it.effect(`of scope ${scope} opens the circuit of its scope and no other`, () =>
      Effect.gen(function* () {
        const { circuits, filter, use } = circuitsOf(options)
        use(fault(scope), 0, way)
        const by = "consecutive(1)"
        const state = { _tag: "Open", since: 0, until: 1000, by } as const
        assert.deepStrictEqual(yield* circuits.troubled, [{ scope, id: ids[scope], state }])
        assert.deepStrictEqual(yield* circuits.state({ scope, id: ids[scope] }), state)
        for (const [shared, other] of Object.entries(sharing)) {
          const no = filter(0, other)
          assert.strictEqual(no?.scope, shared === scope || scope === "host" ? scope : undefined)
        }
        // Keys and their owners are guesses; what is behind all keys is not.
        const soft = scope !== "upstream" && scope !== "host"
        assert.deepStrictEqual(filter(0, way), { reason: "circuit-open", scope, since: 0, until: 1000, soft })
      })
    )
  }

  it.effect("of an owner that is not known is the key's alone, until an answer tells whose it is", () =>
    Effect.gen(function* () {
      const { circuits, filter, use } = circuitsOf(options)
      use(fault("account"), 0, "a")
      use(fault("workspace"), 0, "b")
      assert.strictEqual(filter(0, "a")?.scope, "account")
      assert.strictEqual(filter(0, "b")?.scope, "workspace")
      assert.isUndefined(filter(0, "c"))
      const found = (yield* circuits.troubled).map(({ id, scope }) => `${scope} ${id}`)
      assert.deepStrictEqual(found, ["account key:a", "workspace key:b"])
      use(fault("account", { account: "acme" }), 0, "c")
      assert.isUndefined(filter(0, "c"))
      assert.strictEqual(filter(0, { id: "c", account: "acme" })?.scope, "account")
    })
  )

  it("of an upstream that the request did not name teaches nothing", () => {
    const { filter, use } = circuitsOf(options)
    use(fault("upstream"), 0, "a")
    assert.isUndefined(filter(0, "a"))
  })

  it("teaches the other circuits nothing, while a success teaches all of them", () => {
    const two = { ...one, trip: CircuitBreaker.consecutive(2) }
    const all = { key: two, workspace: two, account: two, upstream: two, host: two }
    for (const scope of scopes) {
      for (const between of [...scopes.filter((other) => other !== scope).map((s) => fault(s)), ignored]) {
        const { filter, use } = circuitsOf(all)
        use(fault(scope), 0, way)
        use(between, 0, way)
        use(fault(scope), 0, way)
        assert.strictEqual(filter(0, way)?.scope, scope)
      }
      const { filter, use } = circuitsOf(all)
      use(fault(scope), 0, way)
      use(success, 0, way)
      use(fault(scope), 0, way)
      assert.isUndefined(filter(0, way))
    }
  })
})

describe("of several circuits", () => {
  it("a fact is told before a guess, and then what lasts longer", () => {
    const { filter, open } = circuitsOf({
      ...options,
      account: { ...one, cooldown: 5000 },
      host: { ...one, cooldown: 500 }
    })
    const uses = (["workspace", "account", "host"] as const).map((scope) => [scope, open(0, way)!] as const)
    for (const [scope, lease] of uses) lease.settle(fault(scope), 0)
    assert.strictEqual(filter(499, way)?.scope, "host")
    assert.strictEqual(filter(500, way)?.scope, "account")
    assert.isDefined(filter(4999, way))
    assert.isUndefined(filter(5000, way))
  })

  it("one use may be the probe of all, and proves those on its way", () => {
    const { filter, open } = circuitsOf(options)
    const leases = scopes.map((scope) => [scope, open(0, way)!] as const)
    for (const [scope, lease] of leases) lease.settle(fault(scope), 0)
    const probe = open(1000, way)!
    assert.isTrue(probe.probe)
    for (const other of Object.values(sharing)) assert.strictEqual(filter(1000, other)?.reason, "probing")
    probe.settle(success, 1000)
    for (const other of Object.values(sharing)) assert.isUndefined(filter(1000, other))
  })

  for (const scope of scopes) {
    it(`the probe's fault of scope ${scope} opens that one again, and leaves the others to the next probe`, () => {
      const { filter, open } = circuitsOf(options)
      const leases = scopes.map((each) => [each, open(0, way)!] as const)
      for (const [each, lease] of leases) lease.settle(fault(each), 0)
      open(1000, way)!.settle(fault(scope), 1000)
      for (const [shared, other] of Object.entries(sharing)) {
        const expected = shared === scope || scope === "host" ? "circuit-open" : undefined
        assert.strictEqual(filter(1000, other)?.reason, expected)
      }
      const next = open(2000, way)!
      assert.isTrue(next.probe)
      next.settle(success, 2000)
      assert.isUndefined(filter(2000, way))
      assert.isFalse(open(2000, way)!.probe)
    })
  }
})

describe("false", () => {
  it.effect("keeps faults from opening a scope, and leaves it to the hand", () =>
    Effect.gen(function* () {
      const off = { key: false, workspace: false, account: false, upstream: false, host: false } as const
      const { circuits, filter, open, use } = circuitsOf(off)
      for (const scope of scopes) for (let i = 0; i < 100; i++) use(fault(scope), 0, way)
      assert.isUndefined(filter(0, way))
      yield* circuits.open({ scope: "host", id: "whatever" }, 1000)
      assert.strictEqual(filter(0, way)?.scope, "host")
      open(1000, way)!.settle(fault("host"), 1000)
      open(1000, way)!.settle(success, 1000)
      assert.deepStrictEqual(yield* circuits.troubled, [])
    })
  )
})

describe("the circuits that are kept", () => {
  it.effect(
    "are at most 1,024 of a scope: a closed one is let go first, then the one that ends soonest",
    () =>
      Effect.gen(function* () {
        const upstream = { ...one, cooldown: (openings: number) => openings * 1000 }
        const { circuits, filter, use } = circuitsOf({ upstream })
        const model = (n: number): Way => ({ id: "a", upstream: `model-${n}` })
        for (let n = 0; n < 1024; n++) use(fault("upstream"), n === 500 ? 0 : 1, model(n))
        assert.lengthOf(yield* circuits.troubled, 1024)
        yield* circuits.close({ scope: "upstream", id: "model-7" })
        use(fault("upstream"), 1, model(1024))
        assert.lengthOf(yield* circuits.troubled, 1024)
        use(fault("upstream"), 1, model(1025))
        assert.lengthOf(yield* circuits.troubled, 1024)
        assert.isUndefined(filter(1, model(500)))
        assert.isDefined(filter(1, model(499)))
        assert.isDefined(filter(1, model(1025)))
      })
  )

  it("do not hear, under a name that returns, of uses that are older than the last change", () => {
    const { circuits, filter, open } = circuitsOf(options)
    const [late, first] = [open(0)!, open(0)!]
    first.settle(fault("key"), 0)
    circuits.breaker.forget("a")
    const fresh = open(0)!
    late.settle(fault("key"), 0)
    assert.isUndefined(filter(0))
    fresh.settle(fault("key"), 0)
    assert.isDefined(filter(0))
  })
})
