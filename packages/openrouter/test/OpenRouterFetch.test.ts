import { NodeHttpClient } from "@effect/platform-node"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { OpenRouterFetch } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { gzipSync } from "node:zlib"
import { chat, fetching, impatient, json, rejection, served, until } from "./fetching.ts"
import { hello, keys, leaksOf, met, secretOf, textOf } from "./utils.ts"

const { errors, actions } = Simulator

const retryAfterOf = (response: Response) => Number(response.headers.get("retry-after"))

describe("OpenRouterFetch", () => {
  describe("requests", () => {
    it.live("takes a string, a URL and a Request, with and without init", () =>
      fetching({}, async ({ baseUrl, fetch }) => {
        const url = `${baseUrl}/chat/completions`
        const answers = [
          await fetch(url, chat()),
          await fetch(new URL(url), chat()),
          await fetch(new Request(url, chat())),
          await fetch(new Request(url), chat())
        ]
        for (const answer of answers) {
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(answer.url, url)
          const { choices } = (await answer.json()) as { choices: Array<any> }
          assert.strictEqual(choices[0].message.content, "You said: hello")
        }
      })
    )

    it.live("sends the body byte for byte, whatever it is, and the query as it was written", () =>
      served(
        (response) => json(response, {}),
        {},
        async ({ baseUrl, fetch, seen }) => {
          const bytes = new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d])
          const form = new FormData()
          form.set("purpose", "batch")
          form.set("file", new Blob(["{}\n"]), "a.jsonl")
          const stream = () => new Blob(["streamed"]).stream()
          await fetch(`${baseUrl}/x?a=%2F&b=c+d`, { method: "PUT", body: bytes })
          await fetch(`${baseUrl}/files`, { method: "POST", body: form })
          await fetch(`${baseUrl}/x`, { method: "POST", body: stream(), duplex: "half" } as RequestInit)
          await fetch(`${baseUrl}/models`)
          assert.deepStrictEqual(
            seen.map(({ method, url }) => `${method} ${url}`),
            ["PUT /api/v1/x?a=%2F&b=c+d", "POST /api/v1/files", "POST /api/v1/x", "GET /api/v1/models"]
          )
          assert.strictEqual(seen[0]!.body, "\ufeff{}")
          assert.match(seen[1]!.headers["content-type"]!, /^multipart\/form-data; boundary=/)
          assert.include(seen[1]!.body, 'filename="a.jsonl"')
          assert.strictEqual(seen[2]!.body, "streamed")
        }
      )
    )

    it.live("replaces the credentials, and leaves the other headers; no trace header is sent", () =>
      served(
        (response) => json(response, {}),
        { attribution: { url: "https://example.com", title: "Example" } },
        async ({ baseUrl, fetch, seen }) => {
          const headers = {
            authorization: "Bearer placeholder",
            "x-api-key": "placeholder",
            "x-mine": "kept"
          }
          await fetch(`${baseUrl}/chat/completions`, chat({}, { headers }))
          await fetch(`${baseUrl}/models`, { headers: { "x-openrouter-title": "Mine" } })
          const [first, second] = seen.map((request) => request.headers)
          assert.strictEqual(first!.authorization, `Bearer ${secretOf("a")}`)
          assert.strictEqual(first!["x-api-key"], undefined)
          assert.strictEqual(first!["x-mine"], "kept")
          assert.strictEqual(first!["http-referer"], "https://example.com")
          assert.strictEqual(second!["x-openrouter-title"], "Mine")
          for (const name of ["traceparent", "b3", "tracestate"]) assert.notProperty(first, name)
        }
      )
    )

    it.live("requests to other origins go to the underlying fetch as they are", () =>
      served(
        (response) => json(response, {}),
        {},
        async ({ baseUrl, fetch: own, seen }) => {
          const calls: Array<readonly [unknown, unknown]> = []
          const underlying = async (...args: readonly [any, any?]) => {
            calls.push([args[0], args[1]])
            return new Response("elsewhere")
          }
          const openrouter = await OpenRouterFetch.make({
            baseUrl,
            keys: [secretOf("a")],
            credits: false,
            fetch: underlying
          })
          const init = { headers: { authorization: "Bearer of another" } }
          const answer = await openrouter.fetch("https://example.com/v1/models", init)
          assert.strictEqual(await answer.text(), "elsewhere")
          assert.deepStrictEqual(calls, [["https://example.com/v1/models", init]])
          await openrouter.close()
          assert.instanceOf(await rejection(own("no address at all")), TypeError)
          assert.isEmpty(seen)
        }
      )
    )

    it.live("works over another HttpClient, such as undici's", () =>
      fetching({ httpClient: NodeHttpClient.layerUndici }, async ({ chat }) => {
        assert.strictEqual((await chat()).status, 200)
        assert.include(await (await chat({ stream: true })).text(), "data: [DONE]")
      })
    )

    it.live("passes what else init says on to the underlying fetch", () =>
      served(
        (response) => json(response, {}),
        {},
        async ({ baseUrl }) => {
          let given: RequestInit | undefined
          const openrouter = await OpenRouterFetch.make({
            baseUrl,
            keys: [secretOf("a")],
            credits: false,
            fetch: (input, init) => {
              given = init
              return fetch(input, init)
            }
          })
          await openrouter.fetch(`${baseUrl}/models`, { keepalive: true })
          assert.isTrue(given?.keepalive)
          assert.strictEqual(given?.redirect, "manual")
          await openrouter.close()
        }
      )
    )
  })

  describe("answers", () => {
    it.live("bytes pass unchanged: JSON, event streams, and what is neither", () => {
      const bodies: Record<string, readonly [string, Uint8Array]> = {
        "/api/v1/json": ["application/json", Buffer.from('\ufeff{ "a" : "é" }\n')],
        "/api/v1/latin1": ["text/html; charset=latin1", Buffer.from([0x63, 0x61, 0x66, 0xe9])],
        "/api/v1/events": [
          "text/event-stream",
          Buffer.from(': hi\r\n\r\ndata: {"choices":[{"delta":{"content":"é"}}]}\r\n\r\ndata: [DONE]\r\n\r\n')
        ],
        "/api/v1/audio": ["audio/mpeg", Uint8Array.from({ length: 100_000 }, (_, n) => (n * 7) % 256)]
      }
      return served(
        (response, request) => {
          const [type, bytes] = bodies[request.url!]!
          response.writeHead(200, { "content-type": type }).end(bytes)
        },
        {},
        async ({ fetch, origin }) => {
          for (const [path, [type, bytes]] of Object.entries(bodies)) {
            const answer = await fetch(origin + path)
            assert.strictEqual(answer.headers.get("content-type"), type)
            assert.deepStrictEqual(Buffer.from(await answer.arrayBuffer()), Buffer.from(bytes))
          }
        }
      )
    })

    it.live("an encoded body comes decoded, and without the headers of its encoding", () =>
      served(
        (response) => {
          const headers = { "content-type": "application/json", "content-encoding": "gzip" }
          response.writeHead(200, headers).end(gzipSync('{"a":1}'))
        },
        {},
        async ({ baseUrl, fetch }) => {
          const answer = await fetch(`${baseUrl}/models`, { headers: { "accept-encoding": "br" } })
          assert.deepStrictEqual(await answer.json(), { a: 1 })
          assert.isNull(answer.headers.get("content-encoding"))
          assert.isNull(answer.headers.get("content-length"))
        }
      )
    )

    it.live("answers without a body, and each of several cookies", () =>
      served(
        (response, request) => {
          const cookies = ["a=1; Path=/; HttpOnly", "b=2; Path=/"]
          if (request.method === "DELETE") response.writeHead(204, { "set-cookie": cookies }).end()
          else response.writeHead(200, { "content-type": "audio/mpeg", "content-length": "9" }).end()
        },
        {},
        async ({ baseUrl, fetch }) => {
          const deleted = await fetch(`${baseUrl}/files/1`, { method: "DELETE" })
          assert.strictEqual(deleted.status, 204)
          assert.isNull(deleted.body)
          assert.strictEqual(deleted.headers.getSetCookie().length, 2)
          assert.isNull((await fetch(`${baseUrl}/files/1`, { method: "HEAD" })).body)
        }
      )
    )

    it.live("another key answers when the first cannot, and the caller sees nothing of it", () =>
      fetching({}, async ({ chat, run, simulator }) => {
        await run(simulator.revoke("a"))
        assert.strictEqual((await chat()).status, 200)
        await run(simulator.fault({ match: { key: "b" }, times: 1, action: actions.firstEventError() }))
        const streamed = await chat({ stream: true })
        assert.include(await streamed.text(), "[DONE]")
        assert.isNull(streamed.headers.get("x-should-retry"))
      })
    )
  })

  describe("failures", () => {
    it.live("the last word is OpenRouter's own, and tells SDKs not to try again", () =>
      fetching({}, async ({ chat, run, simulator }) => {
        const body = '{"error": {"code": 400, "message": "Bad request"} , "é": 1}'
        const headers = { "content-type": "application/json", "x-mine": "kept" }
        await run(simulator.fault({ action: actions.status(400, body, headers) }))
        const answer = await chat()
        assert.strictEqual(answer.status, 400)
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
        assert.strictEqual(answer.headers.get("x-mine"), "kept")
        assert.strictEqual(await answer.text(), body)
        assert.deepStrictEqual(await run(met(simulator)), [1, 0])
      })
    )

    it.live("a Retry-After of days is cut to an hour, and a shorter one stays", () =>
      fetching({ retry: false }, async ({ chat, run, simulator }) => {
        const far = new Date(Date.now() + 1e9).toUTCString()
        for (const [sent, seen] of [
          ["864000", "3600"],
          [far, "3600"],
          ["7", "7"]
        ] as const) {
          const action = actions.status(400, undefined, { "retry-after": sent })
          await run(simulator.fault({ times: 1, action }))
          assert.strictEqual((await chat()).headers.get("retry-after"), seen)
        }
      })
    )

    it.live("no key has credit: 402 with the reasons, and no secret", () =>
      fetching({ simulator: { keys: keys("a b", { limit: 0 }) } }, async ({ chat }) => {
        const answer = await chat()
        assert.strictEqual(answer.status, 402)
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
        const text = await answer.text()
        for (const name of ["a", "b"]) assert.isEmpty(leaksOf(text, secretOf(name)))
        const { error } = JSON.parse(text)
        assert.strictEqual(error.code, 402)
        assert.match(error.message, /^No key can serve: a exhausted/)
        assert.strictEqual(error.metadata.error_type, "payment_required")
        const { keys: reasons, retry_at } = error.metadata.evenkeel
        assert.deepStrictEqual(
          reasons.map(({ id, reason, scope }: any) => ({ id, reason, scope })),
          ["a", "b"].map((id) => ({ id, reason: "exhausted", scope: "key" }))
        )
        assert.isAbove(Date.parse(retry_at), Date.now())
        assert.isAtLeast(retryAfterOf(answer), 1)
        assert.isAtMost(retryAfterOf(answer), 3600)
      })
    )

    it.live("all keys are refused: 401", () =>
      fetching({ simulator: { keys: keys("a b", { disabled: true }) } }, async ({ chat }) => {
        const answer = await chat()
        assert.strictEqual(answer.status, 401)
        assert.strictEqual(((await answer.json()) as any).error.metadata.error_type, "authentication")
      })
    )

    it.live("the account is throttled: 429 with its Retry-After", () =>
      fetching({ retry: { maxDelay: 1, times: 0 } }, async ({ chat, run, simulator }) => {
        await run(
          simulator.fault({
            match: { key: "a" },
            action: errors.accountRate429({ limit: 1, resetAt: Date.now() + 20_000 })
          })
        )
        await run(simulator.fault({ match: { key: "b" }, action: errors.revoked() }))
        const answer = await chat()
        assert.strictEqual(answer.status, 429)
        assert.isAtMost(retryAfterOf(answer), 60)
      })
    )

    it.live("all permits are taken and nobody may wait: 429", () =>
      fetching(
        { maxWaiting: 0, retry: false, traits: { a: { maxInFlight: 1 }, b: { maxInFlight: 1 } } },
        async ({ chat }) => {
          const open = await Promise.all([chat({ stream: true }), chat({ stream: true })])
          const answer = await chat()
          assert.strictEqual(answer.status, 429)
          const { error } = (await answer.json()) as any
          assert.deepStrictEqual(
            error.metadata.evenkeel.keys.map(({ reason }: any) => reason),
            ["saturated", "saturated"]
          )
          assert.isNull(answer.headers.get("retry-after"))
          for (const response of open) await response.body!.cancel()
        }
      )
    )

    it.live("the circuits are open: 503", () =>
      served(
        (response) => response.writeHead(503, { "content-type": "application/json" }).end("{}"),
        { breaker: { upstream: { trip: CircuitBreaker.consecutive(1) } }, retry: false, maxWait: 0 },
        async ({ baseUrl, fetch }) => {
          await fetch(`${baseUrl}/chat/completions`, chat())
          const answer = await fetch(`${baseUrl}/chat/completions`, chat())
          assert.strictEqual(answer.status, 503)
          const { error } = (await answer.json()) as any
          assert.strictEqual(error.metadata.error_type, "provider_overloaded")
          assert.strictEqual(error.metadata.evenkeel.keys[0].reason, "circuit-open")
        }
      )
    )

    it.live("a connection that fails rejects as a fetch does, without a secret", () =>
      fetching({ retry: false }, async ({ chat, run, simulator }) => {
        await run(simulator.fault({ action: actions.reset }))
        const error = await rejection(chat())
        assert.instanceOf(error, TypeError)
        assert.strictEqual(error.message, "fetch failed")
        assert.instanceOf(error.cause, Error)
        for (const name of ["a", "b"]) assert.isEmpty(leaksOf(textOf(error), secretOf(name)))
      })
    )

    it.live("an underlying fetch that tells the key in its error is not quoted", () =>
      Effect.promise(async () => {
        const secret = secretOf("a")
        const openrouter = await OpenRouterFetch.make({
          keys: [secret],
          baseUrl: "http://127.0.0.1:9/api/v1",
          credits: false,
          retry: false,
          fetch: (_, init) =>
            Promise.reject(
              Object.assign(new Error(`sent ${JSON.stringify(init?.headers)}`), { code: "E_SENT", init })
            )
        })
        const error = await rejection(openrouter.fetch("http://127.0.0.1:9/api/v1/models"))
        assert.include(error.cause.message, "<redacted>")
        assert.strictEqual(error.cause.code, "E_SENT")
        assert.isEmpty(leaksOf(textOf(error), secret))
        await openrouter.close()
      })
    )
  })

  describe("life", () => {
    it.live("reads credit, and the reading ends with close", () =>
      fetching({ credits: { interval: "1 second" } }, async ({ close, run, simulator, snapshot }) => {
        await until(() => snapshot().keys.every(({ creditReadAt }) => creditReadAt !== undefined))
        await close()
        const reads = async () => (await run(simulator.snapshot)).keys.map((key) => key.reads)
        const before = await reads()
        await run(Effect.sleep(1500))
        assert.deepStrictEqual(await reads(), before)
      })
    )

    it.live("close breaks off what is in flight, twice does no harm, and then fetch says so", () =>
      fetching({ simulator: { chunkDelay: "1 second" } }, async ({ chat, close, idle, run, simulator }) => {
        await run(simulator.fault({ match: { stream: false }, action: actions.stall() }))
        const waiting = rejection(chat())
        const reading = rejection((await chat({ stream: true })).text())
        await run(simulator.waitUntil(({ inFlight }) => inFlight === 2))
        await Promise.all([close(), close()])
        for (const error of [await waiting, await reading, await rejection(chat())]) {
          assert.instanceOf(error, TypeError)
          assert.include(error.message, "close()")
        }
        await idle()
      })
    )

    it.live("is disposable, needs no this, and its snapshot is plain data", () =>
      fetching({}, async (world) => {
        const { fetch, snapshot } = world
        assert.strictEqual((await fetch(`${world.baseUrl}/models`)).status, 200)
        const copy = JSON.parse(JSON.stringify(snapshot()))
        assert.deepStrictEqual(
          copy.keys.map(({ id }: { id: string }) => id),
          ["a", "b"]
        )
        await world[Symbol.asyncDispose]()
        assert.strictEqual(snapshot().keys.length, 2)
      })
    )

    const base = { keys: [secretOf("a")], credits: false } as const
    const bad: ReadonlyArray<readonly [string, OpenRouterFetch.Options, RegExp]> = [
      ["no key", { ...base, keys: [] }, /keys must be/],
      ["keys that are no list", { ...base, keys: "a,b" as never }, /keys must be a list/],
      ["an empty secret", { ...base, keys: [secretOf("a"), ""] }, /key at position 2: secret/],
      ["a weight of 0", { ...base, keys: [{ secret: secretOf("a"), weight: 0 }] }, /position 1: weight/],
      ["a key in the clear", { ...base, baseUrl: "http://example.com" }, /baseUrl must be/],
      ["a negative number of waiters", { ...base, maxWaiting: -1 }, /maxWaiting must be/],
      ["no patience", { ...base, idleTimeout: 0 }, /idleTimeout must be/],
      ["a selector that is none", { ...base, selector: {} as never }, /selector must be/],
      ["a fetch that is none", { ...base, fetch: "fetch" as never }, /fetch must be/],
      ["a client that is none", { ...base, httpClient: {} as never }, /httpClient must be/],
      ["retries below 0", { ...base, retry: { times: -1 } }, /Retry: times must be/],
      [
        "a cooldown of nothing",
        { ...base, breaker: { key: { cooldown: { base: "0 seconds", max: "1 second" } } } },
        /cooldown.base must be/
      ],
      ["an interval of nothing", { ...base, credits: { interval: 1 } }, /interval must be/]
    ]
    for (const [what, options, message] of bad) {
      it.live(`refuses ${what}`, () =>
        Effect.promise(async () => {
          const error = await rejection(OpenRouterFetch.make(options))
          assert.match(error.message, message)
          assert.isEmpty(leaksOf(textOf(error), secretOf("a")))
        })
      )
    }

    it.live("reads keys and address from the environment", () =>
      fetching({}, async ({ baseUrl }) => {
        const { OPENROUTER_BASE_URL, OPENROUTER_KEYS } = process.env
        Object.assign(process.env, {
          OPENROUTER_KEYS: `one=${secretOf("a")},${secretOf("b")}`,
          OPENROUTER_BASE_URL: baseUrl
        })
        try {
          const openrouter = await OpenRouterFetch.make({ credits: false, retry: impatient })
          assert.strictEqual((await openrouter.fetch(`${baseUrl}/chat/completions`, chat(hello))).status, 200)
          assert.strictEqual(openrouter.snapshot().keys[0]!.id, "one")
          await openrouter.close()
        } finally {
          for (const [name, value] of Object.entries({ OPENROUTER_BASE_URL, OPENROUTER_KEYS })) {
            if (value === undefined) delete process.env[name]
            else process.env[name] = value
          }
        }
      })
    )
  })
})
