// One process of the fleet. Only the last line of `live` is new to a program of one process.
import { NodeRedis, NodeRuntime } from "@effect/platform-node"
import { Balancer, KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { RedisConnection, RedisFacts } from "@evenkeel/redis"
import { Effect, Layer, Logger, Random } from "effect"
import { keyIds, sharing } from "./fleet.ts"

const url = process.argv[2] ?? "redis://127.0.0.1:6379"
const redis = RedisConnection.patient(NodeRedis.layer({ url, disableOfflineQueue: true }))

const live = Balancer.layer.pipe(
  Layer.provide(LeastInFlight.layer()),
  Layer.provide(KeyPool.layer({ keys: keyIds.map((id, n) => ({ id, secret: `sk-000000${n}` })) })),
  Layer.provide(RedisFacts.layer(sharing).pipe(Layer.provide(redis)))
)

/** Stands for a request: it takes as long as a short answer. */
const use = Effect.flatMap(Random.nextBetween(500, 2000), (millis) => Effect.sleep(millis))

const program = Effect.gen(function* () {
  const balancer = yield* Balancer.Balancer
  const loop = Effect.forever(balancer.use(() => use))
  yield* Effect.all(
    Array.from({ length: 25 }, () => loop),
    { concurrency: "unbounded", discard: true }
  )
})

process.on("disconnect", () => process.exit(0))
NodeRuntime.runMain(program.pipe(Effect.provide(live), Effect.provide(Logger.layer([]))))
