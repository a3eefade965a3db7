// What each kind of event of the three skins tells: whether the stream has said anything yet, ended, cost, or failed.
import { assert, describe, it } from "@effect/vitest"
import { Classifier } from "@evenkeel/openrouter"
import { isWhole, StreamWatch } from "../src/internal/stream/watch.ts"

const now = Date.UTC(2026, 10, 21)

/** What the classifier's table calls an error: the names are its own business. */
const classOf = (error: object) =>
  Classifier.classify({ status: 200, headers: {}, body: { error } }, now)?.class
const gone = classOf({ code: 502, message: "Gone" })
const rejected = classOf({ code: 401, message: "User not found." })
const overloaded = classOf({ code: 529, message: "Overloaded" })

const chat = (choice: object, more: object = {}) =>
  JSON.stringify({
    id: "gen-1",
    object: "chat.completion.chunk",
    choices: [{ index: 0, ...choice }],
    ...more
  })

const delta = (fields: object, finish: string | null = null) =>
  chat({ delta: fields, finish_reason: finish, native_finish_reason: finish, logprobs: null })

const usage = { prompt_tokens: 9, completion_tokens: 10, total_tokens: 19, cost: 0.5 }

interface Told {
  readonly committed?: boolean
  readonly finished?: boolean
  readonly over?: boolean
  readonly cost?: number | undefined
  /** The class of the failure. */
  readonly failure?: string | undefined
}

const told = (watch: StreamWatch) => ({
  committed: watch.committed,
  finished: watch.finished,
  over: watch.over,
  cost: watch.cost,
  failure: watch.failure?.class
})

const nothing = { committed: false, finished: false, over: false, cost: undefined, failure: undefined }
const content = { ...nothing, committed: true }

/** What a watch knows after these events. */
const after = (...events: ReadonlyArray<string>) => {
  const watch = new StreamWatch(undefined)
  for (const event of events) watch.see(event, now)
  return watch
}

const tells = (name: string, events: string | ReadonlyArray<string>, expected: Told) =>
  it(`${name}`, () => {
    const list = typeof events === "string" ? [events] : events
    assert.deepStrictEqual(told(after(...list)), { ...nothing, ...expected })
  })

describe("before the commit point a chat stream", () => {
  tells("tells nothing by a role", delta({ role: "assistant" }), nothing)
  tells("tells nothing by empty content", delta({ role: "assistant", content: "" }), nothing)
  tells("tells nothing by content that is null", delta({ role: "assistant", content: null }), nothing)
  tells("tells nothing by an empty delta", delta({}), nothing)
  tells("tells nothing by a delta that is null", chat({ delta: null, finish_reason: null }), nothing)
  tells("tells nothing without a delta", chat({ finish_reason: null }), nothing)
  tells("tells nothing without choices", JSON.stringify({ id: "gen-1", choices: [] }), nothing)
  tells(
    "tells nothing by everything that is empty at once",
    delta({
      role: "assistant",
      content: "",
      refusal: null,
      reasoning: "",
      reasoning_details: [],
      tool_calls: [],
      annotations: []
    }),
    nothing
  )
  tells(
    "tells nothing by an error and a usage that are null",
    chat({ delta: {} }, { error: null, usage: null }),
    nothing
  )
})

describe("a chat stream commits", () => {
  for (const [name, fields] of Object.entries({
    text: { content: "x" },
    "a blank": { content: " " },
    reasoning: { reasoning: "hm" },
    "details of reasoning": { reasoning_details: [{ type: "reasoning.encrypted", data: "…" }] },
    "a call of a tool": { tool_calls: [{ index: 0, id: "call_1", function: { name: "f", arguments: "" } }] },
    "a refusal": { refusal: "No." },
    "an image": { images: [{ type: "image_url", image_url: { url: "data:image/png;base64,AA==" } }] },
    audio: { audio: { id: "audio_1", data: "AA==" } },
    "an annotation": { annotations: [{ type: "url_citation" }] },
    "a field that is new": { hologram: "∞" }
  })) {
    tells(`at ${name}`, delta({ role: "assistant", ...fields }), content)
  }
  tells(
    "at text in any of its choices",
    JSON.stringify({
      choices: [
        { index: 0, delta: {} },
        { index: 1, delta: { content: "x" } }
      ]
    }),
    content
  )
  tells("at a finish reason, which ends an empty answer", delta({ content: "" }, "stop"), {
    ...content,
    finished: true
  })
  tells("at usage", JSON.stringify({ choices: [], usage }), { ...content, cost: 0.5 })
  tells("at [DONE]", "[DONE]", { ...content, finished: true, over: true })
  tells("at what is no JSON", '{"id":"gen-', content)
  tells("at JSON that is no object", "[1]", content)
  tells("at an object of which nothing is known", JSON.stringify({ hello: "world" }), content)
  tells("once, and for good", [delta({ content: "x" }), delta({ role: "assistant" })], content)
  tells(
    "at the text of the legacy endpoint",
    JSON.stringify({ choices: [{ index: 0, text: "x", finish_reason: null }] }),
    content
  )
  tells(
    "not at its empty text",
    JSON.stringify({ choices: [{ index: 0, text: "", finish_reason: null }] }),
    nothing
  )
})

describe("a chat stream ends", () => {
  const text = delta({ content: "x" })
  for (const reason of ["stop", "length", "tool_calls", "content_filter", "brand_new"]) {
    tells(`with the finish reason ${reason}`, [text, delta({ content: "" }, reason)], {
      ...content,
      finished: true
    })
  }
  tells("not with a finish reason that is null", [text, delta({ content: "y" }, null)], content)
  tells(
    "however its JSON is spaced",
    [text, '{ "choices" : [ { "delta" : {}, "finish_reason" : "stop" } ] }'],
    {
      ...content,
      finished: true
    }
  )
  tells("over several lines", [text, JSON.stringify(JSON.parse(delta({}, "stop")), null, 2)], {
    ...content,
    finished: true
  })
  tells("with [DONE] alone", [text, "[DONE]"], { ...content, finished: true, over: true })
  tells("not with text that says so", [text, delta({ content: '[DONE] "finish_reason":"stop"' })], content)
  tells(
    "not with the arguments of a tool that say so",
    [
      text,
      delta({
        tool_calls: [{ index: 0, function: { arguments: '{"finish_reason":"stop","type":"message_stop"}' } }]
      })
    ],
    content
  )
})

describe("the cost", () => {
  const text = delta({ content: "x" })
  tells(
    "is in a usage with a choice",
    [text, chat({ delta: { content: "" }, finish_reason: "stop" }, { usage })],
    {
      ...content,
      finished: true,
      cost: 0.5
    }
  )
  tells("is in a usage without choices", [text, JSON.stringify({ choices: [], usage })], {
    ...content,
    cost: 0.5
  })
  tells(
    "is the last that was told",
    [
      text,
      JSON.stringify({ choices: [], usage: { ...usage, cost: 0.1 } }),
      JSON.stringify({ choices: [], usage })
    ],
    { ...content, cost: 0.5 }
  )
  tells(
    "is kept when a later usage does not tell it",
    [
      text,
      JSON.stringify({ choices: [], usage }),
      JSON.stringify({ choices: [], usage: { total_tokens: 19 } })
    ],
    { ...content, cost: 0.5 }
  )
  tells("may be 0", [text, JSON.stringify({ choices: [], usage: { ...usage, cost: 0 } })], {
    ...content,
    cost: 0
  })
  for (const cost of [null, -1, "0.5", undefined]) {
    tells(
      `is not told by ${String(cost)}`,
      [text, JSON.stringify({ choices: [], usage: { ...usage, cost } })],
      content
    )
  }
  tells("is not in text about usage", [text, delta({ content: '"usage": {"cost": 3}' })], content)

  it("comes with the usage that it is part of", () => {
    assert.deepStrictEqual(after(text, JSON.stringify({ choices: [], usage })).usage, usage)
  })
})

describe("a failure", () => {
  it("has a class of its own for each of the errors below", () => {
    assert.strictEqual(new Set([undefined, gone, rejected, overloaded]).size, 4)
  })

  const failing = (code: unknown, more: object = {}) =>
    chat({ delta: { content: "" }, finish_reason: "error" }, { error: { code, message: "Gone", ...more } })
  const text = delta({ content: "x" })

  tells("before anything was said leaves the stream uncommitted", failing(502), { failure: gone })
  tells(
    "stays one if the stream goes on as if it had ended",
    [failing(502), JSON.stringify({ choices: [], usage }), "[DONE]"],
    {
      over: true,
      cost: 0.5,
      failure: gone
    }
  )
  tells("behind text is one all the same", [text, failing(502)], { ...content, failure: gone })
  tells("may be all that its event has", [text, JSON.stringify({ error: { code: 502, message: "Gone" } })], {
    ...content,
    failure: gone
  })
  tells("may have a code in words", [text, failing("server_error")], { ...content, failure: gone })
  tells("may be that of a key", failing(401, { message: "User not found." }), { failure: rejected })
  tells(
    "may be in the choice",
    [text, chat({ delta: {}, finish_reason: "error", error: { code: 502, message: "Gone" } })],
    {
      ...content,
      failure: gone
    }
  )
  tells("may say nothing of itself but the finish reason", [text, delta({}, "error")], {
    ...content,
    failure: gone
  })
  tells("keeps the cost that came before it", [text, JSON.stringify({ choices: [], usage }), failing(502)], {
    ...content,
    cost: 0.5,
    failure: gone
  })
  tells(
    "is not text that tells of errors",
    [text, delta({ content: '{"error": {"code": 402}} "error" error' })],
    content
  )
  tells("is not the first text that tells of errors", delta({ content: '"error"' }), content)
  tells("is not an error that is null", [text, chat({ delta: { content: "y" } }, { error: null })], content)

  it("is told with its event", () => {
    const watch = new StreamWatch(undefined)
    assert.isUndefined(watch.see(text, now).failure)
    assert.strictEqual(watch.see(failing(502), now).failure?.facts.message, "Gone")
  })

  it("is what the user's rows say it is", () => {
    const watch = new StreamWatch([
      {
        class: "mine",
        status: (status) => status === 502,
        scope: "key",
        reason: "rejected",
        retryable: "rotate",
        confidence: "stated"
      }
    ])
    assert.strictEqual(watch.see(failing(502), now).failure?.class, "mine")
  })
})

describe("a stream of /responses", () => {
  const event = (type: string, more: object = {}) => JSON.stringify({ type, ...more, sequence_number: 1 })
  const response = (status: string, more: object = {}) => ({
    response: { id: "gen-1", object: "response", status, error: null, usage: null, output: [], ...more }
  })
  const spoken = event("response.output_text.delta", { delta: "x" })
  const started = [
    event("response.created", response("in_progress")),
    event("response.queued", response("queued")),
    event("response.in_progress", response("in_progress")),
    event("response.output_item.added", { item: { type: "message", content: [] } }),
    event("response.content_part.added", { part: { type: "output_text", text: "" } })
  ]

  tells("has said nothing until its first delta", started, nothing)
  tells("commits at text", [...started, spoken], content)
  tells("commits at reasoning", event("response.reasoning_text.delta", { delta: "hm" }), content)
  tells("commits at arguments", event("response.function_call_arguments.delta", { delta: "{" }), content)
  tells("commits at a refusal", event("response.refusal.delta", { delta: "No." }), content)
  tells(
    "ends with response.completed, and its cost",
    [spoken, event("response.completed", response("completed", { usage: { input_tokens: 1, cost: 0.5 } }))],
    {
      ...content,
      finished: true,
      cost: 0.5
    }
  )
  tells("ends with response.incomplete", [spoken, event("response.incomplete", response("incomplete"))], {
    ...content,
    finished: true
  })
  tells(
    "does not end with the end of a part",
    [spoken, event("response.output_text.done", { text: "x" })],
    content
  )
  tells(
    "does not end with text that says so",
    [spoken, event("response.output_text.delta", { delta: '"type":"response.completed"' })],
    content
  )
  tells(
    "fails with response.failed",
    [
      spoken,
      event("response.failed", response("failed", { error: { code: "server_error", message: "Gone" } }))
    ],
    {
      ...content,
      failure: gone
    }
  )
  tells("fails with an error on top", [spoken, event("error", { code: "server_error", message: "Gone" })], {
    ...content,
    failure: gone
  })
  tells(
    "fails with response.error",
    [spoken, event("response.error", { error: { code: 502, message: "Gone" } })],
    {
      ...content,
      failure: gone
    }
  )
  tells(
    "fails uncommitted behind its announcements",
    [
      ...started,
      event("response.failed", response("failed", { error: { code: 401, message: "User not found." } }))
    ],
    { failure: rejected }
  )
  tells(
    "fails with what it had cost",
    [
      spoken,
      event(
        "response.failed",
        response("failed", { error: { code: 502, message: "Gone" }, usage: { cost: 0.5 } })
      )
    ],
    { ...content, cost: 0.5, failure: gone }
  )
})

describe("a stream of /messages", () => {
  const event = (type: string, more: object = {}) => JSON.stringify({ type, ...more })
  const started = [
    event("message_start", {
      message: {
        id: "gen-1",
        role: "assistant",
        content: [],
        usage: { input_tokens: 3, output_tokens: 0, cost: 0 }
      }
    }),
    event("ping"),
    event("content_block_start", { index: 0, content_block: { type: "text", text: "" } })
  ]
  const spoken = event("content_block_delta", { index: 0, delta: { type: "text_delta", text: "x" } })

  // What its start says of usage is no bill: who goes away now is still billed for what comes.
  tells("has said nothing, and cost nothing, until its first delta", started, nothing)
  tells("commits at text", [...started, spoken], content)
  tells(
    "commits at thinking",
    event("content_block_delta", { delta: { type: "thinking_delta", thinking: "hm" } }),
    content
  )
  tells(
    "commits at the input of a tool",
    event("content_block_delta", { delta: { type: "input_json_delta", partial_json: "{" } }),
    content
  )
  tells(
    "has its cost in message_delta, which is not the end",
    [
      spoken,
      event("message_delta", { delta: { stop_reason: "end_turn" }, usage: { output_tokens: 4, cost: 0.5 } })
    ],
    { ...content, cost: 0.5 }
  )
  tells("ends with message_stop", [spoken, event("message_stop")], { ...content, finished: true, over: true })
  tells("does not end with the end of a block", [spoken, event("content_block_stop", { index: 0 })], content)
  tells(
    "fails with an error",
    [spoken, event("error", { error: { type: "overloaded_error", message: "Overloaded" } })],
    {
      ...content,
      failure: overloaded
    }
  )
  tells(
    "fails uncommitted behind its announcements",
    [...started, event("error", { error: { type: "authentication_error", message: "User not found." } })],
    { failure: rejected }
  )
  tells(
    "is not ended by text that says so",
    [spoken, event("content_block_delta", { delta: { text: '{"type":"message_stop"}' } })],
    content
  )
})

describe("events behind the first content", () => {
  it("are parsed only where they can matter", () => {
    const watch = after(delta({ content: "x" }))
    const text = delta({ content: "y" })
    assert.deepStrictEqual(watch.see(text, now), { data: text, body: undefined, failure: undefined })
    assert.isObject(watch.see(delta({}, "stop"), now).body)
  })
})

describe("the last event", () => {
  it("is whole if it is JSON or [DONE]", () => {
    assert.deepStrictEqual(
      ["[DONE]", delta({ content: "x" }), delta({ content: "x" }).slice(0, -1), "[DO", ""].map(isWhole),
      [true, true, false, false, false]
    )
  })
})
