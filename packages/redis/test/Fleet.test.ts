// Processes of their own on a real Redis: what one learns, the others know; who is killed, is missed.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { all, fleet, keys, sum } from "./fleet.ts"
import { binary, patience, server, until } from "./server.ts"
import type { Load, Report } from "./worker.ts"

/** A busy machine may be slow to answer, and nothing here is about that. */
const facts = { flush: 50, heartbeat: 3000, timeout: 3000 }
const ids = ["a", "b", "c", "d"]

describe.skipIf(binary === undefined)("a fleet on a real Redis", patience, () => {
  it.live("4 processes x 4 keys: in flight per key within 10 % of each other", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      const processes = yield* fleet(4, { url, keys: keys("a b c d"), facts })
      const load: Load = { requests: Infinity, concurrency: 100, millis: [300, 900] }
      yield* until(processes[0]!.ask("sharing"), ({ processes }) => processes === 4)
      const running = yield* Effect.forkChild(all(processes, "run", { ...load, requests: 1e9 }))
      yield* until(all(processes, "under"), (under) => {
        const total = Object.values(sum(under)).reduce((a, b) => a + b, 0)
        return total === 400
      })
      // Sampled over a second, after the first uses have ended and been replaced.
      yield* Effect.sleep(1000)
      const totals: Record<string, number> = {}
      for (let n = 0; n < 20; n++) {
        for (const [id, count] of Object.entries(sum(yield* all(processes, "under"))))
          totals[id] = (totals[id] ?? 0) + count
        yield* Effect.sleep(50)
      }
      yield* all(processes, "stop")
      yield* Fiber.join(running)
      const counts = ids.map((id) => totals[id]! / 20)
      assert.isAtMost(Math.max(...counts) / Math.min(...counts), 1.1, JSON.stringify(counts))
    }).pipe(Effect.scoped)
  )

  it.live(
    "kill -9 in mid-request frees its counts within the heartbeat; nothing is lost for the others",
    () =>
      Effect.gen(function* () {
        const { url } = yield* server
        const setup = { url, keys: keys("a"), facts }
        const [one, other] = yield* fleet(2, setup)
        yield* one!.ask("hold", 3)
        const seen = (count: number) => until(other!.ask("keys"), ([key]) => key.inFlight === count)
        yield* seen(3)
        const load: Load = { requests: 200, concurrency: 10, millis: [1, 20] }
        const running = yield* Effect.forkChild(other!.ask<Report>("run", load))
        const killed = Date.now()
        yield* one!.kill()
        assert.deepInclude(yield* Fiber.join(running), { succeeded: 200, refused: 0, failed: 0 })
        yield* seen(0)
        assert.isBelow(Date.now() - killed, 2 * facts.heartbeat)
        assert.strictEqual((yield* other!.ask("sharing")).processes, 1)
      }).pipe(Effect.scoped)
  )

  it.live("a process that ends by itself is not waited for", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      const [one, other] = yield* fleet(2, { url, keys: keys("a"), facts: { flush: 50, heartbeat: 60_000 } })
      yield* until(other!.ask("sharing"), ({ processes }) => processes === 2)
      yield* one!.kill("SIGTERM")
      yield* until(other!.ask("sharing"), ({ processes }) => processes === 1)
    }).pipe(Effect.scoped)
  )

  it.live("a 401 seen by one process stops the others within one second", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      const [one, ...others] = yield* fleet(4, { url, keys: keys("a"), facts: { heartbeat: 3000 } })
      yield* until(one!.ask("sharing"), ({ processes }) => processes === 4)
      yield* one!.ask("fault", { scope: "key", reason: "rejected" })
      const benched = (process: typeof one) =>
        Effect.map(
          until(process!.ask("events"), (events) => events.some(isBenched)),
          (events) => events.find(isBenched).at
        )
      const isBenched = (event: any) => event._tag === "Benched" && event.reason === "rejected"
      const at = yield* benched(one)
      for (const other of others) assert.isBelow((yield* benched(other)) - at, 1000)
      const reports = yield* all<Report>(others, "run", { requests: 5, concurrency: 1, millis: [0, 0] })
      assert.deepStrictEqual(
        reports.map(({ refused }) => refused),
        [5, 5, 5]
      )
      // The recovery travels too.
      yield* others[0]!.ask("readmit", { scope: "key", id: "a" })
      yield* until(one!.ask("keys"), ([key]) => key.ineligible === undefined)
    }).pipe(Effect.scoped)
  )

  it.live("4 processes that drain the same 4 keys meet no 402", () =>
    Effect.gen(function* () {
      const redis = yield* server
      const processes = yield* fleet(4, { url: redis.url, keys: keys("a b c d"), facts })
      yield* until(processes[0]!.ask("sharing"), ({ processes }) => processes === 4)
      const budget = 4
      for (const id of ids) {
        yield* Effect.promise(() => redis.ask("SET", `test:bank:${id}`, `${budget * 1e9}`))
        // One reads; the others are told.
        yield* processes[0]!.ask("credit", { id, remaining: budget })
      }
      yield* until(all(processes, "keys"), (all) => all.flat().every(({ credit }) => credit === budget))
      const load: Load = {
        requests: 2000,
        concurrency: 8,
        millis: [5, 30],
        estimate: 0.01,
        atLeast: 0.004,
        bank: true
      }
      const reports = yield* all<Report>(processes, "run", load)
      const broke = reports.reduce((n, report) => n + report.broke, 0)
      assert.strictEqual(broke, 0)
      assert.isAbove(
        reports.reduce((n, report) => n + report.refused, 0),
        0
      )
      // Requests that are not sent faster than processes hear of each other use up nearly all of it.
      const slow: Load = { ...load, requests: 1, concurrency: 1 }
      for (let n = 0; n < 12; n++) {
        const reports = yield* all<Report>(processes, "run", slow)
        assert.isTrue(reports.every(({ broke }) => broke === 0))
        yield* Effect.sleep(2 * facts.flush)
      }
      for (const id of ids) {
        const left = Number(yield* Effect.promise(() => redis.ask("GET", `test:bank:${id}`))) / 1e9
        assert.isAtMost(left, 0.15, id)
      }
    }).pipe(Effect.scoped)
  )

  it.live("exactly one reads credit, and another takes over when it dies", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      const steady = { flush: 50, heartbeat: 10_000, timeout: 10_000 }
      const processes = yield* fleet(4, { url, keys: keys("a"), facts: steady })
      yield* until(all(processes, "sharing"), (all) => all.every(({ processes }) => processes === 4))
      const leaders = yield* all<boolean>(processes, "leads")
      assert.strictEqual(leaders.filter(Boolean).length, 1)
      const rest = processes.filter((_, i) => !leaders[i])
      yield* processes[leaders.indexOf(true)]!.kill()
      const next = yield* until(all<boolean>(rest, "leads"), (leads) => leads.some(Boolean))
      assert.strictEqual(next.filter(Boolean).length, 1)
    }).pipe(Effect.scoped)
  )

  it.live("openings of circuits travel by scope, whoever opens them; the later deadline holds", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      const [one, other] = yield* fleet(2, {
        url,
        keys: keys("a b", { account: "A", workspace: "W" }),
        facts
      })
      const targets = ["key b", "workspace W", "account A", "upstream m", "host host"]
      for (const target of targets) {
        const [scope, id] = target.split(" ")
        yield* one!.ask("open", { target: { scope, id }, millis: 60_000 })
        yield* other!.ask("open", { target: { scope, id }, millis: 30_000 })
      }
      const names = (circuits: ReadonlyArray<any>) =>
        circuits.map(({ id, scope }) => `${scope} ${id}`).toSorted()
      const open = (process: typeof one, count: number) =>
        until(process!.ask("circuits"), ({ length }) => length === count)
      const [here, there] = [yield* open(one, targets.length), yield* open(other, targets.length)]
      assert.deepStrictEqual(names(here), targets.toSorted())
      assert.deepStrictEqual(names(there), targets.toSorted())
      const least = (all: ReadonlyArray<any>) => Math.min(...all.map(({ state }) => state.until))
      yield* until(other!.ask("circuits"), (all) => least(all) > Date.now() + 40_000)
      for (const target of targets) {
        const [scope, id] = target.split(" ")
        yield* other!.ask("close", { scope, id })
      }
      yield* open(one, 0)
      // Not by hand, but by what requests meet.
      for (let n = 0; n < 20; n++)
        yield* one!.ask("fault", { scope: "upstream", reason: "unavailable", upstream: "x" })
      assert.deepStrictEqual(names(yield* open(other, 1)), ["upstream x"])
    }).pipe(Effect.scoped)
  )

  it.live(
    "a key that is added is told to who has none of its id, and what is known of it holds once it has",
    () =>
      Effect.gen(function* () {
        const { url } = yield* server
        const [one, other] = yield* fleet(2, { url, keys: keys("a"), facts })
        const [b] = keys("b", { account: "B" })
        yield* one!.ask("add", b)
        yield* until(other!.ask("events"), (events) =>
          events.some((event: any) => event._tag === "KeyMissing" && event.keyId === "b")
        )
        yield* one!.ask("bench", { scope: "account", id: "B", reason: "exhausted", for: 60_000 })
        // Behind it on the way: when this one is known, the other has been heard.
        yield* one!.ask("bench", { scope: "key", id: "a", reason: "throttled", for: 60_000 })
        yield* until(other!.ask("keys"), ([a]) => a.ineligible !== undefined)
        yield* other!.ask("add", b)
        const [, added] = yield* other!.ask("keys")
        assert.deepInclude(added.ineligible, { reason: "exhausted", scope: "account" })
      }).pipe(Effect.scoped)
  )

  it.live(
    "drained, learnt and removed keys, circuits and readings travel; a newcomer hears what is in force",
    () =>
      Effect.gen(function* () {
        const { url } = yield* server
        const setup = { url, keys: keys("a b c d"), facts }
        const [one, other] = yield* fleet(2, setup)
        yield* one!.ask("drain", "a")
        yield* one!.ask("learn", { id: "b", account: "B" })
        yield* one!.ask("open", { target: { scope: "upstream", id: "m" }, millis: 60_000 })
        yield* one!.ask("bench", { scope: "upstream", id: "n", reason: "unavailable", for: 60_000 })
        yield* one!.ask("credit", { id: "c", remaining: 5 })
        const knows = (process: typeof one) =>
          Effect.gen(function* () {
            const [a, b, c] = yield* until(process!.ask("keys"), ([a, b, c]) =>
              Boolean(a.ineligible && b.account && c.credit)
            )
            assert.deepStrictEqual([a.ineligible.reason, b.account, c.credit], ["draining", "B", 5])
            const [circuit] = yield* until(process!.ask("circuits"), (all) => all.length > 0)
            assert.deepInclude(circuit, { scope: "upstream", id: "m" })
            const [bench] = yield* until(process!.ask("benches"), (all) => all.length > 0)
            assert.deepInclude(bench, { scope: "upstream", id: "n" })
          })
        yield* knows(other)
        const [late] = yield* fleet(1, setup)
        yield* knows(late)
        yield* other!.ask("close", { scope: "upstream", id: "m" })
        yield* until(all([one!, late!], "circuits"), (both) => both.every(({ length }) => length === 0))
        yield* other!.ask("resume", "a")
        yield* until(one!.ask("keys"), ([a]) => a.ineligible === undefined)
        yield* one!.ask("remove", "d")
        yield* until(other!.ask("keys"), (keys) => keys.length === 3)
      }).pipe(Effect.scoped)
  )
})
