import { NodeHttpClient } from "@effect/platform-node"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { against, contentOf, events, get, hello, helloCost, post, secretOf } from "./support.ts"

const usage = {
  prompt_tokens: 2,
  completion_tokens: 4,
  total_tokens: 6,
  cost: helloCost,
  is_byok: false,
  prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 0, audio_tokens: 0, video_tokens: 0 },
  cost_details: {
    upstream_inference_cost: null,
    upstream_inference_prompt_cost: 2 * 0.00000015,
    upstream_inference_completions_cost: 4 * 0.0000006
  },
  completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 }
}

const tool = {
  type: "function",
  function: {
    name: "weather",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
  }
}

const choice = (content: string, reason: string | null) => ({
  index: 0,
  delta: { role: "assistant", content },
  finish_reason: reason,
  native_finish_reason: reason,
  logprobs: null
})

const one = { keys: [{ name: "a" }] }

describe("chat completions", () => {
  it.live("answer with content, usage and cost", () =>
    Effect.gen(function* () {
      const { headers, json, status } = yield* post("a")
      assert.strictEqual(status, 200)
      assert.match(json.id, /^gen-\d{10}-[A-Za-z0-9]{20}$/)
      assert.strictEqual(headers["x-generation-id"], json.id)
      assert.strictEqual(headers["x-ratelimit-limit"], undefined)
      assert.deepStrictEqual(json, {
        id: json.id,
        provider: "OpenAI",
        model: "openai/gpt-4o-mini",
        object: "chat.completion",
        created: Number(json.id.split("-")[1]),
        choices: [
          {
            logprobs: null,
            finish_reason: "stop",
            native_finish_reason: "stop",
            index: 0,
            message: { role: "assistant", content: "You said: hello", refusal: null, reasoning: null }
          }
        ],
        system_fingerprint: null,
        usage
      })
    }).pipe(against(one))
  )

  it.live("stream deltas, a finish and a usage chunk with one choice", () =>
    Effect.gen(function* () {
      const all = yield* Stream.runCollect(events("a"))
      assert.strictEqual(all.at(-1), "[DONE]")
      const chunks = all.slice(0, -1).map((data) => JSON.parse(data))
      assert.deepStrictEqual(all.slice(0, -3).map(contentOf), ["You", " said:", " hello"])
      const head = {
        id: chunks[0].id,
        provider: "OpenAI",
        model: "openai/gpt-4o-mini",
        object: "chat.completion.chunk",
        created: chunks[0].created
      }
      assert.deepStrictEqual(chunks[0], { ...head, choices: [choice("You", null)] })
      assert.deepStrictEqual(chunks.at(-2), { ...head, choices: [choice("", "stop")] })
      assert.deepStrictEqual(chunks.at(-1), { ...head, choices: [choice("", "stop")], usage })
    }).pipe(against(one))
  )

  it.live("stream as text with the comment first", () =>
    Effect.gen(function* () {
      const { headers, text } = yield* post("a", { ...hello, stream: true })
      assert.strictEqual(headers["content-type"], "text/event-stream")
      assert.isTrue(text.startsWith(": OPENROUTER PROCESSING\n\ndata: {"))
      assert.isTrue(text.endsWith("}\n\ndata: [DONE]\n\n"))
    }).pipe(against(one))
  )

  it.live("end with the older usage chunk when asked to", () =>
    Effect.gen(function* () {
      const all = yield* Stream.runCollect(events("a"))
      const last = JSON.parse(all.at(-2) ?? "")
      assert.deepStrictEqual(last.choices, [])
      assert.strictEqual(last.usage.cost, helloCost)
    }).pipe(against({ ...one, emptyUsageChoices: true }))
  )

  it.live("stop at max_tokens", () =>
    Effect.gen(function* () {
      const { json } = yield* post("a", { ...hello, max_tokens: 2 })
      assert.strictEqual(json.choices[0].message.content, "You said")
      assert.strictEqual(json.choices[0].finish_reason, "length")
      assert.strictEqual(json.usage.completion_tokens, 2)
    }).pipe(against(one))
  )

  it.live("call a forced tool by its schema", () =>
    Effect.gen(function* () {
      const forced = { type: "function", function: { name: "weather" } }
      const { json } = yield* post("a", { ...hello, tools: [tool], tool_choice: forced })
      const [call] = json.choices[0].message.tool_calls
      assert.deepStrictEqual(call, {
        id: call.id,
        type: "function",
        function: { name: "weather", arguments: '{"city":"text"}' }
      })
      assert.strictEqual(json.choices[0].message.content, null)
      assert.strictEqual(json.choices[0].finish_reason, "tool_calls")
      const chunks = yield* Stream.runCollect(
        events("a", { ...hello, tools: [tool], tool_choice: "required" })
      )
      const delta = JSON.parse(chunks[0] ?? "").choices[0].delta
      assert.strictEqual(delta.tool_calls[0].index, 0)
      assert.deepStrictEqual(delta.tool_calls[0].function, { name: "weather", arguments: '{"city":"text"}' })
      const unforced = yield* post("a", { ...hello, tools: [tool] })
      assert.strictEqual(unforced.json.choices[0].message.content, "You said: hello")
    }).pipe(against(one))
  )

  it.live("answer a JSON schema with an instance", () =>
    Effect.gen(function* () {
      const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] }
      const format = { type: "json_schema", json_schema: { name: "x", strict: true, schema } }
      const { json } = yield* post("a", { ...hello, response_format: format })
      assert.strictEqual(json.choices[0].message.content, '{"ok":true}')
    }).pipe(against(one))
  )

  it.live("answer what the completion option says", () =>
    Effect.gen(function* () {
      const { json } = yield* post("a")
      assert.strictEqual(json.choices[0].message.content, "openai/gpt-4o-mini heard hello")
    }).pipe(against({ ...one, completion: (request) => `${request.model} heard ${request.lastUserMessage}` }))
  )

  it.live("fall back to the first known model", () =>
    Effect.gen(function* () {
      const { json } = yield* post("a", { ...hello, model: "no/such", models: ["deepseek/deepseek-chat"] })
      assert.strictEqual(json.model, "deepseek/deepseek-chat")
      const routed = yield* post("a", { ...hello, model: "openai/gpt-4o-mini:nitro" })
      assert.strictEqual(routed.json.model, "openai/gpt-4o-mini")
    }).pipe(against(one))
  )
})

describe("other skins", () => {
  it.live("/completions", () =>
    Effect.gen(function* () {
      const body = { model: hello.model, prompt: "hello" }
      const { json } = yield* post("a", body, "/completions")
      assert.strictEqual(json.object, "text_completion")
      assert.strictEqual(json.choices[0].text, "You said: hello")
      assert.deepStrictEqual(json.usage, usage)
      const chunks = yield* Stream.runCollect(events("a", body, "/completions"))
      const texts = chunks.slice(0, -1).map((data) => JSON.parse(data).choices[0].text)
      assert.strictEqual(texts.join(""), "You said: hello")
    }).pipe(against(one))
  )

  it.live("/responses", () =>
    Effect.gen(function* () {
      const body = { model: hello.model, input: "hello" }
      const { json } = yield* post("a", body, "/responses")
      assert.strictEqual(json.object, "response")
      assert.strictEqual(json.status, "completed")
      assert.strictEqual(json.output[0].content[0].text, "You said: hello")
      assert.strictEqual(json.usage.input_tokens, 2)
      assert.strictEqual(json.usage.output_tokens, 4)
      assert.strictEqual(json.usage.cost, helloCost)
      const chunks = yield* Stream.runCollect(events("a", body, "/responses"))
      assert.strictEqual(chunks.at(-1), "[DONE]")
      const parsed = chunks.slice(0, -1).map((data) => JSON.parse(data))
      assert.deepStrictEqual(
        parsed.map(({ type }) => type),
        [
          "response.created",
          "response.in_progress",
          "response.output_item.added",
          "response.output_text.delta",
          "response.output_text.delta",
          "response.output_text.delta",
          "response.output_text.done",
          "response.output_item.done",
          "response.completed"
        ]
      )
      assert.deepStrictEqual(
        parsed.map((event) => event.sequence_number),
        [0, 1, 2, 3, 4, 5, 6, 7, 8]
      )
      assert.strictEqual(parsed.at(-1).response.usage.cost, helloCost)
    }).pipe(against(one))
  )

  it.live("/messages", () =>
    Effect.gen(function* () {
      const { json } = yield* post("a", hello, "/messages")
      assert.strictEqual(json.type, "message")
      assert.deepStrictEqual(json.content, [{ type: "text", text: "You said: hello", citations: null }])
      assert.strictEqual(json.stop_reason, "end_turn")
      assert.strictEqual(json.usage.output_tokens, 4)
      assert.strictEqual(json.usage.cost, helloCost)
      const { text } = yield* post("a", { ...hello, stream: true }, "/messages")
      assert.deepStrictEqual(
        text.split("\n").filter((line) => line.startsWith("event: ")),
        [
          "event: message_start",
          "event: content_block_start",
          "event: content_block_delta",
          "event: content_block_delta",
          "event: content_block_delta",
          "event: content_block_stop",
          "event: message_delta",
          "event: message_stop"
        ]
      )
      const refused = yield* post("nobody", hello, "/messages")
      assert.strictEqual(refused.status, 401)
      assert.deepStrictEqual(refused.json, {
        type: "error",
        error: { type: "authentication_error", message: "User not found.", error_type: "authentication" },
        request_id: null
      })
    }).pipe(against(one))
  )

  it.live("/embeddings", () =>
    Effect.gen(function* () {
      const body = { model: "openai/text-embedding-3-small", input: ["hello", "other"], dimensions: 3 }
      const { json } = yield* post("a", body, "/embeddings")
      assert.strictEqual(json.object, "list")
      assert.deepStrictEqual(
        json.data.map((item: { index: number; embedding: ReadonlyArray<number> }) => [
          item.index,
          item.embedding.length
        ]),
        [
          [0, 3],
          [1, 3]
        ]
      )
      assert.notDeepEqual(json.data[0].embedding, json.data[1].embedding)
      assert.deepStrictEqual(json.usage, { prompt_tokens: 3, total_tokens: 3, cost: 0.00000006 })
      const again = yield* post("a", { ...body, input: "hello" }, "/embeddings")
      assert.deepStrictEqual(again.json.data[0].embedding, json.data[0].embedding)
      const base64 = yield* post("a", { ...body, input: "hello", encoding_format: "base64" }, "/embeddings")
      const bytes = Buffer.from(base64.json.data[0].embedding, "base64")
      assert.closeTo(bytes.readFloatLE(0), json.data[0].embedding[0], 1e-6)
    }).pipe(against(one))
  )
})

describe("reading", () => {
  it.effect("/key shows caps, spending and identity", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 10, 18, 13))
      yield* Effect.gen(function* () {
        yield* post("a")
        yield* post("a", { ...hello, model: "meta-llama/llama-3.3-70b-instruct:free" })
        const { json, status } = yield* get("a", "/key")
        assert.strictEqual(status, 200)
        assert.deepStrictEqual(json, {
          data: {
            label: `sk-or-v1-sim...${secretOf("a").slice(-3)}`,
            is_management_key: false,
            is_provisioning_key: false,
            limit: 10,
            limit_reset: "monthly",
            limit_remaining: 7.4999973,
            include_byok_in_limit: true,
            usage: 2.5000027,
            usage_daily: 2.5000027,
            usage_weekly: 2.5000027,
            usage_monthly: 2.5000027,
            byok_usage: 0,
            byok_usage_daily: 0,
            byok_usage_weekly: 0,
            byok_usage_monthly: 0,
            is_free_tier: true,
            creator_user_id: "user_1",
            expires_at: "2027-12-31T23:59:59.000Z",
            free_model_daily_requests: { limit: 50, used: 1, remaining: 49 },
            organization_id: "org_1",
            workspace_id: "ws_1",
            allowed_data_regions: ["global"],
            rate_limit: {
              requests: -1,
              interval: "10s",
              note: "This field is deprecated and safe to ignore."
            }
          }
        })
        // The month turns: the cap is whole again, the total stays.
        yield* TestClock.setTime(Date.UTC(2026, 11, 1))
        const later = (yield* get("a", "/key")).json.data
        assert.strictEqual(later.limit_remaining, 10)
        assert.strictEqual(later.usage, 2.5000027)
        assert.strictEqual(later.usage_monthly, 0)
        assert.strictEqual(later.free_model_daily_requests.used, 0)
      }).pipe(
        against({
          accounts: [{ name: "x", userId: "user_1", organizationId: "org_1", freeTier: true }],
          keys: [
            {
              name: "a",
              workspace: "ws_1",
              limit: 10,
              limitReset: "monthly",
              usage: 2.5,
              includeByokInLimit: true,
              expiresAt: "2027-12-31T23:59:59Z"
            }
          ]
        })
      )
    })
  )

  it.live("/key of a key without a cap has nulls", () =>
    Effect.gen(function* () {
      const { data } = (yield* get("a", "/key")).json
      assert.strictEqual(data.limit, null)
      assert.strictEqual(data.limit_remaining, null)
      assert.strictEqual(data.limit_reset, null)
      assert.strictEqual(data.expires_at, null)
      assert.strictEqual(data.organization_id, null)
    }).pipe(against(one))
  )

  it.effect("/key lags behind the spending", () =>
    Effect.gen(function* () {
      const remaining = Effect.map(get("a", "/key"), ({ json }) => json.data.limit_remaining)
      yield* post("a")
      assert.strictEqual(yield* remaining, 1)
      yield* TestClock.adjust("59 seconds")
      yield* post("a")
      assert.strictEqual(yield* remaining, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* remaining, 0.9999973)
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(yield* remaining, 0.9999946)
      const simulator = yield* Simulator.Simulator
      yield* post("a")
      const { keys } = yield* simulator.snapshot
      assert.strictEqual(keys[0]?.limitRemaining, 0.9999919)
    }).pipe(against({ keys: [{ name: "a", limit: 1 }], keyLag: "1 minute" }))
  )

  it.live("/models needs no key", () =>
    Effect.gen(function* () {
      const { json } = yield* get(undefined, "/models")
      assert.strictEqual(json.data.length, Simulator.defaultModels.length)
      assert.strictEqual(json.data[0].id, "openai/gpt-4o-mini")
      assert.strictEqual(json.data[0].pricing.prompt, "0.00000015")
      assert.strictEqual(json.data[0].context_length, 128_000)
      assert.strictEqual(json.data[3].pricing.prompt, "0")
    }).pipe(against(one))
  )

  it.live("/generation finds an answer for keys of the same account only", () =>
    Effect.gen(function* () {
      const { json } = yield* post("a")
      const found = yield* get("b", `/generation?id=${json.id}`)
      assert.strictEqual(found.json.data.id, json.id)
      assert.strictEqual(found.json.data.total_cost, helloCost)
      assert.strictEqual(found.json.data.tokens_completion, 4)
      assert.strictEqual(found.json.data.cancelled, false)
      const hidden = yield* get("other", `/generation?id=${json.id}`)
      assert.strictEqual(hidden.status, 404)
      assert.deepStrictEqual(hidden.json, {
        error: { message: `Generation ${json.id} not found`, code: 404 }
      })
      assert.strictEqual((yield* get("a", "/generation")).status, 400)
    }).pipe(
      against({
        accounts: [{ name: "x" }, { name: "y" }],
        keys: [{ name: "a" }, { name: "b" }, { name: "other", account: "y" }]
      })
    )
  )

  it.live("/credits is for management keys", () =>
    Effect.gen(function* () {
      yield* post("a")
      const refused = yield* get("a", "/credits")
      assert.strictEqual(refused.status, 403)
      assert.deepStrictEqual(refused.json, {
        error: { message: "Only management keys can perform this operation", code: 403 },
        user_id: "user_simulated_x"
      })
      const { json } = yield* get("m", "/credits")
      assert.deepStrictEqual(json, { data: { total_credits: 5, total_usage: helloCost } })
      assert.strictEqual((yield* post("m")).status, 403)
    }).pipe(
      against({
        accounts: [{ name: "x", balance: 5 }],
        keys: [{ name: "a" }, { name: "m", management: true }]
      })
    )
  )

  it.live("unknown paths are a JSON 404", () =>
    Effect.gen(function* () {
      const { json, status } = yield* get("a", "/nope")
      assert.strictEqual(status, 404)
      assert.deepStrictEqual(json, { error: { message: "Not Found", code: 404 } })
      // A known path with another method is unknown as well.
      assert.strictEqual((yield* post("a", {}, "/key")).status, 404)
    }).pipe(against(one))
  )
})

describe("authentication", () => {
  it.live("takes x-api-key", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      const response = yield* HttpClientRequest.get(`${simulator.baseUrl}/key`).pipe(
        HttpClientRequest.setHeader("x-api-key", secretOf("a")),
        HttpClient.execute
      )
      assert.strictEqual(response.status, 200)
      yield* response.text
    }).pipe(against(one))
  )

  it.live("names what is wrong with the credentials", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      const without = yield* get(undefined, "/key")
      assert.strictEqual(without.status, 401)
      assert.deepStrictEqual(without.json, { error: { message: "Missing Authentication header", code: 401 } })
      const basic = yield* HttpClientRequest.get(`${simulator.baseUrl}/key`).pipe(
        HttpClientRequest.setHeader("authorization", "Basic abc"),
        HttpClient.execute
      )
      assert.deepStrictEqual(yield* basic.json, { error: { message: "Invalid credentials", code: 401 } })
      const userNotFound = { error: { message: "User not found.", code: 401 } }
      for (const key of ["nobody", "off", "old"]) {
        assert.deepStrictEqual((yield* post(key)).json, userNotFound)
        assert.deepStrictEqual((yield* get(key, "/key")).json, userNotFound)
      }
    }).pipe(
      against({
        keys: [
          { name: "off", disabled: true },
          { name: "old", expiresAt: 1 }
        ]
      })
    )
  )

  it.live("accepts unknown keys when asked to, each as a key of its own", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      assert.strictEqual((yield* post("x")).status, 200)
      assert.strictEqual((yield* post("x")).status, 200)
      assert.strictEqual((yield* post("y")).status, 200)
      const { keys } = yield* simulator.snapshot
      assert.deepStrictEqual(
        keys.map(({ name, ok }) => [name, ok]),
        [
          ["unknown-1", 2],
          ["unknown-2", 1]
        ]
      )
    }).pipe(against({ keys: [], acceptUnknownKeys: true }))
  )

  it.live("serves the keys it names", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      assert.deepStrictEqual(
        simulator.keys.map(({ name }) => name),
        ["key-1", "key-2", "key-3"]
      )
      assert.strictEqual(String(simulator.keys[0]?.secret), "<redacted:key-1>")
      assert.match(simulator.baseUrl, /^http:\/\/127\.0\.0\.1:\d+\/api\/v1$/)
    }).pipe(Effect.provide(Simulator.layer()), Effect.provide(NodeHttpClient.layerUndici))
  )
})
