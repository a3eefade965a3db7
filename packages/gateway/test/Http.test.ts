// What the gateway answers over plain HTTP, and what it refuses.
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Redacted } from "effect"
import { createServer, request, type IncomingMessage } from "node:http"
import { connect, type AddressInfo } from "node:net"
import { inWorld, messages, model, token, type World } from "./utils.ts"

const { actions } = Simulator
const chat = "/v1/chat/completions"
const bearer = (value: string) => ({ headers: { authorization: `Bearer ${value}` } })

interface Told {
  readonly status: number
  readonly error: Readonly<Record<string, unknown>>
  readonly headers: Headers
}

const told = async (response: Response): Promise<Told> => {
  const { error } = (await response.json()) as Pick<Told, "error">
  assert.sameMembers(
    Object.keys(error).filter((name) => name !== "metadata"),
    ["message", "type", "code", "param"]
  )
  return { status: response.status, error, headers: response.headers }
}

/** With headers that `fetch` would not send. */
const raw = ({ url }: World, path: string, headers: Record<string, string>, method = "GET", body = "") =>
  new Promise<{
    readonly status: number
    readonly text: string
    readonly headers: IncomingMessage["headers"]
  }>((resolve, reject) => {
    const sent = request(`${url}${path}`, { method, headers }, async (response) => {
      let text = ""
      for await (const chunk of response) text += chunk
      resolve({ status: response.statusCode!, text, headers: response.headers })
    })
    sent.on("error", reject)
    sent.end(body)
  })

describe("requests", () => {
  it.live(
    "pass as they are, unknown fields too, and nothing of the client's but what OpenRouter reads",
    () => {
      const seen: Array<unknown> = []
      const completion = ({ body }: Simulator.CompletionRequest) => {
        seen.push(body)
        return "fine"
      }
      return inWorld(
        { simulator: { completion }, gateway: { tokens: [Redacted.make(token)] } },
        async (world) => {
          const sent = {
            model,
            messages,
            tomorrow: { is: ["another", "day"] },
            provider: { order: ["OpenAI"] }
          }
          const response = await world.post(chat, sent, bearer(token))
          assert.strictEqual(response.status, 200)
          assert.deepStrictEqual(seen, [sent])
          assert.match(response.headers.get("content-type")!, /^application\/json/)
          await response.text()
          const [record] = await world.run(world.simulator.requests)
          assert.include(["key-1", "key-2", "key-3"], record!.key)
        }
      )
    }
  )

  it.live("that cannot be right are refused before a key is taken for them, and the field is named", () =>
    inWorld({ gateway: { maxBodyBytes: 1000 } }, async (world) => {
      const cases: ReadonlyArray<readonly [string, unknown, number, string, string | null]> = [
        [chat, "{", 400, "invalid_json", null],
        [chat, "", 400, "invalid_json", null],
        [chat, "[]", 400, "invalid_json", null],
        [chat, { model }, 400, "invalid_value", "messages"],
        [chat, { model, messages: [] }, 400, "invalid_value", "messages"],
        [chat, { model: 1, messages }, 400, "invalid_value", "model"],
        [chat, { model, messages, stream: "yes" }, 400, "invalid_value", "stream"],
        ["/v1/completions", { model }, 400, "invalid_value", "prompt"],
        ["/v1/embeddings", { model }, 400, "invalid_value", "input"],
        ["/v1/responses", { model }, 400, "invalid_value", "input"],
        ["/v1/messages", { model }, 400, "invalid_value", "messages"],
        [chat, { model, messages, more: "x".repeat(1000) }, 413, "request_too_large", null],
        ["/v1/key", {}, 404, "unknown_url", null],
        ["/v1", {}, 404, "unknown_url", null]
      ]
      for (const [path, body, status, code, param] of cases) {
        const { error, ...answer } = await told(await world.post(path, body))
        assert.deepStrictEqual([answer.status, error["code"], error["param"]], [status, code, param])
      }
      // Without a content-length.
      const chunks = new ReadableStream({
        start: (controller) => {
          for (let i = 0; i < 20; i++) controller.enqueue(new Uint8Array(100).fill(32))
          controller.close()
        }
      })
      const body = { method: "POST", duplex: "half", body: chunks } as RequestInit
      const long = await told(
        await fetch(`${world.url}${chat}`, { ...body, headers: { "content-type": "application/json" } })
      )
      assert.strictEqual(long.status, 413)
      const form = { headers: { "content-type": "text/plain" } }
      assert.strictEqual((await told(await world.post(chat, { model, messages }, form))).status, 415)
      const zipped = { headers: { "content-encoding": "gzip" } }
      assert.strictEqual((await told(await world.post(chat, { model, messages }, zipped))).status, 415)
      const get = await told(await fetch(`${world.url}${chat}`))
      assert.strictEqual(get.status, 404)
      const { keys } = await world.run(world.pool.snapshot)
      assert.isTrue(keys.every(({ leased }) => leased === 0))
    })
  )

  it.live("that stop in the middle of their body leave nothing behind", () =>
    inWorld({}, async (world) => {
      const { hostname, port } = new URL(world.url)
      const socket = connect(Number(port), hostname)
      socket.write(
        `POST ${chat} HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"model"`
      )
      while ((await world.run(world.gateway.inFlight)) === 0) await new Promise(setImmediate)
      socket.destroy()
      await world.idle()
    })
  )

  it.live("beyond maxInFlight are told so at once", () =>
    inWorld({ gateway: { maxInFlight: 1 }, simulator: { latency: 60_000 } }, async (world) => {
      const controller = new AbortController()
      const held = world.post(chat, { model, messages }, { signal: controller.signal }).catch(() => undefined)
      while ((await world.run(world.gateway.inFlight)) === 0) await new Promise(setImmediate)
      const { error, headers, status } = await told(await world.post(chat, { model, messages }))
      assert.deepStrictEqual([status, error["code"]], [503, "gateway_overloaded"])
      assert.strictEqual(headers.get("retry-after"), "1")
      controller.abort()
      await held
    })
  )
})

describe("streams", () => {
  it.live("pass byte for byte", () =>
    inWorld({}, async (world) => {
      const response = await world.post(chat, { model, messages, stream: true })
      assert.match(response.headers.get("content-type")!, /^text\/event-stream/)
      assert.strictEqual(response.headers.get("x-accel-buffering"), "no")
      const text = await response.text()
      assert.match(text, /"usage":\{/)
      assert.match(text, /\ndata: \[DONE\]\n\n$/)
    })
  )

  it.live("that break off end with one whole event of an error, in the words of their endpoint", () =>
    inWorld({}, async (world) => {
      for (const [path, body] of [
        [chat, { model, messages }],
        ["/v1/responses", { model, input: "hello" }],
        ["/v1/messages", { model, messages, max_tokens: 100 }]
      ] as const) {
        await world.run(world.simulator.fault({ times: 1, action: actions.cut({ afterChunks: 2 }) }))
        const text = await (await world.post(path, { ...body, stream: true })).text()
        const events = text.split("\n\n").filter((event) => event.includes("data: "))
        for (const event of events) JSON.parse(/^data: (.*)$/m.exec(event)![1]!)
        const last = events.at(-1)!
        const { error } = JSON.parse(/^data: (.*)$/m.exec(last)![1]!)
        assert.strictEqual(error.code, "stream_broken")
        assert.strictEqual(/^event: error$/m.test(last), path !== chat)
      }
    })
  )

  it.live("wait for a client that does not read", () =>
    Effect.scoped(
      Effect.flatMap(endless, (upstream) =>
        inWorld({ openrouter: { baseUrl: upstream.baseUrl } }, async (world) => {
          const response = await world.post(chat, { model, messages, stream: true })
          const reader = response.body!.getReader()
          await reader.read()
          // What is under way is what the buffers between hold: then all of it stands still.
          let before = -1
          while (upstream.sent() !== before) {
            before = upstream.sent()
            await new Promise((resolve) => setTimeout(resolve, 300))
          }
          assert.isBelow(before, 64 * 1024 * 1024)
          for (let i = 0; i < 200; i++) await reader.read()
          await reader.cancel()
          await upstream.closed
        })
      )
    )
  )
})

/** An upstream that never comes to an end, and writes as fast as it is read. */
const endless = Effect.acquireRelease(
  Effect.promise(async () => {
    let sent = 0
    let close = () => {}
    const closed = new Promise<void>((resolve) => (close = resolve))
    const data = JSON.stringify({ choices: [{ index: 0, delta: { content: "x".repeat(16_000) } }] })
    const server = createServer((incoming, response) => {
      incoming.resume()
      response.writeHead(200, { "content-type": "text/event-stream" }).on("close", close)
      const write = () => {
        sent += data.length
        if (response.write(`data: ${data}\n\n`)) setImmediate(write)
        else response.once("drain", write)
      }
      write()
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    return { server, closed, baseUrl: `http://127.0.0.1:${port}/api/v1`, sent: () => sent }
  }),
  ({ server }) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    })
)

describe("who may call", () => {
  it.live("with tokens, those who have one; health is everybody's", () =>
    inWorld(
      { gateway: { tokens: [Redacted.make("the-other-token-here"), Redacted.make(token)] } },
      async (world) => {
        const { url } = world
        for (const init of [{}, bearer("wrong"), bearer(`${token}x`), bearer(""), bearer(token.slice(1))]) {
          const { error, headers, status } = await told(await world.post(chat, { model, messages }, init))
          assert.deepStrictEqual([status, error["code"]], [401, "invalid_api_key"])
          assert.strictEqual(headers.get("www-authenticate"), "Bearer")
        }
        for (const path of ["/v1/models", "/v1/nowhere", "/metrics", "/events"]) {
          assert.strictEqual((await fetch(`${url}${path}`)).status, 401)
        }
        for (const init of [
          bearer(token),
          bearer("the-other-token-here"),
          { headers: { "x-api-key": token } }
        ]) {
          const response = await world.post(chat, { model, messages }, init)
          assert.strictEqual(response.status, 200)
          await response.text()
        }
        assert.strictEqual((await fetch(`${url}/health`)).status, 200)
        // The ids of keys are for those who have a token.
        assert.deepStrictEqual(await (await fetch(`${url}/ready`)).json(), { status: "ready" })
        const known = (await (await fetch(`${url}/ready`, bearer(token))).json()) as {
          readonly keys: ReadonlyArray<unknown>
        }
        assert.strictEqual(known.keys.length, 3)
      }
    )
  )

  it.live(
    "without tokens nobody who calls loopback by another name, as a page that rebinds its own would",
    () =>
      inWorld({ gateway: { allowedHosts: ["gateway.test"] } }, async (world) => {
        for (const host of ["evil.example", "evil.example:4040", "127.0.0.1.evil.example", "10.0.0.1"]) {
          assert.strictEqual((await raw(world, "/v1/models", { host })).status, 403, host)
          assert.strictEqual((await raw(world, "/", { host })).status, 403, host)
          assert.strictEqual((await raw(world, "/health", { host })).status, 403, host)
        }
        for (const host of [
          "localhost",
          "LOCALHOST:1",
          "127.0.0.1:80",
          "[::1]:4040",
          "gateway.test:443",
          "Gateway.test"
        ]) {
          assert.strictEqual((await raw(world, "/v1/models", { host })).status, 200, host)
        }
      })
  )

  it.live("on loopback that holds even for who lets everybody call", () =>
    inWorld({ gateway: { allowUnauthenticated: true } }, async (world) => {
      assert.strictEqual((await raw(world, "/v1/models", { host: "evil.example" })).status, 403)
      assert.strictEqual((await raw(world, "/v1/models", { host: "localhost" })).status, 200)
    })
  )

  it.live("no page of another origin, and no CORS unless allowed", () =>
    inWorld({}, async (world) => {
      const json = { "content-type": "application/json" }
      const body = JSON.stringify({ model, messages })
      for (const origin of ["https://evil.example", "null", "http://localhost:1"]) {
        const { headers, status, text } = await raw(world, chat, { ...json, origin }, "POST", body)
        assert.strictEqual(status, 403, origin)
        assert.strictEqual(JSON.parse(text).error.code, "origin_not_allowed")
        assert.notProperty(headers, "access-control-allow-origin")
      }
      assert.strictEqual((await raw(world, chat, { ...json, origin: world.url }, "POST", body)).status, 200)
      const preflight = { origin: "https://evil.example", "access-control-request-method": "POST" }
      assert.strictEqual((await raw(world, chat, preflight, "OPTIONS")).status, 403)
    })
  )

  it.live("pages of allowed origins, with what they may read", () => {
    const allowedOrigins = ["https://app.example", "https://other.example"]
    return inWorld({ gateway: { allowedOrigins, tokens: [Redacted.make(token)] } }, async (world) => {
      const origin = "https://app.example"
      const asked = {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type"
      }
      const preflight = await raw(world, chat, asked, "OPTIONS")
      assert.strictEqual(preflight.status, 204)
      assert.strictEqual(preflight.headers["access-control-allow-origin"], origin)
      assert.match(preflight.headers["access-control-allow-headers"]!, /authorization/)
      const headers = { origin, authorization: `Bearer ${token}`, "content-type": "application/json" }
      const answer = await raw(world, chat, headers, "POST", JSON.stringify({ model, messages }))
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers["access-control-allow-origin"], origin)
      assert.match(answer.headers["access-control-expose-headers"]!, /x-evenkeel-key/)
      const stranger = await raw(world, chat, { ...headers, origin: "https://evil.example" }, "POST", "{}")
      assert.strictEqual(stranger.status, 403)
      assert.notProperty(stranger.headers, "access-control-allow-origin")
    })
  })
})

describe("health and metrics", () => {
  it.live("ready while some key can serve, with the reasons where none can", () =>
    inWorld({ traits: { "key-1": { maxInFlight: 1 } } }, async (world) => {
      const ready = () => fetch(`${world.url}/ready`)
      assert.strictEqual((await ready()).status, 200)
      const bench = (id: string) =>
        world.run(world.pool.bench({ scope: "key", id, reason: "exhausted", for: "90 seconds" }))
      await bench("key-2")
      await bench("key-3")
      assert.strictEqual((await ready()).status, 200)
      await bench("key-1")
      const response = await ready()
      assert.strictEqual(response.status, 503)
      assert.isAtLeast(Number(response.headers.get("retry-after")), 60)
      const { keys, status } = (await response.json()) as any
      assert.strictEqual(status, "unavailable")
      assert.deepInclude(keys[0], { id: "key-1", ready: false, reason: "exhausted", scope: "key" })
      assert.strictEqual((await fetch(`${world.url}/health`)).status, 200)
      await world.run(world.pool.readmit("key", "key-3"))
      assert.strictEqual((await ready()).status, 200)
      await world.run(world.gateway.drain)
      const draining = await ready()
      assert.strictEqual(draining.status, 503)
      assert.strictEqual(draining.headers.get("connection"), "close")
      assert.strictEqual(((await draining.json()) as any).status, "draining")
    })
  )

  it.live("a gateway whose keys are all busy is ready", () =>
    inWorld(
      { simulator: { keys: [{ name: "a" }], latency: 60_000 }, traits: { a: { maxInFlight: 1 } } },
      async (world) => {
        const controller = new AbortController()
        const held = world
          .post(chat, { model, messages }, { signal: controller.signal })
          .catch(() => undefined)
        await world.run(Effect.asVoid(world.simulator.waitUntil(({ keys }) => keys[0]!.inFlight === 1)))
        assert.strictEqual((await fetch(`${world.url}/ready`)).status, 200)
        controller.abort()
        await held
      }
    )
  )

  it.live("metrics tell what has passed, in Prometheus' words", () =>
    inWorld({}, async (world) => {
      await (await world.post(chat, { model, messages })).text()
      await (await world.post(chat, "{")).text()
      const response = await fetch(`${world.url}/metrics`)
      assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/)
      const text = await response.text()
      assert.match(
        text,
        /^evenkeel_gateway_requests_total\{route="\/v1\/chat\/completions",status="200"\} \d+$/m
      )
      assert.match(
        text,
        /^evenkeel_gateway_requests_total\{route="\/v1\/chat\/completions",status="400"\} \d+$/m
      )
      assert.match(text, /^evenkeel_gateway_in_flight 0$/m)
      assert.match(text, /^evenkeel_gateway_request_duration_milliseconds_bucket\{/m)
    })
  )

  it.live("what is turned off is not there", () =>
    inWorld({ gateway: { page: false, metrics: false, health: false } }, async (world) => {
      for (const path of ["/", "/events", "/metrics", "/health", "/ready"]) {
        assert.strictEqual((await fetch(`${world.url}${path}`)).status, 404, path)
      }
      assert.strictEqual((await world.post(chat, { model, messages })).status, 200)
    })
  )
})

describe("secrets", () => {
  it.live("of keys and clients are in nothing that the gateway tells", () => {
    const tokens = [Redacted.make(token)]
    return inWorld({ gateway: { tokens }, openrouter: { credits: {} } }, async (world) => {
      const secrets = world.simulator.keys.map(({ secret }) => Redacted.value(secret))
      const seen: Array<string> = []
      const look = async (response: Response) =>
        void seen.push(JSON.stringify([...response.headers]), await response.text())
      // A provider that says what it should not.
      const body = { error: { code: 502, message: `bad gateway for ${secrets.join(" ")}` } }
      for (const action of [actions.status(502, body), actions.reset, Simulator.errors.badGateway502()]) {
        const fault = await world.run(world.simulator.fault({ action }))
        await look(await world.post(chat, { model, messages }, bearer(token)))
        await world.run(fault.remove)
      }
      for (const name of ["key-1", "key-2", "key-3"]) await world.run(world.simulator.revoke(name))
      for (const _ of [1, 2]) await look(await world.post(chat, { model, messages }, bearer(token)))
      for (const path of ["/", "/ready", "/metrics"])
        await look(await fetch(`${world.url}${path}`, bearer(token)))
      const feed = await fetch(`${world.url}/events`, bearer(token))
      const reader = feed.body!.getReader()
      seen.push(new TextDecoder().decode((await reader.read()).value))
      await reader.cancel()
      const all = seen.join("\n")
      assert.include(all, "bad gateway for <redacted>")
      assert.include(all, '"keys":[')
      for (const secret of [...secrets, token]) assert.notInclude(all, secret)
    })
  })
})
