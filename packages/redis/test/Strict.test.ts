// Strict mode over real processes: a cap is never overrun, and a permit outlives its process only for the time of its lease.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { all, fleet, keys } from "./fleet.ts"
import { binary, server, until } from "./server.ts"
import type { Load, Report } from "./worker.ts"

const facts = { flush: 50, heartbeat: 3000 }
const total = (reports: ReadonlyArray<Report>, field: keyof Report) =>
  reports.reduce((sum, report) => sum + report[field], 0)

describe.skipIf(binary === undefined)("strict mode on a real Redis", () => {
  it.live(
    "a cap of 5 is never exceeded in 100,000 requests over 4 processes",
    () =>
      Effect.gen(function* () {
        const redis = yield* server
        const processes = yield* fleet(4, {
          url: redis.url,
          keys: keys("a b c d", { maxInFlight: 5 }),
          facts,
          // A busy machine is slow to answer, and no answer would be no guard.
          strict: { onUnavailable: "refuse", timeout: "5 seconds", pause: 5 }
        })
        const load: Load = { requests: 25_000, concurrency: 10, millis: [0, 0], counted: true }
        const reports = yield* all<Report>(processes, "run", load)
        assert.strictEqual(total(reports, "succeeded"), 100_000)
        assert.strictEqual(Math.max(...reports.map(({ most }) => most)), 5)
        // All permits have come back.
        yield* until(
          Effect.promise(() => redis.ask("EXISTS", ...["a", "b", "c", "d"].map(permits))),
          (left) => left === 0
        )
      }).pipe(Effect.scoped),
    90_000
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

  it.live(
    "a permit lapses while its process is stopped; then its use is counted again, beside who came after",
    () =>
      Effect.gen(function* () {
        const redis = yield* server
        const setup = {
          url: redis.url,
          keys: keys("a", { maxInFlight: 2 }),
          facts: { flush: 50, heartbeat: 500 },
          strict: { lease: 1000 }
        }
        const [one, other] = yield* fleet(2, setup)
        const taken = Effect.promise(() => redis.ask("ZCARD", permits("a")))
        yield* one!.ask("hold", 2)
        one!.freeze()
        // Whoever comes now waits for the lease, and then is let in.
        yield* other!.ask("hold", 2)
        assert.strictEqual(yield* taken, 2)
        assert.strictEqual(yield* other!.ask("lapsed"), 0)
        one!.thaw()
        assert.strictEqual(yield* until(one!.ask("lapsed"), (lapsed) => lapsed > 0), 2)
        // All four run, and all four count: nobody is let in before they are fewer than the cap.
        assert.strictEqual(yield* taken, 4)
        yield* one!.ask("unhold")
        yield* until(taken, (count) => count === 2)
        const load: Load = { requests: 1, concurrency: 1, millis: [0, 0] }
        const running = yield* Effect.forkChild(other!.ask<Report>("run", load))
        yield* other!.ask("unhold")
        assert.strictEqual((yield* Fiber.join(running)).succeeded, 1)
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
