import { Errors } from "@evenkeel/core"
import { OpenRouterError } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { begin, prompt, reasonOf, said, streaming, withServer } from "./streams.ts"
import { hello, impatient, keys, leaksOf, secretOf, textOf } from "./utils.ts"

const { actions, errors } = Simulator

/** The trail of a failure, an attempt a line. */
const told = (error: unknown): ReadonlyArray<string> => {
  if (
    !(error instanceof OpenRouterError.OpenRouterError) &&
    !(error instanceof Errors.NoEligibleKey) &&
    !(error instanceof Errors.DeadlineExceeded)
  )
    return assert.fail(String(error))
  for (const { durationMillis, delayMillis, startedAt } of error.attempts) {
    assert.isAtLeast(durationMillis, 0)
    assert.isAtLeast(delayMillis, 0)
    assert.isAbove(startedAt, 0)
  }
  for (const name of ["a", "b"]) assert.isEmpty(leaksOf(textOf(error), secretOf(name)))
  return error.attempts.map(({ account, attempt, keyId, outcome, upstream }) => {
    const scope = outcome._tag === "Faulted" ? outcome.scope : "request"
    return `${attempt} ${keyId} ${account} ${upstream} ${outcome.class} ${scope} ${outcome.status}`
  })
}

const mini = "openai/gpt-4o-mini"
const traits = { a: { account: "one" }, b: { account: "two" } }

describe("the trail of an OpenRouterError", () => {
  it.live("has every attempt, the last one included", () =>
    streaming({ traits, retry: impatient({ times: 1 }) }, function* ({ openrouter, simulator }) {
      yield* simulator.revoke("a")
      yield* simulator.fault({ match: { key: "b" }, action: errors.upstream429() })
      const error = yield* Effect.flip(openrouter.chat(hello))
      assert.strictEqual(reasonOf(error)._tag, "Answered")
      assert.deepStrictEqual(told(error), [
        `0 a one ${mini} key-rejected key 401`,
        `1 b two ${mini} upstream-throttled upstream 429`,
        `2 b two ${mini} upstream-throttled upstream 429`
      ])
    })
  )

  it.live("has the caller's own fault", () =>
    streaming({ traits }, function* ({ openrouter, simulator }) {
      yield* simulator.fault({
        action: errors.contextLength400({ contextLength: 10, promptTokens: 20, maxTokens: 5 })
      })
      assert.deepStrictEqual(told(yield* Effect.flip(openrouter.chat(hello))), [
        `0 a one ${mini} too-long request 400`
      ])
    })
  )

  it.live("has connections that failed, and tells of which key", () =>
    streaming({ traits }, function* ({ openrouter, simulator }) {
      yield* simulator.fault({ action: actions.reset })
      const error = yield* Effect.flip(openrouter.chat(hello))
      assert.deepStrictEqual(told(error), [`0 a one ${mini} transport host undefined`])
      assert.deepInclude(reasonOf(error), { _tag: "Transport", keyId: "a" })
    })
  )

  it.live("has an answer that is none", () =>
    streaming({ traits, retry: impatient() }, function* ({ openrouter, simulator }) {
      yield* simulator.revoke("a")
      yield* simulator.fault({ match: { key: "b" }, action: actions.status(200, { choices: 1 }) })
      const error = yield* Effect.flip(openrouter.chat(hello))
      assert.strictEqual(reasonOf(error)._tag, "Undecodable")
      assert.deepStrictEqual(told(error), [
        `0 a one ${mini} key-rejected key 401`,
        `1 b two ${mini} undecodable request 200`
      ])
    })
  )

  it.live("is empty for what was not sent", () =>
    streaming({}, function* ({ openrouter }) {
      for (const messages of [[], [{ role: "user", content: 1n }]]) {
        const error = yield* Effect.flip(openrouter.chat({ model: mini, messages } as never))
        assert.strictEqual(reasonOf(error)._tag, "InvalidRequest")
        assert.deepStrictEqual(told(error), [])
      }
      assert.deepStrictEqual(told(yield* Effect.flip(openrouter.chat({ messages: [] }))), [])
    })
  )

  for (const [kind, action, scope, status] of [
    ["unavailable", actions.midStreamError({ code: 503 }), "upstream", "503"],
    ["truncated", actions.truncate(), "upstream", "undefined"],
    ["transport", actions.cut(), "host", "undefined"]
  ] as const) {
    it.live(`has what came before a stream that broke (${kind})`, () =>
      streaming({ traits, retry: impatient() }, function* ({ chatStream, simulator }) {
        yield* simulator.revoke("a")
        yield* simulator.fault({ match: { key: "b" }, action })
        const error = yield* Effect.flip(Stream.runDrain(chatStream(prompt)))
        assert.deepInclude(reasonOf(error), { _tag: "Broken", class: kind })
        assert.deepStrictEqual(told(error), [
          `0 a one ${mini} key-rejected key 401`,
          `1 b two ${mini} ${kind} ${scope} ${status}`
        ])
      })
    )
  }

  it.live("has a piece of a stream that is none", () =>
    withServer(
      (response) => begin(response, `${said("Hel")}data: {"choices": 1}\n\n`).end(),
      function* ({ chatStream }) {
        const error = yield* Effect.flip(Stream.runDrain(chatStream(prompt)))
        assert.deepInclude(reasonOf(error), { _tag: "Broken", class: "undecodable" })
        assert.deepStrictEqual(told(error), [`0 a undefined ${mini} undecodable request undefined`])
      }
    )
  )
})

describe("the trail of a refusal", () => {
  it.live("is that of the balancer, with the last failure as callers know it", () =>
    streaming({ traits, retry: impatient() }, function* ({ openrouter, simulator }) {
      for (const name of ["a", "b"]) yield* simulator.revoke(name)
      const error = yield* Effect.flip(openrouter.chat(hello))
      assert.deepStrictEqual(told(error), [
        `0 a one ${mini} key-rejected key 401`,
        `1 b two ${mini} key-rejected key 401`
      ])
      assert.instanceOf((error as Errors.NoEligibleKey).lastError, OpenRouterError.Answered)
    })
  )

  it.live("is in a deadline that has passed, with the key that was in use", () =>
    streaming(
      { traits, retry: impatient(), simulator: { keys: keys("a b") } },
      function* ({ openrouter, simulator }) {
        yield* simulator.revoke("a")
        yield* simulator.fault({ match: { key: "b" }, action: actions.stall() })
        const error = yield* Effect.flip(openrouter.chat(hello, { timeout: "200 millis" }))
        assert.deepStrictEqual(told(error), [`0 a one ${mini} key-rejected key 401`])
        assert.deepInclude(error, { _tag: "DeadlineExceeded", timeoutMillis: 200, inFlight: "b" })
        assert.instanceOf((error as Errors.DeadlineExceeded).lastError, OpenRouterError.Answered)
        // What was cut off is closed.
        yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
      }
    )
  )
})
