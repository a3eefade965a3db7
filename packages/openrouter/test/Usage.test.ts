// What whoever listens to the balancer hears of an answer: its tokens, and when a stream began to speak.
import { assert, describe, it } from "@effect/vitest"
import type { Lease } from "@evenkeel/core"
import { Effect } from "effect"
import { usageOf } from "../src/internal/usage.ts"
import { chat, keys, sse, stateOf, using } from "./utils.ts"

const none = {
  inputTokens: undefined,
  outputTokens: undefined,
  cachedTokens: undefined,
  reasoningTokens: undefined
}

describe("usage", () => {
  it("is read in all three skins, and is undefined where it is not told", () => {
    assert.deepStrictEqual(
      usageOf({
        prompt_tokens: 10,
        completion_tokens: 20,
        prompt_tokens_details: { cached_tokens: 4 },
        completion_tokens_details: { reasoning_tokens: 5 }
      }),
      { inputTokens: 10, outputTokens: 20, cachedTokens: 4, reasoningTokens: 5 }
    )
    assert.deepStrictEqual(
      usageOf({
        input_tokens: 10,
        output_tokens: 20,
        input_tokens_details: { cached_tokens: 4 },
        output_tokens_details: { reasoning_tokens: 5 }
      }),
      { inputTokens: 10, outputTokens: 20, cachedTokens: 4, reasoningTokens: 5 }
    )
    assert.deepStrictEqual(usageOf({ input_tokens: 1, output_tokens: 2, cache_read_input_tokens: 3 }), {
      ...none,
      inputTokens: 1,
      outputTokens: 2,
      cachedTokens: 3
    })
    assert.deepStrictEqual(usageOf({ prompt_tokens: -1, completion_tokens: "7" }), none)
    assert.strictEqual(usageOf(null), undefined)
    assert.strictEqual(usageOf(undefined), undefined)
  })
})

describe("an observer hears", () => {
  it.live("of an answer its tokens, and of a stream its first word too", () =>
    using({ simulator: { keys: keys("a"), chunkDelay: "5 millis" } }, function* ({ balancer, client }) {
      const seen: Array<{ readonly usage: Lease.Usage | undefined; readonly answered: boolean }> = []
      yield* balancer.observe((event) => {
        if (event._tag !== "Settled") return
        const { answeredMillis, elapsedMillis, usage } = event
        if (answeredMillis !== undefined) assert.isBelow(answeredMillis, elapsedMillis)
        seen.push({ usage, answered: answeredMillis !== undefined })
      })
      yield* Effect.flatMap(client.execute(chat()), ({ text }) => text)
      yield* Effect.flatMap(client.execute(sse()), ({ text }) => text)
      const usage = { inputTokens: 2, outputTokens: 4, cachedTokens: 0, reasoningTokens: 0 }
      assert.deepStrictEqual(seen, [
        { usage, answered: false },
        { usage, answered: true }
      ])
    })
  )

  it.live("and the latency that strategies see of a stream is that of its first word", () =>
    using(
      { simulator: { keys: keys("a"), chunkDelay: "30 millis" } },
      function* ({ balancer, client, pool }) {
        let first: number | undefined
        yield* balancer.observe((event) => {
          if (event._tag === "Settled") first = event.answeredMillis
        })
        yield* Effect.flatMap(client.execute(sse()), ({ text }) => text)
        assert.isDefined(first)
        assert.strictEqual((yield* stateOf(pool, "a")).latency, first)
      }
    )
  )
})
