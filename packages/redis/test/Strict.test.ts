// Strict mode over real processes: a cap is never overrun, and a permit outlives its process only for the time of its lease.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { all, fleet, keys } from "./fleet.ts"
import { proxyTo } from "./proxy.ts"
import { binary, patience, server, until } from "./server.ts"
import type { Load, Report } from "./worker.ts"

/** `EVENKEEL_STRICT_REQUESTS` sets how many. */
const requests = Number(process.env["EVENKEEL_STRICT_REQUESTS"] ?? 20_000)

const facts = { flush: 50, heartbeat: 3000 }
const total = (reports: ReadonlyArray<Report>, field: keyof Report) =>
  reports.reduce((sum, report) => sum + report[field], 0)

describe.skipIf(binary === undefined)("strict mode on a real Redis", patience, () => {
  it.live(
    `a cap of 5 is never exceeded in ${requests.toLocaleString("en")} requests over 4 processes`,
    () =>
      Effect.gen(function* () {
        const redis = yield* server
        const processes = yield* fleet(4, {
          url: redis.url,
          keys: keys("a b c d", { maxInFlight: 5 }),
          facts,
          // A busy machine is slow to answer, and no answer would be no guard.
          strict: { onUnavailable: "refuse", timeout: "10 seconds", lease: "1 minute", pause: 5 }
        })
        const load: Load = { requests: requests / 4, concurrency: 10, millis: [0, 0], counted: true }
        const reports = yield* all<Report>(processes, "run", load)
        assert.strictEqual(Math.max(...reports.map(({ most }) => most)), 5)
        assert.strictEqual(total(reports, "succeeded"), requests)
        // All permits have come back.
        yield* until(
          Effect.promise(() => redis.ask("EXISTS", ...["a", "b", "c", "d"].map(permits))),
          (left) => left === 0
        )
      }).pipe(Effect.scoped),
    Math.max(patience.timeout, 10 * requests)
  )

  it.live("kill -9 in mid-request frees its permits within the lease, and no sooner", () =>
    Effect.gen(function* () {
      const redis = yield* server
      const setup = {
        url: redis.url,
        keys: keys("a", { maxInFlight: 2 }),
        facts: { flush: 50, heartbeat: 500 },
        strict: { lease: 1000 }
      }
      const [one, other] = yield* fleet(2, setup)
      yield* one!.ask("hold", 2)
      const running = yield* Effect.forkChild(
        other!.ask<Report>("run", {
          requests: 2,
          concurrency: 2,
          millis: [0, 0],
          counted: true
        } satisfies Load)
      )
      // Renewed for as long as the process lives.
      yield* Effect.sleep(1500)
      assert.strictEqual(yield* Effect.promise(() => redis.ask("ZCARD", permits("a"))), 2)
      const killed = Date.now()
      yield* one!.kill()
      assert.strictEqual((yield* Fiber.join(running)).succeeded, 2)
      assert.isAbove(Date.now() - killed, 500)
      assert.isBelow(Date.now() - killed, 2500)
    }).pipe(Effect.scoped)
  )

  it.live("an account's cap counts all of its keys", () =>
    Effect.gen(function* () {
      const redis = yield* server
      const processes = yield* fleet(2, {
        url: redis.url,
        keys: keys("a b", { account: "A" }),
        facts,
        strict: { account: 3 }
      })
      const load: Load = { requests: 60, concurrency: 6, millis: [5, 10] }
      const running = yield* Effect.forkChild(all<Report>(processes, "run", load))
      const account = permits("A").replace(":key:", ":account:")
      let most = 0
      while (running.pollUnsafe() === undefined)
        most = Math.max(most, Number(yield* Effect.promise(() => redis.ask("ZCARD", account))))
      assert.strictEqual(total(yield* Fiber.join(running), "succeeded"), 120)
      assert.strictEqual(most, 3)
    }).pipe(Effect.scoped)
  )

  it.live("requests per minute are one limit for all processes", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      const processes = yield* fleet(2, {
        url,
        keys: keys("a"),
        facts,
        strict: { requestsPerMinute: { key: 10 } }
      })
      const load: Load = { requests: 20, concurrency: 1, millis: [0, 0] }
      const reports = yield* all<Report>(processes, "run", load)
      assert.include([10, 11], total(reports, "succeeded"))
    }).pipe(Effect.scoped)
  )

  it.live(
    "tokens per minute are one limit for all processes, and a request that asks for none takes none",
    () =>
      Effect.gen(function* () {
        const { url } = yield* server
        const processes = yield* fleet(2, {
          url,
          keys: keys("a"),
          facts,
          strict: { tokensPerMinute: { key: 10_000 } }
        })
        const load: Load = { requests: 20, concurrency: 1, millis: [0, 0], tokens: 1_000 }
        const free = yield* all<Report>(processes, "run", { ...load, tokens: 0 })
        assert.strictEqual(total(free, "succeeded"), 40)
        const reports = yield* all<Report>(processes, "run", load)
        // The bucket fills up again meanwhile: a request more in six seconds.
        assert.include([10, 11], total(reports, "succeeded"))
      }).pipe(Effect.scoped)
  )

  const stopped = { keys: keys("a", { maxInFlight: 2 }), facts: { flush: 50, heartbeat: 500 } }

  it.live(
    "a process that is stopped for longer than its lease loses its permits to who came after: its uses are cut off",
    () =>
      Effect.gen(function* () {
        const redis = yield* server
        const setup = { ...stopped, url: redis.url, strict: { lease: 1000, timeout: 10_000 } }
        const [one, other] = yield* fleet(2, setup)
        const taken = Effect.promise(() => redis.ask("ZCARD", permits("a")))
        yield* one!.ask("hold", 2)
        one!.freeze()
        // Whoever comes now waits for the lease, and then is let in.
        yield* other!.ask("hold", 2)
        assert.deepStrictEqual([yield* taken, yield* other!.ask("lapsed")], [2, 0])
        one!.thaw()
        assert.deepStrictEqual(yield* until(one!.ask("cut"), ({ length }) => length === 2), [
          "PermitLost",
          "PermitLost"
        ])
        assert.deepStrictEqual(yield* one!.ask("under"), { a: 0 })
        assert.deepStrictEqual([yield* one!.ask("lapsed"), yield* one!.ask("lost")], [2, 2])
        // What comes late frees nobody else's permit, and takes none again: the cap holds.
        yield* one!.ask("unhold")
        const load: Load = { requests: 1, concurrency: 1, millis: [0, 0] }
        const running = yield* Effect.forkChild(one!.ask<Report>("run", load))
        yield* Effect.sleep(1000)
        assert.strictEqual(yield* taken, 2)
        assert.isUndefined(running.pollUnsafe())
        yield* other!.ask("unhold")
        assert.strictEqual((yield* Fiber.join(running)).succeeded, 1)
        yield* until(taken, (count) => count === 0)
      }).pipe(Effect.scoped)
  )

  it.live("a permit that lapsed and that nobody took is taken again, and its use goes on", () =>
    Effect.gen(function* () {
      const redis = yield* server
      const setup = { ...stopped, url: redis.url, strict: { lease: 1000, timeout: 10_000 } }
      const [one] = yield* fleet(1, setup)
      const taken = Effect.promise(() => redis.ask("ZCARD", permits("a")))
      yield* one!.ask("hold", 2)
      one!.freeze()
      yield* until(
        Effect.promise(() => redis.ask("EXISTS", permits("a"))),
        (there) => there === 0
      )
      one!.thaw()
      yield* until(taken, (count) => count === 2)
      assert.strictEqual(yield* until(one!.ask("lapsed"), (lapsed) => lapsed > 0), 2)
      assert.deepStrictEqual([yield* one!.ask("cut"), yield* one!.ask("under")], [[], { a: 2 }])
    }).pipe(Effect.scoped)
  )

  for (const onUnavailable of ["refuse", "local"] as const)
    it.live(`apart from Redis for longer than the lease, with "${onUnavailable}"`, () =>
      Effect.gen(function* () {
        const redis = yield* server
        const proxy = yield* proxyTo(redis.port)
        const strict = { lease: 2000, onUnavailable }
        const [one] = yield* fleet(1, { ...stopped, url: proxy.url, strict })
        const [other] = yield* fleet(1, {
          ...stopped,
          url: redis.url,
          strict: { ...strict, timeout: 10_000 }
        })
        yield* one!.ask("hold", 2)
        proxy.to(undefined)
        // It is let in when the lease of the other is over.
        yield* other!.ask("hold", 2)
        if (onUnavailable === "refuse") {
          // By then the other has ended its uses: the cap holds without a word between them.
          assert.deepStrictEqual(yield* one!.ask("under"), { a: 0 })
          assert.deepStrictEqual(yield* one!.ask("cut"), ["PermitLost", "PermitLost"])
        }
        proxy.to(redis.port)
        const taken = Effect.promise(() => redis.ask("ZCARD", permits("a")))
        if (onUnavailable === "local") {
          // It went on as it was meant to, and all four count until they are fewer than the cap.
          yield* until(taken, (count) => count === 4)
          assert.deepStrictEqual(yield* one!.ask("cut"), [])
        }
        yield* all([one!, other!], "unhold")
        yield* until(taken, (count) => count === 0)
      }).pipe(Effect.scoped)
    )

  it.live("without Redis it goes on by the process's own caps, or lets nothing through, as it is told", () =>
    Effect.gen(function* () {
      const redis = yield* server
      const setup = { url: redis.url, keys: keys("a", { maxInFlight: 5 }), facts }
      const [local] = yield* fleet(1, { ...setup, strict: { onUnavailable: "local" } })
      const [closed] = yield* fleet(1, { ...setup, strict: { onUnavailable: "refuse" } })
      const load: Load = { requests: 20, concurrency: 10, millis: [0, 5] }
      const both = [local!, closed!]
      assert.strictEqual(total(yield* all<Report>(both, "run", load), "succeeded"), 40)
      yield* Effect.promise(() => redis.kill())
      assert.deepInclude(yield* local!.ask("run", load), { succeeded: 20 })
      assert.strictEqual(yield* local!.ask("unguarded"), 20)
      assert.deepInclude(yield* closed!.ask("run", load), { succeeded: 0, refused: 20 })
      yield* Effect.promise(() => redis.start())
      // It asks again every half second.
      yield* until(closed!.ask<Report>("run", load), ({ succeeded }) => succeeded === 20)
    }).pipe(Effect.scoped)
  )
})

const permits = (id: string) => `evenkeel:{default}:permits:key:${id}`
