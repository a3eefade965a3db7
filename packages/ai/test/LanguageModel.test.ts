// What effect/ai promises of a language model, over real HTTP against the simulator.
import { assert, describe, it } from "@effect/vitest"
import { OpenRouterLanguageModel } from "@evenkeel/ai"
import { Simulator } from "@evenkeel/testkit"
import { DateTime, Effect, Ref, Schema } from "effect"
import { Chat, LanguageModel, type Prompt, Tool, Toolkit } from "effect/ai"
import { script, using } from "./utils.ts"

const Weather = Tool.make("Weather", {
  description: "The weather of a place",
  parameters: Schema.Struct({ place: Schema.String }),
  success: Schema.Struct({ celsius: Schema.Number })
})
const Home = Tool.make("Home", { description: "Where the user lives", success: Schema.String })
const tools = Toolkit.make(Weather, Home)
const handlers = tools.toLayer({
  Weather: ({ place }) => Effect.succeed({ celsius: place.length }),
  Home: () => Effect.succeed("Oslo")
})

const calling = { toolCalls: [{ name: "Weather", arguments: { place: "Oslo" } }] }

describe("text", () => {
  it.live("has its text, its end, its usage and what it cost", () =>
    using({}, function* () {
      const response = yield* LanguageModel.generateText({ prompt: "hello" })
      assert.strictEqual(response.text, "You said: hello")
      assert.strictEqual(response.finishReason, "stop")
      const { inputTokens, outputTokens } = response.usage
      assert.deepStrictEqual(inputTokens, { total: 2, uncached: 2, cacheRead: 0, cacheWrite: 0 })
      assert.deepStrictEqual(outputTokens, { total: 4, text: 4, reasoning: 0 })
      const finish = response.content.find((part) => part.type === "finish")!
      assert.deepInclude(finish.metadata.openrouter, { provider: "OpenAI", nativeFinishReason: "stop" })
      assert.closeTo(finish.metadata.openrouter!.cost!, 0.0000027, 1e-12)
      const metadata = response.content[0]!
      if (metadata.type !== "response-metadata") return assert.fail(metadata.type)
      assert.match(metadata.id!, /^gen-/)
      assert.strictEqual(metadata.modelId, "openai/gpt-4o-mini")
      assert.isTrue(DateTime.isUtc(metadata.timestamp!))
    })
  )

  it.live("ends for its length, and for what the provider filters", () => {
    const { completion } = script({ text: "part", finishReason: "content_filter" }, { text: "x".repeat(100) })
    return using({ simulator: { completion }, config: { max_completion_tokens: 5 } }, function* () {
      const filtered = yield* LanguageModel.generateText({ prompt: "hello" })
      assert.strictEqual(filtered.finishReason, "content-filter")
      const cut = yield* LanguageModel.generateText({ prompt: "hello" })
      assert.strictEqual(cut.finishReason, "length")
      assert.strictEqual(cut.text.length, 20)
    })
  })

  it.live("has reasoning, images, citations and refusals beside it", () => {
    const details = [{ type: "reasoning.text", text: "Hm.", signature: "s", index: 0 }]
    const { completion, seen } = script({
      text: "A ship.",
      fields: {
        reasoning: "Hm.",
        reasoning_details: details,
        images: [{ type: "image_url", image_url: { url: "data:image/png;base64,AQID" } }],
        annotations: [
          {
            type: "url_citation",
            url_citation: { url: "https://example.com/keel", title: "Keel", start_index: 2 }
          }
        ],
        refusal: "Not the whole fleet."
      }
    })
    return using({ simulator: { completion } }, function* () {
      const chat = yield* Chat.empty
      const response = yield* chat.generateText({ prompt: "Draw a ship" })
      assert.strictEqual(response.reasoningText, "Hm.")
      assert.deepStrictEqual(response.reasoning[0]!.metadata.openrouter, { reasoningDetails: details })
      const file = response.content.find((part) => part.type === "file")!
      assert.deepStrictEqual([file.mediaType, Array.from(file.data)], ["image/png", [1, 2, 3]])
      const source = response.content.find((part) => part.type === "source")!
      if (source.sourceType !== "url") return assert.fail(source.sourceType)
      assert.deepStrictEqual([String(source.url), source.title], ["https://example.com/keel", "Keel"])
      assert.deepStrictEqual(source.metadata.openrouter, { startIndex: 2 })
      const refusal = response.content.findLast((part) => part.type === "text")!
      assert.deepStrictEqual(refusal.metadata.openrouter, { refusal: "Not the whole fleet." })

      // The next turn has to give it all back as it came.
      yield* chat.generateText({ prompt: "Now in blue" })
      const { content, images, reasoning, reasoning_details, role } = seen[1]!["messages"][1]
      assert.deepStrictEqual([role, content, reasoning], ["assistant", "A ship.", "Hm."])
      assert.deepStrictEqual(reasoning_details, details)
      assert.deepStrictEqual(images, [
        { type: "image_url", image_url: { url: "data:image/png;base64,AQID" } }
      ])
    })
  })

  it.live("asks with the options it was made with, and with those of the place", () => {
    const { completion, seen } = script("yes")
    const config = {
      temperature: 0,
      session_id: "s-1",
      models: ["deepseek/deepseek-chat"],
      provider: { sort: "price", zdr: true },
      plugins: [{ id: "web", max_results: 3 }],
      reasoning: { effort: "low" },
      top_k: 3,
      call: { timeout: "5 seconds" }
    } as const
    return using({ simulator: { completion }, config }, function* () {
      yield* LanguageModel.generateText({ prompt: "hello" }).pipe(
        OpenRouterLanguageModel.withConfigOverride({ temperature: 1, strictJsonSchema: false }),
        OpenRouterLanguageModel.withConfigOverride({ model: "anthropic/claude-sonnet-4.5", temperature: 0.5 })
      )
      const { call: _, ...parameters } = config
      assert.deepStrictEqual(seen[0], {
        ...parameters,
        temperature: 1,
        model: "anthropic/claude-sonnet-4.5",
        messages: [{ role: "user", content: "hello" }]
      })
    })
  })
})

describe("objects", () => {
  const Ship = Schema.Struct({ name: Schema.String, masts: Schema.Int, flag: Schema.optional(Schema.String) })

  it.live("are asked for as a strict schema, and decoded", () => {
    const { completion, seen } = script(`{"name":"Fram","masts":3,"flag":null}`)
    return using({ simulator: { completion } }, function* () {
      const response = yield* LanguageModel.generateObject({
        prompt: "A ship",
        schema: Ship,
        objectName: "ship"
      })
      assert.deepStrictEqual(response.value, { name: "Fram", masts: 3 })
      const { json_schema, type } = seen[0]!["response_format"]
      assert.deepStrictEqual([type, json_schema.name, json_schema.strict], ["json_schema", "ship", true])
      // What is strict knows no optional field: it may be null.
      assert.deepStrictEqual(json_schema.schema.required, ["name", "masts", "flag"])
      assert.isFalse(json_schema.schema.additionalProperties)
    })
  })

  it.live("are asked for less strictly where a model wants that", () => {
    const { completion, seen } = script(`{"name":"Fram","masts":3}`)
    const model = "anthropic/claude-sonnet-4.5"
    return using({ simulator: { completion }, model, config: { strictJsonSchema: false } }, function* () {
      const { value } = yield* LanguageModel.generateObject({ prompt: "A ship", schema: Ship })
      assert.deepStrictEqual(value, { name: "Fram", masts: 3 })
      assert.isFalse(seen[0]!["response_format"].json_schema.strict)
    })
  })

  it.live("come from the simulator as from a model that keeps to the schema", () =>
    using({}, function* () {
      const { value } = yield* LanguageModel.generateObject({ prompt: "A ship", schema: Ship })
      assert.strictEqual(typeof value.name, "string")
    })
  )

  it.live("that are none are an error that says what was said", () => {
    const { completion } = script(`{"name":"Fram","masts":"three"}`, { text: "", fields: { refusal: "No." } })
    return using({ simulator: { completion } }, function* () {
      const wrong = yield* Effect.flip(LanguageModel.generateObject({ prompt: "A ship", schema: Ship }))
      if (wrong.reason._tag !== "StructuredOutputError") return assert.fail(wrong.message)
      assert.include(wrong.reason.responseText, "three")
      assert.isTrue(wrong.isRetryable)
      const refused = yield* Effect.flip(LanguageModel.generateObject({ prompt: "A ship", schema: Ship }))
      assert.strictEqual(refused.reason._tag, "StructuredOutputError")
    })
  })

  it.live("of a schema that the dialect has no words for are refused before anything is sent", () =>
    using({}, function* () {
      const schema = Schema.Union([Schema.Struct({ a: Schema.String }), Schema.Struct({ b: Schema.String })])
      const error = yield* Effect.flip(LanguageModel.generateObject({ prompt: "One of two", schema }))
      assert.strictEqual(error.reason._tag, "UnsupportedSchemaError")
      assert.isEmpty(yield* (yield* Simulator.Simulator).requests)
    })
  )
})

describe("tools", () => {
  it.live("are described, called and resolved", () => {
    const { completion, seen } = script({
      text: "Let me see.",
      toolCalls: [{ name: "Home", arguments: "" }, ...calling.toolCalls],
      // Some providers end so although they call tools.
      finishReason: "stop"
    })
    return using({ simulator: { completion } }, function* () {
      const response = yield* LanguageModel.generateText({ prompt: "Is it cold?", toolkit: tools }).pipe(
        Effect.provide(handlers)
      )
      assert.strictEqual(response.text, "Let me see.")
      assert.strictEqual(response.finishReason, "tool-calls")
      assert.deepStrictEqual(
        response.toolResults.map(({ name, result }) => [name, result]),
        [
          ["Home", "Oslo"],
          ["Weather", { celsius: 4 }]
        ]
      )
      assert.strictEqual(seen[0]!["tool_choice"], "auto")
      const [weather] = seen[0]!["tools"]
      assert.strictEqual(weather.function.description, "The weather of a place")
      assert.deepStrictEqual(weather.function.parameters.required, ["place"])
      assert.notProperty(weather.function, "strict")
    })
  })

  const choices: ReadonlyArray<
    readonly [string, LanguageModel.ToolChoice<"Weather" | "Home">, unknown, ReadonlyArray<string>]
  > = [
    ["none", "none", "none", ["Weather", "Home"]],
    ["required", "required", "required", ["Weather", "Home"]],
    ["one", { tool: "Home" }, { type: "function", function: { name: "Home" } }, ["Weather", "Home"]],
    ["some", { oneOf: ["Home"] }, "auto", ["Home"]],
    ["some, required", { oneOf: ["Weather"], mode: "required" }, "required", ["Weather"]]
  ]
  for (const [name, toolChoice, sent, named] of choices) {
    it.live(`are chosen: ${name}`, () => {
      const { completion, seen } = script("no")
      return using({ simulator: { completion } }, function* () {
        yield* LanguageModel.generateText({ prompt: "?", toolkit: tools, toolChoice }).pipe(
          Effect.provide(handlers)
        )
        assert.deepStrictEqual(seen[0]!["tool_choice"], sent)
        assert.deepStrictEqual(
          seen[0]!["tools"].map((tool: { function: { name: string } }) => tool.function.name),
          named
        )
      })
    })
  }

  it.live("that are forced are called by the simulator's own model", () =>
    using({}, function* () {
      const { toolCalls } = yield* LanguageModel.generateText({
        prompt: "?",
        toolkit: tools,
        toolChoice: { tool: "Weather" }
      }).pipe(Effect.provide(handlers))
      assert.deepStrictEqual(
        toolCalls.map(({ name, params }) => [name, params]),
        [["Weather", { place: "text" }]]
      )
    })
  )

  it.live("are left to the program when it says so", () => {
    const { completion } = script(calling)
    return using({ simulator: { completion } }, function* () {
      const response = yield* LanguageModel.generateText({
        prompt: "?",
        toolkit: tools,
        disableToolCallResolution: true
      })
      assert.isEmpty(response.toolResults)
      assert.deepStrictEqual(response.toolCalls[0]?.params, { place: "Oslo" })
    })
  })

  it.live(
    "that are called with what is no JSON are an error, or are passed on when validation is deferred",
    () => {
      const { completion } = script({ toolCalls: [{ name: "Weather", arguments: `{"place":` }] })
      return using({ simulator: { completion } }, function* () {
        const options = { prompt: "?", toolkit: tools } as const
        const error = yield* LanguageModel.generateText(options).pipe(Effect.provide(handlers), Effect.flip)
        if (!("reason" in error) || error.reason._tag !== "ToolParameterValidationError")
          return assert.fail(String(error))
        assert.strictEqual(error.reason.toolName, "Weather")
        const response = yield* LanguageModel.generateText({
          ...options,
          disableToolCallResolution: true,
          toolCallValidation: "deferred"
        })
        assert.strictEqual(response.toolCalls[0]?.params, `{"place":`)
      })
    }
  )

  it.live("that are cut off in the middle of a call are not called, and the end says so", () => {
    const toolCalls = [...calling.toolCalls, { name: "Weather", arguments: `{"pla` }]
    const { completion } = script({ toolCalls, finishReason: "length" })
    return using({ simulator: { completion } }, function* () {
      const response = yield* LanguageModel.generateText({ prompt: "?", toolkit: tools }).pipe(
        Effect.provide(handlers)
      )
      assert.strictEqual(response.finishReason, "length")
      assert.lengthOf(response.toolCalls, 1)
      // As effect/ai has it: no handler runs for an answer that is not complete.
      assert.isTrue(response.toolResults[0]?.isFailure)
    })
  })

  it.live("of another provider are refused before anything is sent", () => {
    const Foreign = Tool.providerDefined({ id: "acme.search", customName: "Search", providerName: "search" })
    return using({}, function* () {
      const error = yield* LanguageModel.generateText({
        prompt: "?",
        toolkit: Toolkit.make(Foreign(undefined))
      }).pipe(Effect.flip)
      assert.strictEqual(error.reason._tag, "InvalidUserInputError")
    })
  })

  it.live("are answered in the next turn of a chat, results, failures and all", () => {
    const { completion, seen } = script(
      { text: "Let me see.", toolCalls: calling.toolCalls },
      "Four degrees in Oslo."
    )
    return using({ simulator: { completion } }, function* () {
      const chat = yield* Chat.fromPrompt([{ role: "system", content: "Be brief" }])
      yield* chat.generateText({ prompt: "Is it cold?", toolkit: tools }).pipe(Effect.provide(handlers))
      const { text } = yield* chat.generateText({ prompt: [], toolkit: tools }).pipe(Effect.provide(handlers))
      assert.strictEqual(text, "Four degrees in Oslo.")
      const [system, user, assistant, tool] = seen[1]!["messages"]
      assert.deepStrictEqual(
        [system, user],
        [
          { role: "system", content: "Be brief" },
          { role: "user", content: "Is it cold?" }
        ]
      )
      const [call] = assistant.tool_calls
      assert.deepStrictEqual(assistant, {
        role: "assistant",
        content: "Let me see.",
        tool_calls: [
          { type: "function", id: call.id, function: { name: "Weather", arguments: `{"place":"Oslo"}` } }
        ]
      })
      assert.deepStrictEqual(tool, { role: "tool", tool_call_id: call.id, content: `{"celsius":4}` })
      assert.strictEqual((yield* Ref.get(chat.history)).content.length, 5)
    })
  })
})

describe("prompts", () => {
  const sent = (prompt: Prompt.RawInput) => {
    const { completion, seen } = script("yes")
    return Effect.map(
      using({ simulator: { completion } }, function* () {
        yield* LanguageModel.generateText({ prompt })
      }),
      () => seen[0]!["messages"]
    )
  }

  it.live("hold images, audio, videos and files, from bytes, Base64, data URLs and addresses", () =>
    Effect.gen(function* () {
      const bytes = Uint8Array.from([1, 2, 3])
      const messages = yield* sent([
        {
          role: "user",
          content: [
            { type: "text", text: "What is this?" },
            { type: "file", mediaType: "image/png", data: bytes },
            { type: "file", mediaType: "image/*", data: "AQID" },
            { type: "file", mediaType: "image/png", data: new URL("https://example.com/a.png") },
            { type: "file", mediaType: "image/png", data: "data:image/png;base64,AQID" },
            { type: "file", mediaType: "audio/mpeg", data: bytes },
            { type: "file", mediaType: "video/mp4", data: new URL("https://example.com/a.mp4") },
            { type: "file", mediaType: "application/pdf", fileName: "a.pdf", data: bytes }
          ]
        }
      ])
      const image = (url: string) => ({ type: "image_url", image_url: { url } })
      assert.deepStrictEqual(messages[0].content, [
        { type: "text", text: "What is this?" },
        image("data:image/png;base64,AQID"),
        image("data:image/jpeg;base64,AQID"),
        image("https://example.com/a.png"),
        image("data:image/png;base64,AQID"),
        { type: "input_audio", input_audio: { data: "AQID", format: "mp3" } },
        { type: "video_url", video_url: { url: "https://example.com/a.mp4" } },
        { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,AQID" } }
      ])
    })
  )

  it.live("mark what a provider may cache, and leave out what only others understand", () =>
    Effect.gen(function* () {
      const cacheControl = { type: "ephemeral" } as const
      const options = { openrouter: { cacheControl } }
      const messages = yield* sent([
        { role: "system", content: "Be brief", options },
        {
          role: "user",
          content: [
            { type: "text", text: "one" },
            { type: "text", text: "two" }
          ],
          options
        },
        {
          role: "assistant",
          content: [{ type: "tool-call", id: "1", name: "search", params: {}, providerExecuted: true }]
        },
        { role: "user", content: [{ type: "text", text: "three", options }] }
      ])
      const cache_control = cacheControl
      assert.deepStrictEqual(messages, [
        { role: "system", content: [{ type: "text", text: "Be brief", cache_control }] },
        {
          role: "user",
          content: [
            { type: "text", text: "one" },
            { type: "text", text: "two", cache_control }
          ]
        },
        { role: "user", content: [{ type: "text", text: "three", cache_control }] }
      ])
    })
  )

  it.live("hold results of tools as text, and as parts", () =>
    Effect.gen(function* () {
      const result = { type: "tool-result", name: "t", isFailure: false } as const
      const messages = yield* sent([
        { role: "user", content: "?" },
        {
          role: "tool",
          content: [
            { ...result, id: "1", result: "plain" },
            { ...result, id: "2", result: { a: 1 }, isFailure: true },
            { ...result, id: "3", result: null, modelOutput: [{ type: "text", text: "shown" }] }
          ]
        }
      ])
      assert.deepStrictEqual(messages.slice(1), [
        { role: "tool", tool_call_id: "1", content: "plain" },
        { role: "tool", tool_call_id: "2", content: `{"a":1}` },
        { role: "tool", tool_call_id: "3", content: [{ type: "text", text: "shown" }] }
      ])
    })
  )
})
