// The official client, pointed at the gateway.
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@evenkeel/testkit"
import { APIError } from "openai"
import { Effect } from "effect"
import { first, inWorld, messages, model, type World } from "./utils.ts"

const { actions, errors } = Simulator

const rejection = (promise: Promise<unknown>): Promise<APIError> =>
  promise.then(
    () => assert.fail("it should have been rejected"),
    (error: unknown) => {
      assert.instanceOf(error, APIError)
      return error
    }
  )

const streamed = async (world: World, signal?: AbortSignal): Promise<string> => {
  const stream = await world.openai().chat.completions.create({ model, messages, stream: true }, { signal })
  let said = ""
  for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? ""
  return said
}

describe("the official client", () => {
  it.live("a chat completion, whole, with the key, the attempts and the cost in its headers", () =>
    inWorld({}, async (world) => {
      const { data, response } = await world
        .openai()
        .chat.completions.create({ model, messages })
        .withResponse()
      assert.strictEqual(data.choices[0]!.message.content, "You said: hello")
      assert.match(response.headers.get("x-evenkeel-key")!, /^key-[123]$/)
      assert.strictEqual(response.headers.get("x-evenkeel-attempts"), "1")
      const { cost } = data.usage as unknown as { readonly cost: number }
      assert.strictEqual(Number(response.headers.get("x-evenkeel-cost")), cost)
      assert.isAbove(cost, 0)
    })
  )

  it.live("a chat completion, streamed", () =>
    inWorld({}, async (world) => assert.strictEqual(await streamed(world), "You said: hello"))
  )

  it.live("completions, embeddings, responses and models", () =>
    inWorld({}, async (world) => {
      const openai = world.openai()
      const text = await openai.completions.create({ model, prompt: "hello" })
      assert.strictEqual(text.choices[0]!.text, "You said: hello")
      const { data } = await openai.embeddings.create({ model, input: "hello", encoding_format: "float" })
      assert.isAbove(data[0]!.embedding.length, 0)
      const response = await openai.responses.create({ model, input: "hello" })
      assert.strictEqual(response.output_text, "You said: hello")
      const models = (await openai.models.list()).data
      assert.include(
        models.map(({ id }) => id),
        model
      )
      const one = await openai.models.retrieve(model)
      assert.deepInclude(one, { id: model, object: "model", owned_by: "openai" })
      assert.strictEqual((await rejection(openai.models.retrieve("no/such"))).code, "model_not_found")
    })
  )

  it.live(
    "a thousand requests, half of them streamed, are all answered",
    () =>
      inWorld({}, async (world) => {
        const openai = world.openai()
        let next = 0
        const worker = async () => {
          for (let i = next++; i < 1000; i = next++) {
            const said =
              i % 2 === 0
                ? await streamed(world)
                : (await openai.chat.completions.create({ model, messages })).choices[0]!.message.content
            assert.strictEqual(said, "You said: hello")
          }
        }
        await Promise.all(Array.from({ length: 20 }, worker))
        const { keys } = await world.run(world.pool.snapshot)
        assert.strictEqual(
          keys.reduce((sum, key) => sum + key.succeeded, 0),
          1000
        )
        for (const key of keys) assert.isAbove(key.succeeded, 200)
      }),
    120_000
  )

  it.live("a revoked key is none of the caller's business", () =>
    inWorld({ selector: first }, async (world) => {
      await world.run(world.simulator.revoke("key-1"))
      const { data, response } = await world
        .openai()
        .chat.completions.create({ model, messages })
        .withResponse()
      assert.strictEqual(data.choices[0]!.message.content, "You said: hello")
      assert.strictEqual(response.headers.get("x-evenkeel-key"), "key-2")
      assert.strictEqual(response.headers.get("x-evenkeel-attempts"), "2")
      assert.strictEqual(await streamed(world), "You said: hello")
    })
  )

  it.live("a model that OpenRouter does not know is the caller's fault, and said so", () =>
    inWorld({}, async (world) => {
      const error = await rejection(
        world.openai().chat.completions.create({ model: "no/such-model", messages })
      )
      assert.strictEqual(error.status, 400)
      assert.strictEqual(error.type, "invalid_request_error")
      assert.strictEqual(error.code, "model-not-found")
    })
  )

  it.live("an upstream that fails: the client does not retry on top", () =>
    inWorld({}, async (world) => {
      await world.run(world.simulator.fault({ action: errors.badGateway502() }))
      const error = await rejection(
        world.openai({ maxRetries: 2 }).chat.completions.create({ model, messages })
      )
      assert.strictEqual(error.status, 502)
      assert.strictEqual(error.headers!.get("x-should-retry"), "false")
      const requests = await world.run(world.simulator.requests)
      const trail = (error.error as any).metadata.evenkeel.attempts
      assert.strictEqual(trail.length, requests.length)
      assert.strictEqual(trail[0].status, 502)
    })
  )

  it.live("a dead upstream is a 502", () =>
    inWorld({ openrouter: { baseUrl: "http://127.0.0.1:9/api/v1" } }, async (world) => {
      const error = await rejection(world.openai().chat.completions.create({ model, messages }))
      assert.strictEqual(error.status, 502)
      assert.strictEqual(error.code, "upstream_unreachable")
    })
  )

  it.live("a stream that breaks ends with a typed error, after what was said", () =>
    inWorld({}, async (world) => {
      for (const [action, code] of [
        [actions.cut({ afterChunks: 2 }), "stream_broken"],
        [actions.truncate({ afterChunks: 2 }), "truncated"],
        [actions.midStreamError({ afterChunks: 2, code: 502 }), 502]
      ] as const) {
        await world.run(world.simulator.fault({ times: 1, action }))
        const stream = await world.openai().chat.completions.create({ model, messages, stream: true })
        let said = ""
        const error = await rejection(
          (async () => {
            for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? ""
          })()
        )
        assert.isAbove(said.length, 0)
        assert.isTrue("You said: hello".startsWith(said))
        assert.strictEqual(error.code as unknown, code)
        await world.idle()
      }
    })
  )

  it.live("a stream that fails before its first content is tried on another key", () =>
    inWorld({}, async (world) => {
      await world.run(world.simulator.fault({ times: 1, action: actions.firstEventError() }))
      assert.strictEqual(await streamed(world), "You said: hello")
    })
  )

  it.live("a client that goes away stops the upstream, and frees its key", () =>
    inWorld(
      { simulator: { chunkDelay: "20 millis", completion: () => "a long answer ".repeat(200) } },
      async (world) => {
        const controller = new AbortController()
        const stream = await world
          .openai()
          .chat.completions.create({ model, messages, stream: true }, { signal: controller.signal })
        for await (const chunk of stream) {
          if (chunk.choices[0]?.delta.content !== undefined) break
        }
        controller.abort()
        await world.idle()
        const [request] = await world.run(world.simulator.requests)
        assert.strictEqual(request!.aborted, true)
      }
    )
  )

  it.live("a client that goes away before the answer does too", () =>
    inWorld({ simulator: { latency: 60_000 } }, async (world) => {
      const controller = new AbortController()
      const answer = world
        .openai()
        .chat.completions.create({ model, messages }, { signal: controller.signal })
        .catch((error: unknown) => error)
      await world.run(
        Effect.asVoid(world.simulator.waitUntil(({ keys }) => keys.some(({ inFlight }) => inFlight > 0)))
      )
      controller.abort()
      assert.instanceOf(await answer, APIError)
      await world.idle()
    })
  )

  it.live("all keys out: why, for each key, and when to come back", () =>
    inWorld({}, async (world) => {
      for (const name of ["key-1", "key-2", "key-3"]) {
        await world.run(world.pool.bench({ scope: "key", id: name, reason: "throttled", for: "30 seconds" }))
      }
      const error = await rejection(world.openai().chat.completions.create({ model, messages }))
      assert.strictEqual(error.status, 429)
      assert.strictEqual(error.code, "rate_limit_exceeded")
      assert.isTrue([29, 30].includes(Number(error.headers!.get("retry-after"))))
      const { keys } = (error.error as any).metadata.evenkeel
      assert.deepStrictEqual(
        keys.map(({ id, reason }: any) => [id, reason]),
        [
          ["key-1", "throttled"],
          ["key-2", "throttled"],
          ["key-3", "throttled"]
        ]
      )
    })
  )

  it.live("keys that OpenRouter refuses are no 401, which would be about the caller's token", () =>
    inWorld({}, async (world) => {
      for (const name of ["key-1", "key-2", "key-3"]) await world.run(world.simulator.revoke(name))
      for (const _ of [1, 2]) {
        const error = await rejection(world.openai().chat.completions.create({ model, messages }))
        assert.strictEqual(error.status, 503)
        assert.strictEqual(error.code, "keys_rejected")
      }
    })
  )

  it.live("an empty account is told as OpenAI tells of one", () =>
    inWorld({ simulator: { accounts: [{ name: "a", balance: 0 }] } }, async (world) => {
      for (const _ of [1, 2]) {
        const error = await rejection(world.openai().chat.completions.create({ model, messages }))
        assert.strictEqual(error.status, 429)
        assert.strictEqual(error.code, "insufficient_quota")
      }
    })
  )

  it.live("a deadline that passes is a 504", () =>
    inWorld({ simulator: { latency: 60_000 }, openrouter: { timeout: "50 millis" } }, async (world) => {
      const error = await rejection(world.openai().chat.completions.create({ model, messages }))
      assert.strictEqual(error.status, 504)
      assert.strictEqual(error.code, "deadline_exceeded")
    })
  )
})
