import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Random, Stream } from "effect"
import { HttpClientError } from "effect/http"
import { TestClock } from "effect/testing"
import { against, contentOf, events, execute, get, hello, helloCost, post } from "./support.ts"

const { actions, errors } = Simulator
const two = { keys: [{ name: "a" }, { name: "b" }] }

const streamed = { ...hello, stream: true }

const lastRecord = Effect.gen(function* () {
  const simulator = yield* Simulator.Simulator
  const record = (yield* simulator.requests).at(-1)
  assert.isDefined(record)
  return record
})

const script = (rule: Simulator.FaultRule) => Simulator.Simulator.use((simulator) => simulator.fault(rule))

describe("actions", () => {
  it.live("reset: the connection breaks before an answer", () =>
    Effect.gen(function* () {
      yield* script({ times: 1, action: actions.reset })
      const error = yield* Effect.flip(post("a"))
      assert.isTrue(HttpClientError.isHttpClientError(error) && error.reason._tag === "TransportError")
      const record = yield* lastRecord
      assert.strictEqual(record.status, undefined)
      assert.strictEqual(record.fault, "Reset")
      assert.strictEqual(record.cost, 0)
      assert.strictEqual((yield* post("a")).status, 200)
    }).pipe(against(two))
  )

  it.live("stall: nothing comes until the client gives up, and nothing is billed", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* script({ match: { key: "a" }, action: actions.stall() })
      const fiber = yield* Effect.forkChild(post("a"), { startImmediately: true })
      yield* simulator.waitUntil(({ inFlight }) => inFlight === 1)
      assert.strictEqual((yield* post("b")).status, 200)
      yield* Fiber.interrupt(fiber)
      const { keys } = yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
      assert.strictEqual(keys[0]?.aborted, 1)
      assert.strictEqual(keys[0]?.usage, 0)
      assert.strictEqual((yield* lastRecord).aborted, true)
    }).pipe(against(two))
  )

  it.effect("stall for a time: the answer comes late", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* script({ action: actions.stall("10 seconds") })
      const fiber = yield* Effect.forkChild(post("a"), { startImmediately: true })
      yield* simulator.waitUntil(({ inFlight }) => inFlight === 1)
      // The sleep begins after the body has been read, so the clock is moved until the answer is there.
      const reply = yield* Effect.raceFirst(
        Fiber.join(fiber),
        Effect.forever(Effect.andThen(TestClock.adjust("1 second"), TestClock.withLive(Effect.sleep(1))))
      )
      assert.strictEqual(reply.json.choices[0].message.content, "You said: hello")
      const record = yield* lastRecord
      assert.isAtLeast(record.endedAt - record.startedAt, 10_000)
    }).pipe(against(two))
  )

  it.live("garbage: a 200 that cannot be parsed", () =>
    Effect.gen(function* () {
      yield* script({ action: actions.garbage })
      const plain = yield* post("a")
      assert.strictEqual(plain.status, 200)
      assert.strictEqual(plain.headers["content-type"], "application/json")
      assert.strictEqual(plain.text, '{"id":"gen-')
      const stream = yield* post("a", streamed)
      assert.strictEqual(stream.headers["content-type"], "text/event-stream")
      assert.strictEqual(stream.text, 'data: {"id":"gen-\n\n')
    }).pipe(against(two))
  )

  it.live("okWithErrorBody: a 200 with an error and no choices", () =>
    Effect.gen(function* () {
      yield* script({ action: actions.okWithErrorBody({ code: 429, message: "Rate limit exceeded" }) })
      for (const body of [hello, streamed]) {
        const { headers, json, status } = yield* post("a", body)
        assert.strictEqual(status, 200)
        assert.strictEqual(headers["content-type"], "application/json")
        assert.deepStrictEqual(json, {
          id: headers["x-generation-id"],
          error: { code: 429, message: "Rate limit exceeded" }
        })
      }
      const record = yield* lastRecord
      assert.strictEqual(record.code, 429)
      assert.strictEqual(record.cost, 0)
    }).pipe(against(two))
  )

  it.live("choiceError: partial content and an error in the choice", () =>
    Effect.gen(function* () {
      yield* script({ action: actions.choiceError({ code: 502, message: "Upstream error" }) })
      const { json, status } = yield* post("a")
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(json.choices, [
        {
          logprobs: null,
          finish_reason: "error",
          native_finish_reason: "error",
          index: 0,
          error: { code: 502, message: "Upstream error" },
          message: { role: "assistant", content: "You sai", refusal: null, reasoning: null }
        }
      ])
      assert.strictEqual(json.usage.completion_tokens, 2)
      const { keys } = yield* (yield* Simulator.Simulator).snapshot
      assert.deepStrictEqual(keys[0]?.failed, { "200": 1 })
      // Streams have no choice that could hold it.
      assert.include((yield* post("a", streamed)).text, "[DONE]")
    }).pipe(against(two))
  )

  it.live("firstEventError: the first and only event is an error", () =>
    Effect.gen(function* () {
      yield* script({ action: actions.firstEventError() })
      const all = yield* Stream.runCollect(events("a"))
      assert.strictEqual(all.length, 1)
      const event = JSON.parse(all[0] ?? "")
      assert.deepStrictEqual(event, {
        id: event.id,
        provider: "OpenAI",
        model: "openai/gpt-4o-mini",
        object: "chat.completion.chunk",
        created: event.created,
        error: { code: 429, message: "Rate limit exceeded", metadata: { error_type: "rate_limit_exceeded" } },
        choices: [{ index: 0, delta: { content: "" }, finish_reason: "error" }]
      })
      assert.strictEqual((yield* lastRecord).cost, 0)
      // Requests that are no streams do not meet it.
      assert.strictEqual((yield* post("a")).json.choices[0].finish_reason, "stop")
    }).pipe(against(two))
  )

  it.live("midStreamError: an error after content, billed for what came before", () =>
    Effect.gen(function* () {
      yield* script({ times: 1, action: actions.midStreamError({ afterChunks: 2 }) })
      yield* script({
        action: actions.midStreamError({ code: 429, message: "slow", afterChunks: 1, done: true })
      })
      const all = yield* Stream.runCollect(events("a"))
      assert.deepStrictEqual(all.slice(0, -1).map(contentOf), ["You", " said:"])
      const last = JSON.parse(all.at(-1) ?? "")
      assert.deepStrictEqual(last.error, {
        code: "server_error",
        message: "Provider disconnected unexpectedly"
      })
      assert.deepStrictEqual(last.choices, [{ index: 0, delta: { content: "" }, finish_reason: "error" }])
      const record = yield* lastRecord
      assert.strictEqual(record.code, "server_error")
      // "You said:" are 3 tokens.
      assert.strictEqual(record.completionTokens, 3)
      assert.strictEqual(record.cost, 0.0000021)
      const second = yield* Stream.runCollect(events("a"))
      assert.strictEqual(second.length, 3)
      assert.strictEqual(JSON.parse(second[1] ?? "").error.code, 429)
      assert.strictEqual(second[2], "[DONE]")
    }).pipe(against(two))
  )

  it.live("midStreamError in the other skins", () =>
    Effect.gen(function* () {
      yield* script({ action: actions.midStreamError({ afterChunks: 1, code: 502, message: "gone" }) })
      const responses = yield* Stream.runCollect(
        events("a", { model: hello.model, input: "hello" }, "/responses")
      )
      const failed = JSON.parse(responses.at(-1) ?? "")
      assert.strictEqual(failed.type, "response.failed")
      assert.deepStrictEqual(failed.response.error, { code: 502, message: "gone" })
      const messages = yield* Stream.runCollect(events("a", hello, "/messages"))
      assert.deepStrictEqual(JSON.parse(messages.at(-1) ?? ""), {
        type: "error",
        error: { type: "api_error", message: "gone", error_type: "provider_unavailable" },
        request_id: null
      })
    }).pipe(against(two))
  )

  it.live("truncate: the stream ends in good order, without finish and [DONE]", () =>
    Effect.gen(function* () {
      yield* script({ action: actions.truncate({ afterChunks: 2 }) })
      const all = yield* Stream.runCollect(events("a"))
      assert.deepStrictEqual(all.map(contentOf), ["You", " said:"])
      assert.strictEqual((yield* lastRecord).code, "truncated")
    }).pipe(against(two))
  )

  it.live("cut: the body breaks off, after the chunks have arrived", () =>
    Effect.gen(function* () {
      yield* script({ action: actions.cut({ afterChunks: 2 }) })
      const seen: Array<string> = []
      const error = yield* events("a").pipe(
        Stream.runForEach((data) => Effect.sync(() => seen.push(contentOf(data)))),
        Effect.flip
      )
      assert.isTrue(HttpClientError.isHttpClientError(error))
      assert.deepStrictEqual(seen, ["You", " said:"])
      assert.strictEqual((yield* lastRecord).cost, 0.0000021)
      const whole = yield* execute("a", hello, "/chat/completions")
      assert.strictEqual(whole.status, 200)
      assert.isTrue(HttpClientError.isHttpClientError(yield* Effect.flip(whole.json)))
      // A whole answer was made, whether it arrived or not.
      assert.strictEqual((yield* lastRecord).cost, helloCost)
    }).pipe(against(two))
  )

  it.live("hang: silence or comments after some chunks, until the client gives up", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* script({ times: 1, action: actions.hang({ afterChunks: 2 }) })
      yield* script({ action: actions.hang({ afterChunks: 1, comments: "5 millis" }) })
      assert.deepStrictEqual(
        yield* events("a").pipe(Stream.take(2), Stream.map(contentOf), Stream.runCollect),
        ["You", " said:"]
      )
      const { keys } = yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
      assert.strictEqual(keys[0]?.aborted, 1)
      assert.strictEqual((yield* lastRecord).completionTokens, 3)
      const response = yield* execute("a", streamed, "/chat/completions")
      const text = yield* response.stream.pipe(
        Stream.decodeText(),
        Stream.scan(
          () => "",
          (all: string, part: string) => all + part
        ),
        Stream.takeUntil((all) => all.split(": OPENROUTER PROCESSING\n\n").length > 3),
        Stream.runLast
      )
      assert.isTrue(text._tag === "Some" && text.value.includes('"content":"You"'))
    }).pipe(against(two))
  )

  it.live("slowBody: the same bytes, in pieces", () =>
    Effect.gen(function* () {
      yield* script({ action: actions.slowBody("2 millis") })
      const plain = yield* post("a")
      assert.strictEqual(plain.json.choices[0].message.content, "You said: hello")
      assert.strictEqual(plain.headers["transfer-encoding"], "chunked")
      const stream = yield* Stream.runCollect(events("a"))
      assert.strictEqual(stream.at(-1), "[DONE]")
      const { keys } = yield* (yield* Simulator.Simulator).snapshot
      assert.strictEqual(keys[0]?.ok, 2)
      assert.strictEqual(keys[0]?.usage, helloCost * 2)
    }).pipe(against(two))
  )

  it.live("emptyCompletion: no content, and no charge", () =>
    Effect.gen(function* () {
      yield* script({ action: actions.emptyCompletion })
      const { json } = yield* post("a")
      assert.strictEqual(json.choices[0].message.content, "")
      assert.strictEqual(json.usage.completion_tokens, 0)
      assert.strictEqual(json.usage.cost, 0)
      const { keys } = yield* (yield* Simulator.Simulator).snapshot
      assert.strictEqual(keys[0]?.usage, 0)
    }).pipe(against(two))
  )
})

const statuses = (count: number) =>
  Effect.map(Effect.replicateEffect(post("a"), count), (replies) => replies.map(({ status }) => status))

describe("rules", () => {
  it.live("after, times, hits and remove", () =>
    Effect.gen(function* () {
      const fault = yield* script({ after: 1, times: 2, action: errors.internal500() })
      assert.deepStrictEqual(yield* statuses(5), [200, 500, 500, 200, 200])
      assert.strictEqual(yield* fault.hits, 2)
      const other = yield* script({ action: errors.internal500() })
      assert.deepStrictEqual(yield* statuses(1), [500])
      yield* other.remove
      assert.deepStrictEqual(yield* statuses(1), [200])
    }).pipe(against(two))
  )

  it.live("match by key, account, model, path, stream and predicate", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      const only = Effect.fnUntraced(function* (match: Simulator.FaultMatch) {
        yield* simulator.clearFaults
        const fault = yield* simulator.fault({ match, action: errors.internal500() })
        yield* post("a")
        yield* post("b", { ...hello, model: "deepseek/deepseek-chat" })
        yield* post("c", streamed)
        yield* get("a", "/key")
        return yield* fault.hits
      })
      assert.strictEqual(yield* only({}), 3)
      assert.strictEqual(yield* only({ key: "a" }), 1)
      assert.strictEqual(yield* only({ key: ["a", "b"] }), 2)
      assert.strictEqual(yield* only({ account: "y" }), 1)
      assert.strictEqual(yield* only({ model: "deepseek/deepseek-chat" }), 1)
      assert.strictEqual(yield* only({ path: "/key" }), 1)
      assert.strictEqual(yield* only({ path: "*" }), 4)
      assert.strictEqual(yield* only({ key: "a", path: "*" }), 2)
      assert.strictEqual(yield* only({ stream: true }), 1)
      assert.strictEqual(yield* only({ stream: false }), 2)
      assert.strictEqual(yield* only({ predicate: ({ account, key }) => account === "x" && key !== "a" }), 1)
    }).pipe(
      against({
        accounts: [{ name: "x" }, { name: "y" }],
        keys: [{ name: "a" }, { name: "b" }, { name: "c", account: "y" }]
      })
    )
  )

  it.live("the first rule added wins", () =>
    Effect.gen(function* () {
      yield* script({ times: 1, action: errors.internal500() })
      yield* script({ action: errors.badGateway502() })
      assert.deepStrictEqual(yield* statuses(2), [500, 502])
    }).pipe(against(two))
  )

  it.effect("during holds from and until its times", () =>
    Effect.gen(function* () {
      yield* script({ during: { from: "10 seconds", until: "20 seconds" }, action: errors.internal500() })
      assert.deepStrictEqual(yield* statuses(1), [200])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* statuses(1), [500])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* statuses(1), [200])
    }).pipe(against(two))
  )

  it.live("probability draws from Random: the same seed gives the same faults", () =>
    Effect.gen(function* () {
      const run = Effect.gen(function* () {
        yield* script({ probability: 0.5, action: errors.internal500() })
        return yield* statuses(40)
      }).pipe(against(two), Random.withSeed("seed"))
      const first = yield* run
      const failures = first.filter((status) => status === 500).length
      assert.isAbove(failures, 5)
      assert.isBelow(failures, 35)
      assert.deepStrictEqual(yield* run, first)
    })
  )

  it.live("a refused request does not use up a rule about answers", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.setKey("a", { limit: 0 })
      const fault = yield* script({ times: 1, action: actions.emptyCompletion })
      assert.strictEqual((yield* post("a")).status, 403)
      assert.strictEqual(yield* fault.hits, 0)
      assert.strictEqual((yield* post("b")).json.choices[0].message.content, "")
    }).pipe(against(two))
  )
})
