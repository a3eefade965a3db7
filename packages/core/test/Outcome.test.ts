import { Balancer, Errors, Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Exit } from "effect"

describe("Outcome", () => {
  it("faults of a key or its owner are cured by another key, the rest only by time", () => {
    const scopes = ["key", "workspace", "account", "upstream", "host"] as const
    assert.deepStrictEqual(
      scopes.map((scope) => Outcome.faulted({ scope, reason: "throttled" }).retryable),
      ["rotate", "rotate", "rotate", "backoff", "backoff"]
    )
    assert.strictEqual(
      Outcome.faulted({ scope: "key", reason: "rejected", retryable: "never" }).retryable,
      "never"
    )
  })

  it("a fault costs nothing unless told otherwise, and undefined says that the cost is not known", () => {
    assert.strictEqual(Outcome.faulted({ scope: "key", reason: "throttled" }).cost, 0)
    assert.strictEqual(Outcome.faulted({ scope: "key", reason: "throttled", cost: 0.5 }).cost, 0.5)
    assert.strictEqual(
      Outcome.faulted({ scope: "key", reason: "throttled", cost: undefined }).cost,
      undefined
    )
    assert.strictEqual(Outcome.success().cost, undefined)
    assert.strictEqual(Outcome.ignored().cost, undefined)
    assert.deepStrictEqual(Outcome.success(1.5), { _tag: "Success", cost: 1.5 })
    assert.deepStrictEqual(Outcome.ignored(0), { _tag: "Ignored", cost: 0 })
  })

  it("by default a value is a success, a Fault what it carries, and all else ignored", () => {
    const outcome = Outcome.faulted({
      scope: "account",
      reason: "throttled",
      retryAfter: Duration.seconds(3),
      status: 429
    })
    const fault = new Errors.Fault({ outcome })
    assert.deepStrictEqual(Balancer.outcomeOf(Exit.succeed(1)), Outcome.success())
    assert.strictEqual(Balancer.outcomeOf(Exit.fail(fault)), outcome)
    assert.strictEqual(
      Balancer.outcomeOf(Exit.failCause(Cause.combine(Cause.die("finalizer bug"), Cause.fail(fault)))),
      outcome
    )
    for (const exit of [Exit.fail("no"), Exit.die("bug"), Exit.interrupt(1), Exit.die(fault)]) {
      assert.deepStrictEqual(Balancer.outcomeOf(exit), Outcome.ignored())
    }
    assert.strictEqual(fault.message, "account throttled (429)")
  })
})
