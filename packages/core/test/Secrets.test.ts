/**
 * No text that leaves the core shows a secret, or as much as 6 characters in a row of one.
 */
import { Errors, Key, Outcome, RetryPolicy, Selector, SharedFacts } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Logger, Redacted, References, Stream } from "effect"
import { TestClock } from "effect/testing"
import { fault, key, leaksOf, ok, policy, secretOf, start, textOf, using } from "./utils.ts"

const names = ["a", "b", "c", "late"]

const assertClean = (what: string, text: string) => {
  for (const name of names)
    assert.deepStrictEqual(leaksOf(text, secretOf(name)), [], `${what} shows a part of a secret`)
}

describe("Secrets", () => {
  it("the check finds a secret wherever it hides", () => {
    const secret = secretOf("a")
    const places: ReadonlyArray<unknown> = [
      secret,
      { deep: { deeper: [secret.slice(30, 36)] } },
      new Error(secret),
      new Error("outer", { cause: new Error(secret) }),
      new Map([[secret, 1]]),
      Object.defineProperty({}, "hidden", { value: secret, enumerable: false })
    ]
    for (const place of places) assert.isAbove(leaksOf(textOf(place), secret).length, 0)
    assert.deepStrictEqual(leaksOf(textOf(Redacted.make(secret, { label: "a" })), secret), [])
  })

  it.effect("no log line, error, snapshot, event, fact, lease or defect does", () => {
    const shown: Array<readonly [string, string]> = []
    const show = (what: string, value: unknown) => void shown.push([what, textOf(value)])
    const logger = Logger.make((line) => show("a log line", [line.message, Cause.pretty(line.cause)]))
    const shared: SharedFacts.SharedFacts = {
      ...SharedFacts.local,
      name: "spy",
      publish: (fact) => show("a fact", fact)
    }
    let picks = 0
    const selector = Selector.make("spy", (candidates, context) => {
      show("a candidate", candidates)
      show("a context", context)
      if (++picks === 20) return { ...candidates[0], id: "stranger" }
      if (picks === 21) throw new Error("selector bug")
      return candidates[0]
    })
    const retry = policy((failure) => {
      show("a failure", failure)
      return RetryPolicy.rotate
    })
    const all = ["a", "b", "c"].map((name) => key(name, { account: "A", labels: { team: name } }))
    return using({ keys: all, selector, retry, shared }, function* ({ balancer, pool }) {
      const look = Effect.gen(function* () {
        show("a snapshot", yield* pool.snapshot)
        show("the keys", yield* pool.keys)
        show("the pool", pool)
        show("the balancer", balancer)
      })
      yield* start(Stream.runForEach(pool.changes, (event) => Effect.sync(() => show("an event", event))))
      const end = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.flatMap(Effect.exit(effect), (exit) => {
          show("an exit", exit)
          if (Exit.isSuccess(exit)) return Effect.void
          show("a squashed error", Cause.squash(exit.cause))
          show("a pretty error", Cause.pretty(exit.cause))
          return Effect.logError("It failed", exit.cause)
        })
      yield* Effect.scoped(Effect.map(balancer.lease(), (lease) => show("a lease", lease)))
      yield* end(
        balancer.use((lease) =>
          Effect.andThen(Effect.logInfo("In use", lease, lease.key), Effect.succeed(lease))
        )
      )
      yield* end(balancer.use(() => Effect.fail("no")))
      yield* end(balancer.use((lease) => Effect.die(new Error(`bug on ${lease.key.id} ${lease.key.secret}`))))
      yield* end(
        balancer.use(() => ok, {
          outcome: () => {
            throw new Error("outcome bug")
          }
        })
      )
      yield* end(balancer.use(() => fault("key", "rejected", { cause: new Error("401") })))
      yield* look
      yield* end(balancer.use(() => ok))
      yield* TestClock.adjust("1 hour")
      for (let n = 0; n < 30; n++) yield* end(balancer.use(() => ok))
      yield* end(balancer.use(() => fault("account", "exhausted")))
      yield* end(balancer.use(() => ok))
      yield* end(pool.add(key("late")))
      yield* end(pool.add(key("late")))
      yield* end(pool.add({ secret: secretOf("late"), weight: -1 }))
      yield* end(pool.add({ secret: `${secretOf("late")} ${secretOf("late")}` }))
      yield* end(pool.add({ secret: secretOf("late"), id: secretOf("late").slice(0, 50) }))
      yield* end(pool.change("late", { tier: -1 }))
      yield* end(pool.change("nobody", {}))
      yield* pool.drain("a")
      yield* pool.remove("b")
      yield* pool.credit("c", { remaining: 1, requestedAt: 0 })
      yield* look
      yield* end(Key.makeAll([secretOf("a"), secretOf("b"), secretOf("a")]))
      show("a fault", new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "rejected" }) }))
      yield* Effect.yieldNow

      assert.isAbove(picks, 21)
      const kinds = new Set(shown.map(([what]) => what))
      for (const what of [
        "a log line",
        "a fact",
        "an event",
        "a lease",
        "a failure",
        "a squashed error",
        "a snapshot"
      ]) {
        assert.isTrue(kinds.has(what), `${what} was seen`)
      }
      for (const [what, text] of shown) assertClean(what, text)
      // The keys were there to be seen, under their ids.
      assert.isTrue(shown.some(([what, text]) => what === "a lease" && text.includes("<redacted:a>")))
    }).pipe(Effect.provide(Logger.layer([logger])), Effect.provideService(References.MinimumLogLevel, "All"))
  })
})
