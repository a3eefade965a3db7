import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { type Cause, Deferred, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import {
  HttpBody,
  HttpClient,
  type HttpClientError,
  HttpClientRequest,
  type HttpClientResponse
} from "effect/http"
import { UndiciHttpClient } from "../src/index.ts"
import type { DispatchResponse } from "../src/internal/response.ts"
import { type Arrival, type Chunks, sourceSymbol } from "../src/internal/source.ts"
import { serve, until, type Answer, type Upstream } from "./server.ts"

const execute = (request: HttpClientRequest.HttpClientRequest) =>
  Effect.flatMap(HttpClient.HttpClient, (client) => client.execute(request))
const get = (url: string) => execute(HttpClientRequest.get(url))
const echo: Answer = (request, response) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => {
    const body = Buffer.concat(chunks).toString()
    const { headers, method, url } = request
    response.setHeader("content-type", "application/json")
    response.end(JSON.stringify({ method, url, headers, body }))
  })
}
const text = (status: number, body: string, headers: Record<string, string> = {}): Answer =>
  ((_, response) => response.writeHead(status, headers).end(body)) as Answer

type Exchange = (
  request: HttpClientRequest.HttpClientRequest,
  isWhole: () => boolean
) => ReturnType<HttpClient.HttpClient["execute"]>

/** What is looked into of an exchange. */
interface Exchanged {
  readonly chunks: ReadonlyArray<Uint8Array>
  onResponseData: (controller: unknown, chunk: Uint8Array) => void
}

type Source = ReturnType<NonNullable<(typeof DispatchResponse.prototype)[typeof sourceSymbol]>>
const sourceOf = (response: HttpClientResponse.HttpClientResponse): Source =>
  (response as DispatchResponse)[sourceSymbol]?.()

/** Its stream made of its source, as those make it who read the body themselves. */
const bySource = (response: HttpClientResponse.HttpClientResponse): HttpClientResponse.HttpClientResponse => {
  const stream = Stream.suspend(() => {
    const source = sourceOf(response)
    if (source === undefined) return response.stream
    const next = Effect.callback<Chunks, Cause.Done | HttpClientError.HttpClientError>((resume) => {
      const arrival = source.next(resume)
      if (arrival !== undefined) resume(arrival)
    })
    return Stream.ensuring(Stream.fromPull(Effect.succeed(next)), source.close)
  })
  return Object.create(response, { stream: { value: stream } })
}

/** A client that takes the shorter way of the lean one wherever it can, as those do who look after their answers. */
const shorter = (whole: boolean, read = (response: HttpClientResponse.HttpClientResponse) => response) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (client) => {
      const exchange = (client as never)[Symbol.for("@evenkeel/HttpClient/exchange")] as Exchange
      return HttpClient.makeWith(
        (requests: Effect.Effect<HttpClientRequest.HttpClientRequest>) =>
          Effect.flatMap(requests, (request) =>
            request.body._tag === "Uint8Array" || request.body._tag === "Empty"
              ? Effect.map(
                  exchange(request, () => whole),
                  read
                )
              : client.execute(request)
          ),
        Effect.succeed as HttpClient.HttpClient.Preprocess<never, never>
      )
    })
  ).pipe(Layer.provide(UndiciHttpClient.layer))

// Whatever holds of this client holds of the standard one: the same tests run on both.
const layers = [
  ["lean", UndiciHttpClient.layer],
  ["standard", NodeHttpClient.layerUndici],
  ["shorter", shorter(false)],
  ["shorter, whole", shorter(true)],
  ["shorter, by its source", shorter(false, bySource)]
] as const

describe.each(layers)("%s client", (name, layer) => {
  const live = (
    title: string,
    test: () => Effect.Effect<void, unknown, HttpClient.HttpClient | Scope.Scope>
  ): void => {
    // What is asked for whole is no stream; and the scope of a request is what watches over the longer ways.
    if (name === "shorter, whole" && (title.includes("stream") || title.includes("slowly"))) return
    if (name.startsWith("shorter") && title.includes("scope")) return
    it.live(title, () => Effect.provide(test(), layer, { local: true }))
  }

  live("sends method, path, query, headers and body", () =>
    Effect.gen(function* () {
      const { url } = yield* serve(echo)
      const response = yield* execute(
        HttpClientRequest.post(`${url}/a/b#part`).pipe(
          HttpClientRequest.setUrlParam("q", "ä b"),
          HttpClientRequest.setHeader("x-one", "1"),
          HttpClientRequest.bodyText("grüße", "text/plain")
        )
      )
      assert.strictEqual(response.url, `${url}/a/b?q=%C3%A4+b`)
      const seen = (yield* response.json) as Record<string, unknown>
      assert.deepInclude(seen, { method: "POST", url: "/a/b?q=%C3%A4+b", body: "grüße" })
      assert.deepInclude(seen["headers"], { "x-one": "1", "content-type": "text/plain" })
    })
  )

  live("sends streams and forms", () =>
    Effect.gen(function* () {
      const { url } = yield* serve(echo)
      const pieces = Stream.make("one ", "two").pipe(Stream.encodeText)
      const streamed = yield* execute(
        HttpClientRequest.post(url).pipe(HttpClientRequest.setBody(HttpBody.stream(pieces, "text/plain")))
      )
      assert.deepInclude(yield* streamed.json, { body: "one two" })
      const form = new FormData()
      form.append("field", "value")
      const formed = yield* execute(
        HttpClientRequest.post(url).pipe(HttpClientRequest.setBody(HttpBody.formData(form)))
      )
      const { body } = (yield* formed.json) as { readonly body: string }
      assert.include(body, 'name="field"')
    })
  )

  live("reads status, headers, cookies and every kind of body, again and again", () =>
    Effect.gen(function* () {
      const { url } = yield* serve((_, response) => {
        response.writeHead(404, { "X-Two": ["a", "b"], "set-cookie": ["k=v; Path=/"] }).end('{"a":1}')
      })
      const response = yield* get(url)
      assert.strictEqual(response.status, 404)
      assert.strictEqual(response.headers["x-two"], "a, b")
      assert.strictEqual(response.cookies.cookies["k"]?.value, "v")
      assert.deepStrictEqual(yield* response.json, { a: 1 })
      assert.strictEqual(yield* response.text, '{"a":1}')
      assert.strictEqual((yield* response.arrayBuffer).byteLength, 7)
    })
  )

  live("empty bodies, HEAD, 204, and trailers", () =>
    Effect.gen(function* () {
      const { url } = yield* serve((request, response) => {
        if (request.url === "/204") return void response.writeHead(204).end()
        if (request.url === "/trailers") {
          response.writeHead(200, { trailer: "x-late", "transfer-encoding": "chunked" })
          response.write("body")
          response.addTrailers({ "x-late": "1" })
          return void response.end()
        }
        response.writeHead(200, { "content-length": request.method === "HEAD" ? "5" : "0" }).end()
      })
      assert.strictEqual(yield* (yield* get(url)).json, null)
      assert.strictEqual(yield* (yield* get(`${url}/204`)).text, "")
      const head = yield* execute(HttpClientRequest.head(url))
      assert.strictEqual(head.headers["content-length"], "5")
      assert.strictEqual(yield* head.text, "")
      assert.deepStrictEqual(yield* Stream.runCollect((yield* get(url)).stream), [])
      const trailed = yield* get(`${url}/trailers`)
      assert.strictEqual(yield* trailed.text, "body")
      assert.strictEqual(trailed.headers["x-late"], undefined)
    })
  )

  live("does not follow redirects", () =>
    Effect.gen(function* () {
      const { url } = yield* serve(text(302, "", { location: "/elsewhere" }))
      const response = yield* get(url)
      assert.strictEqual(response.status, 302)
      assert.strictEqual(response.headers["location"], "/elsewhere")
    })
  )

  live("fails as a transport where nobody listens, where the connection breaks, and at bad URLs", () =>
    Effect.gen(function* () {
      const { url } = yield* serve((request) => request.socket.destroy())
      assert.strictEqual((yield* Effect.flip(get(url))).reason._tag, "TransportError")
      assert.strictEqual((yield* Effect.flip(get("http://127.0.0.1:1"))).reason._tag, "TransportError")
      assert.strictEqual((yield* Effect.flip(get("no url"))).reason._tag, "InvalidUrlError")
      const bad = HttpClientRequest.setHeader(HttpClientRequest.get(url), "bad", "a\nb")
      assert.strictEqual((yield* Effect.flip(execute(bad))).reason._tag, "TransportError")
    })
  )

  live("fails as undecodable where the body breaks off, and is not JSON", () =>
    Effect.gen(function* () {
      const { url } = yield* serve((request, response) => {
        if (request.url === "/text") return void response.end("no json")
        response.writeHead(200, { "content-length": "100" })
        response.write("half", () => request.socket.destroy())
      })
      const read = (part: (response: HttpClientResponse.HttpClientResponse) => Effect.Effect<unknown, any>) =>
        Effect.flip(Effect.flatMap(get(url), part))
      assert.strictEqual((yield* read((response) => response.text)).reason._tag, "DecodeError")
      assert.strictEqual((yield* read((response) => response.arrayBuffer)).reason._tag, "DecodeError")
      assert.strictEqual(
        (yield* read((response) => Stream.runDrain(response.stream))).reason._tag,
        "DecodeError"
      )
      const json = yield* Effect.flip((yield* get(`${url}/text`)).json)
      assert.strictEqual(json.reason._tag, "DecodeError")
    })
  )

  live("streams each chunk as it comes", () =>
    Effect.gen(function* () {
      const next = yield* Deferred.make<void>()
      const { url } = yield* serve((_, response) => {
        response.write("first")
        Effect.runFork(
          Effect.andThen(
            Deferred.await(next),
            Effect.sync(() => response.end("second"))
          )
        )
      })
      const seen: Array<string> = []
      yield* Stream.runForEach(Stream.decodeText((yield* get(url)).stream), (chunk) => {
        seen.push(chunk)
        // The server writes on only when the first has been read.
        return Deferred.succeed(next, undefined)
      })
      assert.deepStrictEqual(seen, ["first", "second"])
    })
  )

  live("interruption before the head closes the connection", () =>
    Effect.gen(function* () {
      let asked = 0
      const { dropped, url } = yield* serve(() => void asked++)
      const fiber = yield* Effect.forkChild(get(url))
      yield* until(() => asked === 1)
      yield* Fiber.interrupt(fiber)
      yield* until(() => dropped.count === 1)
    })
  )

  live("interruption within the body, and the end of a stream, close the connection", () =>
    Effect.gen(function* () {
      const { dropped, url } = yield* serve((_, response) => void response.write("data"))
      const reading = yield* Effect.forkChild(Effect.flatMap(get(url), (response) => response.text))
      yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(reading)
      yield* until(() => dropped.count === 1)
      const response = yield* get(url)
      assert.strictEqual((yield* Stream.runCollect(Stream.take(response.stream, 1))).length, 1)
      yield* until(() => dropped.count === 2)
    })
  )

  live("a scope that closes aborts, before the head and within the body", () =>
    Effect.gen(function* () {
      let asked = 0
      const { dropped, url } = yield* serve((request, response) => {
        asked++
        if (request.url === "/body") response.write("data")
      })
      const client = HttpClient.withScope(yield* HttpClient.HttpClient)
      const first = yield* Scope.make()
      const fiber = yield* Effect.forkChild(Effect.flip(Scope.provide(client.get(url), first)))
      yield* until(() => asked === 1)
      yield* Scope.close(first, Exit.void)
      assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "TransportError")
      const second = yield* Scope.make()
      const response = yield* Scope.provide(client.get(`${url}/body`), second)
      const text = yield* Effect.forkChild(Effect.flip(response.text))
      yield* Scope.close(second, Exit.void)
      assert.strictEqual((yield* Fiber.join(text)).reason._tag, "DecodeError")
      yield* until(() => dropped.count === 2)
    })
  )

  live("backpressure: who reads slowly is not sent on", () =>
    Effect.gen(function* () {
      const chunk = Buffer.alloc(64 * 1024)
      const total = 512
      let written = 0
      const { url } = yield* serve((_, response) => {
        const write = (): void => {
          while (written < total) {
            written++
            if (!response.write(chunk)) return void response.once("drain", write)
          }
          response.end()
        }
        write()
      })
      const response = yield* get(url)
      // What fits into the buffers of both ends is sent; it stops well before all of 32 MiB.
      let last = -1
      while (last !== written) {
        last = written
        yield* Effect.sleep("100 millis")
      }
      assert.isBelow(written, total)
      const bytes = yield* Stream.runFold(
        response.stream,
        () => 0,
        (sum, part) => sum + part.length
      )
      assert.strictEqual(bytes, total * chunk.length)
    })
  )

  live("many large bodies at once, each read whole, in pieces or slowly", () =>
    Effect.gen(function* () {
      const size = 2 * 1024 * 1024
      const { url } = yield* serve((_, response) => void response.end(Buffer.alloc(size, "x")))
      const read = (turn: number) =>
        Effect.flatMap(get(url), (response) => {
          if (turn % 3 === 0) return Effect.map(response.text, (text) => text.length)
          const slowly = Stream.tap(response.stream, () =>
            turn % 3 === 1 ? Effect.yieldNow : Effect.sleep("1 millis")
          )
          return Stream.runFold(
            slowly,
            () => 0,
            (sum, part) => sum + part.length
          )
        })
      const turns = Array.from({ length: 24 }, (_, turn) => turn)
      const lengths = yield* Effect.forEach(turns, read, { concurrency: "unbounded" })
      assert.isTrue(lengths.every((length) => length === size))
    })
  )

  live("connections are used again, also when small bodies are left unread", () =>
    Effect.gen(function* () {
      const { sockets, url } = yield* serve(text(200, "small"))
      for (let i = 0; i < 20; i++) {
        yield* get(url)
        yield* Effect.sleep("1 millis")
      }
      assert.isAtMost(sockets.size, 2)
    })
  )

  live("2,000 requests in flight at once", () =>
    Effect.gen(function* () {
      const waiting: Array<() => void> = []
      const { url } = yield* serve((_, response) => void waiting.push(() => response.end("ok")))
      const all = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: 2_000 }),
          () => Effect.flatMap(get(url), (response) => response.text),
          {
            concurrency: "unbounded"
          }
        )
      )
      yield* until(() => waiting.length === 2_000)
      for (const answer of waiting) answer()
      const texts = yield* Fiber.join(all)
      assert.isTrue(texts.every((text) => text === "ok"))
    })
  )
})

/** Asks a server with this answer, and sees to the response. */
const over = <A>(
  layer: Layer.Layer<HttpClient.HttpClient>,
  answer: Answer,
  body: (
    response: HttpClientResponse.HttpClientResponse,
    upstream: Upstream
  ) => Effect.Effect<A, unknown, Scope.Scope>
) =>
  Effect.flatMap(serve(answer), (upstream) =>
    Effect.flatMap(get(upstream.url), (response) => body(response, upstream))
  ).pipe(Effect.provide(layer, { local: true }))

describe("a source", () => {
  const textOf = (arrival: Arrival | undefined) =>
    arrival?._tag === "Success" ? Buffer.concat(arrival.value).toString() : arrival?._tag

  it.live("has what is there, calls when there is more, and tells of the end", () => {
    let more: (text: string) => void
    let end: () => void
    const answer: Answer = (_, response) => {
      more = (text) => void response.write(text)
      end = () => void response.end()
      response.write("one")
    }
    return over(shorter(false), answer, (response) =>
      Effect.gen(function* () {
        const source = sourceOf(response)!
        const arrivals: Array<string | undefined> = []
        const ready = (arrival: Arrival) => void arrivals.push(textOf(arrival))
        const next = Effect.suspend(() => {
          const { length } = arrivals
          const arrival = source.next(ready)
          if (arrival !== undefined) ready(arrival)
          return until(() => arrivals.length > length)
        })
        yield* next
        assert.deepStrictEqual(arrivals, ["one"])
        assert.isUndefined(source.next(ready))
        // Nothing comes, so nobody is called.
        yield* Effect.sleep("20 millis")
        assert.strictEqual(arrivals.length, 1)
        more("two")
        yield* until(() => arrivals.length === 2)
        more("three")
        yield* next
        assert.deepStrictEqual(arrivals.slice(1), ["two", "three"])
        const last = source.next(ready)
        assert.isUndefined(last)
        end()
        yield* until(() => arrivals.length === 4)
        assert.strictEqual(arrivals[3], "Failure")
        assert.strictEqual(textOf(source.next(ready)), "Failure")
      })
    )
  })

  it.live("is not woken by what it has taken already", () => {
    let more: () => void
    const answer: Answer = (_, response) => {
      more = () => void response.write("two")
      response.write("one")
    }
    return over(shorter(false), answer, (response) =>
      Effect.gen(function* () {
        const source = sourceOf(response)!
        const arrivals: Array<string | undefined> = []
        const nobody = () => assert.fail("called for what was taken")
        // Taken in the same turn in which it came, before those that wait are woken.
        const exchange = (response as unknown as { exchange: Exchanged }).exchange
        yield* until(() => exchange.chunks.length > 0)
        assert.strictEqual(textOf(source.next(nobody)), "one")
        const { onResponseData } = exchange
        exchange.onResponseData = function (controller, chunk) {
          onResponseData.call(this, controller, chunk)
          arrivals.push(textOf(source.next(nobody)))
          assert.isUndefined(source.next((arrival) => arrivals.push(textOf(arrival))))
          this.onResponseData = onResponseData
        }
        more()
        yield* until(() => arrivals.length === 1)
        yield* Effect.sleep("20 millis")
        more()
        yield* until(() => arrivals.length === 2)
        assert.deepStrictEqual(arrivals, ["two", "two"])
      })
    )
  })

  it.live("closes the connection when it is closed, and calls nobody any more", () =>
    over(
      shorter(false),
      (_, response) => void response.write("one"),
      (response, { dropped }) =>
        Effect.gen(function* () {
          const source = sourceOf(response)!
          yield* until(() => source.next(() => {}) !== undefined)
          let called = false
          assert.isUndefined(source.next(() => (called = true)))
          yield* source.close
          yield* until(() => dropped.count === 1)
          assert.isFalse(called)
        })
    )
  )

  it.live("is there once, and only for those who look after the answer", () =>
    Effect.gen(function* () {
      yield* over(shorter(false), text(200, "ok"), (response) =>
        Effect.gen(function* () {
          assert.isDefined(sourceOf(response))
          assert.isUndefined(sourceOf(response))
          assert.strictEqual((yield* Effect.flip(response.text))._tag, "HttpClientError")
        })
      )
      yield* over(shorter(false), text(200, "ok"), (response) =>
        Effect.map(response.text, () => assert.isUndefined(sourceOf(response)))
      )
      yield* over(UndiciHttpClient.layer, text(200, "ok"), (response) =>
        Effect.map(response.text, (body) =>
          assert.deepStrictEqual([body, sourceOf(response)], ["ok", undefined])
        )
      )
    })
  )
})

describe("the text of an answer that is there", () => {
  const textOf = (response: HttpClientResponse.HttpClientResponse): string | undefined =>
    (response as never as Record<symbol, () => string | undefined>)[
      Symbol.for("@evenkeel/HttpClientResponse/text")
    ]?.()

  it.live("is had at once, and again by any other way", () =>
    over(shorter(true), text(200, "grüße"), (response) =>
      Effect.gen(function* () {
        assert.strictEqual(textOf(response), "grüße")
        assert.strictEqual(textOf(response), "grüße")
        assert.strictEqual(yield* response.text, "grüße")
      })
    )
  )

  it.live("is none where somebody reads it as a stream, or where it is still to come", () =>
    Effect.gen(function* () {
      yield* over(shorter(true), text(200, "ok"), (response) =>
        Effect.gen(function* () {
          yield* Stream.runDrain(response.stream)
          assert.isUndefined(textOf(response))
        })
      )
      const half: Answer = (_, response) => {
        response.write("half")
      }
      yield* over(shorter(false), half, (response) => Effect.sync(() => assert.isUndefined(textOf(response))))
    })
  )
})

describe("one dispatcher of the caller's", () => {
  it.live("bounds the connections", () =>
    Effect.gen(function* () {
      const { sockets, url } = yield* serve(text(200, "ok"))
      yield* Effect.provide(
        Effect.forEach(Array.from({ length: 50 }), () => Effect.flatMap(get(url), ({ text }) => text), {
          concurrency: "unbounded"
        }),
        UndiciHttpClient.layerOptions({ connections: 3 })
      )
      assert.strictEqual(sockets.size, 3)
    })
  )
  it.live("a queued request that is interrupted ends at once", () =>
    Effect.gen(function* () {
      let asked = 0
      const { url } = yield* serve(() => void asked++)
      yield* Effect.gen(function* () {
        const first = yield* Effect.forkChild(get(url))
        yield* until(() => asked === 1)
        const second = yield* Effect.forkChild(get(url))
        yield* Effect.sleep("20 millis")
        yield* Fiber.interrupt(second)
        yield* Fiber.interrupt(first)
      }).pipe(Effect.provide(UndiciHttpClient.layerOptions({ connections: 1, pipelining: 1 })))
      assert.strictEqual(asked, 1)
    })
  )
  it("takes the standard layer's place", () => {
    const replaced: Layer.Layer<HttpClient.HttpClient> = UndiciHttpClient.layer
    assert.isTrue(Layer.isLayer(replaced))
  })
})
