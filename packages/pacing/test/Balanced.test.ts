import { Balancer, Errors, KeyPool, Outcome, Selector } from "@evenkeel/core"
import { Pacing } from "@evenkeel/pacing"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"

interface Setting {
  readonly pacing?: Pacing.Options
  readonly balancer?: Balancer.Options
  readonly accounts?: Readonly<Record<string, string | undefined>>
}

const live = ({ accounts = { a: "acme", b: "acme" }, balancer = { maxWait: "1 hour" }, pacing }: Setting) =>
  Balancer.layerWith(balancer).pipe(
    Layer.provideMerge(Pacing.layer(pacing)),
    Layer.provide(Selector.layer(Selector.leastBy((candidate) => candidate.inFlight))),
    Layer.provideMerge(
      KeyPool.layer({
        keys: Object.entries(accounts).map(([id, account]) => ({ id, account, secret: `sk-${id}000001` })),
        slowStart: 0
      })
    )
  )

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const accountState = (name: string) =>
  Effect.flatMap(Pacing.Pacing, ({ state }) => Effect.map(state, ({ accounts }) => accounts.get(name)))

describe("on the real pool", () => {
  it.effect(
    "requests wait for the rate of their account, in the order of their coming, whatever its keys",
    () =>
      Effect.gen(function* () {
        const balancer = yield* Balancer.Balancer
        const times: Array<readonly [number, number]> = []
        const fibers = yield* Effect.forEach(Array.from({ length: 30 }), (_, i) =>
          fork(balancer.use(() => Effect.map(Clock.currentTimeMillis, (now) => void times.push([i, now]))))
        )
        assert.strictEqual(times.length, 5)
        for (let second = 0; second < 25; second++) yield* TestClock.adjust("1 second")
        yield* Effect.forEach(fibers, Fiber.join)
        assert.deepStrictEqual(
          times,
          Array.from({ length: 30 }, (_, i) => [i, Math.max(0, i - 4) * 1000] as const)
        )
        assert.strictEqual((yield* accountState("acme"))?.inFlight, 0)
      }).pipe(Effect.provide(live({ pacing: { account: { requestsPerMinute: 60, burst: 5 } } })))
  )

  it.effect("nobody is woken before the time, and nobody needs a clock that ticks in between", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      yield* balancer.use(() => Effect.void)
      const fiber = yield* fork(balancer.use(() => Clock.currentTimeMillis))
      yield* TestClock.adjust(8571)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Fiber.join(fiber), 8572)
    }).pipe(Effect.provide(live({ pacing: { account: { requestsPerMinute: 7 } } })))
  )

  it.effect("a request goes to another account at once where there is one", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const use = balancer.use((lease) => Effect.succeed(lease.key.id))
      const ids = [yield* use, yield* use]
      assert.deepStrictEqual(ids.toSorted(), ["a", "b"])
      const refused = yield* Effect.flip(balancer.use(() => Effect.void, { maxWait: 0 }))
      assert.instanceOf(refused, Errors.NoEligibleKey)
      assert.deepStrictEqual(
        refused.keys.map(({ reason, scope, until }) => [reason, scope, until]),
        Array.from({ length: 2 }, () => ["paced", "account", 60_000])
      )
      assert.strictEqual(refused.retryAt, 60_000)
    }).pipe(
      Effect.provide(
        live({ accounts: { a: "acme", b: undefined }, pacing: { account: { requestsPerMinute: 1 } } })
      )
    )
  )

  it.effect("without patience a request is refused at once, and told when to come back", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      yield* balancer.use(() => Effect.void)
      const refused = yield* Effect.flip(balancer.use(() => Effect.void))
      assert.strictEqual(refused._tag === "NoEligibleKey" && refused.retryAt, 1000)
    }).pipe(Effect.provide(live({ balancer: {}, pacing: { account: { requestsPerMinute: 60 } } })))
  )

  it.effect("requests wait for a permit of the account, also without patience", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const gate = yield* Deferred.make<void>()
      let running = 0
      let most = 0
      const use = balancer.use(() => {
        most = Math.max(most, ++running)
        return Effect.ensuring(
          Deferred.await(gate),
          Effect.sync(() => running--)
        )
      })
      const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () => fork(use))
      assert.strictEqual(running, 3)
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(fibers, Fiber.join)
      assert.strictEqual(most, 3)
      assert.strictEqual((yield* accountState("acme"))?.inFlight, 0)
    }).pipe(Effect.provide(live({ balancer: {}, pacing: { account: { maxInFlight: 3 } } })))
  )

  it.effect("an interruption of the use, or of the wait, gives everything back", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const fibers = yield* Effect.forEach(Array.from({ length: 20 }), () =>
        fork(balancer.use(() => Effect.never))
      )
      assert.strictEqual((yield* accountState("acme"))?.inFlight, 2)
      yield* Effect.forEach(fibers, Fiber.interrupt)
      assert.strictEqual((yield* accountState("acme"))?.inFlight, 0)
      yield* balancer.use(() => Effect.void)
    }).pipe(Effect.provide(live({ pacing: { account: { maxInFlight: 2 } } })))
  )

  it.effect(
    "a key that leaves gives back what its uses hold of the account, and they settle without harm",
    () =>
      Effect.gen(function* () {
        const balancer = yield* Balancer.Balancer
        const pool = yield* KeyPool.KeyPool
        const gate = yield* Deferred.make<void>()
        const fibers = yield* Effect.forEach([1, 2], () => fork(balancer.use(() => Deferred.await(gate))))
        const waiting = yield* fork(balancer.use((lease) => Effect.succeed(lease.key.id)))
        assert.strictEqual((yield* pool.snapshot).waiting, 1)
        yield* pool.remove("a")
        assert.strictEqual(yield* Fiber.join(waiting), "b")
        yield* Deferred.succeed(gate, undefined)
        yield* Effect.forEach(fibers, Fiber.join)
        assert.strictEqual((yield* accountState("acme"))?.inFlight, 0)
        assert.deepStrictEqual(Array.from((yield* (yield* Pacing.Pacing).state).keys.keys()), ["b"])
      }).pipe(Effect.provide(live({ pacing: { account: { maxInFlight: 2 } } })))
  )

  it.effect("an account's throttle lowers what it has in flight once its bench is over", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const gate = yield* Deferred.make<void>()
      const crowd = yield* Effect.forEach(Array.from({ length: 19 }), () =>
        fork(balancer.use(() => Deferred.await(gate)))
      )
      const throttled = Outcome.faulted({ scope: "account", reason: "throttled", status: 402 })
      yield* Effect.flip(balancer.use(() => new Errors.Fault({ outcome: throttled })))
      assert.strictEqual((yield* accountState("acme"))?.learnt, 18)
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(crowd, Fiber.join)
      yield* TestClock.adjust("1 minute")
      // The first use after a bench is a probe.
      yield* balancer.use(() => Effect.void)
      const later = yield* Effect.forEach(Array.from({ length: 50 }), () =>
        fork(balancer.use(() => Effect.never))
      )
      assert.strictEqual((yield* accountState("acme"))?.inFlight, 18)
      yield* Effect.forEach(later, Fiber.interrupt)
    }).pipe(Effect.provide(live({})))
  )

  it.effect(
    "what is known of the tokens is counted, and a request without them is not held by what others owe",
    () =>
      Effect.gen(function* () {
        const balancer = yield* Balancer.Balancer
        const ask = (tokens?: number) =>
          balancer.use(() => Clock.currentTimeMillis, tokens === undefined ? {} : { tokens })
        assert.strictEqual(yield* ask(3000), 0)
        const waits = yield* fork(ask(1))
        assert.strictEqual(yield* ask(), 0)
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(yield* Fiber.join(waits), 30_000)
      }).pipe(Effect.provide(live({ pacing: { account: { tokensPerMinute: 6000 } } })))
  )

  it.effect("a limit that is raised by hand serves who waits for it at once", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const pacing = yield* Pacing.Pacing
      const held = yield* fork(balancer.use(() => Effect.never))
      const waiting = yield* fork(balancer.use(() => Effect.succeed("served")))
      assert.isUndefined(waiting.pollUnsafe())
      yield* pacing.limitAccount("acme", { maxInFlight: 2 })
      assert.strictEqual(yield* Fiber.join(waiting), "served")
      yield* Fiber.interrupt(held)
    }).pipe(Effect.provide(live({ pacing: { account: { maxInFlight: 1 } } })))
  )
})
