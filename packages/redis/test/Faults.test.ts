// What Redis does to a program: nothing. Away, slow, or empty again: requests go on, the state says so, and facts come back.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { randomBytes } from "node:crypto"
import { all, fleet, keys } from "./fleet.ts"
import { proxyTo } from "./proxy.ts"
import { binary, freePort, patience, Server, server, serverWith, until } from "./server.ts"
import type { Load, Report } from "./worker.ts"

const facts = { flush: 50, heartbeat: 3000, timeout: 1000 }
const connected = (all: ReadonlyArray<any>) => all.every(({ state }) => state._tag === "Connected")

describe.skipIf(binary === undefined)("a Redis that fails", patience, () => {
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
        assert.isTrue(back.every(({ reconnects }) => reconnects >= 1))
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
      // Ten one after the other in each process: far less than ten timeouts.
      assert.isBelow(Date.now() - at, 5000)
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

  it.live("a primary dies, and the replica that takes its place has missed the last words", () =>
    Effect.gen(function* () {
      const primary = yield* server
      const replica = yield* serverWith("--replicaof", "127.0.0.1", `${primary.port}`)
      const ask = (...command: ReadonlyArray<string>) => Effect.promise(() => replica.ask(...command))
      yield* until(ask("INFO", "replication"), (info) => String(info).includes("master_link_status:up"))
      const proxy = yield* proxyTo(primary.port)
      const setup = { url: proxy.url, keys: keys("a b c d", { maxInFlight: 99 }), facts }
      const processes = yield* fleet(2, { ...setup, strict: { onUnavailable: "local" } })
      const [one, other] = processes
      const bench = (process: typeof one, id: string) =>
        process!.ask("bench", { scope: "key", id, reason: "throttled", for: 60_000 })
      const knows = (process: typeof one, ...ids: ReadonlyArray<string>) =>
        until(process!.ask("keys"), (keys) =>
          ids.every((id) => keys.find((key: any) => key.id === id).ineligible !== undefined)
        )
      yield* one!.ask("drain", "c")
      yield* bench(one, "a")
      yield* knows(other, "a", "c")
      yield* until(ask("HLEN", "evenkeel:{default}:facts"), (count) => count === 2)
      const load: Load = { requests: 1e9, concurrency: 5, millis: [1, 10] }
      const running = yield* Effect.forkChild(all<Report>(processes, "run", load))

      // From here on the replica hears no more: what the primary acknowledges now is lost with it.
      yield* ask("REPLICAOF", "127.0.0.1", `${yield* Effect.promise(freePort)}`)
      yield* bench(one, "b")
      yield* one!.ask("resume", "c")
      yield* knows(other, "a", "b")
      yield* until(all(processes, "sharing"), (all) => all.every(({ waiting }) => waiting === 0))
      yield* Effect.promise(() => primary.kill())
      // A replica that is none yet takes no writes, and that is no other fault than its absence.
      proxy.to(replica.port)
      yield* until(all(processes, "sharing"), (all) => all.every(({ state }) => state._tag === "Alone"))
      yield* ask("REPLICAOF", "NO", "ONE")
      yield* until(all(processes, "sharing"), connected)

      // What was lost was told again, and what is new reaches all.
      const [late] = yield* fleet(1, setup)
      yield* knows(late, "a", "b")
      assert.isUndefined(
        (yield* until(late!.ask("keys"), ([, , c]) => c.ineligible === undefined))[3].ineligible
      )
      yield* bench(one, "d")
      yield* Effect.forEach([other, late], (process) => knows(process, "d"))
      yield* other!.ask("readmit", { scope: "key", id: "a" })
      yield* Effect.forEach([one, late], (process) =>
        until(process!.ask("keys"), ([a]) => a.ineligible === undefined)
      )
      yield* all(processes, "stop")
      for (const report of yield* Fiber.join(running)) {
        assert.isAbove(report.succeeded, 100)
        assert.deepInclude(report, { refused: 0, failed: 0 })
      }
      // Nobody counts any more, and permits that the primary had handed out are none.
      yield* until(late!.ask("keys"), (keys) => keys.every(({ inFlight }: any) => inFlight === 0))
      yield* until(
        ask("KEYS", "evenkeel:{default}:permits:*"),
        (left) => (left as ReadonlyArray<string>).length === 0
      )
    }).pipe(Effect.scoped)
  )

  it.live("no secret is in Redis, in a log or in an error, whatever was told and whatever failed", () =>
    Effect.gen(function* () {
      const redis = yield* server
      const random = () => randomBytes(32).toString("hex")
      const all = keys("a b", { maxInFlight: 3 }).map((key) => ({ ...key, secret: `sk-or-v1-${random()}` }))
      const setup = { url: redis.url, keys: all, facts }
      const [one] = yield* fleet(1, {
        ...setup,
        strict: { account: 2, requestsPerMinute: { key: 5 }, tokensPerMinute: { key: 99 }, lease: 1000 }
      })
      const [closed] = yield* fleet(1, { ...setup, strict: { onUnavailable: "refuse", lease: 1000 } })
      const load: Load = { requests: 3, concurrency: 1, millis: [0, 0], tokens: 1 }
      yield* one!.ask("run", load)
      yield* one!.ask("hold", 2)
      yield* closed!.ask("hold", 1)
      yield* one!.ask("credit", { id: "a", remaining: 1 })
      yield* one!.ask("learn", { id: "a", account: "A" })
      yield* one!.ask("fault", { scope: "key", reason: "rejected" })
      yield* one!.ask("drain", "b")
      yield* one!.ask("open", { target: "b", millis: 60_000 })
      yield* one!.ask("add", { id: "c", secret: all[0]!.secret.replace(/.$/, "z") })
      yield* one!.ask("remove", "c")
      const told = ["rejected", "Draining", "Removed", "permits", "limits", "loads", "CreditRead", "Opened"]
      const dump = yield* until(
        Effect.promise(() => redis.dump()),
        (dump) => told.every((word) => dump.includes(word))
      )
      yield* one!.ask("run", load)
      yield* Effect.promise(() => redis.kill())
      yield* until(closed!.ask("cut"), ({ length }) => length === 1)
      yield* closed!.ask("run", load)
      yield* one!.ask("run", load)
      const said = [
        ...(yield* one!.ask<Array<string>>("said")),
        ...(yield* closed!.ask<Array<string>>("said"))
      ]
      const text = said.join("\n")
      for (const word of [
        "NoEligibleKey",
        "PermitLost",
        "Alone",
        "Permits could not be renewed",
        "evenkeel_sharing"
      ])
        assert.include(text, word)
      for (const { secret } of all) {
        for (let i = 9; i + 10 <= secret.length; i++) {
          assert.notInclude(dump, secret.slice(i, i + 10))
          assert.notInclude(text, secret.slice(i, i + 10))
        }
      }
    }).pipe(Effect.scoped)
  )
})
