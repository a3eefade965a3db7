import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import type { Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { circuitsOf, failure, fault, ignored, keyCircuits, success } from "./circuits.ts"

const one = CircuitBreaker.consecutive(1)

describe("a circuit", () => {
  it("opens at the third failure within a minute, for a minute, by default", () => {
    const { filter, use } = keyCircuits()
    use(failure(), 0)
    use(success, 10)
    use(failure(), 20_000)
    assert.isUndefined(filter(59_999))
    use(failure(), 59_999)
    const no = { reason: "circuit-open", scope: "key", since: 59_999, until: 119_999, soft: true }
    assert.deepStrictEqual(filter(59_999), no as never)
    assert.deepStrictEqual(filter(119_998), no as never)
    assert.isUndefined(filter(119_999))
    assert.isUndefined(filter(59_999, "b"))
    for (const time of [0, 1, 60_000]) use(failure(), time, "c")
    assert.isUndefined(filter(60_000, "c"))
  })

  it("tells its policy of successes, and of nothing else that is no failure", () => {
    const { filter, use } = keyCircuits({ trip: CircuitBreaker.consecutive(2) })
    for (const between of [success, ignored]) {
      use(failure(), 0)
      use(between, 0)
      use(failure(), 0)
      assert.strictEqual(filter(0) === undefined, between === success)
      use(success, 0)
    }
  })

  it("a use that is let through although it is open proves the key by a success, and teaches nothing else", () => {
    const { filter, force, use } = keyCircuits({ trip: one })
    const old = force(0)
    use(failure(), 0)
    for (const outcome of [ignored, failure("1 hour")]) {
      force(1).settle(outcome, 2)
      assert.strictEqual(filter(2)?.until, 60_000)
    }
    old.settle(success, 2)
    assert.strictEqual(filter(2)?.until, 60_000)
    force(1).settle(success, 2)
    assert.isUndefined(filter(2))
  })

  it("such a use leaves the probe its slot, and a success of it makes the probe a late one", () => {
    for (const outcome of [ignored, failure("1 hour")]) {
      const { filter, force, open, use } = keyCircuits({ trip: one })
      use(failure(), 0)
      const before = force(1)
      const probe = open(60_000)!
      const beside = force(60_000)
      assert.deepStrictEqual([before.probe, probe.probe, beside.probe], [false, true, false])
      before.settle(outcome, 60_001)
      beside.settle(outcome, 60_001)
      assert.strictEqual(filter(60_001)?.reason, "probing")
      probe.settle(success, 60_001)
      assert.isUndefined(filter(60_001))
    }
    const { filter, force, open, use } = keyCircuits({ trip: one })
    use(failure(), 0)
    const probe = open(60_000)!
    force(60_000).settle(success, 60_001)
    assert.isUndefined(filter(60_001))
    probe.settle(failure(), 60_002)
    assert.isUndefined(filter(60_002))
  })
})

describe("half-open", () => {
  const opened = () => {
    const it = keyCircuits({ trip: one, cooldown: "1 second" })
    const old = it.open(0)!
    it.use(failure(), 0)
    return { ...it, old }
  }

  it("lets one probe through, and the rest wait for what it meets", () => {
    const { filter, open } = opened()
    const probe = open(1000)!
    assert.isTrue(probe.probe)
    assert.isUndefined(open(1000))
    assert.deepStrictEqual(filter(9e12), {
      reason: "probing",
      scope: "key",
      since: 0,
      until: undefined,
      soft: true
    })
    probe.settle(success, 1500)
    assert.isFalse(open(1500)!.probe)
  })

  it("opens again when the probe fails, from then on", () => {
    const { filter, open } = opened()
    open(1000)!.settle(failure(), 4000)
    assert.deepStrictEqual(filter(4999), {
      reason: "circuit-open",
      scope: "key",
      since: 4000,
      until: 5000,
      soft: true
    })
  })

  it("an ignored probe, or one that met another's fault, frees the slot and decides nothing", () => {
    const { filter, open } = opened()
    for (const outcome of [ignored, fault("upstream"), fault("key", { reason: "exhausted" })]) {
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
    const { filter, open, use } = keyCircuits({ trip: CircuitBreaker.consecutive(2), cooldown: 1000 })
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
    const { use } = keyCircuits({ trip: one, cooldown })
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
      const { filter, use } = keyCircuits({ trip: one })
      use(first, 0)
      return filter(0)?.until
    }
    assert.strictEqual(until(failure("5 minutes")), 300_000)
    assert.strictEqual(until(failure("1 second")), 60_000)
    assert.strictEqual(until(failure("2 days")), 3_600_000)
    assert.strictEqual(until(failure(Duration.infinity)), 3_600_000)
    const { filter, open, use } = keyCircuits({ trip: one })
    use(failure(), 0)
    open(60_000)!.settle(failure("10 minutes"), 60_000)
    assert.strictEqual(filter(60_000)?.until, 660_000)
  })
})

describe("what counts", () => {
  const scopes = ["key", "workspace", "account", "upstream", "host"] as const
  const reasons = ["throttled", "exhausted", "rejected", "unavailable", "insufficient"] as const
  const trip = { trip: one }
  const all = { key: trip, workspace: trip, account: trip, upstream: trip, host: trip }
  const way = { id: "a", upstream: "model" }

  it("is by default all but credit, in every scope, and what holds for some upstreams only", () => {
    for (const scope of scopes) {
      const opens = reasons.filter((reason) => {
        const { filter, use } = circuitsOf(all)
        use(fault(scope, { reason }), 0, way)
        return filter(0, way)?.scope === scope
      })
      assert.deepStrictEqual(opens, ["throttled", "rejected", "unavailable"])
      const { filter, use } = circuitsOf(all)
      use(fault(scope, { reason: "throttled", within: ":free" }), 0, way)
      assert.isUndefined(filter(0, way))
    }
  })

  it("can be said otherwise; what does not count is no success either", () => {
    const counts = (outcome: Outcome.Faulted) => outcome.status === 529
    const { filter, use } = keyCircuits({ trip: CircuitBreaker.consecutive(2), counts })
    const overloaded = fault("key", { status: 529 })
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
    const refused: ReadonlyArray<readonly [CircuitBreaker.Options, RegExp]> = [
      ...[0, -1, NaN, "-1 seconds" as never].map(
        (cooldown) => [{ key: { cooldown } }, /key\.cooldown must be a duration greater than 0/] as const
      ),
      ...[0, Infinity].flatMap((bad) => [
        [
          { host: { cooldown: { base: bad, max: 1 } } },
          /host\.cooldown\.base must be a finite duration/
        ] as const,
        [
          { host: { cooldown: { base: 1, max: bad } } },
          /host\.cooldown\.max must be a finite duration/
        ] as const,
        [{ upstream: { slowStart: bad } }, /upstream\.slowStart must be a finite duration/] as const
      ]),
      [
        { account: { cooldown: { base: 2, max: 1 } } },
        /account\.cooldown\.max must be finite, and base or more/
      ],
      ...[0.5, NaN, Infinity].map(
        (factor) =>
          [
            { workspace: { cooldown: { base: 1, max: 1, factor } } },
            /workspace\.cooldown\.factor must be finite, and 1 or more/
          ] as const
      ),
      [
        { key: { cooldown: { base: 1, max: 1, jitter: "some" as never } } },
        /key\.cooldown\.jitter must be one of equal, full, none/
      ]
    ]
    for (const [options, message] of refused) {
      assert.throws(() => CircuitBreaker.make(options), RangeError, message)
      assert.throws(() => CircuitBreaker.layer(options), RangeError, message)
    }
  })

  it("an opening without end lasts until a hand closes it", () => {
    const { filter, use } = keyCircuits({ trip: one, cooldown: "Infinity" })
    use(failure(), 0)
    assert.deepStrictEqual(filter(9e12), {
      reason: "circuit-open",
      scope: "key",
      since: 0,
      until: undefined,
      soft: true
    })
  })
})
