import { assert, describe, it } from "@effect/vitest"
import { Errors, Outcome } from "@evenkeel/core"
import { Effect, Logger, Redacted, References } from "effect"
import { TestClock } from "effect/testing"
import { Logs } from "@evenkeel/telemetry"
import { balancing, eventually, hello, using } from "./utils.ts"

interface Line {
  readonly level: string
  readonly message: unknown
  readonly annotations: Readonly<Record<string, unknown>>
}

const recording = () => {
  const lines: Array<Line> = []
  const logger = Logger.make<unknown, void>((options) => {
    const line = Logger.formatStructured.log(options)
    lines.push({ level: line.level, message: line.message, annotations: line.annotations })
  })
  return { lines, loggers: [logger] }
}

/** Until the fiber that writes has had its turn. */
const written = Effect.repeat(Effect.yieldNow, { times: 20 })

const rejected = new Errors.Fault({
  outcome: Outcome.faulted({ scope: "key", reason: "rejected", class: "key-rejected", status: 401 })
})

describe("logs", () => {
  it.effect("have a fixed message, a level and the rest as annotations", () => {
    const { lines, loggers } = recording()
    const keys = [{ id: "a", secret: "sk-0000001", account: "acme" }]
    return balancing({ keys, loggers }, function* ({ balancer, pool }) {
      yield* TestClock.adjust(1000)
      yield* Effect.exit(balancer.use(() => rejected, { upstream: "m" }))
      yield* Effect.exit(balancer.use(() => Effect.void, { upstream: "m" }))
      yield* pool.readmit("key", "a")
      yield* pool.remove("a")
      yield* written
      assert.deepStrictEqual(lines as unknown, [
        {
          level: "ERROR",
          message: "A bench was set",
          annotations: {
            "evenkeel.event": "Benched",
            "evenkeel.scope": "key",
            "evenkeel.id": "a",
            "evenkeel.reason": "rejected",
            "evenkeel.since": "1970-01-01T00:00:01.000Z",
            "evenkeel.until": "1970-01-01T00:01:01.000Z"
          }
        },
        {
          level: "WARN",
          message: "No key can serve a request",
          annotations: {
            "evenkeel.event": "Refused",
            "evenkeel.at": "1970-01-01T00:00:01.000Z",
            "gen_ai.request.model": "m",
            "evenkeel.attempts": 0,
            "evenkeel.retry_at": "1970-01-01T00:01:01.000Z",
            "evenkeel.keys": [
              { key: "a", reason: "rejected", scope: "key", until: "1970-01-01T00:01:01.000Z" }
            ]
          }
        },
        {
          level: "INFO",
          message: "A bench was lifted",
          annotations: { "evenkeel.event": "Readmitted", "evenkeel.scope": "key", "evenkeel.id": "a" }
        },
        {
          level: "INFO",
          message: "A key was removed",
          annotations: { "evenkeel.event": "KeyRemoved", "evenkeel.key.id": "a" }
        }
      ])
    })
  })

  it.effect("of every event can be had, and of any be left out", () => {
    const { lines, loggers } = recording()
    const level = (event: Logs.Event) => (event._tag === "Picked" ? "None" : Logs.levelOf(event))
    return balancing(
      { keys: ["sk-0000001"], loggers, telemetry: { logs: { level } } },
      function* ({ balancer }) {
        yield* balancer.use(() => Effect.void)
        yield* Effect.exit(balancer.use(() => rejected))
        yield* written
        assert.deepStrictEqual(
          lines.map(({ annotations, level }) => [annotations["evenkeel.event"], level]),
          [
            ["Settled", "TRACE"],
            ["Finished", "DEBUG"],
            ["Settled", "TRACE"],
            ["Benched", "ERROR"],
            ["Finished", "DEBUG"]
          ]
        )
        assert.deepInclude(lines.at(-1)!.annotations, {
          "evenkeel.result": "failed",
          "evenkeel.class": "key-rejected",
          "http.response.status_code": 401
        })
      }
    ).pipe(Effect.provideService(References.MinimumLogLevel, "All"))
  })

  it.effect("stay readable when a thousand requests meet the same trouble", () => {
    const { lines, loggers } = recording()
    return balancing({ keys: ["sk-0000001"], loggers }, function* ({ balancer }) {
      const storm = Effect.forEach(
        Array.from({ length: 1000 }),
        () => Effect.exit(balancer.use(() => Effect.andThen(Effect.sleep(10), rejected))),
        { concurrency: "unbounded", discard: true }
      )
      yield* Effect.all([storm, TestClock.adjust(10)], { concurrency: 2 })
      for (let n = 0; n < 1000; n++) yield* Effect.exit(balancer.use(() => Effect.void))
      yield* TestClock.adjust(1000)
      yield* Effect.exit(balancer.use(() => Effect.void))
      yield* written
      assert.deepStrictEqual(
        lines.map(({ annotations }) => [annotations["evenkeel.event"], annotations["evenkeel.skipped"]]),
        [
          ["Benched", undefined],
          ["Refused", undefined],
          ["Refused", 999]
        ]
      )
    })
  })

  it.effect("that wait when the scope closes are still written", () => {
    const { lines, loggers } = recording()
    return Effect.andThen(
      Effect.scoped(
        balancing({ keys: ["sk-0000001"], loggers }, function* ({ pool }) {
          yield* pool.add({ id: "b", secret: "sk-0000002" })
        })
      ),
      Effect.sync(() =>
        assert.deepStrictEqual(
          lines.map(({ message }) => message),
          ["A key was added"]
        )
      )
    )
  })

  it.live("never hold a secret or what was said", () => {
    const { lines, loggers } = recording()
    return using({ simulator: { keys: [{ name: "a" }, { name: "b" }] }, loggers }, function* (world) {
      yield* world.simulator.revoke("a")
      yield* world.openrouter.chat(hello)
      yield* world.simulator.revoke("b")
      yield* Effect.exit(world.openrouter.chat(hello))
      yield* eventually(
        Effect.sync(() => lines.length),
        (length) => length > 8
      )
      const all = JSON.stringify(lines)
      for (const { secret } of world.simulator.keys) assert.notInclude(all, Redacted.value(secret).slice(-8))
      assert.notInclude(all, hello.messages[0].content)
    }).pipe(Effect.provideService(References.MinimumLogLevel, "All"))
  })
})
