// Streams: parts in their order, whatever the pieces in which they come, and what is left of one that breaks.
import { assert, describe, it } from "@effect/vitest"
import { Retry } from "@evenkeel/retry"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Fiber, Schema, Stream } from "effect"
import { Chat, LanguageModel, type Response, Tool, Toolkit } from "effect/ai"
import { chunk, events, last, script, using } from "./utils.ts"

const Weather = Tool.make("Weather", {
  parameters: Schema.Struct({ place: Schema.String }),
  success: Schema.String
})
const tools = Toolkit.make(Weather)
const handlers = tools.toLayer({ Weather: ({ place }) => Effect.succeed(`Sun in ${place}`) })

/** What is told of each part. */
const told = (part: Response.AnyPart): string => {
  switch (part.type) {
    case "text-delta":
    case "reasoning-delta":
    case "tool-params-delta":
      return `${part.type} ${part.delta}`
    case "tool-call":
      return `tool-call ${JSON.stringify(part.params)}`
    case "tool-result":
      return `tool-result ${JSON.stringify(part.result)}`
    case "finish":
      return `finish ${part.reason} ${part.usage.outputTokens.total}`
    default:
      return part.type
  }
}

const fault = (action: Simulator.FaultAction) =>
  Simulator.Simulator.use((simulator) => simulator.fault({ action, times: 1 }))

describe("a stream", () => {
  it.live("has its text piece by piece, and then its end", () =>
    using({}, function* () {
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "hello" }))
      assert.deepStrictEqual(parts.map(told), [
        "response-metadata",
        "text-start",
        "text-delta You",
        "text-delta  said:",
        "text-delta  hello",
        "text-end",
        "finish stop 4"
      ])
      const finish = parts.at(-1)!
      if (finish.type !== "finish") return assert.fail(finish.type)
      assert.closeTo(finish.metadata.openrouter!.cost!, 0.0000027, 1e-12)
    })
  )

  it.live("has reasoning before the text, and signs it when it is whole", () =>
    using({}, function* () {
      const thought = (text: string, more: object = {}) => ({
        reasoning: text,
        reasoning_details: [{ type: "reasoning.text", text, index: 0, format: "f", ...more }]
      })
      yield* fault(
        events(
          chunk({ role: "assistant", content: "", ...thought("Let ") }),
          chunk(thought("me", { signature: "signed" })),
          chunk({ content: "Aye" }),
          chunk({ reasoning_details: [{ type: "reasoning.encrypted", data: "x", index: 1 }] }),
          chunk({ images: [{ image_url: { url: "data:image/png;base64,AQID" } }] }),
          chunk({ annotations: [{ type: "url_citation", url_citation: { url: "https://example.com" } }] }),
          last("stop", {
            prompt_tokens_details: { cached_tokens: 15, cache_write_tokens: 1 },
            completion_tokens_details: { reasoning_tokens: 4 }
          })
        )
      )
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "hello" }))
      assert.deepStrictEqual(parts.map(told), [
        "response-metadata",
        "reasoning-start",
        "reasoning-delta Let ",
        "reasoning-delta me",
        "reasoning-end",
        "text-start",
        "text-delta Aye",
        "text-end",
        "reasoning-start",
        "reasoning-end",
        "file",
        "source",
        "finish stop 10"
      ])
      const ends = parts.flatMap((part) => (part.type === "reasoning-end" ? [part.metadata.openrouter] : []))
      assert.deepStrictEqual(ends, [
        {
          reasoningDetails: [
            { type: "reasoning.text", text: "Let me", index: 0, format: "f", signature: "signed" }
          ]
        },
        { reasoningDetails: [{ type: "reasoning.encrypted", data: "x", index: 1 }] }
      ])
      const finish = parts.at(-1)!
      if (finish.type !== "finish") return assert.fail(finish.type)
      const { inputTokens, outputTokens } = finish.usage
      assert.deepStrictEqual(inputTokens, { total: 20, uncached: 4, cacheRead: 15, cacheWrite: 1 })
      assert.deepStrictEqual(outputTokens, { total: 10, text: 6, reasoning: 4 })
    })
  )

  it.live("has calls of tools in fragments, and their results", () =>
    using({}, function* () {
      const call = (index: number, fields: object, args: string) =>
        chunk({ tool_calls: [{ index, ...fields, function: { arguments: args, ...fields } }] })
      yield* fault(
        events(
          chunk({ content: "Let me see." }),
          call(0, { id: "c0", name: "Weather" }, ""),
          call(0, {}, `{"place":`),
          call(1, { id: "c1", name: "Weather" }, `{"place":"Bergen"}`),
          call(0, {}, `"Oslo"}`),
          last("tool_calls")
        )
      )
      const stream = LanguageModel.streamText({ prompt: "?", toolkit: tools })
      const parts = yield* Stream.runCollect(stream).pipe(Effect.provide(handlers))
      const order = parts.map(told)
      assert.deepStrictEqual(order.slice(0, 8), [
        "response-metadata",
        "text-start",
        "text-delta Let me see.",
        "text-end",
        "tool-params-start",
        `tool-params-delta {"place":`,
        "tool-params-start",
        `tool-params-delta {"place":"Bergen"}`
      ])
      assert.deepStrictEqual(order.filter((one) => /^tool-(call|result)/.test(one)).toSorted(), [
        `tool-call {"place":"Bergen"}`,
        `tool-call {"place":"Oslo"}`,
        `tool-result "Sun in Bergen"`,
        `tool-result "Sun in Oslo"`
      ])
      assert.strictEqual(order.at(-1), "finish tool-calls 10")
    })
  )

  it.live("fails when a call is no JSON", () =>
    using({}, function* () {
      yield* fault(
        events(
          chunk({ tool_calls: [{ index: 0, id: "c", function: { name: "Weather", arguments: "{" } }] }),
          last("tool_calls")
        )
      )
      const stream = LanguageModel.streamText({
        prompt: "?",
        toolkit: tools,
        disableToolCallResolution: true
      })
      const error = yield* Effect.flip(Stream.runDrain(stream))
      assert.strictEqual(error.reason._tag, "ToolParameterValidationError")
    })
  )

  it.live("carries a chat with tools, turn by turn", () => {
    const { completion, seen } = script(
      { toolCalls: [{ name: "Weather", arguments: { place: "Oslo" } }], fields: { reasoning: "Hm." } },
      "It is sunny."
    )
    return using({ simulator: { completion } }, function* () {
      const chat = yield* Chat.empty
      const turn = (prompt: string | []) =>
        Stream.runCollect(chat.streamText({ prompt, toolkit: tools })).pipe(Effect.provide(handlers))
      assert.include((yield* turn("?")).map(told), `tool-result "Sun in Oslo"`)
      assert.include((yield* turn([])).map(told), "text-delta  sunny.")
      const [, assistant, tool] = seen[1]!["messages"]
      assert.strictEqual(assistant.reasoning, "Hm.")
      assert.isNull(assistant.content)
      assert.deepStrictEqual(tool, {
        role: "tool",
        tool_call_id: assistant.tool_calls[0].id,
        content: "Sun in Oslo"
      })
    })
  })

  it.live("that has no choice is an answer that is none", () =>
    using({}, function* () {
      yield* fault(events({ ...chunk({}), choices: [] }))
      const error = yield* Effect.flip(Stream.runDrain(LanguageModel.streamText({ prompt: "hello" })))
      assert.strictEqual(error.reason._tag, "InvalidResponseError")
    })
  )

  it.live("is tried again by the balancer before its first content", () =>
    using({ policies: Retry.layer() }, function* () {
      yield* fault(Simulator.actions.firstEventError({ code: 502, message: "Gone" }))
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "hello" }))
      assert.strictEqual(told(parts.at(-1)!), "finish stop 4")
      assert.lengthOf(
        parts.filter((part) => part.type === "response-metadata"),
        1
      )
    })
  )

  const broken = Simulator.actions.status(
    200,
    `data: ${JSON.stringify(chunk({ content: "You said:" }))}\n\ndata: {"id":\n\n`,
    { "content-type": "text/event-stream" }
  )
  const breaks: Readonly<Record<string, readonly [Simulator.FaultAction, string, boolean]>> = {
    server_error: [Simulator.actions.midStreamError({ afterChunks: 2 }), "InternalProviderError", true],
    throttled: [
      Simulator.actions.midStreamError({ afterChunks: 2, code: 429, message: "Rate limit" }),
      "RateLimitError",
      true
    ],
    truncated: [Simulator.actions.truncate({ afterChunks: 2 }), "InternalProviderError", true],
    undecodable: [broken, "InvalidResponseError", false],
    transport: [Simulator.actions.cut({ afterChunks: 2 }), "InternalProviderError", true]
  }
  for (const [name, [action, reason, retryable]] of Object.entries(breaks)) {
    it.live(`that breaks is a typed error with what was said: ${name}`, () =>
      using({ policies: Retry.layer() }, function* () {
        yield* fault(action)
        let text = ""
        const error = yield* LanguageModel.streamText({ prompt: "hello" }).pipe(
          Stream.runForEach((part) =>
            Effect.sync(() => {
              if (part.type === "text-delta") text += part.delta
            })
          ),
          Effect.flip
        )
        assert.strictEqual(text, "You said:")
        assert.deepStrictEqual([error.reason._tag, error.isRetryable], [reason, retryable])
        const { openrouter } = (
          error.reason as { metadata: { openrouter?: { text?: string; keyId?: string } } }
        ).metadata
        assert.deepInclude(openrouter, { text: "You said:", keyId: "a" })
      })
    )
  }

  it.live("that is left closes its connection", () =>
    using({ simulator: { chunkDelay: "20 millis", completion: () => "word ".repeat(1000) } }, function* () {
      const simulator = yield* Simulator.Simulator
      const parts = yield* LanguageModel.streamText({ prompt: "hello" }).pipe(
        Stream.take(3),
        Stream.runCollect
      )
      assert.lengthOf(parts, 3)
      const fiber = yield* Effect.forkChild(Stream.runDrain(LanguageModel.streamText({ prompt: "hello" })))
      yield* simulator.waitUntil(({ inFlight }) => inFlight === 1)
      yield* Fiber.interrupt(fiber)
      yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
    })
  )
})
