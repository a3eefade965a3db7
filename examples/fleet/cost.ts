// What sharing and strict mode cost a request: the table of docs/scaling.md.
//
//   REDIS_URL=redis://127.0.0.1:6379 node --conditions=@evenkeel/source examples/fleet/cost.ts
import { NodeRedis, NodeRuntime } from "@effect/platform-node"
import { Balancer, KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { RedisFacts, Sharing, StrictPermits } from "@evenkeel/redis"
import { Console, Effect, Layer, Logger, Metric } from "effect"
import { keyIds } from "./fleet.ts"

const url = process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379"
const redis = NodeRedis.layer({ url, disableOfflineQueue: true })
const keys = keyIds.map((id, n) => ({ id, secret: `sk-000000${n}`, maxInFlight: 64 }))

const measure = (name: string, requests: number) =>
  Effect.gen(function* () {
    const balancer = yield* Balancer.Balancer
    const use = balancer.use(() => Effect.void)
    const times: Array<number> = []
    for (let i = 0; i < requests; i++) yield* use
    for (let round = 0; round < 7; round++) {
      const from = process.hrtime.bigint()
      for (let i = 0; i < requests; i++) yield* use
      times.push(Number(process.hrtime.bigint() - from) / 1000 / requests)
    }
    const median = times.toSorted((a, b) => a - b)[3]!
    yield* Console.log(`${name.padEnd(28)} ${median.toFixed(1)} µs`)
  })

const pool = Balancer.layer.pipe(Layer.provide(LeastInFlight.layer()))
const withKeys = KeyPool.layer({ keys })
const shared = RedisFacts.layer({ namespace: "cost" }).pipe(Layer.provide(redis))
const strict = StrictPermits.layer({ namespace: "cost" }).pipe(Layer.provide(redis))

const program = Effect.gen(function* () {
  yield* Effect.provide(measure("alone", 20_000), pool.pipe(Layer.provide(withKeys)))
  yield* Effect.gen(function* () {
    yield* measure("shared facts", 20_000)
    const { roundTripMillis, roundTrips } = yield* (yield* Sharing.Sharing).snapshot
    yield* Console.log(`  ${roundTrips} round trips in all, the last took ${roundTripMillis} ms`)
  }).pipe(Effect.provide(pool.pipe(Layer.provide(withKeys), Layer.provideMerge(shared))))
  yield* Effect.provide(
    measure("strict mode", 2_000),
    pool.pipe(Layer.provide(strict), Layer.provide(withKeys))
  )
  const { count } = yield* Metric.value(StrictPermits.unguarded)
  yield* Console.log(`  ${count} of them unguarded`)
})

NodeRuntime.runMain(program.pipe(Effect.provide(Logger.layer([]))))
