// The official clients, unmodified, over the fetch.
import { createOpenRouter } from "@openrouter/ai-sdk-provider"
import { HTTPClient, OpenRouter } from "@openrouter/sdk"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { generateText, Output, stepCountIs, streamText, tool } from "ai"
import OpenAI, { APIError } from "openai"
import { z } from "zod"
import { fetching, rejection, type Fetching } from "./fetching.ts"
import { keys, met } from "./utils.ts"

const { actions, errors } = Simulator
const model = "openai/gpt-4o-mini"
const messages = [{ role: "user" as const, content: "hello" }]
const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false
}

/** A model that asks for the weather first, and then tells it. */
const weather: Simulator.SimulatorOptions = {
  completion: ({ body }) => {
    const { messages = [], tools } = body as { messages?: Array<{ role: string }>; tools?: unknown }
    return tools !== undefined && !messages.some(({ role }) => role === "tool")
      ? { toolCalls: [{ name: "weather", arguments: { city: "Oslo" } }] }
      : { text: "It rains." }
  }
}

describe("openai", () => {
  const clientOf = ({ baseUrl, fetch }: Fetching) => new OpenAI({ baseURL: baseUrl, apiKey: "unused", fetch })

  it.live("a chat completion, whole and streamed", () =>
    fetching({}, async (world) => {
      const openai = clientOf(world)
      const whole = await openai.chat.completions.create({ model, messages })
      assert.strictEqual(whole.choices[0]!.message.content, "You said: hello")
      let text = ""
      for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
        text += chunk.choices[0]?.delta.content ?? ""
      }
      assert.strictEqual(text, "You said: hello")
    })
  )

  it.live("tool calls, whole and streamed", () =>
    fetching({ simulator: weather }, async (world) => {
      const openai = clientOf(world)
      const tools = [{ type: "function" as const, function: { name: "weather", parameters } }]
      const whole = await openai.chat.completions.create({ model, messages, tools })
      const [call] = whole.choices[0]!.message.tool_calls!
      assert.strictEqual(call!.type === "function" && call!.function.arguments, '{"city":"Oslo"}')
      const stream = openai.chat.completions.stream({ model, messages, tools })
      const streamed = await stream.finalChatCompletion()
      assert.strictEqual(streamed.choices[0]!.finish_reason, "tool_calls")
    })
  )

  it.live("JSON schema, and the responses API", () =>
    fetching({}, async (world) => {
      const openai = clientOf(world)
      const response_format = {
        type: "json_schema" as const,
        json_schema: { name: "place", strict: true, schema: parameters }
      }
      const whole = await openai.chat.completions.create({ model, messages, response_format })
      assert.property(JSON.parse(whole.choices[0]!.message.content!), "city")
      const response = await openai.responses.create({ model, input: "hello" })
      assert.strictEqual(response.output_text, "You said: hello")
    })
  )

  it.live("an upstream that fails is tried by the fetch alone: its own retries stay unused", () =>
    fetching({}, async (world) => {
      await world.run(world.simulator.fault({ action: errors.unavailable503() }))
      let calls = 0
      const fetch: typeof globalThis.fetch = (...args) => {
        calls++
        return world.fetch(...args)
      }
      const openai = new OpenAI({ baseURL: world.baseUrl, apiKey: "unused", fetch, maxRetries: 5 })
      const error = await rejection(openai.chat.completions.create({ model, messages }))
      assert.instanceOf(error, APIError)
      assert.strictEqual(calls, 1)
      // Once, and once more after a while: what the policy of the test allows.
      assert.strictEqual((await world.run(world.simulator.requests)).length, 2)
    })
  )

  it.live("an exhausted pool is an error of its own, with the reasons of each key", () =>
    fetching({ simulator: { keys: keys("a b", { limit: 0 }) } }, async (world) => {
      const error = await rejection(clientOf(world).chat.completions.create({ model, messages }))
      assert.strictEqual(error.status, 402)
      assert.strictEqual(error.error.metadata.evenkeel.keys.length, 2)
      assert.deepStrictEqual(await world.run(met(world.simulator)), [1, 1])
    })
  )

  it.live("aborts, and errors in the middle of a stream", () =>
    fetching({ simulator: { chunkDelay: "20 millis" } }, async (world) => {
      const openai = clientOf(world)
      const stream = await openai.chat.completions.create({ model, messages, stream: true })
      for await (const _ of stream) break
      await world.idle()
      await world.run(world.simulator.fault({ action: actions.midStreamError({ code: 502 }) }))
      const broken = await openai.chat.completions.create({ model, messages, stream: true })
      const error = await rejection(
        (async () => {
          for await (const _ of broken);
        })()
      )
      assert.instanceOf(error, APIError)
    })
  )
})

describe("@openrouter/sdk", () => {
  const clientOf = ({ baseUrl, fetch }: Fetching) =>
    new OpenRouter({
      apiKey: "unused",
      serverURL: baseUrl,
      httpClient: new HTTPClient({ fetcher: fetch }),
      retryConfig: { strategy: "none" }
    })

  type Answer = Awaited<ReturnType<OpenRouter["chat"]["send"]>>

  /** What its types leave open. */
  const messageOf = (answer: Answer) =>
    "choices" in answer ? answer.choices[0]!.message : assert.fail("it should not be a stream")

  it.live("a chat completion, whole and streamed, and tool calls", () =>
    fetching({ simulator: weather }, async (world) => {
      const { chat } = clientOf(world)
      const whole = await chat.send({ chatRequest: { model, messages } })
      assert.strictEqual(messageOf(whole).content, "It rains.")
      const tools = [{ type: "function" as const, function: { name: "weather", parameters } }]
      const called = await chat.send({ chatRequest: { model, messages, tools } })
      assert.strictEqual(messageOf(called).toolCalls?.[0]?.function.arguments, '{"city":"Oslo"}')
      const stream = await chat.send({ chatRequest: { model, messages, stream: true } })
      if ("choices" in stream) return assert.fail("it should be a stream")
      let text = ""
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ""
      assert.strictEqual(text, "It rains.")
    })
  )

  it.live("JSON schema", () =>
    fetching({}, async (world) => {
      const responseFormat = {
        type: "json_schema" as const,
        jsonSchema: { name: "place", strict: true, schema: parameters }
      }
      const whole = await clientOf(world).chat.send({ chatRequest: { model, messages, responseFormat } })
      assert.property(JSON.parse(String(messageOf(whole).content)), "city")
    })
  )

  it.live("an exhausted pool is its own typed error, and is asked once", () =>
    fetching({ simulator: { keys: keys("a b", { limit: 0 }) } }, async (world) => {
      const request = clientOf(world).chat.send({ chatRequest: { model, messages } })
      const error = await rejection(request)
      assert.strictEqual(error.statusCode, 402)
      assert.strictEqual(error.name, "PaymentRequiredResponseError")
      assert.deepStrictEqual(await world.run(met(world.simulator)), [1, 1])
    })
  )
})

describe("ai with @openrouter/ai-sdk-provider", () => {
  const modelOf = ({ baseUrl, fetch }: Fetching) =>
    createOpenRouter({ apiKey: "unused", baseURL: baseUrl, fetch }).chat(model)

  it.live("generates and streams text", () =>
    fetching({}, async (world) => {
      const options = { model: modelOf(world), prompt: "hello", maxRetries: 0 }
      assert.strictEqual((await generateText(options)).text, "You said: hello")
      assert.strictEqual(await streamText(options).text, "You said: hello")
    })
  )

  it.live("calls tools, over several steps", () =>
    fetching({ simulator: weather }, async (world) => {
      const asked: Array<string> = []
      const { steps, text } = await generateText({
        model: modelOf(world),
        prompt: "How is the weather in Oslo?",
        maxRetries: 0,
        stopWhen: stepCountIs(3),
        tools: {
          weather: tool({
            inputSchema: z.object({ city: z.string() }),
            execute: ({ city }) => {
              asked.push(city)
              return "rain"
            }
          })
        }
      })
      assert.deepStrictEqual(asked, ["Oslo"])
      assert.strictEqual(text, "It rains.")
      assert.strictEqual(steps.length, 2)
    })
  )

  it.live("generates objects", () =>
    fetching({}, async (world) => {
      const output = Output.object({ schema: z.object({ city: z.string() }) })
      const answer = await generateText({ model: modelOf(world), prompt: "hello", maxRetries: 0, output })
      assert.isString(answer.output.city)
    })
  )

  it.live("an exhausted pool is its own typed error", () =>
    fetching({ simulator: { keys: keys("a b", { limit: 0 }) } }, async (world) => {
      const error = await rejection(generateText({ model: modelOf(world), prompt: "hello", maxRetries: 0 }))
      assert.strictEqual(error.name, "AI_APICallError")
      assert.strictEqual(error.statusCode, 402)
      assert.isFalse(error.isRetryable)
    })
  )
})
