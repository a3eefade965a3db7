import { Balancer, Permits, type Lease } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { holding, inFlight, key, layerOf, start, using, waiting } from "./utils.ts"

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

  it.effect("by default none is needed", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Permits.Permits, Permits.unneeded)
      const context = yield* Layer.build(layerOf({ keys }))
      assert.isDefined(context.mapUnsafe.get(Balancer.Balancer.key))
    })
  )
})
