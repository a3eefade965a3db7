import { OpenRouterFetch } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI, { APIError } from "openai"
import { chat, fetching, impatient, json, rejection, served } from "./fetching.ts"
import { hello, keys, leaksOf, met, secretOf } from "./utils.ts"

const { actions, errors } = Simulator

const bodyOf = async (answer: Response): Promise<any> => answer.json()

describe("OpenRouterFetch: options", () => {
  it.live("a deadline that has passed is a 504 in OpenRouter's shape, with the trail and no secret", () =>
    fetching({ timeout: "1500 millis", traits: { a: { account: "one" } } }, async (world) => {
      const { chat, run, simulator } = world
      await run(simulator.revoke("a"))
      await run(simulator.fault({ match: { key: "b" }, action: actions.stall() }))
      const answer = await chat()
      assert.strictEqual(answer.status, 504)
      assert.strictEqual(answer.headers.get("x-should-retry"), "false")
      const body = await bodyOf(answer)
      assert.deepInclude(body.error, { code: 504 })
      const { error_type, evenkeel } = body.error.metadata
      assert.strictEqual(error_type, "timeout")
      assert.deepInclude(evenkeel, { timeout_ms: 1500, in_flight: "b" })
      const [{ delay_ms, duration_ms, ...attempt }, ...more] = evenkeel.attempts
      assert.deepStrictEqual(more, [])
      assert.isAtLeast(delay_ms, 0)
      assert.isAtLeast(duration_ms, 0)
      assert.deepStrictEqual(attempt, {
        key: "a",
        account: "one",
        model: hello.model,
        scope: "key",
        class: "key-rejected",
        status: 401
      })
      for (const name of ["a", "b"]) assert.isEmpty(leaksOf(JSON.stringify(body), secretOf(name)))
    })
  )

  it.live("a deadline that has passed is the last word for the SDK of OpenAI", () =>
    fetching({ timeout: "150 millis" }, async ({ baseUrl, fetch, run, simulator }) => {
      const stalled = await run(simulator.fault({ action: actions.stall() }))
      const openai = new OpenAI({ baseURL: baseUrl, apiKey: "unused", fetch, maxRetries: 5 })
      const error = await rejection(
        openai.chat.completions.create({ model: hello.model, messages: [{ role: "user", content: "hello" }] })
      )
      assert.instanceOf(error, APIError)
      assert.strictEqual(error.status, 504)
      assert.strictEqual(await run(stalled.hits), 1)
    })
  )

  it.live("a deadline holds up to the first content of a stream, and no longer", () =>
    fetching({ timeout: "200 millis" }, async ({ chat, run, simulator }) => {
      await run(simulator.fault({ action: actions.slowBody("120 millis") }))
      const answer = await chat({ stream: true })
      assert.strictEqual(answer.status, 200)
      assert.include(await answer.text(), "[DONE]")
    })
  )

  it.live("a refusal tells what the request met", () =>
    fetching({}, async ({ chat, run, simulator }) => {
      for (const name of ["a", "b"]) await run(simulator.revoke(name))
      const { error } = await bodyOf(await chat())
      assert.deepStrictEqual(
        error.metadata.evenkeel.attempts.map(
          ({ class: name, key, status }: any) => `${key} ${status} ${name}`
        ),
        ["a 401 key-rejected", "b 401 key-rejected"]
      )
    })
  )

  it.live("OpenRouter's own error comes as it is, unless it was not the first attempt", () =>
    fetching({}, async ({ chat, run, simulator }) => {
      await run(simulator.fault({ action: errors.badRequest400("Odd") }))
      const plain = await bodyOf(await chat())
      assert.isUndefined(plain.error.metadata?.evenkeel)
      await run(simulator.revoke("a"))
      await run(simulator.clearFaults)
      await run(simulator.fault({ match: { key: "b" }, action: errors.badRequest400("Odd") }))
      const answer = await chat()
      assert.strictEqual(answer.status, 400)
      const { error, ...rest } = await bodyOf(answer)
      assert.strictEqual(error.message, plain.error.message)
      assert.deepStrictEqual(
        Object.keys(rest),
        Object.keys(plain).filter((name) => name !== "error")
      )
      assert.deepStrictEqual(
        error.metadata.evenkeel.attempts.map(({ key, scope, status }: any) => `${key} ${scope} ${status}`),
        ["a key 401", "b request 400"]
      )
    })
  )

  it.live("nobody waits longer than `maxWait`", () =>
    fetching(
      { maxWait: 0, simulator: { keys: keys("a") }, traits: { a: { maxInFlight: 1 } } },
      async (world) => {
        const open = await world.chat({ stream: true })
        assert.strictEqual((await world.chat()).status, 429)
        await open.body!.cancel()
      }
    )
  )

  it.live("another model serves for one that is out, and no body is changed besides", () =>
    served(
      (response, _, body) => {
        const { model } = JSON.parse(body)
        if (model === "x/one") response.writeHead(503, { "content-type": "application/json" }).end("{}")
        else json(response, { model })
      },
      { fallbacks: { "x/one": ["x/two"] }, breaker: false },
      async ({ baseUrl, fetch, seen }) => {
        const sent = chat({ model: "x/one" })
        const answer = await fetch(`${baseUrl}/chat/completions`, sent)
        assert.deepStrictEqual(await answer.json(), { model: "x/two" })
        assert.strictEqual(seen[0]!.body, sent.body)
        assert.deepStrictEqual(JSON.parse(seen[1]!.body), {
          ...JSON.parse(sent.body as string),
          model: "x/two"
        })
        assert.strictEqual(Number(seen[1]!.headers["content-length"]), seen[1]!.body.length)
      }
    )
  )

  it.live("a slow request is hedged where that is asked for", () =>
    fetching(
      { hedge: { minimumSamples: 1, minDelay: "30 millis", budget: false }, retry: impatient },
      async ({ chat, idle, run, simulator }) => {
        await (await chat()).text()
        await run(simulator.fault({ match: { key: "a" }, action: actions.stall() }))
        const answer = await chat()
        assert.strictEqual(answer.status, 200)
        await answer.text()
        await idle()
        assert.deepStrictEqual(await run(met(simulator)), [2, 1])
      }
    )
  )

  for (const [what, options, message] of [
    ["a deadline below 0", { timeout: -1 }, /timeout must be/],
    ["a wait below 0", { maxWait: -1 }, /maxWait must be/],
    ["a hedge beyond all answers", { hedge: { percentile: 2 } }, /Hedge: percentile must be/]
  ] as const) {
    it.live(`refuses ${what}`, () =>
      Effect.promise(async () => {
        const made = OpenRouterFetch.make({ keys: [secretOf("a")], credits: false, ...options })
        assert.match((await rejection(made)).message, message)
      })
    )
  }
})
