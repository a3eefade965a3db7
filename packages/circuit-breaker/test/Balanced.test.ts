import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Balancer, Errors, KeyPool, Outcome, Selector, type Lease } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Random } from "effect"
import { TestClock } from "effect/testing"

const fewest = Selector.layer(Selector.leastBy((candidate) => candidate.inFlight))
const live = (ids: ReadonlyArray<string>, options?: CircuitBreaker.Options) =>
  Balancer.layer.pipe(
    Layer.provideMerge(CircuitBreaker.layer(options)),
    Layer.provide(fewest),
    Layer.provideMerge(
      KeyPool.layer({ keys: ids.map((id) => ({ id, secret: `sk-or-v1-${id.repeat(20)}` })) })
    )
  )

const fault = (scope: Outcome.FaultScope = "key") =>
  new Errors.Fault({ outcome: Outcome.faulted({ scope, reason: "unavailable" }) })

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const inFlight = Effect.gen(function* () {
  const { keys } = yield* (yield* KeyPool.KeyPool).snapshot
  return keys.reduce((sum, key) => sum + key.inFlight, 0)
})

const tag = Effect.fnUntraced(function* (id: string) {
  return (yield* (yield* CircuitBreaker.CircuitBreaker).state(id))._tag
})

/** Opens the circuit of "a" by three failures at time 0. */
const trip = Effect.gen(function* () {
  const balancer = yield* Balancer.Balancer
  for (let i = 0; i < 3; i++) yield* Effect.flip(balancer.use(() => fault()))
  assert.strictEqual(yield* tag("a"), "Open")
  return balancer
})

describe("on the real pool", () => {
  it.effect(
    "three failures open a key, the refusal says until when, and the layer provides port and service",
    () =>
      Effect.gen(function* () {
        const balancer = yield* trip
        const error = yield* Effect.flip(balancer.use(() => Effect.void))
        assert.instanceOf(error, Errors.NoEligibleKey)
        assert.deepStrictEqual([error.keys[0]!.reason, error.retryAt], ["circuit-open", 60_000])
        assert.strictEqual(yield* inFlight, 0)
      }).pipe(Effect.provide(live(["a"])))
  )

  it.effect("faults of what is behind all keys never open one", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      for (const scope of ["upstream", "host", "account", "workspace"] as const) {
        for (let i = 0; i < 100; i++) yield* Effect.flip(balancer.use(() => fault(scope)))
      }
      const { troubled } = yield* CircuitBreaker.CircuitBreaker
      assert.deepStrictEqual(yield* troubled, new Map())
    }).pipe(Effect.provide(live(["a", "b"])))
  )

  it.effect("of 100 fibers at the half-open moment exactly one is the probe", () =>
    Effect.gen(function* () {
      const balancer = yield* trip
      const gate = yield* Deferred.make<void>()
      yield* TestClock.adjust("59999 millis")
      let served = 0
      const use = balancer.use(() => {
        served++
        return Deferred.await(gate)
      })
      assert.strictEqual((yield* Effect.exit(use))._tag, "Failure")
      yield* TestClock.adjust("1 millis")
      const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () => fork(use))
      assert.strictEqual(served, 1)
      // The others wait for what it meets.
      const pool = yield* KeyPool.KeyPool
      assert.strictEqual((yield* pool.snapshot).waiting, 99)
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(fibers, Fiber.join)
      assert.strictEqual(yield* tag("a"), "Closed")
      assert.strictEqual(served, 100)
      assert.strictEqual(yield* inFlight, 0)
    }).pipe(Effect.provide(live(["a"])))
  )

  const ends: ReadonlyArray<readonly [string, (lease: Lease.Lease) => Effect.Effect<void, string>]> = [
    ["an interruption", () => Effect.never],
    ["a failure of the caller's own", () => Effect.fail("bad request")],
    ["a defect", () => Effect.die("bug")]
  ]
  for (const [name, end] of ends) {
    it.effect(`${name} of the probe frees its slot`, () =>
      Effect.gen(function* () {
        const balancer = yield* trip
        yield* TestClock.adjust("1 minute")
        for (let i = 0; i < 10; i++) {
          let probed = false
          const fiber = yield* fork(
            balancer.use((lease) => {
              probed = true
              return end(lease)
            })
          )
          yield* Fiber.interrupt(fiber)
          assert.isTrue(probed)
          assert.strictEqual(yield* tag("a"), "HalfOpen")
        }
        yield* balancer.use(() => Effect.void)
        assert.strictEqual(yield* tag("a"), "Closed")
        assert.strictEqual(yield* inFlight, 0)
      }).pipe(Effect.provide(live(["a"])))
    )
  }

  it.effect("a stream that is the probe holds its slot until its scope closes", () =>
    Effect.gen(function* () {
      const balancer = yield* trip
      yield* TestClock.adjust("1 minute")
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* balancer.lease()
          yield* TestClock.adjust("1 hour")
          const waiting = yield* fork(balancer.use(() => Effect.void))
          assert.strictEqual((yield* (yield* KeyPool.KeyPool).snapshot).waiting, 1)
          yield* Fiber.interrupt(waiting)
        })
      )
      assert.strictEqual(yield* tag("a"), "Closed")
    }).pipe(Effect.provide(live(["a"])))
  )

  it.effect("a key that leaves and returns begins anew, and the old one's late failure is not its own", () =>
    Effect.gen(function* () {
      const balancer = yield* trip
      const pool = yield* KeyPool.KeyPool
      yield* pool.remove("a")
      yield* pool.add({ id: "a", secret: "sk-or-v1-0001" })
      assert.strictEqual(yield* tag("a"), "Closed")
      const gate = yield* Deferred.make<void>()
      const late = yield* Effect.forEach([1, 2, 3], () =>
        fork(Effect.exit(balancer.use(() => Effect.andThen(Deferred.await(gate), fault()))))
      )
      yield* pool.remove("a")
      yield* pool.add({ id: "a", secret: "sk-or-v1-0001" })
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(late, Fiber.join)
      assert.strictEqual(yield* tag("a"), "Closed")
    }).pipe(Effect.provide(live(["a"])))
  )
})

describe("a black hole", () => {
  const minutes = 10

  /** The share of the requests that a key gets which fails in 50 ms, while three others succeed in 2 s. */
  const share = Effect.fnUntraced(function* (perSecond: number, options: CircuitBreaker.Options | undefined) {
    let total = 0
    let swallowed = 0
    const request = Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      yield* balancer.use((lease) => {
        total++
        if (lease.key.id !== "hole") return Effect.sleep("2 seconds")
        swallowed++
        return Effect.andThen(Effect.sleep("50 millis"), fault())
      })
    })
    yield* Effect.gen(function* () {
      for (let i = 0; i < perSecond * 60 * minutes; i++) {
        yield* fork(Effect.exit(request))
        yield* TestClock.adjust(1000 / perSecond)
      }
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* inFlight, 0)
    }).pipe(Effect.provide(live(["hole", "b", "c", "d"], options)))
    assert.strictEqual(total, perSecond * 60 * minutes)
    return swallowed / total
  })

  it.effect("swallows most of the traffic without a breaker, and at most 2 % with the default one", () =>
    Effect.gen(function* () {
      const never = { counts: () => false }
      assert.isAbove(yield* share(20, never), 0.85)
      assert.isAtMost(yield* share(20, undefined), 0.002)
      assert.isAtMost(yield* share(2, undefined), 0.02)
    }).pipe(Random.withSeed("hole"))
  )
})
