import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Balancer, Errors, KeyPool, Outcome, Selector, type Filter } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Random } from "effect"
import { TestClock } from "effect/testing"

const fewest = Selector.layer(Selector.leastBy((candidate) => candidate.inFlight))
const live = (ids: ReadonlyArray<string>, options?: CircuitBreaker.Options) =>
  Balancer.layer.pipe(
    Layer.provideMerge(CircuitBreaker.layer(options)),
    Layer.provide(fewest),
    Layer.provideMerge(
      KeyPool.layer({ keys: ids.map((id) => ({ id, secret: `sk-${id.padStart(7, "0")}` })) })
    )
  )

const fault = (scope: Outcome.FaultScope = "key") =>
  new Errors.Fault({ outcome: Outcome.faulted({ scope, reason: "unavailable" }) })

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const inFlight = Effect.gen(function* () {
  const { keys } = yield* (yield* KeyPool.KeyPool).snapshot
  return keys.reduce((sum, key) => sum + key.inFlight, 0)
})
const waiting = Effect.gen(function* () {
  return (yield* (yield* KeyPool.KeyPool).snapshot).waiting
})

const state = Effect.fnUntraced(function* (target: CircuitBreaker.Target) {
  return yield* (yield* CircuitBreaker.CircuitBreaker).state(target)
})
const tag = (target: CircuitBreaker.Target) => Effect.map(state(target), ({ _tag }) => _tag)

const host = { scope: "host", id: "host" } as const

/** Opens the circuit of the key "a" by three failures at time 0. */
const trip = Effect.gen(function* () {
  const balancer = yield* Balancer.Balancer
  const onA = { filter: only("a") }
  for (let i = 0; i < 3; i++) yield* Effect.flip(balancer.use(() => fault(), onA))
  assert.strictEqual(yield* tag("a"), "Open")
  return balancer
})
const only =
  (id: string): Filter.Filter =>
  (candidate) =>
    candidate.id === id
      ? undefined
      : { reason: "not this", scope: "request", since: undefined, until: undefined }

/** Opens the circuit of the host by ten failures at time 0, for 5 s at most. */
const tripHost = Effect.gen(function* () {
  const balancer = yield* Balancer.Balancer
  for (let i = 0; i < 10; i++) yield* Effect.flip(balancer.use(() => fault("host")))
  assert.strictEqual(yield* tag(host), "Open")
  return balancer
})

describe("on the real pool", () => {
  it.effect("three failures open a key, and the others serve; where no other is left it is overlooked", () =>
    Effect.gen(function* () {
      const balancer = yield* trip
      const used: Array<string> = []
      const use = balancer.use((lease) => Effect.sync(() => void used.push(lease.key.id)))
      for (let i = 0; i < 5; i++) yield* use
      assert.deepStrictEqual(used, ["b", "b", "b", "b", "b"])
      yield* (yield* KeyPool.KeyPool).remove("b")
      yield* Effect.flip(balancer.use(() => fault()))
      assert.strictEqual(yield* tag("a"), "Open")
      // And a success there refutes the guess.
      yield* use
      assert.strictEqual(yield* tag("a"), "Closed")
      assert.strictEqual(yield* inFlight, 0)
    }).pipe(Effect.provide(live(["a", "b"])))
  )

  it.effect(
    "a key that a hand has opened is refused even if it is the last, and the refusal says until when",
    () =>
      Effect.gen(function* () {
        const balancer = yield* Balancer.Balancer
        yield* (yield* CircuitBreaker.CircuitBreaker).open("a", "1 minute")
        const error = yield* Effect.flip(balancer.use(() => Effect.void))
        assert.instanceOf(error, Errors.NoEligibleKey)
        assert.deepStrictEqual([error.keys[0]!.reason, error.retryAt], ["circuit-open", 60_000])
      }).pipe(Effect.provide(live(["a"])))
  )

  it.effect(
    "faults of an upstream open its circuit alone: that model is refused on all keys, the others go on",
    () =>
      Effect.gen(function* () {
        const balancer = yield* Balancer.Balancer
        for (let i = 0; i < 10; i++) {
          yield* Effect.flip(balancer.use(() => fault("upstream"), { upstream: "down" }))
        }
        const error = yield* Effect.flip(balancer.use(() => Effect.void, { upstream: "down" }))
        assert.instanceOf(error, Errors.NoEligibleKey)
        assert.deepStrictEqual(
          error.keys.map(({ reason, scope }) => [reason, scope]),
          [
            ["circuit-open", "upstream"],
            ["circuit-open", "upstream"]
          ]
        )
        yield* balancer.use(() => Effect.void, { upstream: "up" })
        assert.lengthOf(yield* (yield* CircuitBreaker.CircuitBreaker).troubled, 1)
      }).pipe(Effect.provide(live(["a", "b"])))
  )

  it.effect(
    "of 100 fibers at the half-open moment of the host one is the probe, and the rest go by and by",
    () =>
      Effect.gen(function* () {
        const balancer = yield* tripHost
        const gate = yield* Deferred.make<void>()
        yield* TestClock.adjust("5 seconds")
        let served = 0
        let most = 0
        let now = 0
        const use = balancer.use(() =>
          Effect.gen(function* () {
            served++
            most = Math.max(most, ++now)
            yield* Deferred.await(gate)
            yield* Effect.sleep("1 second")
            now--
          })
        )
        const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () => fork(use))
        assert.strictEqual(served, 1)
        // The others wait for what it meets.
        assert.strictEqual(yield* waiting, 99)
        yield* Deferred.succeed(gate, undefined)
        // The probe, and then 1, 2, 4, … at a time.
        const steps: Array<number> = []
        for (let i = 0; i < 9; i++) {
          steps.push(served)
          yield* TestClock.adjust("1 second")
        }
        assert.deepStrictEqual(steps, [1, 2, 4, 8, 16, 32, 64, 100, 100])
        yield* Effect.forEach(fibers, Fiber.join)
        assert.strictEqual(yield* tag(host), "Closed")
        assert.strictEqual(yield* inFlight, 0)
      }).pipe(Effect.provide(live(["a", "b"])))
  )

  const ends: ReadonlyArray<readonly [string, () => Effect.Effect<void, string>]> = [
    ["an interruption", () => Effect.never],
    ["a failure of the caller's own", () => Effect.fail("bad request")],
    ["a defect", () => Effect.die("bug")]
  ]
  for (const [name, end] of ends) {
    it.effect(`${name} of the probe frees its slots`, () =>
      Effect.gen(function* () {
        yield* trip
        const balancer = yield* tripHost
        yield* TestClock.adjust("1 minute")
        const onA = { filter: only("a") }
        const slots = Effect.map(Effect.all([state("a"), state(host)]), (states) =>
          states.map((one) => one._tag === "HalfOpen" && one.probing)
        )
        for (let i = 0; i < 10; i++) {
          let taken: ReadonlyArray<boolean> = []
          const circuits = yield* CircuitBreaker.CircuitBreaker
          const fiber = yield* fork(
            balancer.use(
              () =>
                Effect.andThen(
                  Effect.provideService(slots, CircuitBreaker.CircuitBreaker, circuits),
                  (found) => {
                    taken = found
                    return end()
                  }
                ),
              onA
            )
          )
          yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(taken, [true, true])
          assert.deepStrictEqual(yield* slots, [false, false])
        }
        yield* balancer.use(() => Effect.void, onA)
        assert.deepStrictEqual([yield* tag("a"), yield* tag(host)], ["Closed", "Closed"])
        assert.strictEqual(yield* inFlight, 0)
      }).pipe(Effect.provide(live(["a", "b"])))
    )
  }

  it.effect("a stream that is the probe holds its slot until its scope closes", () =>
    Effect.gen(function* () {
      const balancer = yield* tripHost
      yield* TestClock.adjust("5 seconds")
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* balancer.lease()
          yield* TestClock.adjust("1 hour")
          const other = yield* fork(balancer.use(() => Effect.void))
          assert.strictEqual(yield* waiting, 1)
          yield* Fiber.interrupt(other)
        })
      )
      assert.strictEqual(yield* tag(host), "Closed")
    }).pipe(Effect.provide(live(["a", "b"])))
  )

  it.effect("a key that leaves while it probes the host leaves the slot to the next", () =>
    Effect.gen(function* () {
      const balancer = yield* tripHost
      yield* TestClock.adjust("5 seconds")
      const probe = yield* fork(balancer.use(() => Effect.never, { filter: only("a") }))
      assert.deepInclude(yield* state(host), { _tag: "HalfOpen", probing: true })
      yield* (yield* KeyPool.KeyPool).remove("a")
      assert.deepInclude(yield* state(host), { _tag: "HalfOpen", probing: false })
      yield* balancer.use(() => Effect.void)
      assert.strictEqual(yield* tag(host), "Closed")
      yield* Fiber.interrupt(probe)
      assert.strictEqual(yield* tag(host), "Closed")
    }).pipe(Effect.provide(live(["a", "b"])))
  )

  it.effect("a key that leaves and returns begins anew, and the old one's late failure is not its own", () =>
    Effect.gen(function* () {
      const balancer = yield* trip
      const pool = yield* KeyPool.KeyPool
      yield* pool.remove("a")
      yield* pool.add({ id: "a", secret: "sk-0000001" })
      assert.strictEqual(yield* tag("a"), "Closed")
      const gate = yield* Deferred.make<void>()
      const late = yield* Effect.forEach([1, 2, 3], () =>
        fork(Effect.exit(balancer.use(() => Effect.andThen(Deferred.await(gate), fault()))))
      )
      yield* pool.remove("a")
      yield* pool.add({ id: "a", secret: "sk-0000001" })
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(late, Fiber.join)
      assert.strictEqual(yield* tag("a"), "Closed")
    }).pipe(Effect.provide(live(["a"])))
  )
})

describe("by hand", () => {
  it.effect("a circuit that is closed serves who waits for it at once", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const circuits = yield* CircuitBreaker.CircuitBreaker
      yield* circuits.open("a", "1 minute")
      const waiter = yield* fork(balancer.use(() => Effect.succeed("served"), { maxWait: "2 minutes" }))
      assert.strictEqual(yield* waiting, 1)
      yield* circuits.close("a")
      assert.strictEqual(yield* Fiber.join(waiter), "served")
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
      const never = { key: false } as const
      assert.isAbove(yield* share(20, never), 0.85)
      assert.isAtMost(yield* share(20, undefined), 0.002)
      assert.isAtMost(yield* share(2, undefined), 0.02)
    }).pipe(Random.withSeed("hole"))
  )
})
