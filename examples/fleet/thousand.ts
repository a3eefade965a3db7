// A thousand members of one fleet, each with its own pool of a hundred keys, in one process and on one Redis: what a round
// costs Redis, and how long a refused key takes to reach all of them.
//
//   REDIS_URL=redis://127.0.0.1:6379 node --conditions=@evenkeel/source examples/fleet/thousand.ts [members] [flush ms]
import { NodeRedis, NodeRuntime } from "@effect/platform-node"
import { Balancer, KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { RedisFacts } from "@evenkeel/redis"
import { Console, Effect, Layer, Logger, Random } from "effect"
import { Redis } from "effect/persistence"

const [members = 1000, flush = 1000] = process.argv.slice(2).map(Number)
const url = process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379"
const keys = Array.from({ length: 100 }, (_, n) => ({ id: `key-${n}`, secret: `sk-0000${n}` }))

const member = Effect.gen(function* () {
  const live = Balancer.layer.pipe(
    Layer.provide(LeastInFlight.layer()),
    Layer.provideMerge(KeyPool.layer({ keys })),
    Layer.provideMerge(RedisFacts.layer({ namespace: "thousand", flush, timeout: "10 seconds" }))
  )
  const context = yield* Layer.build(Layer.fresh(live))
  const run = <A, E>(effect: Effect.Effect<A, E, Balancer.Balancer | KeyPool.KeyPool>) =>
    Effect.provideContext(effect, context)
  const use = Effect.flatMap(Random.nextBetween(500, 2000), (millis) => Effect.sleep(millis))
  const loop = Effect.flatMap(Balancer.Balancer, (balancer) => Effect.forever(balancer.use(() => use)))
  yield* Effect.forkScoped(run(Effect.all([loop, loop], { concurrency: 2 })))
  return yield* run(KeyPool.KeyPool)
})

const stats = Effect.gen(function* () {
  const redis = yield* Redis.Redis
  const [, calls] =
    /cmdstat_evalsha:calls=(\d+)/.exec(String(yield* redis.send("INFO", "commandstats"))) ?? []
  // The time of its processor, which does not count that others were in the way.
  const cpu = String(yield* redis.send("INFO", "cpu"))
  const seconds = ["user", "sys"].map((what) =>
    Number(new RegExp(`used_cpu_${what}:([\\d.]+)`).exec(cpu)?.[1])
  )
  return { calls: Number(calls), micros: 1e6 * (seconds[0]! + seconds[1]!) }
})

const program = Effect.gen(function* () {
  const pools = yield* Effect.forEach(Array.from({ length: members }), () => member, { concurrency: 8 })
  yield* Effect.sleep("3 seconds")
  const before = yield* stats
  yield* Effect.sleep("10 seconds")
  const after = yield* stats
  const calls = after.calls - before.calls
  const micros = after.micros - before.micros
  yield* Console.log(
    `${members} members, a round every ${flush} ms each: ${(calls / 10).toFixed(0)} rounds/s`
  )
  yield* Console.log(
    `Redis: ${(micros / calls).toFixed(0)} µs a round, ${(micros / 1e5).toFixed(1)} % of a core`
  )
  const at = performance.now()
  yield* pools[0]!.bench({ scope: "key", id: "key-7", reason: "rejected" })
  const knows = (pool: KeyPool.KeyPool["Service"]) =>
    Effect.map(pool.snapshot, ({ keys }) => keys[7]!.ineligible !== undefined)
  let left = pools
  while (left.length > 0) {
    yield* Effect.sleep("20 millis")
    left = yield* Effect.filter(left, (pool) => Effect.map(knows(pool), (known) => !known))
  }
  yield* Console.log(`A refused key was known to all after ${((performance.now() - at) / 1000).toFixed(2)} s`)
}).pipe(
  Effect.scoped,
  Effect.provide(NodeRedis.layer({ url, disableOfflineQueue: true })),
  Effect.provide(Logger.layer([]))
)

NodeRuntime.runMain(
  Effect.ensuring(
    program,
    Effect.sync(() => process.exit(0))
  )
)
