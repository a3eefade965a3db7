import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { candidateOf, circuitsOf, contextAt, failure, ignored, success } from "./circuits.ts"

const one = CircuitBreaker.consecutive(1)

describe("a circuit", () => {
  it("opens at the third failure within a minute, for a minute, by default", () => {
    const { filter, use } = circuitsOf()
    use(failure(), 0)
    use(success, 10)
    use(failure(), 20_000)
    assert.isUndefined(filter(59_999))
    use(failure(), 59_999)
    const no = { reason: "circuit-open", scope: "key", since: 59_999, until: 119_999 }
    assert.deepStrictEqual(filter(59_999), no as never)
    assert.deepStrictEqual(filter(119_998), no as never)
    assert.isUndefined(filter(119_999))
    assert.isUndefined(filter(59_999, "b"))
    for (const time of [0, 1, 60_000]) use(failure(), time, "c")
    assert.isUndefined(filter(60_000, "c"))
  })

  it("tells its policy of successes, and of nothing else that is no failure", () => {
    const { filter, use } = circuitsOf({ trip: CircuitBreaker.consecutive(2) })
    for (const between of [success, ignored]) {
      use(failure(), 0)
      use(between, 0)
      use(failure(), 0)
      assert.strictEqual(filter(0) === undefined, between === success)
      use(success, 0)
    }
  })

  it("a use that somebody forces on an open key teaches nothing", () => {
    const { circuits, filter, use } = circuitsOf({ trip: one })
    use(failure(), 0)
    const admission = circuits.breaker.admit(candidateOf("a"), contextAt(1))
    for (const outcome of [ignored, failure("1 hour"), success]) {
      circuits.breaker.record(candidateOf("a"), contextAt(1), admission, outcome, 2)
      assert.strictEqual(filter(2)?.until, 60_000)
    }
  })

  it("refuses at 3 of 5 seconds and allows at 6; a second opening of 7.5 refuses at 6 and allows at 11 (resilience4j)", () => {
    const cooldown = (openings: number) => Duration.seconds(5 * 1.5 ** (openings - 1))
    const { use } = circuitsOf({ trip: one, cooldown })
    use(failure(), 0)
    assert.isFalse(use(success, 3000))
    assert.isTrue(use(failure(), 6000))
    assert.isFalse(use(success, 6000 + 6000))
    assert.isTrue(use(success, 6000 + 11_000))
    assert.isTrue(use(success, 6000 + 11_000))
  })

  it("doubles while probes fail, ignores a straggler while it is shut, and one success opens it (linkerd)", () => {
    const cooldown = (openings: number) => `${2 ** (openings - 1)} seconds` as const
    const { filter, open, use } = circuitsOf({ trip: CircuitBreaker.consecutive(2), cooldown })
    const straggler = open(0)!
    use(failure(), 0)
    use(failure(), 0)
    assert.strictEqual(filter(999)?.until, 1000)
    straggler.settle(success, 999)
    assert.strictEqual(filter(999)?.until, 1000)
    assert.isTrue(use(failure(), 1000))
    assert.strictEqual(filter(1000)?.until, 3000)
    assert.isTrue(use(success, 3000))
    // Closed, and the policy has forgotten: it takes two failures again.
    use(failure(), 3000)
    assert.isUndefined(filter(3000))
  })
})

describe("half-open", () => {
  const opened = () => {
    const it = circuitsOf({ trip: one, cooldown: "1 second" })
    const old = it.open(0)!
    it.use(failure(), 0)
    return { ...it, old }
  }

  it("lets one probe through, and the rest wait for what it meets", () => {
    const { filter, open } = opened()
    const probe = open(1000)!
    assert.isTrue(probe.probe)
    assert.isUndefined(open(1000))
    assert.deepStrictEqual(filter(9e12), { reason: "probing", scope: "key", since: 0, until: undefined })
    probe.settle(success, 1500)
    assert.isFalse(open(1500)!.probe)
  })

  it("opens again when the probe fails, from then on", () => {
    const { filter, open } = opened()
    open(1000)!.settle(failure(), 4000)
    assert.deepStrictEqual(filter(4999), { reason: "circuit-open", scope: "key", since: 4000, until: 5000 })
  })

  it("an ignored probe, or one that met another's fault, frees the slot and decides nothing", () => {
    const { filter, open } = opened()
    const upstream = Outcome.faulted({ scope: "upstream", reason: "unavailable" })
    const exhausted = Outcome.faulted({ scope: "key", reason: "exhausted" })
    for (const outcome of [ignored, upstream, exhausted]) {
      const probe = open(1000)!
      assert.isTrue(probe.probe)
      probe.settle(outcome, 1000)
      assert.isUndefined(filter(1000))
    }
    assert.isTrue(open(1000)!.probe)
  })

  it("what was admitted before the trip changes nothing, neither while it is open nor half-open nor closed again", () => {
    for (const outcome of [success, failure("1 hour"), ignored]) {
      const { filter, old } = opened()
      old.settle(outcome, 500)
      assert.strictEqual(filter(500)?.until, 1000)
    }
    for (const outcome of [success, failure("1 hour"), ignored]) {
      const { filter, old, open } = opened()
      const probe = open(1000)!
      old.settle(outcome, 1001)
      assert.strictEqual(filter(1001)?.reason, "probing")
      probe.settle(success, 1002)
      assert.isUndefined(filter(1002))
    }
    const { filter, old, open } = opened()
    open(1000)!.settle(success, 1000)
    old.settle(failure(), 1001)
    assert.isUndefined(filter(1001))
  })

  it("a success from before the trip does not count for the policy either", () => {
    const { filter, open, use } = circuitsOf({ trip: CircuitBreaker.consecutive(2), cooldown: 1000 })
    const old = open(0)!
    use(failure(), 0)
    use(failure(), 0)
    use(success, 1000)
    use(failure(), 1000)
    old.settle(success, 1000)
    use(failure(), 1000)
    assert.isDefined(filter(1000))
  })
})

describe("openings in a row", () => {
  const seen: Array<number> = []
  const cooldown = (openings: number) => {
    seen.push(openings)
    return openings * 1000
  }

  it("survive a close, until it has lasted as long as the last opening", () => {
    seen.length = 0
    const { use } = circuitsOf({ trip: one, cooldown })
    use(failure(), 0) // open until 1,000
    use(failure(), 1000) // the probe: until 3,000
    use(success, 3000) // closed
    use(failure(), 4999) // not as long as 2,000: until 7,999
    use(success, 7999) // closed
    use(failure(), 10_999) // as long as 3,000
    assert.deepStrictEqual(seen, [1, 2, 3, 1])
  })
})

describe("Retry-After", () => {
  it("lengthens the opening that it causes, never shortens it, and is capped at an hour", () => {
    const until = (first: Outcome.Outcome) => {
      const { filter, use } = circuitsOf({ trip: one })
      use(first, 0)
      return filter(0)?.until
    }
    assert.strictEqual(until(failure("5 minutes")), 300_000)
    assert.strictEqual(until(failure("1 second")), 60_000)
    assert.strictEqual(until(failure("2 days")), 3_600_000)
    assert.strictEqual(until(failure(Duration.infinity)), 3_600_000)
    const { filter, open, use } = circuitsOf({ trip: one })
    use(failure(), 0)
    open(60_000)!.settle(failure("10 minutes"), 60_000)
    assert.strictEqual(filter(60_000)?.until, 660_000)
  })
})

describe("what counts", () => {
  const scopes = ["key", "workspace", "account", "upstream", "host"] as const
  const reasons = ["throttled", "exhausted", "rejected", "unavailable", "insufficient"] as const

  it("is by default what is the key's own fault, and not its credit", () => {
    const opens = scopes.flatMap((scope) =>
      reasons.flatMap((reason) => {
        const { filter, use } = circuitsOf({ trip: one })
        use(Outcome.faulted({ scope, reason }), 0)
        return filter(0) === undefined ? [] : [`${scope} ${reason}`]
      })
    )
    assert.deepStrictEqual(opens, ["key throttled", "key rejected", "key unavailable"])
  })

  it("can be said otherwise; what does not count is no success either", () => {
    const counts = (outcome: Outcome.Faulted) => outcome.status === 529
    const { filter, use } = circuitsOf({ trip: CircuitBreaker.consecutive(2), counts })
    const overloaded = Outcome.faulted({ scope: "upstream", reason: "unavailable", status: 529 })
    use(overloaded, 0)
    use(failure(), 0)
    use(ignored, 0)
    assert.isUndefined(filter(0))
    use(overloaded, 0)
    assert.isDefined(filter(0))
  })
})

describe("options", () => {
  it("out of range are refused with the name of the field and the range, also by the layer", () => {
    for (const bad of [0, -1, NaN, "-1 seconds" as never]) {
      assert.throws(
        () => CircuitBreaker.make({ cooldown: bad }),
        RangeError,
        /cooldown must be a duration greater than 0/
      )
      assert.throws(() => CircuitBreaker.layer({ cooldown: bad }), RangeError, /cooldown must be/)
    }
    const { filter, use } = circuitsOf({ trip: one, cooldown: "Infinity" })
    use(failure(), 0)
    assert.deepStrictEqual(filter(9e12)?.until, undefined)
  })
})
