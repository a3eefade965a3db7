import { Credits, type Outcome } from "@evenkeel/core"
import { NodeHttpClient } from "@effect/platform-node"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientRequest } from "effect/http"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { outcomeOfLost } from "../src/internal/lost.ts"
import { eventually, post, serve, sse, stateOf, using } from "./utils.ts"

const { actions, errors } = Simulator
const credits: Credits.Credits = { ...Credits.unknown, estimate: () => 0.25 }

const transport = (cause: unknown) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({ request: HttpClientRequest.get("/"), cause })
  })

const error = (fields: object, cause?: unknown) => Object.assign(new Error("failed", { cause }), fields)

describe("a connection that failed", () => {
  const refused = error({ code: "ECONNREFUSED", syscall: "connect" })
  const late = error({ code: "ETIMEDOUT", syscall: "connect" })
  const reset = error({ code: "ECONNRESET", syscall: "read" })
  for (const [what, cause] of [
    ["refused", refused],
    ["in the shape of fetch", new TypeError("fetch failed", { cause: refused })],
    [
      "to each address of a name",
      new TypeError("fetch failed", { cause: new AggregateError([refused, late]) })
    ],
    ["for a name that nobody knows", error({ code: "ENOTFOUND", syscall: "getaddrinfo" })],
    ["for a resolver that is out", error({ code: "EAI_AGAIN" })],
    ["too slow to connect (undici)", error({ code: "UND_ERR_CONNECT_TIMEOUT" })],
    ["too slow to connect (Node)", late],
    ["on its certificate", error({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" })],
    ["on an expired certificate", error({ code: "CERT_HAS_EXPIRED" })],
    ["on the name in its certificate", error({ code: "ERR_TLS_CERT_ALTNAME_INVALID" })]
  ] as const) {
    it(`was not billed: ${what}`, () => {
      assert.deepInclude(outcomeOfLost(transport(cause)), { scope: "host", class: "transport", cost: 0 })
    })
  }

  for (const [what, cause] of [
    ["reset", reset],
    ["closed by the other side", error({ code: "UND_ERR_SOCKET" })],
    ["no headers in time", error({ code: "UND_ERR_HEADERS_TIMEOUT" })],
    ["too slow to read", error({ code: "ETIMEDOUT", syscall: "read" })],
    ["one of several addresses reset", new AggregateError([refused, reset])],
    ["no word of why", undefined],
    ["a word of no error", "failed"]
  ] as const) {
    it(`may have been billed: ${what}`, () => {
      const outcome = outcomeOfLost(transport(cause)) as Outcome.Faulted
      assert.deepInclude(outcome, { scope: "host", class: "transport" })
      assert.isUndefined(outcome.cost)
    })
  }

  it("a chain of causes that is a circle comes to an end", () => {
    const circle: Error = new Error("round")
    circle.cause = circle
    assert.isUndefined((outcomeOfLost(transport(circle)) as Outcome.Faulted).cost)
  })

  it("a request that could not be encoded was not billed, and is nobody's fault", () => {
    const reason = new HttpClientError.EncodeError({ request: HttpClientRequest.get("/") })
    const outcome = outcomeOfLost(new HttpClientError.HttpClientError({ reason }))
    assert.deepInclude(outcome, { _tag: "Ignored", cost: 0 })
  })
})

describe("on loopback", () => {
  /** What is left of a dollar after a quarter was held. */
  const left = (baseUrl: string | undefined, action?: Simulator.FaultAction, stream = false) =>
    using({ credits, ...(baseUrl !== undefined && { options: { baseUrl } }) }, function* (world) {
      const { client, pool, simulator } = world
      yield* pool.credit("a", { remaining: 1 })
      if (action !== undefined) yield* simulator.fault({ action })
      yield* Effect.exit(client.execute(stream ? sse() : post("/chat/completions")))
      return (yield* stateOf(pool, "a")).credit
    })

  /** A port that nobody listens on any more. */
  const free = Effect.callback<number>((resume) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resume(Effect.succeed(port)))
    })
  })

  for (const [name, client] of [
    ["undici", NodeHttpClient.layerUndici],
    ["fetch", FetchHttpClient.layer],
    ["node:http", NodeHttpClient.layerNodeHttp]
  ] as const) {
    it.live(
      `${name} tells of a connection that is refused, of TLS that is none, and of one that is reset`,
      () =>
        Effect.gen(function* () {
          const execute = (url: string) =>
            HttpClient.HttpClient.use((http) => Effect.flip(http.execute(HttpClientRequest.get(url))))
          const costOf = (error: HttpClientError.HttpClientError) => outcomeOfLost(error).cost
          assert.strictEqual(costOf(yield* execute(`http://127.0.0.1:${yield* free}/`)), 0)
          assert.strictEqual(costOf(yield* execute("http://no-such-host.invalid/")), 0)
          const server = yield* serve((response) => response.destroy())
          assert.isUndefined(costOf(yield* execute(server.origin)))
        }).pipe(Effect.scoped, Effect.provide(client))
    )
  }

  it.live("what was refused costs nothing", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* left(`http://127.0.0.1:${yield* free}/api/v1`), 1)
    })
  )

  for (const [what, action] of [
    ["a 408", actions.status(408)],
    ["a 504", actions.status(504)],
    ["a 524 of the edge", errors.edgeHtml(524)],
    ["a reset", actions.reset],
    ["half of an answer", actions.cut()]
  ] as const) {
    it.live(`${what} may have been billed`, () =>
      Effect.map(left(undefined, action), (credit) => assert.strictEqual(credit, 0.75))
    )
  }

  for (const [what, action] of [
    ["a 503", errors.unavailable503()],
    ["a 429", errors.upstream429()],
    ["a 400", errors.badRequest400("bad")]
  ] as const) {
    it.live(`${what} was not billed`, () =>
      Effect.map(left(undefined, action), (credit) => assert.strictEqual(credit, 1))
    )
  }

  it.live("what was interrupted while it was answered may have been billed", () =>
    using({ credits }, function* ({ client, pool, simulator }) {
      yield* pool.credit("a", { remaining: 1 })
      yield* simulator.fault({ action: actions.stall() })
      const fiber = yield* Effect.forkChild(client.execute(post("/chat/completions")), {
        startImmediately: true
      })
      yield* eventually(simulator.inFlight, (count) => count === 1)
      yield* Fiber.interrupt(fiber)
      assert.deepInclude(yield* stateOf(pool, "a"), { inFlight: 0, credit: 0.75, ignored: 1 })
    })
  )
})
