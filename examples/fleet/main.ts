// Four processes share four keys through Redis, and a table shows what each of them has in flight.
//
//   node --conditions=@evenkeel/source examples/fleet/main.ts [--seconds 10] [--kill]
//
// It uses the Redis of REDIS_URL, or starts a redis-server of its own where one is installed. OpenRouter is not called: a use
// is a pause. With --kill one of the processes is killed half-way.
import { NodeRedis, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Logger, Schedule } from "effect"
import { fork, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { createServer, type AddressInfo } from "node:net"
import { parseArgs } from "node:util"
import { RedisConnection, RedisFacts, Sharing } from "@evenkeel/redis"
import { keyIds, sharing as options } from "./fleet.ts"

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "10" }, kill: { type: "boolean", default: false } }
})
const seconds = Number(values.seconds)
if (!(seconds >= 1 && seconds <= 3600)) throw new RangeError("--seconds must be from 1 to 3600")

/** A server of our own on a free port, for as long as the scope is open. */
const ownRedis = Effect.acquireRelease(
  Effect.promise(async () => {
    const binary = ["redis-server", "valkey-server"].find(
      (name) => spawnSync(name, ["--version"]).status === 0
    )
    if (binary === undefined)
      throw new Error("No redis-server found: install Redis or Valkey, or set REDIS_URL")
    const probe = createServer().listen(0, "127.0.0.1")
    await once(probe, "listening")
    const { port } = probe.address() as AddressInfo
    probe.close()
    const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return { child: spawn(binary, args, { stdio: "ignore" }), url: `redis://127.0.0.1:${port}` }
  }),
  ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
)

const worker = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      fork(new URL("worker.ts", import.meta.url), [url], {
        execArgv: ["--conditions=@evenkeel/source", "--no-warnings"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

const table = (members: ReadonlyArray<Sharing.Member>): string => {
  const row = (name: string, counts: ReadonlyArray<number>) =>
    [name.padEnd(10), ...counts.map((count) => `${count}`.padStart(6)), `${sum(counts)}`.padStart(7)].join("")
  const rows = members
    // This process takes part, and has nothing in flight.
    .filter(({ inFlight }) => Object.keys(inFlight).length > 0)
    .map(({ inFlight, process }) =>
      row(
        process.slice(0, 8),
        keyIds.map((id) => inFlight[id] ?? 0)
      )
    )
  const totals = keyIds.map((id) => sum(members.map(({ inFlight }) => inFlight[id] ?? 0)))
  const header = ["process".padEnd(10), ...keyIds.map((id) => id.padStart(6)), "all".padStart(7)].join("")
  return [header, ...rows, row("fleet", totals), ""].join("\n")
}

const sum = (counts: ReadonlyArray<number>) => counts.reduce((a, b) => a + b, 0)

const program = Effect.gen(function* () {
  const url = process.env["REDIS_URL"] ?? (yield* ownRedis).url
  const redis = RedisConnection.patient(NodeRedis.layer({ url, disableOfflineQueue: true }))
  yield* Effect.gen(function* () {
    const sharing = yield* Sharing.Sharing
    const workers = yield* Effect.replicateEffect(worker(url), 4)
    const draw = Effect.flatMap(sharing.fleet, (members) => Console.log(table(members)))
    const all = Effect.map(sharing.snapshot, ({ processes }) => processes > workers.length)
    yield* Effect.repeat(Effect.andThen(Effect.sleep("100 millis"), all), { until: Boolean })
    const half = seconds / 2
    const watch = (seconds: number) =>
      Effect.repeat(
        Effect.ignore(draw),
        Schedule.spaced("1 second").pipe(Schedule.upTo({ times: Math.ceil(seconds) }))
      )
    yield* watch(half)
    if (values.kill) {
      workers[0]!.kill("SIGKILL")
      yield* Console.log(`killed one of ${workers.length}\n`)
    }
    yield* watch(half)
    const { processes, roundTrips } = yield* sharing.snapshot
    yield* Console.log(`${processes - 1} workers; ${roundTrips} round trips of this process`)
  }).pipe(Effect.provide(RedisFacts.layer(options).pipe(Layer.provideMerge(redis))))
}).pipe(Effect.scoped, Effect.provide(Logger.layer([])))

NodeRuntime.runMain(program)
