import { type BalancerEvent, type Hedging, RetryPolicy } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Logger, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { EventHub } from "../src/internal/eventHub.ts"
import {
  fault,
  holding,
  key,
  keys,
  ok,
  patient,
  policy,
  rotating,
  start,
  using,
  type Parts
} from "./utils.ts"

/** What the balancer tells from now on. */
const listen = (balancer: Parts["balancer"]) =>
  Effect.gen(function* () {
    const events: Array<BalancerEvent.BalancerEvent> = []
    const fiber = yield* start(
      Stream.runForEach(balancer.events, (event) =>
        Effect.sync(() => void events.push(event as BalancerEvent.BalancerEvent))
      )
    )
    yield* Effect.yieldNow
    const caughtUp = Effect.gen(function* () {
      for (let n = 0; n < 10; n++) yield* Effect.yieldNow
      // What happens to the pool comes from there, in the same stream.
      return events.filter(({ _tag }) => !["Benched", "Readmitted"].includes(_tag))
    })
    return { caughtUp, events, fiber }
  })

const tags = (events: ReadonlyArray<BalancerEvent.BalancerEvent>) => events.map(({ _tag }) => _tag)

/** A hedging policy that sends a copy after so many milliseconds. */
const hedging = (delay: number): Hedging.Hedging => ({
  name: "test",
  delay: () => delay,
  allow: () => true,
  observe: () => {}
})

describe("Events", () => {
  it.effect("of one request come in their order, and tell what happened", () => {
    const decide = ({ attempt }: RetryPolicy.Failure) =>
      attempt === 0 ? RetryPolicy.rotate : RetryPolicy.retry(Duration.millis(500))
    return using(
      { keys: [key("a", { account: "A" }), key("b")], retry: policy(decide) },
      function* ({ balancer }) {
        const { caughtUp } = yield* listen(balancer)
        let n = 0
        const down = Effect.andThen(Effect.sleep(100), fault("key", "unavailable"))
        const fiber = yield* start(balancer.use(() => (++n < 3 ? down : ok), { upstream: "m" }))
        yield* TestClock.adjust(1000)
        yield* Fiber.join(fiber)
        const events = yield* caughtUp
        const a = { keyId: "a", account: "A", upstream: "m" }
        const b = { keyId: "b", account: undefined, upstream: "m" }
        const untold = { answeredMillis: undefined, usage: undefined }
        const settled = events.find((event) => event._tag === "Settled")!
        const outcome = settled._tag === "Settled" && settled.outcome
        assert.deepStrictEqual(events as ReadonlyArray<unknown>, [
          { _tag: "Picked", at: 0, ...a, attempt: 0, inFlight: 1, delayMillis: 0 },
          { _tag: "Settled", at: 100, ...a, attempt: 0, outcome, elapsedMillis: 100, ...untold },
          { _tag: "Rotated", at: 100, ...a, attempt: 0, outcome },
          { _tag: "Picked", at: 100, ...b, attempt: 1, inFlight: 1, delayMillis: 0 },
          { _tag: "Settled", at: 200, ...b, attempt: 1, outcome, elapsedMillis: 100, ...untold },
          { _tag: "Retried", at: 200, ...b, attempt: 1, outcome, delayMillis: 500 },
          { _tag: "Picked", at: 700, ...a, attempt: 2, inFlight: 1, delayMillis: 500 },
          {
            _tag: "Settled",
            at: 700,
            ...a,
            attempt: 2,
            outcome: { _tag: "Success", cost: undefined },
            elapsedMillis: 0,
            ...untold
          },
          {
            _tag: "Finished",
            at: 700,
            upstream: "m",
            result: "answered",
            outcome: undefined,
            elapsedMillis: 700
          }
        ])
      }
    )
  })
  it.effect("a request that waits, one that is refused and one that is too late tell so", () =>
    using(
      { keys: [key("a", { maxInFlight: 1 })], retry: patient("1 minute") },
      function* ({ balancer, pool }) {
        const { caughtUp, events } = yield* listen(balancer)
        const { held, use } = holding()
        yield* start(balancer.use(use))
        yield* start(
          Effect.exit(balancer.use(() => Effect.never, { priority: 2, timeout: 100, upstream: "m" }))
        )
        yield* start(Effect.exit(balancer.use(() => ok, { maxWait: 50 })))
        yield* TestClock.adjust(100)
        yield* start(Effect.exit(balancer.use(() => ok, { maxWait: 0 })))
        assert.deepStrictEqual(
          (yield* caughtUp).map((event) => [event._tag, event.at, event.upstream]),
          [
            ["Picked", 0, undefined],
            ["Queued", 0, "m"],
            ["Queued", 0, undefined],
            ["Refused", 50, undefined],
            ["Finished", 50, undefined],
            ["TimedOut", 100, "m"],
            ["Finished", 100, "m"],
            ["Refused", 100, undefined],
            ["Finished", 100, undefined]
          ]
        )
        events.length = 0
        held[0]!.end(Exit.void)
        yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 900 })
        yield* start(balancer.use(() => ok))
        yield* TestClock.adjust(900)
        const later = yield* caughtUp
        assert.deepStrictEqual(tags(later), [
          "Settled",
          "Finished",
          "Queued",
          "Picked",
          "Settled",
          "Finished"
        ])
        assert.deepStrictEqual(later[2], {
          _tag: "Queued",
          at: 100,
          upstream: undefined,
          priority: 0,
          until: 1000
        })
      }
    )
  )
  it.effect("a use that is interrupted is settled, and a hedged one tells of its copy", () =>
    using({ keys: keys("a b"), hedging: hedging(100) }, function* ({ balancer }) {
      const { caughtUp } = yield* listen(balancer)
      const fiber = yield* start(
        balancer.use((lease) => (lease.key.id === "a" ? Effect.never : Effect.as(Effect.sleep(50), "b")))
      )
      yield* TestClock.adjust(150)
      assert.strictEqual(yield* Fiber.join(fiber), "b")
      assert.deepStrictEqual(
        (yield* caughtUp).map((event) => [event._tag, event.at, "keyId" in event && event.keyId]),
        [
          ["Picked", 0, "a"],
          ["Hedged", 100, false],
          ["Picked", 100, "b"],
          ["Settled", 150, "b"],
          ["Settled", 150, "a"],
          ["Finished", 150, false]
        ]
      )
    })
  )
  it.effect("the pool's own come in the same stream", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      const { caughtUp, events } = yield* listen(balancer)
      yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 1000 })
      yield* caughtUp
      assert.deepStrictEqual(
        events.map((event) => event._tag as string),
        ["Benched"]
      )
    })
  )
  it.effect("while nobody listens nothing is made; with the last listener it ends again", () => {
    const { emit } = EventHub.prototype
    const made: Array<unknown> = []
    EventHub.prototype.emit = function (this: EventHub<unknown>, event: unknown) {
      made.push(event)
      return emit.call(this, event)
    }
    const setup = { keys: keys("a b c"), retry: rotating, hedging: hedging(100) }
    const everything = (balancer: Parts["balancer"]) =>
      Effect.gen(function* () {
        yield* balancer.use(() => ok)
        yield* Effect.exit(balancer.use(() => Effect.fail("no")))
        yield* Effect.exit(balancer.use(() => fault("key", "unavailable")))
        yield* Effect.exit(balancer.use(() => ok, { filter: () => elsewhere }))
        const slow = yield* start(Effect.exit(balancer.use(() => Effect.never, { timeout: 200 })))
        const copied = yield* start(
          balancer.use((lease) => (lease.key.id === "a" ? Effect.never : Effect.succeed("copy")))
        )
        yield* TestClock.adjust(1000)
        yield* Fiber.join(slow)
        yield* Fiber.join(copied)
      })
    return using(setup, function* ({ balancer }) {
      made.length = 0
      yield* everything(balancer)
      assert.deepStrictEqual(made, [])
      const { caughtUp, fiber } = yield* listen(balancer)
      yield* everything(balancer)
      assert.isAbove((yield* caughtUp).length, 10)
      yield* Fiber.interrupt(fiber)
      made.length = 0
      yield* everything(balancer)
      assert.deepStrictEqual(made, [])
    }).pipe(Effect.ensuring(Effect.sync(() => void (EventHub.prototype.emit = emit))))
  })
  it.effect("who listens slowly loses the oldest, and holds up nobody, whether request or listener", () =>
    using({ keys: keys("a") }, function* ({ balancer }) {
      const gate = yield* Deferred.make<void>()
      const slow: Array<BalancerEvent.BalancerEvent> = []
      yield* start(
        Stream.runForEach(balancer.events, (event) =>
          Effect.andThen(
            Deferred.await(gate),
            Effect.sync(() => void slow.push(event as BalancerEvent.BalancerEvent))
          )
        )
      )
      const quick = yield* listen(balancer)
      for (let n = 0; n < 5000; n++) {
        yield* balancer.use(() => ok, { upstream: `${n}` })
        if (n % 100 === 0) yield* quick.caughtUp
      }
      assert.strictEqual((yield* quick.caughtUp).length, 15_000)
      yield* Deferred.succeed(gate, undefined)
      for (let n = 0; n < 5000 && slow.at(-1)?._tag !== "Finished"; n++) yield* Effect.yieldNow
      for (let n = 0; n < 5000; n++) yield* Effect.yieldNow
      assert.isAtLeast(slow.length, 1024)
      // Besides the buffer there is what was on its way to the listener.
      assert.isBelow(slow.length, 1024 + 64)
      assert.deepStrictEqual(slow.slice(-1024), quick.events.slice(-1024))
    })
  )

  it.effect(
    "a request that fails tells how: at the last attempt, by an interruption, as a whole with its hedge",
    () =>
      using({ keys: keys("a b"), hedging: hedging(100) }, function* ({ balancer }) {
        const seen: Array<unknown> = []
        yield* balancer.observe((event) => {
          if (event._tag === "Finished") seen.push([event.result, event.outcome?._tag, event.elapsedMillis])
        })
        yield* Effect.exit(balancer.use(() => fault("key", "unavailable")))
        yield* Effect.exit(balancer.use(() => Effect.fail("no")))
        const gone = yield* start(balancer.use(() => Effect.never))
        yield* TestClock.adjust(150)
        yield* Fiber.interrupt(gone)
        yield* Effect.exit(balancer.use(() => ok, { filter: () => elsewhere }))
        assert.deepStrictEqual(seen, [
          ["failed", "Faulted", 0],
          ["failed", "Ignored", 0],
          ["interrupted", undefined, 150],
          ["refused", undefined, 0]
        ])
      })
  )
  it.effect("an observer is told at once and of everything, for as long as its scope is open", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      let settled = 0
      const seen: Array<string> = []
      const scope = yield* Scope.make()
      yield* Scope.provide(
        balancer.observe((event) => {
          if (event._tag === "Settled") settled++
          if (event._tag === "Benched") seen.push(event.id)
        }),
        scope
      )
      // Far more than any buffer holds, with nobody given a turn in between.
      yield* Effect.forEach(Array.from({ length: 5000 }), () => balancer.use(() => ok), {
        concurrency: "unbounded",
        discard: true
      })
      assert.strictEqual(settled, 5000)
      yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: 1 })
      assert.deepStrictEqual(seen, ["a"])
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust(1)
      yield* balancer.use(() => ok)
      assert.strictEqual(settled, 5000)
    })
  )
  it.effect("an observer that throws is logged, and harms nobody", () => {
    const logged: Array<unknown> = []
    const logger = Logger.make(({ message }) => void logged.push(message))
    return using({ keys: keys("a") }, function* ({ balancer, pool }) {
      let heard = 0
      yield* balancer.observe(() => {
        throw new Error("oops")
      })
      yield* balancer.observe(() => void heard++)
      assert.strictEqual(yield* balancer.use(() => Effect.succeed("fine")), "fine")
      assert.strictEqual(heard, 3)
      assert.strictEqual((yield* pool.snapshot).keys[0]!.inFlight, 0)
      assert.strictEqual(logged.length, 3)
      assert.include(String(logged[0]), "An observer of events has thrown")
    }).pipe(Effect.provide(Logger.layer([logger])))
  })
  it.effect("what an answer took and when it began is told only to who listens", () =>
    using({ keys: keys("a") }, function* ({ balancer }) {
      const usage = { inputTokens: 3, outputTokens: 4, cachedTokens: undefined, reasoningTokens: undefined }
      let read = 0
      const use = balancer.use((lease) =>
        Effect.gen(function* () {
          yield* Effect.sleep(50)
          lease.answeredUnsafe()
          yield* Effect.sleep(50)
          lease.usedUnsafe?.((read++, usage))
        })
      )
      yield* Effect.all([use, TestClock.adjust(100)], { concurrency: 2 })
      assert.strictEqual(read, 0)
      const seen: Array<unknown> = []
      yield* balancer.observe((event) => {
        if (event._tag === "Settled") seen.push([event.answeredMillis, event.elapsedMillis, event.usage])
      })
      yield* Effect.all([use, TestClock.adjust(100)], { concurrency: 2 })
      assert.deepStrictEqual(seen, [[50, 100, usage]])
      assert.strictEqual(read, 1)
    })
  )
})

const elsewhere = { reason: "elsewhere", scope: "request", since: undefined, until: undefined } as const
