// What needs no Redis: options out of their range are named, and without a Redis a program runs alone.
import { KeyPool, SharedFacts } from "@evenkeel/core"
import { RedisConnection, RedisFacts, Sharing, StrictPermits } from "@evenkeel/redis"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"

const away = Layer.effect(
  Redis.Redis,
  Redis.make({
    send: () => Effect.fail(new Redis.RedisError({ cause: new Error("away") })),
    subscribe: () => Effect.never,
    connect: Effect.never
  })
)

const defectOf = (layer: Layer.Layer<never, never, Redis.Redis>) =>
  Effect.scoped(Layer.build(Layer.provide(layer, away))).pipe(
    Effect.as(undefined),
    Effect.catchDefect((defect) => Effect.succeed(String(defect)))
  )

describe("options", () => {
  it.effect("out of their range are named, with the range", () =>
    Effect.gen(function* () {
      const facts = (options: RedisFacts.Options) =>
        defectOf(RedisFacts.layer(options) as Layer.Layer<never, never, Redis.Redis>)
      const strict = (options: StrictPermits.Options) => defectOf(StrictPermits.layer(options))
      const named: ReadonlyArray<readonly [Effect.Effect<string | undefined>, RegExp]> = [
        [facts({ namespace: "a b" }), /RangeError: namespace must be .* without spaces/],
        [facts({ flush: 5 }), /flush must be a duration from 10 to 10000/],
        [facts({ flush: 1000, heartbeat: 2000 }), /heartbeat must be a duration from 3000 to 300000/],
        [facts({ timeout: 0 }), /timeout must be a duration from 10/],
        [strict({ key: 0 }), /key must be a whole number from 1 up/],
        [strict({ account: 1.5 }), /account must be a whole number/],
        [strict({ requestsPerMinute: { account: 0 } }), /requestsPerMinute.account must be a whole number/],
        [strict({ lease: 1 }), /lease must be a duration from 1000/],
        [strict({ pause: 0 }), /pause must be a duration from 1/]
      ]
      for (const [defect, message] of named) assert.match(String(yield* defect), message)
    })
  )
})

describe("without Redis", () => {
  it.effect("the process is alone, says why, and reads credit itself", () =>
    Effect.gen(function* () {
      const sharing = yield* Sharing.Sharing
      const shared = yield* SharedFacts.SharedFacts
      const pool = yield* KeyPool.KeyPool
      yield* pool.drain("a")
      const { leads, processes, state, waiting } = yield* sharing.snapshot
      assert.deepInclude(state, { _tag: "Alone", reason: "away" })
      assert.deepStrictEqual({ leads, processes, waiting }, { leads: true, processes: 1, waiting: 1 })
      assert.isTrue(shared.leads!())
      // It asks less and less often, but never gives up: 6 times in the first 10 seconds would be too few.
      const { roundTrips: before } = yield* sharing.snapshot
      yield* TestClock.adjust("10 seconds")
      const { roundTrips } = yield* sharing.snapshot
      assert.isAtLeast(roundTrips - before, 10)
      assert.isAtMost(roundTrips - before, 15)
    }).pipe(
      Effect.provide(
        KeyPool.layer({ keys: [{ id: "a", secret: "sk-0000001" }] }).pipe(
          Layer.provideMerge(RedisFacts.layer()),
          Layer.provide(away)
        )
      )
    )
  )

  it.effect("a client that cannot be built is built again, and commands fail meanwhile", () =>
    Effect.gen(function* () {
      let attempts = 0
      const client = Layer.effect(
        Redis.Redis,
        Effect.suspend(() =>
          ++attempts < 3
            ? Effect.fail("refused" as const)
            : Redis.make({
                send: () => Effect.succeed("PONG") as any,
                subscribe: () => Effect.never,
                connect: Effect.never
              })
        )
      )
      const building = yield* Effect.forkScoped(Layer.build(RedisConnection.patient(client)))
      yield* TestClock.adjust("500 millis")
      const redis = (yield* Effect.fromNullishOr(building.pollUnsafe()).pipe(
        Effect.flatMap((exit) => exit)
      )).mapUnsafe.get(Redis.Redis.key) as Redis.Redis["Service"]
      const failure = yield* Effect.flip(redis.send("PING"))
      assert.strictEqual(failure._tag, "RedisError")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* redis.send("PING"), "PONG")
      assert.strictEqual(attempts, 3)
    })
  )
})
