// A chat completion as a stream of chunks: over real HTTP, against the simulator, or against a server of the test's own
// where it must send what the simulator does not.
import { Credits, Errors, Permits } from "@evenkeel/core"
import { ChatChunk, type ChatRequest } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Schedule, Stream } from "effect"
import { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import {
  begin,
  broken,
  counted,
  data,
  delta,
  done,
  failing,
  finished,
  prompt,
  reasonOf,
  said,
  streaming,
  type StreamWorld,
  usage,
  withServer
} from "./streams.ts"
import {
  benched,
  eventually,
  hello,
  helloCost,
  idle,
  impatient,
  inFlight,
  keys,
  met,
  post,
  secretOf,
  stateOf,
  watchedPolicy,
  type World
} from "./utils.ts"

const { actions, errors } = Simulator

const answer = "You said: hello"

const textOf = <E, R>(stream: Stream.Stream<ChatChunk.ChatChunk, E, R>) =>
  Effect.map(Stream.runCollect(stream), (chunks) => chunks.map(ChatChunk.text).join(""))

/** How the uses of a key ended. */
const ends = (pool: World["pool"], id = "a") =>
  Effect.map(stateOf(pool, id), ({ faulted, ignored, inFlight, succeeded }) => ({
    inFlight,
    succeeded,
    faulted,
    ignored
  }))

const none = { inFlight: 0, succeeded: 0, faulted: 0, ignored: 0 }

const words = (count: number, fields: Partial<ChatRequest.ChatRequest> = {}): ChatRequest.ChatRequest => ({
  ...hello,
  max_tokens: undefined,
  ...fields,
  messages: [{ role: "user", content: Array.from({ length: count }, (_, n) => n).join(" ") }]
})

describe("the chunks", () => {
  for (const emptyUsageChoices of [false, true]) {
    it.live(
      `are the text, and at the end the usage, ${emptyUsageChoices ? "without" : "with"} a choice`,
      () =>
        streaming({ simulator: { keys: keys("a b"), emptyUsageChoices } }, function* ({ chatStream, pool }) {
          const chunks = yield* Stream.runCollect(chatStream(prompt))
          assert.deepStrictEqual(
            chunks.map(ChatChunk.text).filter((text) => text !== ""),
            ["You", " said:", " hello"]
          )
          assert.deepStrictEqual(
            chunks.map((chunk) => chunk.usage?.cost),
            [undefined, undefined, undefined, undefined, helloCost]
          )
          assert.strictEqual(chunks.at(-1)!.choices!.length, emptyUsageChoices ? 0 : 1)
          assert.deepStrictEqual(yield* ends(pool), { ...none, succeeded: 1 })
          assert.closeTo((yield* stateOf(pool, "a")).spent, helloCost, 1e-12)
        })
    )
  }

  it.live("are reasoning, refusals, calls of tools and whatever else the model sends", () =>
    withServer(
      (response) =>
        begin(response).end(
          [
            { role: "assistant", reasoning: "Let me think" },
            { content: null, reasoning_details: [{ type: "reasoning.text", text: "…" }] },
            { refusal: "No." },
            {
              tool_calls: [
                { index: 0, id: "call_1", type: "function", function: { name: "f", arguments: "" } }
              ]
            },
            { tool_calls: [{ index: 0, function: { arguments: '{"a":' } }] },
            { tool_calls: [{ index: 0, function: { arguments: "1}" } }] },
            { images: [{ type: "image_url", image_url: { url: "data:," } }] }
          ]
            .map((fields) => data(delta(fields)))
            .join("") +
            finished +
            counted +
            done
        ),
      function* ({ chatStream }) {
        const deltas = (yield* Stream.runCollect(chatStream(prompt))).map(
          ({ choices }) => choices?.[0]?.delta
        )
        assert.deepStrictEqual(
          deltas.map((fields) => [
            fields?.reasoning,
            fields?.refusal,
            fields?.tool_calls?.[0]?.function?.arguments,
            fields?.["images"] !== undefined
          ]),
          [
            ["Let me think", undefined, undefined, false],
            [undefined, undefined, undefined, false],
            [undefined, "No.", undefined, false],
            [undefined, undefined, "", false],
            [undefined, undefined, '{"a":', false],
            [undefined, undefined, "1}", false],
            [undefined, undefined, undefined, true],
            [undefined, undefined, undefined, false],
            [undefined, undefined, undefined, false]
          ]
        )
      }
    )
  )

  it.live("are the calls of tools that the simulator makes", () =>
    streaming({}, function* ({ chatStream }) {
      const tools = [{ type: "function", function: { name: "turn", parameters: { type: "object" } } }]
      const chunks = yield* Stream.runCollect(chatStream({ ...prompt, tools, tool_choice: "required" }))
      const call = chunks[0]!.choices![0]!.delta!.tool_calls![0]!
      assert.deepStrictEqual([call.function!.name, JSON.parse(call.function!.arguments!)], ["turn", {}])
      assert.strictEqual(chunks.at(-1)!.choices![0]!.finish_reason, "tool_calls")
    })
  )

  it.live("come as they are written, not when all is written", () =>
    streaming({}, function* ({ chatStream, simulator }) {
      yield* simulator.fault({ action: actions.hang({ afterChunks: 2 }) })
      const chunks = yield* Stream.runCollect(Stream.take(chatStream(prompt), 2))
      assert.strictEqual(chunks.map(ChatChunk.text).join(""), "You said:")
    })
  )

  it.live("are the same however the bytes are split", () =>
    withServer(
      (response, n) => {
        const bytes = Buffer.from(said("Ahoy 🛶 ") + said("…") + finished + counted + done)
        begin(response)
        const size = n + 1
        const send = (at: number): void => {
          if (at >= bytes.length) return void response.end()
          response.write(bytes.subarray(at, at + size), () => setImmediate(send, at + size))
        }
        send(0)
      },
      function* ({ chatStream }) {
        for (let n = 0; n < 6; n++) {
          const chunks = yield* Stream.runCollect(chatStream(prompt))
          assert.deepStrictEqual(chunks.map(ChatChunk.text), ["Ahoy 🛶 ", "…", "", ""])
          assert.strictEqual(chunks.at(-1)!.usage!.cost, usage.cost)
        }
      }
    )
  )

  for (const [name, message, text] of [
    ["text", { role: "assistant", content: "All at once" }, "All at once"],
    [
      "parts",
      {
        role: "assistant",
        content: [
          { type: "text", text: "All " },
          { type: "text", text: "at once" }
        ]
      },
      "All at once"
    ],
    ["no content", { role: "assistant", content: null }, ""]
  ] as const) {
    it.live(`are one when the answer comes whole, with ${name}`, () =>
      withServer(
        (response) =>
          response
            .writeHead(200, { "content-type": "application/json" })
            .end(
              JSON.stringify({ id: "gen-1", choices: [{ index: 0, finish_reason: "stop", message }], usage })
            ),
        function* ({ chatStream, pool }) {
          const chunks = yield* Stream.runCollect(chatStream(prompt))
          assert.strictEqual(chunks.length, 1)
          assert.strictEqual(ChatChunk.text(chunks[0]!), text)
          assert.strictEqual(chunks[0]!.choices![0]!.finish_reason, "stop")
          assert.strictEqual(chunks[0]!.usage!.cost, usage.cost)
          assert.deepStrictEqual(yield* ends(pool), { ...none, succeeded: 1 })
          assert.strictEqual((yield* stateOf(pool, "a")).spent, usage.cost)
        }
      )
    )
  }
})

describe("the request", () => {
  it.live("is sent when the stream is run, and again with each run", () =>
    streaming({}, function* ({ chatStream, simulator }) {
      const stream = chatStream(prompt)
      yield* Effect.sleep(20)
      assert.deepStrictEqual(yield* met(simulator), [0, 0])
      assert.strictEqual(yield* textOf(stream), answer)
      assert.strictEqual(yield* textOf(stream), answer)
      assert.deepStrictEqual(yield* met(simulator), [2, 0])
    })
  )

  it.live("asks for a stream, whatever else it asks for", () =>
    withServer(
      (response) => begin(response).end(finished),
      function* ({ chatStream, server }) {
        yield* Stream.runDrain(chatStream({ ...prompt, top_k: 5 }))
        yield* Stream.runDrain(chatStream({ ...prompt, stream: true }))
        assert.deepStrictEqual(
          server.seen.map(({ body }) => JSON.parse(body)),
          [
            { ...prompt, top_k: 5, stream: true },
            { ...prompt, stream: true }
          ]
        )
      }
    )
  )

  const cycle: Record<string, unknown> = {}
  cycle["self"] = cycle
  for (const [name, request, field] of [
    ["without messages", { ...hello, messages: [] }, "messages"],
    ["that asks for no stream", { ...prompt, stream: false }, "stream"],
    ["that JSON cannot hold", { ...prompt, metadata: cycle }, "request"]
  ] as const) {
    it.live(`${name} fails before a key is taken`, () =>
      streaming({}, function* ({ chatStream, pool, simulator }) {
        const reason = reasonOf(yield* Effect.flip(Stream.runDrain(chatStream(request))))
        assert.strictEqual(reason._tag === "InvalidRequest" && reason.field, field)
        assert.deepStrictEqual(yield* met(simulator), [0, 0])
        assert.strictEqual((yield* stateOf(pool, "a")).leased, 0)
      })
    )
  }

  it.live("that no key can serve fails with NoEligibleKey", () =>
    streaming({}, function* ({ chatStream, pool, simulator }) {
      for (const id of ["a", "b"]) yield* pool.bench({ scope: "key", id, reason: "rejected", for: "1 hour" })
      assert.instanceOf(yield* Effect.flip(Stream.runDrain(chatStream(prompt))), Errors.NoEligibleKey)
      assert.deepStrictEqual(yield* met(simulator), [0, 0])
    })
  )
})

describe("before the first content", () => {
  for (const [name, action, status, scope] of [
    ["a moderated request", errors.moderation403(), 403, "request"],
    ["a model that is none", errors.invalidModel400("x"), 400, "request"],
    ["a provider's 502", errors.badGateway502(), 502, "upstream"]
  ] as const) {
    it.live(`${name} is Answered, on one key`, () =>
      streaming({}, function* ({ chatStream, pool, simulator }) {
        yield* simulator.fault({ action })
        const reason = reasonOf(yield* Effect.flip(Stream.runDrain(chatStream(prompt))))
        assert.strictEqual(reason._tag, "Answered")
        if (reason._tag !== "Answered") return
        assert.deepStrictEqual([reason.status, reason.scope, reason.keyId], [status, scope, "a"])
        assert.deepStrictEqual(yield* met(simulator), [1, 0])
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
      })
    )
  }

  for (const [name, action] of [
    ["a 401", errors.revoked()],
    ["a 403 of a spent cap", errors.keyLimit403()],
    ["a first event with a 401", actions.firstEventError({ code: 401, message: "User not found." })],
    [
      "a first event with the 402 of an account",
      actions.firstEventError({
        code: 402,
        message: "Insufficient credits",
        metadata: { limit_source: "openrouter_credits" }
      })
    ],
    [
      "a first event with the 403 of a spent cap",
      actions.firstEventError({
        code: 403,
        message: "Key limit exceeded (daily limit)",
        metadata: { limit_source: "openrouter_key_limit" }
      })
    ]
  ] as const) {
    it.live(`${name} sends the request to another key, and the reader sees nothing of it`, () =>
      streaming({ retry: impatient() }, function* (world) {
        const { chatStream, pool, simulator } = world
        yield* simulator.fault({ match: { key: "a" }, action })
        const chunks = yield* Stream.runCollect(chatStream(prompt))
        assert.strictEqual(chunks.map(ChatChunk.text).join(""), answer)
        assert.strictEqual(chunks.length, 5)
        assert.deepStrictEqual(yield* met(simulator), [1, 1])
        assert.match((yield* benched(pool)).join(), /^a (rejected|exhausted)$/)
        assert.deepStrictEqual(yield* ends(pool, "b"), { ...none, succeeded: 1 })
        yield* idle(world)
      })
    )
  }

  it.live(
    "a first event with an upstream's failure is tried again on the policy's terms, and benches no key",
    () => {
      const { failures, policy } = watchedPolicy(impatient({ times: 2 }))
      return streaming({ retry: policy }, function* ({ chatStream, pool, simulator }) {
        yield* simulator.fault({
          times: 2,
          action: actions.firstEventError({ code: "server_error", message: "Gone" })
        })
        assert.strictEqual(yield* textOf(chatStream(prompt)), answer)
        assert.deepStrictEqual(
          failures.map(({ outcome }) => [outcome.scope, outcome.retryable]),
          [
            ["upstream", "backoff"],
            ["upstream", "backoff"]
          ]
        )
        assert.deepStrictEqual(yield* benched(pool), [])
        assert.deepStrictEqual(yield* met(simulator), [3, 0])
      })
    }
  )

  it.live("a first event with a failure is Answered once the policy has had enough", () =>
    streaming({ retry: impatient({ times: 1 }) }, function* ({ chatStream, simulator }) {
      yield* simulator.fault({ action: actions.firstEventError({ code: 502, message: "Gone" }) })
      const reason = reasonOf(yield* Effect.flip(Stream.runDrain(chatStream(prompt))))
      assert.deepStrictEqual(
        [
          reason._tag,
          reason._tag === "Answered" && reason.status,
          reason._tag === "Answered" && reason.description
        ],
        ["Answered", 502, "Gone"]
      )
      assert.deepStrictEqual(yield* met(simulator), [2, 0])
    })
  )

  const rejected = failing(401, "User not found.")
  const preamble = [
    ": OPENROUTER PROCESSING\n\n",
    data(delta({ role: "assistant" })),
    ": OPENROUTER PROCESSING\n\n",
    data(delta({ role: "assistant", content: "" })),
    data(delta({ role: "assistant", content: "", reasoning: "", tool_calls: [] })),
    data({ id: "gen-1", choices: [] })
  ]
  for (const [name, pieces] of [
    ["comments, roles and empty deltas", [...preamble, rejected]],
    [
      "all of these at once, and a usage and [DONE] behind the error",
      [[...preamble, rejected, counted, done].join("")]
    ],
    ["an error, a usage and [DONE]", [rejected, counted, done]]
  ] as const) {
    it.live(`there is none in ${name}`, () =>
      withServer(
        (response, n) => {
          begin(response)
          const send = ([piece, ...rest]: ReadonlyArray<string>): void => {
            if (piece === undefined) return void response.end()
            response.write(piece, () => setImmediate(send, rest))
          }
          send(n === 0 ? pieces : [said("Aye"), finished, counted, done])
        },
        function* ({ chatStream, pool, server }) {
          assert.deepStrictEqual((yield* Stream.runCollect(chatStream(prompt))).map(ChatChunk.text), [
            "Aye",
            "",
            ""
          ])
          assert.deepStrictEqual(
            server.seen.map(({ headers }) => headers["authorization"]),
            [`Bearer ${secretOf("a")}`, `Bearer ${secretOf("b")}`]
          )
          assert.deepStrictEqual(yield* benched(pool), ["a rejected"])
        },
        { retry: impatient() }
      )
    )
  }

  for (const [name, body] of [
    ["no event", ""],
    ["empty deltas", preamble.join("")],
    ["half an event", said("Aye").slice(0, -20)]
  ] as const) {
    it.live(`a stream that ends with ${name} is tried again`, () =>
      withServer(
        (response, n) => begin(response, n === 0 ? body : said("Aye") + finished).end(),
        function* ({ chatStream, pool, server }) {
          assert.strictEqual(yield* textOf(chatStream(prompt)), "Aye")
          assert.strictEqual(server.seen.length, 2)
          assert.deepStrictEqual(yield* ends(pool), { ...none, succeeded: 1, faulted: 1 })
        },
        { retry: impatient() }
      )
    )
  }

  for (const [name, action] of [
    ["a reset connection", actions.reset],
    ["a cut socket", actions.cut({ afterChunks: 0 })],
    ["silence", actions.hang({ afterChunks: 0 })]
  ] as const) {
    it.live(`${name} is tried again, and is Transport once the policy has had enough`, () =>
      streaming(
        { retry: impatient({ times: 1 }), options: { idleTimeout: "100 millis" } },
        function* (world) {
          const { chatStream, simulator } = world
          const once = yield* simulator.fault({ times: 1, action })
          assert.strictEqual(yield* textOf(chatStream(prompt)), answer)
          yield* once.remove
          yield* simulator.fault({ action })
          const reason = reasonOf(yield* Effect.flip(Stream.runDrain(chatStream(prompt))))
          assert.strictEqual(reason._tag, "Transport")
          assert.deepStrictEqual(yield* met(simulator), [4, 0])
          yield* idle(world)
        }
      )
    )
  }

  it.live("an answer that is no stream of events is Undecodable", () =>
    withServer(
      (response) => response.writeHead(200, { "content-type": "text/html" }).end("<h1>Sign in</h1>"),
      function* ({ chatStream, pool }) {
        const reason = reasonOf(yield* Effect.flip(Stream.runDrain(chatStream(prompt))))
        assert.strictEqual(reason._tag, "Undecodable")
        assert.deepStrictEqual(yield* ends(pool), { ...none, ignored: 1 })
      }
    )
  )

  it.live("an event that is no JSON is Undecodable", () =>
    streaming({}, function* ({ chatStream, pool, simulator }) {
      yield* simulator.fault({ action: actions.garbage })
      const reason = reasonOf(yield* Effect.flip(Stream.runDrain(chatStream(prompt))))
      assert.strictEqual(reason._tag === "Undecodable" && reason.body, '{"id":"gen-')
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
    })
  )
})

describe("behind the first content", () => {
  for (const [name, code, metadata] of [
    ["a number", 429, undefined],
    ["a string", "server_error", undefined],
    // Even where another key could serve: the reader would read twice.
    ["a key's fault", 403, { limit_source: "openrouter_key_limit" }]
  ] as const) {
    it.live(
      `an error whose code is ${name} breaks the stream, with what is known so far, and no other key is tried`,
      () =>
        withServer(
          (response) =>
            begin(
              response,
              said("Once ") +
                data(delta({ reasoning: "not text" })) +
                said("upon") +
                data({ choices: [], usage }) +
                failing(code, "Over", metadata)
            ).end(done),
          function* ({ chatStream, pool, server }) {
            const seen: Array<string> = []
            const stream = Stream.tap(chatStream(prompt), (chunk) =>
              Effect.sync(() => seen.push(ChatChunk.text(chunk)))
            )
            const error = yield* broken(stream)
            assert.deepStrictEqual(seen, ["Once ", "", "upon", ""])
            assert.deepStrictEqual(
              [error.text, error.description, error.usage, error.cost, error.keyId],
              ["Once upon", "Over", usage, usage.cost, "a"]
            )
            assert.include(error.message, error.class)
            assert.strictEqual(server.seen.length, 1)
            assert.deepStrictEqual(yield* ends(pool), { ...none, faulted: 1 })
            assert.deepStrictEqual(yield* ends(pool, "b"), none)
            assert.deepStrictEqual(yield* benched(pool), metadata === undefined ? [] : ["a exhausted"])
            assert.strictEqual((yield* stateOf(pool, "a")).spent, usage.cost)
          },
          { retry: impatient() }
        )
    )
  }

  it.live("errors have the classes of the classifier", () =>
    streaming({ retry: impatient() }, function* ({ chatStream, simulator }) {
      const classes: Array<string> = []
      for (const code of [429, 502, "server_error", 401]) {
        const fault = yield* simulator.fault({ action: actions.midStreamError({ code, done: true }) })
        classes.push((yield* broken(chatStream(prompt))).class)
        yield* fault.remove
      }
      assert.strictEqual(new Set(classes).size, 3)
      assert.strictEqual(classes[1], classes[2])
      assert.deepStrictEqual(yield* met(simulator), [4, 0])
    })
  )

  it.live("a stream without an ending is truncated: the upstream's fault, which nobody tries again", () =>
    streaming({ retry: impatient() }, function* ({ chatStream, pool, simulator }) {
      yield* simulator.fault({ action: actions.truncate({ afterChunks: 2 }) })
      const error = yield* broken(chatStream(prompt))
      assert.deepStrictEqual([error.class, error.text, error.cost], ["truncated", "You said:", undefined])
      assert.deepStrictEqual(yield* ends(pool), { ...none, faulted: 1 })
      assert.deepStrictEqual(yield* met(simulator), [1, 0])
      assert.deepStrictEqual(yield* benched(pool), [])
    })
  )

  it.live("a stream that ends in the middle of an event is truncated", () =>
    withServer(
      (response) => begin(response, said("Once") + said(" upon").slice(0, -9)).end(),
      function* ({ chatStream, pool }) {
        const error = yield* broken(chatStream(prompt))
        assert.deepStrictEqual([error.class, error.text], ["truncated", "Once"])
        assert.deepStrictEqual(yield* ends(pool), { ...none, faulted: 1 })
      }
    )
  )

  it.live("a cut socket breaks the stream", () =>
    streaming({ retry: impatient() }, function* ({ chatStream, pool, simulator }) {
      yield* simulator.fault({ action: actions.cut({ afterChunks: 2 }) })
      const error = yield* broken(chatStream(prompt))
      assert.deepStrictEqual([error.class, error.text], ["transport", "You said:"])
      assert.isDefined(error.cause)
      assert.deepStrictEqual(yield* ends(pool), { ...none, faulted: 1 })
      assert.deepStrictEqual(yield* met(simulator), [1, 0])
    })
  )

  it.live("a permit that is lost breaks the stream, and that is nobody's fault", () => {
    const lost = Deferred.makeUnsafe<void>()
    const permits: Permits.Permits = {
      name: "test",
      take: () => Effect.succeed({ _tag: "Granted", release: () => {}, lost: Deferred.await(lost) })
    }
    return withServer(
      (response) => begin(response, said("Once")),
      function* ({ chatStream, pool }) {
        const error = yield* broken(Stream.tap(chatStream(prompt), () => Deferred.succeed(lost, undefined)))
        assert.deepStrictEqual([error.class, error.text], ["transport", "Once"])
        assert.include(error.message, "permit")
        assert.deepStrictEqual(yield* ends(pool), { ...none, ignored: 1 })
      }
    ).pipe(Effect.provideService(Permits.Permits, permits))
  })

  it.live("a chunk that is none breaks the stream, and the text is kept", () =>
    withServer(
      (response) => begin(response, `${said("Once")}data: {"choices":7}\n\n${said(" upon")}`).end(finished),
      function* ({ chatStream, pool }) {
        const error = yield* broken(chatStream(prompt))
        assert.deepStrictEqual([error.class, error.text], ["undecodable", "Once"])
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
      }
    )
  )
})

describe("a chunk", () => {
  it.live("is there before the next is sent", () => {
    let answering: Parameters<typeof begin>[0] | undefined
    return withServer(
      (response) => void (answering = begin(response, said("0"))),
      function* ({ chatStream }) {
        const seen: Array<string> = []
        yield* Stream.runForEach(chatStream(prompt), (chunk) =>
          Effect.sync(() => {
            seen.push(ChatChunk.text(chunk))
            // The server writes on only when the last has been read.
            if (seen.length < 20) answering!.write(said(`${seen.length}`))
            else answering!.end(finished)
          })
        )
        assert.deepStrictEqual(seen, [...Array.from({ length: 20 }, (_, n) => `${n}`), ""])
      }
    )
  })

  for (const [name, last, tag] of [
    ["a failure", failing(502), "unavailable"],
    ["what is no chunk", 'data: {"choices":7}\n\n', "undecodable"],
    ["a truncation", "", "truncated"]
  ] as const) {
    it.live(`reaches the reader before ${name} that came with it, and what came behind that does not`, () =>
      withServer(
        (response) => begin(response, said("Once") + said(" upon") + last + (last && said(" a"))).end(),
        function* ({ chatStream }) {
          const seen: Array<string> = []
          const error = yield* broken(
            Stream.tap(chatStream(prompt), (chunk) => Effect.sync(() => seen.push(ChatChunk.text(chunk))))
          )
          assert.deepStrictEqual([error.class, error.text, seen], [tag, "Once upon", ["Once", " upon"]])
        }
      )
    )
  }
})

describe("the end", () => {
  for (const [name, body] of [
    ["[DONE]", said("Aye") + finished + counted + done],
    ["a finish reason, without [DONE]", said("Aye") + finished + counted],
    ["a finish reason, without usage", said("Aye") + finished],
    ["[DONE], without a finish reason", said("Aye") + done],
    ["an event without an empty line behind it", said("Aye") + finished.trimEnd()],
    ["[DONE] without an empty line behind it", said("Aye") + done.trimEnd()],
    [
      "JSON that is written with blanks",
      said("Aye") + 'data: { "choices": [{ "delta": {}, "finish_reason": "stop" }] }\n\n'
    ]
  ] as const) {
    it.live(`is ${name}`, () =>
      withServer(
        (response) => begin(response, body).end(),
        function* ({ chatStream, pool }) {
          assert.strictEqual(yield* textOf(chatStream(prompt)), "Aye")
          assert.deepStrictEqual(yield* ends(pool), { ...none, succeeded: 1 })
          assert.strictEqual((yield* stateOf(pool, "a")).spent, body.includes('"cost"') ? usage.cost : 0)
        }
      )
    )
  }

  it.live("may be a cut, once the answer is complete", () =>
    withServer(
      (response) =>
        void begin(response).write(said("Aye") + finished + counted, () => response.socket!.destroySoon()),
      function* ({ chatStream, pool }) {
        assert.strictEqual(yield* textOf(chatStream(prompt)), "Aye")
        assert.deepStrictEqual(yield* ends(pool), { ...none, succeeded: 1 })
        assert.strictEqual((yield* stateOf(pool, "a")).spent, usage.cost)
      }
    )
  )

  it.live("is near once [DONE] has come, whatever becomes of the connection", () =>
    withServer(
      (response) => void begin(response, said("Aye") + finished + counted + done),
      function* ({ chatStream, pool, server }) {
        const [took, text] = yield* Effect.timed(textOf(chatStream(prompt)))
        assert.strictEqual(text, "Aye")
        assert.isBelow(Duration.toMillis(took), 10_000)
        assert.deepStrictEqual(yield* ends(pool), { ...none, succeeded: 1 })
        yield* eventually(Effect.sync(server.open), (open) => open === 0)
      }
    )
  )
})

describe("silence", () => {
  it.live("breaks a stream after the idle timeout, and the connection is closed", () =>
    streaming({ options: { idleTimeout: "100 millis" } }, function* (world) {
      const { chatStream, pool, simulator } = world
      yield* simulator.fault({ action: actions.hang({ afterChunks: 2 }) })
      const error = yield* broken(chatStream(prompt))
      assert.deepStrictEqual([error.class, error.text], ["transport", "You said:"])
      assert.include(error.description, "silent")
      assert.deepStrictEqual(yield* ends(pool), { ...none, faulted: 1 })
      yield* idle(world)
    })
  )

  it.effect("is two minutes long unless told otherwise, and any byte ends it", () =>
    withServer(
      (response) => {
        begin(response, said("Aye"))
        answering = response
      },
      function* ({ chatStream, pool }) {
        const chunks: Array<string> = []
        const fiber = yield* Effect.forkChild(
          broken(
            Stream.tap(chatStream(prompt), (chunk) => Effect.sync(() => chunks.push(ChatChunk.text(chunk))))
          )
        )
        const seen = (count: number) =>
          TestClock.withLive(
            eventually(
              Effect.sync(() => chunks.length),
              (length) => length === count
            )
          )
        yield* seen(1)
        for (let n = 2; n < 6; n++) {
          yield* TestClock.adjust("119 seconds")
          answering!.write(": OPENROUTER PROCESSING\n\n")
          // The comment itself is not seen, so it is left time to arrive.
          yield* TestClock.withLive(Effect.sleep(50))
          yield* TestClock.adjust("119 seconds")
          answering!.write(said("!"))
          yield* seen(n)
        }
        assert.isUndefined(fiber.pollUnsafe())
        // The wait has begun anew once the last chunk was asked for.
        yield* TestClock.withLive(Effect.sleep(50))
        yield* TestClock.adjust("121 seconds")
        const error = yield* Fiber.join(fiber)
        assert.deepStrictEqual([error.class, error.text], ["transport", "Aye!!!!"])
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
      }
    )
  )

  let answering: Parameters<typeof begin>[0] | undefined

  it.live("is none where comments come", () =>
    streaming({ options: { idleTimeout: "300 millis" } }, function* ({ chatStream, pool, simulator }) {
      yield* simulator.fault({ action: actions.hang({ afterChunks: 1, comments: "20 millis" }) })
      const fiber = yield* Effect.forkChild(Stream.runDrain(chatStream(prompt)))
      yield* simulator.waitUntil((snapshot) => snapshot.inFlight === 1)
      yield* Effect.sleep(900)
      assert.isUndefined(fiber.pollUnsafe())
      assert.deepStrictEqual(yield* inFlight(pool), [1, 0])
      yield* Fiber.interrupt(fiber)
    })
  )

  it.live("is no limit on how long a stream lasts", () =>
    streaming(
      {
        simulator: { keys: keys("a b"), chunkDelay: "50 millis" },
        options: { idleTimeout: "400 millis" }
      },
      function* ({ chatStream }) {
        const [took, text] = yield* Effect.timed(textOf(chatStream(words(14))))
        assert.isTrue(text.endsWith("12 13"))
        assert.isAbove(Duration.toMillis(took), 600)
      }
    )
  )

  it.live("is that of OpenRouter, not that of a reader who takes time", () =>
    streaming({ options: { idleTimeout: "100 millis" } }, function* ({ chatStream, pool }) {
      const text = yield* textOf(Stream.tap(chatStream(prompt), () => Effect.sleep(150)))
      assert.strictEqual(text, answer)
      assert.deepStrictEqual(yield* ends(pool), { ...none, succeeded: 1 })
    })
  )
})

describe("giving a stream up", () => {
  /** Estimates a cent for each request. */
  const credits: Credits.Credits = { ...Credits.unknown, estimate: () => 0.01 }

  /** The fiber reads, and is interrupted as soon as it is where it should be. */
  const interrupted = (
    name: string,
    action: Simulator.FaultAction,
    reached: (
      world: StreamWorld & { readonly chunks: ReadonlyArray<unknown>; readonly responses: () => number }
    ) => Effect.Effect<unknown>,
    consume: (chunk: ChatChunk.ChatChunk) => Effect.Effect<unknown> = () => Effect.void
  ) =>
    it.live(
      `${name} aborts the request, frees the key, and leaves the estimate debited until the next reading`,
      () => {
        let responses = 0
        const http = HttpClient.tap(() => Effect.sync(() => responses++))
        return streaming({ credits, http }, function* (world) {
          const { chatStream, pool, simulator } = world
          yield* pool.credit("a", { remaining: 1 })
          yield* simulator.fault({ action })
          const chunks: Array<ChatChunk.ChatChunk> = []
          const fiber = yield* Effect.forkChild(
            Stream.runForEach(chatStream(prompt), (chunk) => {
              chunks.push(chunk)
              return consume(chunk)
            })
          )
          yield* reached({ ...world, chunks, responses: () => responses })
          assert.deepStrictEqual(yield* inFlight(pool), [1, 0])
          assert.closeTo((yield* stateOf(pool, "a")).credit!, 0.99, 1e-9)

          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(yield* ends(pool), { ...none, ignored: 1 })
          // By itself the stream would never end.
          const snapshot = yield* simulator
            .waitUntil(({ inFlight }) => inFlight === 0)
            .pipe(Effect.timeout("2 seconds"))
          assert.strictEqual(snapshot.keys[0]!.aborted, 1)
          assert.deepStrictEqual(yield* met(simulator), [1, 0])

          assert.closeTo((yield* stateOf(pool, "a")).credit!, 0.99, 1e-9)
          yield* pool.credit("a", { remaining: 0.998, requestedAt: Date.now() + 5_000 })
          assert.closeTo((yield* stateOf(pool, "a")).credit!, 0.998, 1e-9)
        })
      }
    )

  interrupted("before the headers", actions.stall(), ({ simulator }) =>
    simulator.waitUntil((snapshot) => snapshot.inFlight === 1)
  )
  interrupted(
    "between the headers and the first content",
    actions.hang({ afterChunks: 0 }),
    ({ responses }) => eventually(Effect.sync(responses), (count) => count === 1)
  )
  interrupted("in the middle of the body", actions.hang({ afterChunks: 2 }), ({ chunks }) =>
    eventually(
      Effect.sync(() => chunks.length),
      (length) => length === 2
    )
  )
  interrupted(
    "in the consumer",
    actions.hang({ afterChunks: 3 }),
    ({ chunks }) =>
      eventually(
        Effect.sync(() => chunks.length),
        (length) => length === 1
      ),
    () => Effect.never
  )

  it.live("behind its end is nothing to anybody", () =>
    streaming({ credits }, function* ({ chatStream, pool, simulator }) {
      let ended = false
      const fiber = yield* Effect.forkChild(
        Stream.runDrain(chatStream(prompt)).pipe(
          Effect.andThen(Effect.sync(() => (ended = true))),
          Effect.andThen(Effect.never)
        )
      )
      yield* eventually(
        Effect.sync(() => ended),
        (value) => value
      )
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* ends(pool), { ...none, succeeded: 1 })
      assert.strictEqual((yield* simulator.snapshot).keys[0]!.aborted, 0)
    })
  )

  it.live("while it waits to be tried again sends nothing more", () =>
    streaming(
      { retry: impatient({ schedule: Schedule.spaced("20 seconds") }) },
      function* ({ chatStream, pool, simulator }) {
        yield* simulator.fault({ action: actions.firstEventError({ code: 502, message: "Gone" }) })
        const fiber = yield* Effect.forkChild(Stream.runDrain(chatStream(prompt)))
        yield* eventually(ends(pool), ({ faulted }) => faulted === 1)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* ends(pool), { ...none, faulted: 1 })
        assert.deepStrictEqual(yield* met(simulator), [1, 0])
      }
    )
  )

  for (const [name, consume] of [
    [
      "taking one chunk",
      (stream: Stream.Stream<unknown, unknown>) => Stream.runDrain(Stream.take(stream, 1))
    ],
    ["a consumer that fails", (stream) => Stream.runForEach(stream, () => Effect.fail("enough"))],
    ["a consumer that dies", (stream) => Stream.runForEach(stream, () => Effect.die("oops"))],
    ["a timeout of the caller's", (stream) => Effect.timeout(Stream.runDrain(stream), "1 second")],
    ["a race that it loses", (stream) => Effect.raceFirst(Stream.runDrain(stream), Effect.sleep("1 second"))]
  ] as ReadonlyArray<
    [string, (stream: Stream.Stream<unknown, unknown>) => Effect.Effect<unknown, unknown>]
  >) {
    it.live(`by ${name} aborts the request and frees the key`, () =>
      streaming({}, function* (world) {
        yield* world.simulator.fault({ action: actions.hang({ afterChunks: 2 }) })
        yield* Effect.exit(consume(world.chatStream(prompt)))
        assert.deepStrictEqual(yield* ends(world.pool), { ...none, ignored: 1 })
        yield* idle(world).pipe(Effect.timeout("2 seconds"))
        assert.strictEqual((yield* world.simulator.snapshot).keys[0]!.aborted, 1)
      })
    )
  }

  for (const [name, part] of [
    ["is taken in part", (stream: Stream.Stream<unknown, unknown>) => Stream.take(stream, 1)],
    ["is waited for no longer", (stream) => Stream.timeout(stream, "50 millis")],
    [
      "fails, and that is caught",
      (stream) => Stream.catchCause(Stream.flatMap(stream, Stream.fail), () => Stream.empty)
    ]
  ] as ReadonlyArray<
    [string, (stream: Stream.Stream<unknown, unknown>) => Stream.Stream<unknown, unknown>]
  >) {
    it.live(`frees the key when it ${name} within a stream that goes on`, () =>
      streaming({}, function* (world) {
        yield* world.simulator.fault({ action: actions.hang({ afterChunks: 2 }) })
        const fiber = yield* Effect.forkChild(
          Stream.runDrain(Stream.concat(part(world.chatStream(prompt)), Stream.never))
        )
        yield* eventually(ends(world.pool), ({ ignored }) => ignored === 1)
        yield* idle(world).pipe(Effect.timeout("2 seconds"))
        assert.isUndefined(fiber.pollUnsafe())
        assert.strictEqual((yield* world.simulator.snapshot).keys[0]!.aborted, 1)
        yield* Fiber.interrupt(fiber)
      })
    )
  }

  it.live("by its consumer keeps the failure of the consumer", () =>
    streaming({}, function* ({ chatStream }) {
      const exit = yield* Effect.exit(Stream.runForEach(chatStream(prompt), () => Effect.fail("enough")))
      assert.deepStrictEqual(exit, Exit.fail("enough"))
    })
  )
})

describe("a slow consumer", () => {
  it.live("holds the server back", () => {
    const piece = said("x".repeat(64 * 1024))
    let sent = 0
    return withServer(
      (response) => {
        begin(response)
        // 200 MB, if nothing holds it back.
        const send = (): void => {
          while (sent < 3_200) {
            sent++
            if (!response.write(piece)) return void response.once("drain", send)
          }
          response.end(finished)
        }
        send()
      },
      function* ({ chatStream, pool, server }) {
        let seen = 0
        const fiber = yield* Effect.forkChild(
          Stream.runForEach(chatStream(prompt), () => (++seen < 3 ? Effect.void : Effect.never))
        )
        yield* eventually(
          Effect.sync(() => seen),
          (count) => count === 3
        )
        // Until the server stands still.
        const still = Effect.gen(function* () {
          const before = sent
          yield* Effect.sleep(150)
          return sent === before
        })
        yield* eventually(still, (value) => value)
        // What fills the buffers of two sockets and of the client, about 6 MB on Linux.
        assert.isBelow(sent, 800)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* ends(pool), { ...none, ignored: 1 })
        yield* eventually(Effect.sync(server.open), (open) => open === 0)
      }
    )
  })
})

describe("the balanced client streams", () => {
  const skins = [
    ["/chat/completions", { ...hello, stream: true }, "[DONE]"],
    ["/completions", { model: hello.model, prompt: "hello", max_tokens: 100, stream: true }, "[DONE]"],
    [
      "/responses",
      { model: hello.model, input: "hello", max_output_tokens: 100, stream: true },
      "response.completed"
    ],
    ["/messages", { ...hello, stream: true }, "message_stop"]
  ] as const

  for (const [path, body, ending] of skins) {
    it.live(`${path} to its end, with its cost`, () =>
      streaming({}, function* ({ openrouter, pool }) {
        const text = yield* Effect.flatMap(
          openrouter.client.execute(post(path, body)),
          (response) => response.text
        )
        assert.include(text, ending)
        assert.include(text, "hello")
        assert.deepStrictEqual(yield* ends(pool), { ...none, succeeded: 1 })
        assert.closeTo((yield* stateOf(pool, "a")).spent, helloCost, 1e-12)
      })
    )

    it.live(`${path} with an error in its middle, byte for byte, on one key`, () =>
      streaming({ retry: impatient() }, function* ({ openrouter, pool, simulator }) {
        yield* simulator.fault({
          action: actions.midStreamError({ message: "Provider gone", afterChunks: 2 })
        })
        const text = yield* Effect.flatMap(
          openrouter.client.execute(post(path, body)),
          (response) => response.text
        )
        assert.include(text, "Provider gone")
        assert.notInclude(text, " hello")
        assert.deepStrictEqual(yield* ends(pool), { ...none, faulted: 1 })
        assert.deepStrictEqual(yield* met(simulator), [1, 0])
      })
    )

    it.live(`${path} truncated, byte for byte, and the upstream is at fault`, () =>
      streaming({ retry: impatient() }, function* ({ openrouter, pool, simulator }) {
        yield* simulator.fault({ action: actions.truncate({ afterChunks: 2 }) })
        const text = yield* Effect.flatMap(
          openrouter.client.execute(post(path, body)),
          (response) => response.text
        )
        assert.include(text, "said:")
        assert.deepStrictEqual(yield* ends(pool), { ...none, faulted: 1 })
        assert.deepStrictEqual(yield* met(simulator), [1, 0])
      })
    )

    for (const [name, action] of [
      ["as first event", actions.firstEventError({ code: 401, message: "User not found." })],
      [
        "behind its announcements",
        actions.midStreamError({ code: 401, message: "User not found.", afterChunks: 0 })
      ]
    ] as const) {
      it.live(`${path} from another key when the first is refused ${name}`, () =>
        streaming({ retry: impatient() }, function* ({ openrouter, pool, simulator }) {
          yield* simulator.fault({ match: { key: "a" }, action })
          const text = yield* Effect.flatMap(
            openrouter.client.execute(post(path, body)),
            (response) => response.text
          )
          assert.include(text, ending)
          assert.notInclude(text, "User not found.")
          assert.deepStrictEqual(yield* met(simulator), [1, 1])
          assert.deepStrictEqual(yield* benched(pool), ["a rejected"])
        })
      )
    }

    it.live(`${path} given up in the middle, and the request is aborted`, () =>
      streaming({}, function* (world) {
        yield* world.simulator.fault({ action: actions.hang({ afterChunks: 2 }) })
        yield* Stream.unwrap(
          Effect.map(world.openrouter.client.execute(post(path, body)), (response) => response.stream)
        ).pipe(
          Stream.decodeText(),
          Stream.takeUntil((text) => text.includes("said:")),
          Stream.runDrain
        )
        assert.deepStrictEqual(yield* ends(world.pool), { ...none, ignored: 1 })
        yield* idle(world).pipe(Effect.timeout("2 seconds"))
      })
    )
  }
})
