import { Errors, Outcome, RetryPolicy } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Exit, Fiber, Option, Tracer } from "effect"
import { TestClock } from "effect/testing"
import {
  failureOf,
  fault,
  holding,
  key,
  keys,
  ok,
  policy,
  refusalOf,
  rotating,
  start,
  using
} from "./utils.ts"

const spanOf = (sampled = true) =>
  new Tracer.NativeSpan({
    name: "request",
    parent: Option.none(),
    annotations: Context.empty(),
    links: [],
    startTime: 0n,
    kind: "internal",
    sampled
  })

describe("Trail", () => {
  it.effect("tells of each attempt where, what, when, for how long, and after which wait", () => {
    const decide = ({ attempt }: RetryPolicy.Failure) =>
      attempt === 0
        ? RetryPolicy.rotate
        : attempt === 1
          ? RetryPolicy.retry(Duration.millis(500))
          : RetryPolicy.stop
    return using(
      { keys: [key("a", { account: "A" }), key("b", { maxInFlight: 1 })], retry: policy(decide) },
      function* ({ balancer, pool }) {
        yield* TestClock.adjust(1000)
        const { held, use } = holding()
        // The second attempt waits 200 ms for the permit of b.
        const both = yield* start(
          balancer.use(use, { filter: ({ id }) => (id === "b" ? undefined : elsewhere) })
        )
        const fiber = yield* start(
          Effect.exit(
            balancer.use(() => Effect.andThen(Effect.sleep(100), fault("key", "unavailable")), {
              upstream: "m",
              failure: (_, attempts) => new Errors.Fault({ outcome: down, cause: attempts })
            })
          )
        )
        yield* TestClock.adjust(300)
        held[0]!.end(Exit.void)
        yield* Fiber.join(both)
        yield* TestClock.adjust(700)
        const exit = yield* Fiber.join(fiber)
        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        const shared = { upstream: "m", outcome: down, durationMillis: 100 }
        const a = { ...shared, keyId: "a", account: "A" }
        const b = { ...shared, keyId: "b", account: undefined }
        assert.deepStrictEqual((error as Errors.Fault).cause, [
          { ...a, attempt: 0, startedAt: 1000, delayMillis: 0 },
          { ...b, attempt: 1, startedAt: 1300, delayMillis: 200 },
          { ...a, attempt: 2, startedAt: 1900, delayMillis: 500 }
        ])
        assert.strictEqual((yield* pool.snapshot).waiting, 0)
      }
    )
  })
  it.effect("ends with the failure of the request itself, which blames nobody", () =>
    using({ keys: keys("a b"), retry: rotating }, function* ({ balancer }) {
      const ends: Array<Effect.Effect<string, Errors.Fault | string>> = [
        fault("key", "unavailable"),
        Effect.fail("malformed")
      ]
      let n = 0
      const error = yield* failureOf(
        balancer.use(() => ends[n++]!, {
          failure: (error, attempts) =>
            `${String(error)} after ${attempts.map((one) => `${one.keyId} ${one.outcome._tag}`).join(", ")}`
        })
      )
      assert.strictEqual(error, "malformed after a Faulted, b Ignored")
    })
  )
  it.effect("reaches the caller in the refusal too, with what a classifier called each failure", () =>
    using({ keys: keys("a b"), retry: rotating }, function* ({ balancer }) {
      const overloaded = Outcome.faulted({
        scope: "key",
        reason: "unavailable",
        status: 529,
        class: "overloaded"
      })
      const error = yield* refusalOf(balancer.use(() => new Errors.Fault({ outcome: overloaded })))
      assert.deepStrictEqual(
        error.attempts.map(({ keyId, outcome }) => [keyId, outcome.status, outcome.class]),
        [
          ["a", 529, "overloaded"],
          ["b", 529, "overloaded"]
        ]
      )
      assert.instanceOf(error.lastError, Errors.Fault)
    })
  )
  it.effect("of a value that the callback calls a fault there is one as well, and no error", () =>
    using({ keys: keys("a"), retry: rotating }, function* ({ balancer }) {
      const error = yield* refusalOf(balancer.use(() => ok, { outcome: () => down }))
      assert.deepStrictEqual([error.attempts.length, error.lastError], [1, undefined])
    })
  )
  it.effect("`failure` is not asked about a success, a refusal, a deadline or a defect", () => {
    const asked: Array<unknown> = []
    const failure = (error: string) => {
      asked.push(error)
      return error
    }
    return using({ keys: keys("a") }, function* ({ balancer, pool }) {
      yield* balancer.use((): Effect.Effect<string, string> => ok, { failure })
      yield* Effect.exit(balancer.use((): Effect.Effect<string, string> => Effect.die("bug"), { failure }))
      yield* Effect.exit(
        balancer.use((): Effect.Effect<string, string> => Effect.never, { failure, timeout: 0 })
      )
      yield* pool.drain("a")
      yield* refusalOf(balancer.use((): Effect.Effect<string, string> => ok, { failure }))
      yield* pool.resume("a")
      assert.deepStrictEqual(asked, [])
      yield* failureOf(balancer.use(() => Effect.fail("no"), { failure }))
      assert.deepStrictEqual(asked, ["no"])
    })
  })
  it.effect("is written into the span around the request, and into none that is not sampled", () =>
    using({ keys: keys("a b"), retry: rotating }, function* ({ balancer, pool }) {
      const span = spanOf()
      yield* TestClock.adjust(1000)
      const request = balancer.use((lease): Effect.Effect<string, Errors.Fault> =>
        lease.key.id === "a" ? fault("key", "throttled") : ok
      )
      yield* Effect.withParentSpan(request, span)
      yield* pool.drain("b")
      const error = yield* refusalOf(Effect.withParentSpan(request, span))
      const at = 1_000_000_000n
      assert.deepStrictEqual(span.events, [
        [
          "evenkeel.attempt",
          at,
          {
            "evenkeel.key.id": "a",
            "evenkeel.attempt": 0,
            "evenkeel.outcome": "Faulted",
            "evenkeel.scope": "key",
            "evenkeel.reason": "throttled"
          }
        ],
        [
          "evenkeel.attempt",
          at,
          { "evenkeel.key.id": "b", "evenkeel.attempt": 1, "evenkeel.outcome": "Success" }
        ],
        ["evenkeel.refused", at, { "evenkeel.keys": JSON.stringify(error.keys), "evenkeel.retry_at": 6000 }]
      ])
      const silent = spanOf(false)
      yield* refusalOf(Effect.withParentSpan(request, silent))
      assert.deepStrictEqual(silent.events, [])
    })
  )
})

const down = Outcome.faulted({ scope: "key", reason: "unavailable" })
const elsewhere = { reason: "elsewhere", scope: "request", since: undefined, until: undefined } as const
