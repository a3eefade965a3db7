/**
 * The invariants of chaos runs find what they are there to find.
 */
import { Invariants, Load, World } from "@evenkeel/chaos"
import { Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"

const world = World.make({ seed: 1, retry: { budget: { ratio: 0, perSecond: 0 } } })
const quiet = { requests: 20, concurrency: 4, mix: Load.patient }

const assertFound = (found: ReadonlyArray<string>, expected: RegExp) =>
  assert.isTrue(
    found.some((line) => expected.test(line)),
    `${String(expected)} is not in ${JSON.stringify(found)}`
  )

describe("on a quiet day", () => {
  it.live("there is nothing to find", () =>
    Effect.gen(function* () {
      const made = yield* world
      assert.deepStrictEqual(yield* Invariants.check(made, yield* Load.run(made, quiet)), [])
    })
  )
})

describe("there is found", () => {
  it("a request that never ended, ended twice, got another's answer, died, or was interrupted by somebody else", () => {
    const good: Load.Asked = { kind: "chat", ending: "answered", endings: 1, error: undefined }
    assert.deepStrictEqual(
      Invariants.ofRequests([good, { ...good, kind: "interrupted chat", ending: "interrupted" }]),
      []
    )
    const bad: ReadonlyArray<Partial<Load.Asked>> = [
      { ending: undefined, endings: 0 },
      { endings: 2 },
      { ending: "wrong" },
      { ending: "died" },
      { ending: "interrupted" },
      { ending: "failed", error: new Error("untyped") }
    ]
    for (const fields of bad) assert.strictEqual(Invariants.ofRequests([{ ...good, ...fields }]).length, 1)
  })

  it.live("a lease that nobody settles", () =>
    Effect.gen(function* () {
      const made = yield* world
      yield* made.balancer.lease()
      assertFound(yield* Invariants.ofRest(made), /in flight on/)
      assertFound(yield* Invariants.ofRest(made), /lost a lease/)
      assertFound(yield* Invariants.ofPermits(made), /of 48 permits only 47 can be taken/)
    })
  )

  it.live("attempts beyond the budget, and a lease of which no end was told", () =>
    Effect.gen(function* () {
      const made = yield* world
      const picked = {
        _tag: "Picked",
        at: 0,
        keyId: "a1",
        account: "a",
        upstream: undefined,
        attempt: 0,
        inFlight: 1,
        delayMillis: 0
      } as const
      made.records.events.push(picked, picked)
      const found = Invariants.ofAttempts(made, [], made.since)
      assertFound(found, /2 attempts, of 0 that the budget allows/)
      assertFound(found, /2 leases were opened, and 0 settled/)
    })
  )

  it.live("a cap that was overrun, and money of which the pool and OpenRouter know different things", () =>
    Effect.gen(function* () {
      const made = yield* world
      yield* made.simulator.setKey("a1", { usage: 0.0005 })
      const settled = {
        _tag: "Settled",
        at: 0,
        keyId: "a1",
        account: "a",
        upstream: undefined,
        attempt: 0,
        elapsedMillis: 1,
        answeredMillis: undefined,
        usage: undefined
      } as const
      const before = yield* Invariants.ofMoney(made)
      assertFound(before, /the cap of a1 was overrun/)
      assertFound(before, /0.0005 USD were billed, and 0 USD counted, with 0 uses of unknown cost/)
      made.records.events.push({ ...settled, outcome: Outcome.success(1) })
      const after = yield* Invariants.ofMoney(made)
      assertFound(after, /1 USD were counted, and 0.0005 USD billed/)
      assertFound(after, /the pool has counted 0 USD of 1 USD/)
    })
  )

  it.live("a request that comes after the end", () =>
    Effect.gen(function* () {
      const made = yield* world
      const going = yield* Effect.forkChild(
        Effect.forever(Effect.exit(Load.run(made, { ...quiet, requests: 4 }))),
        { startImmediately: true }
      )
      const found = yield* Load.eventually(
        Invariants.ofSilence({ ...made, close: Effect.void }),
        (found) => found.length > 0
      )
      yield* Fiber.interrupt(going)
      assertFound(found, /requests came after the end/)
    })
  )
})
