import { Balancer, Outcome, Permits, type Lease } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, type Duration, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { holding, inFlight, key, layerOf, rotating, start, stateOf, using, waiting } from "./utils.ts"

const refusal = (scope: "key" | "account" | "host", until: number): Permits.Answer => ({
  _tag: "Refused",
  why: { reason: "saturated", scope, since: 0, until }
})

/** Grants to keys that are in no list, and counts what is out. */
const granting = (refuse: (lease: Lease.Lease) => Permits.Answer | undefined) => {
  const log: Array<string> = []
  const take = (lease: Lease.Lease) =>
    Effect.sync((): Permits.Answer => {
      const refused = refuse(lease)
      log.push(`${refused === undefined ? "took" : "refused"} ${lease.key.id}`)
      return refused ?? { _tag: "Granted", release: () => void log.push(`gave ${lease.key.id}`) }
    })
  return { log, permits: { name: "test", take } }
}

const withPermits =
  (permits: Permits.Permits) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provideService(effect, Permits.Permits, permits)

const keys = [key("a", { account: "A" }), key("b", { account: "A" }), key("c")]

describe("Permits", () => {
  it.effect("a permit is taken before the use, and given back when the lease settles", () => {
    const { log, permits } = granting(() => undefined)
    return using({ keys }, function* ({ balancer }) {
      yield* balancer.use(() => Effect.sync(() => void log.push("used")))
      yield* Effect.scoped(
        Effect.andThen(
          balancer.lease(),
          Effect.sync(() => void log.push("leased"))
        )
      )
      assert.deepStrictEqual(log, ["took a", "used", "gave a", "took a", "leased", "gave a"])
    }).pipe(withPermits(permits))
  })

  it.effect("who is refused takes another key; a refusal of an account bars all of its keys", () => {
    const { log, permits } = granting(({ key }) => (key.id === "a" ? refusal("account", 1000) : undefined))
    return using({ keys }, function* ({ balancer, pool }) {
      for (let n = 0; n < 2; n++) yield* balancer.use(() => Effect.void)
      assert.deepStrictEqual(log, ["refused a", "took c", "gave c", "took c", "gave c"])
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0, 0])
      yield* TestClock.adjust(1000)
      yield* balancer.use(() => Effect.void)
      assert.deepStrictEqual(log.slice(5), ["refused a", "took c", "gave c"])
    }).pipe(withPermits(permits))
  })

  it.effect("when every key is refused the request waits, and asks again when the time is up", () => {
    let full = true
    const { log, permits } = granting(() => (full ? refusal("key", 0) : undefined))
    const timed: Permits.Permits = {
      ...permits,
      take: (lease) =>
        Effect.map(permits.take(lease), (answer) =>
          answer._tag === "Granted" ? answer : refusal("key", lease.context.nowMillis + 50)
        )
    }
    return using({ keys: [key("a")] }, function* ({ balancer, pool }) {
      const fiber = yield* start(balancer.use((lease) => Effect.succeed(lease.key.id)))
      assert.strictEqual(yield* waiting(pool), 1)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(log, ["refused a", "refused a"])
      full = false
      yield* TestClock.adjust(50)
      assert.strictEqual(yield* Fiber.join(fiber), "a")
    }).pipe(withPermits(timed))
  })

  it.effect("interrupted while it is asked for, or dead, it leaves nothing in flight", () => {
    const asked: Permits.Permits = { name: "test", take: () => Effect.never }
    const dead: Permits.Permits = { name: "test", take: () => Effect.die("broken") }
    const body = (
      permits: Permits.Permits,
      end: (fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<unknown>
    ) =>
      using({ keys }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        const fiber = yield* start(balancer.use(use))
        yield* end(fiber)
        assert.deepStrictEqual([held.length, yield* inFlight(pool)], [0, [0, 0, 0]])
      }).pipe(withPermits(permits))
    return Effect.andThen(body(asked, Fiber.interrupt), body(dead, Fiber.await))
  })

  describe("that is lost under its use", () => {
    /** Grants everything, and takes it back when it is told to. */
    const lapsing = () => {
      const lost = Deferred.makeUnsafe<void>()
      const log: Array<string> = []
      const take = () =>
        Effect.succeed<Permits.Answer>({
          _tag: "Granted",
          release: () => void log.push("gave"),
          lost: Deferred.await(lost)
        })
      return { log, permits: { name: "test", take }, lose: Deferred.succeed(lost, undefined) }
    }
    const body = (timeout: Duration.Input | undefined) => {
      const { log, lose, permits } = lapsing()
      return using({ keys, retry: rotating }, function* ({ balancer, pool }) {
        const use = Effect.onInterrupt(Effect.never, () => Effect.sync(() => void log.push("cut off")))
        const running = yield* start(Effect.flip(balancer.use(() => use, { estimate: 1, timeout })))
        yield* pool.credit("a", { remaining: 5 })
        yield* lose
        const error = yield* Fiber.join(running)
        assert.deepInclude(error, { _tag: "PermitLost", keyId: "a" })
        assert.strictEqual(error.message, "The permit of a request in flight on a has lapsed")
        assert.deepStrictEqual(log, ["cut off", "gave"])
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0, 0])
        // It may have been billed, so it is no key's fault, is debited, and is not sent again.
        const { credit, faulted, ignored } = yield* stateOf(pool, "a")
        assert.deepStrictEqual([credit, faulted, ignored], [4, 0, 1])
      }).pipe(withPermits(permits))
    }

    it.effect("cuts it off, with an error of its own", () => body(undefined))

    it.effect("and the same beside a deadline", () => body("1 minute"))

    it.effect("a use that has ended is not touched any more", () => {
      const { log, lose, permits } = lapsing()
      return using({ keys }, function* ({ balancer }) {
        const lost = yield* balancer.use((lease) => Effect.succeed(lease.lost), {
          outcome: () => Outcome.success(1)
        })
        yield* lose
        yield* lost!
        assert.deepStrictEqual(log, ["gave"])
      }).pipe(withPermits(permits))
    })

    it.effect("who holds a lease by hand is told", () => {
      const { lose, permits } = lapsing()
      return Effect.scoped(
        using({ keys }, function* ({ balancer }) {
          const lease = yield* balancer.lease()
          yield* lose
          yield* lease.lost!
        }).pipe(withPermits(permits))
      )
    })
  })

  it.effect("by default none is needed", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Permits.Permits, Permits.unneeded)
      const context = yield* Layer.build(layerOf({ keys }))
      assert.isDefined(context.mapUnsafe.get(Balancer.Balancer.key))
    })
  )
})
