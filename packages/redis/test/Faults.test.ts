// What Redis does to a program: nothing. Away, slow, or empty again: requests go on, the state says so, and facts come back.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { all, fleet, keys } from "./fleet.ts"
import { binary, freePort, Server, server, until } from "./server.ts"
import type { Load, Report } from "./worker.ts"

const facts = { flush: 50, heartbeat: 1000, timeout: 200 }
const connected = (all: ReadonlyArray<any>) => all.every(({ state }) => state._tag === "Connected")

describe.skipIf(binary === undefined)("a Redis that fails", () => {
  it.live(
    "killed and started again, empty, under load: no request is lost, and what was known is known again",
    () =>
      Effect.gen(function* () {
        const redis = yield* server
        const processes = yield* fleet(2, { url: redis.url, keys: keys("a b c"), facts })
        yield* processes[0]!.ask("bench", { scope: "key", id: "a", reason: "throttled", for: 60_000 })
        yield* until(processes[1]!.ask("keys"), ([a]) => a.ineligible !== undefined)
        const load: Load = { requests: 1e9, concurrency: 10, millis: [1, 10] }
        const running = yield* Effect.forkChild(all<Report>(processes, "run", load))
        yield* Effect.promise(() => redis.kill())
        const alone = yield* until(all(processes, "sharing"), (all) =>
          all.every(({ state }) => state._tag === "Alone")
        )
        assert.isTrue(alone.every(({ leads }) => leads))
        // What is learnt meanwhile is told later.
        yield* processes[1]!.ask("bench", { scope: "key", id: "b", reason: "throttled", for: 60_000 })
        yield* Effect.promise(() => redis.start())
        const back = yield* until(all(processes, "sharing"), connected)
        assert.isTrue(back.every(({ reconnects }) => reconnects === 1))
        yield* until(processes[0]!.ask("keys"), ([, b]) => b.ineligible !== undefined)
        yield* all(processes, "stop")
        for (const report of yield* Fiber.join(running)) {
          assert.isAbove(report.succeeded, 100)
          assert.deepInclude(report, { refused: 0, failed: 0 })
        }
        // The new Redis knows what the old one knew: it tells a newcomer.
        const [late] = yield* fleet(1, { url: redis.url, keys: keys("a b c"), facts })
        yield* until(late!.ask("keys"), ([a, b]) => a.ineligible !== undefined && b.ineligible !== undefined)
      }).pipe(Effect.scoped)
  )

  it.live("away at start: the program starts alone, and joins when Redis comes", () =>
    Effect.gen(function* () {
      const redis = new Server(yield* Effect.promise(freePort))
      yield* Effect.addFinalizer(() => Effect.promise(() => redis.kill()))
      const processes = yield* fleet(2, { url: redis.url, keys: keys("a"), facts })
      assert.isFalse((yield* all(processes, "sharing")).some(({ state }) => state._tag === "Connected"))
      const load: Load = { requests: 10, concurrency: 2, millis: [0, 1] }
      for (const report of yield* all<Report>(processes, "run", load))
        assert.strictEqual(report.succeeded, 10)
      yield* Effect.promise(() => redis.start())
      yield* until(all(processes, "sharing"), (all) => all.every(({ processes }) => processes === 2))
    }).pipe(Effect.scoped)
  )

  it.live("slow to death: it answers nothing and breaks no connection, and nobody waits for it", () =>
    Effect.gen(function* () {
      const redis = yield* server
      const processes = yield* fleet(2, { url: redis.url, keys: keys("a"), facts })
      redis.freeze()
      yield* until(all(processes, "sharing"), (all) => all.every(({ state }) => state._tag === "Alone"))
      const load: Load = { requests: 50, concurrency: 5, millis: [0, 1] }
      const at = Date.now()
      for (const report of yield* all<Report>(processes, "run", load))
        assert.strictEqual(report.succeeded, 50)
      assert.isBelow(Date.now() - at, 1000)
      redis.thaw()
      yield* until(all(processes, "sharing"), connected)
    }).pipe(Effect.scoped)
  )

  it.live("round trips are bounded by the time, and not by the requests", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      const [one] = yield* fleet(1, { url, keys: keys("a b"), facts })
      const before = yield* one!.ask("sharing")
      const at = Date.now()
      yield* one!.ask("run", { requests: 5_000, concurrency: 50, millis: [0, 1] } satisfies Load)
      const after = yield* one!.ask("sharing")
      assert.isAtMost(after.roundTrips - before.roundTrips, (Date.now() - at) / facts.flush + 1)
    }).pipe(Effect.scoped)
  )

  it.live("no secret is in Redis, whatever was told", () =>
    Effect.gen(function* () {
      const redis = yield* server
      const all = keys("a b", { maxInFlight: 3 })
      const [one] = yield* fleet(1, {
        url: redis.url,
        keys: all,
        facts,
        strict: { requestsPerMinute: { key: 99 } }
      })
      yield* one!.ask("hold", 2)
      yield* one!.ask("credit", { id: "a", remaining: 1 })
      yield* one!.ask("learn", { id: "a", account: "A" })
      yield* one!.ask("fault", { scope: "key", reason: "rejected" })
      yield* one!.ask("drain", "b")
      yield* one!.ask("open", { target: "b", millis: 1000 })
      const dump = yield* until(
        Effect.promise(() => redis.dump()),
        (dump) => dump.includes("rejected") && dump.includes("Draining") && dump.includes("permits")
      )
      for (const { secret } of all) {
        for (let i = 3; i + 6 <= secret.length; i++) assert.notInclude(dump, secret.slice(i, i + 6))
      }
    }).pipe(Effect.scoped)
  )
})
