/**
 * What users of other gateways report about keys: probes, counts, slots, limits, cooldowns, blacklists. Each test is named
 * after the behaviour that must hold here, and its block after the report.
 */
import { Selector } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatChunk } from "@evenkeel/openrouter"
import { RoundRobin } from "@evenkeel/round-robin"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
// oxfmt-ignore
import {
  again, down, eventually, failureOf, fault, hello, impatient, inFlight, met, model, ok, out, refusalOf, rejected, start,
  throttled, times, using, wired
} from "./parts.ts"

const { actions, errors } = Simulator

describe("1: half-open probes that leak their slot, or are too many", () => {
  /** Opens the circuit of the only key, and waits until its probe is due. */
  const halfOpen = { keys: "a", circuits: {} }
  const trip = (balancer: Parameters<Parameters<typeof using>[1]>[0]["balancer"]) =>
    Effect.andThen(again(3, Effect.flip(balancer.use(() => down))), TestClock.adjust("1 minute"))

  it.effect("a half-open probe whose caller goes away frees its slot", () =>
    using({ ...halfOpen, keys: "a b" }, function* ({ balancer, circuits, pool }) {
      yield* trip(balancer)
      const probe = (end: Effect.Effect<unknown, unknown>) =>
        Effect.gen(function* () {
          const fiber = yield* start(balancer.use(() => end))
          yield* Fiber.interrupt(fiber)
        })
      for (const end of [Effect.never, Effect.fail("the caller's own"), Effect.die("a bug")])
        yield* again(20, probe(end))
      const state = yield* circuits.state("a")
      assert.isTrue(state._tag === "HalfOpen" && !state.probing)
      assert.strictEqual(yield* balancer.use(ok), "a")
      assert.strictEqual((yield* circuits.state("a"))._tag, "Closed")
      assert.strictEqual(yield* inFlight(pool), 0)
    })
  )

  it.effect(
    "of a hundred callers at the half-open moment one is the probe, and the rest take another key",
    () =>
      using({ ...halfOpen, keys: "a b" }, function* ({ balancer }) {
        yield* trip(balancer)
        const gate = yield* Deferred.make<void>()
        const served: Array<string> = []
        const use = balancer.use(({ key }) => {
          served.push(key.id)
          return Deferred.await(gate)
        })
        const fibers = yield* Effect.forEach(times(100), () => start(use))
        assert.strictEqual(served.filter((id) => id === "a").length, 1)
        assert.strictEqual(served.length, 100)
        yield* Deferred.succeed(gate, undefined)
        yield* Effect.forEach(fibers, Fiber.join)
      })
  )
})

describe("2: counts that drift, and ties that go to the first", () => {
  it.effect("ties do not all go to the first key", () =>
    using({ keys: "a b c d", selector: LeastInFlight.make() }, function* ({ balancer }) {
      const ids = yield* Random.withSeed(again(1000, balancer.use(ok)), "ties")
      for (const id of ["a", "b", "c", "d"]) {
        const share = ids.filter((other) => other === id).length
        assert.isAbove(share, 180)
        assert.isBelow(share, 320)
      }
    })
  )

  it.effect("counts return to zero however uses end", () =>
    using({ keys: "a b", selector: LeastInFlight.make(), retry: impatient }, function* ({ balancer, pool }) {
      const ends: ReadonlyArray<Effect.Effect<void, unknown>> = [
        Effect.void,
        Effect.fail("no"),
        Effect.die("bug"),
        Effect.never,
        down,
        rejected,
        Effect.interrupt
      ]
      const fibers = yield* Effect.forEach(times(700), (n) =>
        start(balancer.use(() => ends[n % ends.length]!))
      )
      yield* Fiber.interruptAll(fibers)
      assert.strictEqual(yield* inFlight(pool), 0)
      for (const { faulted, ignored, leased, succeeded } of (yield* pool.snapshot).keys)
        assert.strictEqual(leased, succeeded + faulted + ignored)
    })
  )
})

describe("3: slots that leak when a stream is given up", () => {
  it.live("a stream that is given up frees its slot at once, however it is given up", () =>
    wired({ keys: "a", maxInFlight: 1, simulator: { chunkDelay: "2 millis" } }, function* (parts) {
      const { openrouter, pool, simulator } = parts
      yield* simulator.fault({ match: { stream: true }, action: actions.hang({ afterChunks: 2 }) })
      const texts = Stream.map(openrouter.chatStream(hello), ChatChunk.text)
      const ways = {
        "enough of it": Stream.runDrain(Stream.take(texts, 1)),
        "a reader that fails": Effect.exit(Stream.runForEach(texts, () => Effect.fail("no"))),
        "a timeout": Effect.timeoutOption(Stream.runDrain(texts), "20 millis"),
        "an interruption": Effect.flatMap(start(Stream.runDrain(texts)), (fiber) =>
          Effect.andThen(
            simulator.waitUntil((snapshot) => snapshot.inFlight === 1),
            Fiber.interrupt(fiber)
          )
        )
      }
      for (const way of Object.values(ways)) {
        yield* way
        assert.strictEqual(yield* inFlight(pool), 0)
        // The only slot of the only key: it would wait for ever, were it lost.
        yield* openrouter.chat(hello)
      }
      yield* simulator.waitUntil((snapshot) => snapshot.inFlight === 0)
    })
  )
})

describe("4: one limit that burns every key", () => {
  it.live("one limit of an account does not burn every key", () =>
    wired({ keys: "a1 a2 a3 b1", retry: impatient }, function* ({ openrouter, pool, simulator }) {
      yield* simulator.setAccount("a", { requestsPerMinute: 1 })
      yield* again(4, openrouter.chat(hello))
      assert.deepStrictEqual(
        yield* out(pool),
        times(3).map((n) => `a${n + 1}: account throttled`)
      )
      // The limit was met once: the other keys of the account are not asked one after the other.
      assert.deepStrictEqual(yield* met(simulator), [2, 0, 0, 3])
    })
  )

  it.live("a limit of the address is met once, pauses everything, and is no mark against any key", () =>
    wired(
      { keys: "a1 b1 c1", retry: { ...impatient, times: 0 } },
      function* ({ openrouter, pool, simulator }) {
        yield* simulator.fault({ times: 1, action: errors.edgeHtml(429) })
        yield* Effect.flip(openrouter.chat(hello))
        const refusal = yield* refusalOf(openrouter.chat(hello))
        assert.deepStrictEqual(
          refusal.keys.map(({ reason, scope }) => `${scope} ${reason}`),
          times(3).map(() => "host throttled")
        )
        assert.deepStrictEqual(yield* met(simulator), [1, 0, 0])
        yield* pool.readmit("host", "host")
        assert.deepStrictEqual(yield* out(pool), [])
      }
    )
  )
})

describe("5: cooldowns that are kept wrongly", () => {
  it.effect("of two deadlines the later one holds, in whichever order they come", () =>
    using({ keys: "a" }, function* ({ balancer }) {
      for (const [one, other] of [
        [60, 5],
        [5, 60]
      ] as const) {
        const fibers = yield* Effect.forEach([one, other], (seconds) =>
          start(
            balancer.use(() => Effect.andThen(Effect.sleep(1), throttled("key", Duration.seconds(seconds))))
          )
        )
        yield* TestClock.adjust(1)
        yield* Effect.forEach(fibers, Fiber.await)
        yield* TestClock.adjust(59_999)
        yield* refusalOf(balancer.use(ok))
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* balancer.use(ok), "a")
      }
    })
  )

  it.effect("25 failures in a row are not served on: the third takes the key out", () =>
    using({ keys: "a b", circuits: {} }, function* ({ balancer }) {
      const met: Array<string> = []
      const failing = balancer.use(({ key }) => {
        met.push(key.id)
        return key.id === "a" ? down : Effect.void
      })
      yield* again(25, Effect.exit(failing))
      assert.deepStrictEqual(met, [...times(3).map(() => "a"), ...times(22).map(() => "b")])
    })
  )

  it.effect("one failure takes no key out", () =>
    using({ keys: "a b", circuits: {} }, function* ({ balancer, pool }) {
      yield* Effect.flip(balancer.use(() => down))
      assert.deepStrictEqual(yield* out(pool), [])
      assert.strictEqual(yield* balancer.use(ok), "a")
    })
  )

  it.effect(
    "what one request has learnt holds for the next in the same step: there is no cache to wait for",
    () =>
      using({ keys: "a b" }, function* ({ balancer }) {
        const picks: Array<string> = []
        yield* Effect.forEach(
          times(10),
          () =>
            Effect.exit(
              balancer.use(({ key }) => (picks.push(key.id), key.id === "a" ? rejected : Effect.void))
            ),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(picks, ["a", ...times(9).map(() => "b")])
      })
  )
})

describe("6: a retry budget smaller than the pool, and retries to who refused", () => {
  const many = times(12).map((n) => `${String.fromCharCode(97 + n)}1`)

  it.live("of twelve keys of which eleven refuse, the twelfth is reached, and none is asked twice", () =>
    wired({ keys: many.join(" "), retry: impatient }, function* ({ openrouter, simulator }) {
      for (const name of many.slice(0, 11)) yield* simulator.revoke(name)
      yield* openrouter.chat(hello)
      assert.deepStrictEqual(
        yield* met(simulator),
        times(12).map(() => 1)
      )
    })
  )
})

describe("10: disabled keys that never come back", () => {
  it.effect("a key that was refused is tried again by one request, and comes back with its success", () =>
    using({ keys: "a" }, function* ({ balancer, pool }) {
      yield* Effect.flip(balancer.use(() => rejected))
      yield* refusalOf(balancer.use(ok))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* balancer.use(ok), "a")
      assert.deepStrictEqual(yield* out(pool), [])
    })
  )

  it.live(
    "a key that OpenRouter accepts again comes back with the next reading, without a request to try it",
    () =>
      wired({ keys: "a b", openrouter: { credits: { interval: "1 second", lag: 0 } } }, function* (parts) {
        const { openrouter, pool, simulator } = parts
        yield* simulator.revoke("a")
        yield* Effect.flip(openrouter.chat(hello))
        yield* simulator.restore("a")
        const [requests] = yield* met(simulator)
        yield* eventually(out(pool), (list) => list.length === 0)
        assert.deepStrictEqual((yield* met(simulator))[0], requests)
      })
  )
})

describe("11: keys that are blacklisted for the faults of others", () => {
  const innocent = {
    "a request that cannot be right": actions.status(400, { error: { code: 400, message: "Bad request" } }),
    "a text that is flagged": errors.moderation403(),
    "a model that is not there": errors.noEndpoints404("x"),
    "a message with the word credit in it": actions.status(400, {
      error: {
        code: 400,
        message: "Your balance of credit card numbers exceeds the quota of billing examples"
      }
    }),
    "a provider that fails": errors.badGateway502(),
    "a provider that is throttled": errors.upstream429(),
    "a page of the edge": errors.edgeHtml(502),
    "a connection that breaks": actions.reset
  }
  for (const [name, action] of Object.entries(innocent)) {
    it.live(`${name} benches no key, however often it comes`, () =>
      wired(
        { keys: "a b", circuits: { upstream: false, host: false } },
        function* ({ openrouter, pool, simulator }) {
          const rule = yield* simulator.fault({ action })
          yield* again(30, Effect.flip(openrouter.chat(hello)))
          assert.deepStrictEqual(yield* out(pool), [])
          yield* rule.remove
          yield* openrouter.chat(hello)
          assert.deepStrictEqual(yield* met(simulator), [31, 0])
        }
      )
    )
  }

  it.effect("failures of an hour ago are not added to those of today", () =>
    using({ keys: "a", circuits: {} }, function* ({ balancer, circuits }) {
      for (const _ of times(50)) {
        yield* again(2, Effect.flip(balancer.use(() => down)))
        yield* TestClock.adjust("1 hour")
      }
      assert.strictEqual((yield* circuits.state("a"))._tag, "Closed")
    })
  )
})

describe("15: OpenRouter's 402, 403 and 429 read wrongly", () => {
  const readings: ReadonlyArray<readonly [string, Simulator.FaultAction, ReadonlyArray<string>]> = [
    ["a request that is too dear for the cap of a key benches nobody", errors.keyLimit402(), []],
    ["a cap that is spent is the key's", errors.keyLimit403(), ["a1: key exhausted"]],
    [
      "a balance that is spent is the account's",
      errors.accountCredits402(),
      ["a1: account exhausted", "a2: account exhausted"]
    ],
    ["a request that is too dear for a balance benches nobody", errors.accountAffordability402(), []],
    [
      "too much in flight is a throttle of the account's",
      errors.inFlightBudget402(),
      ["a1: account throttled", "a2: account throttled"]
    ],
    ["a flagged text is nobody's fault but the request's", errors.moderation403(), []],
    ["a budget of a workspace is not the key's", errors.workspaceBudget403(), ["a1: workspace exhausted"]],
    [
      "a provider's 429 is no key's fault, and a time that it names is the model's",
      errors.upstream429({ retryAfter: 9 }),
      [`upstream ${model}: throttled`]
    ],
    [
      "a limit of free models leaves the others alone",
      errors.freeMinute429({ resetAt: Date.now() + 60_000 }),
      ["account a: throttled"]
    ]
  ]
  for (const [name, action, expected] of readings) {
    it.live(name, () =>
      wired({ keys: "a1 a2 b1" }, function* ({ openrouter, pool, simulator }) {
        yield* simulator.fault({ times: 1, action })
        yield* Effect.flip(openrouter.chat(hello))
        assert.deepStrictEqual(yield* out(pool), expected)
      })
    )
  }
})

describe("16: no breaker and no round robin without a licence", () => {
  it.effect("both are there", () =>
    using(
      { keys: "a b c", selector: RoundRobin.make(), circuits: {}, retry: impatient },
      function* ({ balancer, circuits }) {
        assert.deepStrictEqual(yield* again(6, balancer.use(ok)), ["a", "b", "c", "a", "b", "c"])
        const ids = yield* again(
          12,
          balancer.use(({ key }) => (key.id === "b" ? down : Effect.succeed(key.id)))
        )
        assert.notInclude(ids, "b")
        assert.strictEqual((yield* circuits.state("b"))._tag, "Open")
      }
    )
  )
})

describe("17: state that is found by position, or shared by mistake", () => {
  it.effect("a key that leaves while requests run takes nothing from its neighbours", () =>
    using({ keys: "a b c", selector: RoundRobin.make() }, function* ({ balancer, pool }) {
      const gate = yield* Deferred.make<void>()
      const late = (id: string) =>
        Effect.andThen(Deferred.await(gate), id === "a" ? rejected : Effect.succeed(id))
      const fibers = yield* Effect.forEach(times(3), () => start(balancer.use(({ key }) => late(key.id))))
      yield* pool.remove("a")
      yield* Deferred.succeed(gate, undefined)
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [false, true, true])
      // The late fault of "a" has hit nobody who stands in its place.
      assert.deepStrictEqual(yield* out(pool), [])
      assert.deepStrictEqual(
        (yield* pool.snapshot).keys.map(({ faulted, id, inFlight, succeeded }) => [
          id,
          succeeded,
          faulted,
          inFlight
        ]),
        [
          ["b", 1, 0, 0],
          ["c", 1, 0, 0]
        ]
      )
    })
  )

  it.effect("requests at the same time do not see each other's errors", () =>
    using({ keys: "a b c d", selector: Selector.random }, function* ({ balancer }) {
      const exits = yield* Effect.forEach(
        times(200),
        (n) => Effect.exit(balancer.use(() => Effect.andThen(Effect.yieldNow, Effect.fail(n)))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(exits.map(failureOf), times(200))
    })
  )

  it.effect("what one request has tried is no other's business", () =>
    using({ keys: "a b", retry: impatient }, function* ({ balancer }) {
      // A fault that benches nobody: the next request may use the key all the same.
      const weak = fault({ scope: "key", reason: "unavailable" })
      const once = balancer.use(({ key }) => (key.id === "a" ? weak : Effect.succeed(key.id)))
      assert.strictEqual(yield* once, "b")
      assert.strictEqual(yield* balancer.use(ok), "a")
    })
  )
})
