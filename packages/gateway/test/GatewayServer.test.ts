// The server: what it refuses to be, and how it goes, as a process that is told to stop.
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it, vi } from "@effect/vitest"
import { KeyPool } from "@evenkeel/core"
import { Gateway, GatewayServer } from "@evenkeel/gateway"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { OpenRouter, type OpenRouterError } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { Context, Effect, Layer, Redacted } from "effect"
import { NetAddress } from "effect/net"
import { FetchHttpClient, HttpRouter, HttpServer } from "effect/http"
import { spawn } from "node:child_process"
import { createServer } from "node:http"
import { join } from "node:path"
import { messages, model, token } from "./utils.ts"

// Processes start slowly on a machine under load.
vi.setConfig({ testTimeout: 120_000 })

const services = OpenRouter.layerWith({ credits: false }).pipe(
  Layer.provideMerge(KeyPool.layer({ keys: ["sk-or-v1-1"] })),
  Layer.provide([LeastInFlight.layer(), FetchHttpClient.layer])
)

/** What is wrong with the options. */
const refusal = (options: GatewayServer.Options) =>
  Layer.build(Layer.provide(GatewayServer.layer({ port: 0, ...options }), services)).pipe(
    Effect.flip,
    Effect.map((error) => [(error as OpenRouterError.InvalidOption).option, error.message] as const),
    Effect.scoped
  )

const tokens = [Redacted.make(token)]

describe("options", () => {
  for (const [options, option] of [
    [{ host: "" }, "host"],
    [{ port: -1 }, "port"],
    [{ port: 65_536 }, "port"],
    [{ port: 1.5 }, "port"],
    [{ drainTimeout: -1 }, "drainTimeout"],
    [{ drainDelay: -5 }, "drainDelay"],
    [{ maxBodyBytes: 0 }, "maxBodyBytes"],
    [{ maxBodyBytes: Infinity }, "maxBodyBytes"],
    [{ maxInFlight: 0 }, "maxInFlight"],
    [{ tokens: [Redacted.make("short")] }, "tokens"],
    [{ tokens: [Redacted.make("with a blank inside of it")] }, "tokens"],
    [{ tokens: ["not-redacted-at-all"] as never }, "tokens"],
    [{ allowedHosts: ["host:80"] }, "allowedHosts"],
    [{ allowedOrigins: ["app.example"] }, "allowedOrigins"],
    [{ allowedOrigins: ["https://app.example/"] }, "allowedOrigins"],
    [{ allowedOrigins: ["*"] }, "allowedOrigins"]
  ] as ReadonlyArray<readonly [GatewayServer.Options, string]>) {
    it.live(`${JSON.stringify(options)} is refused by its name`, () =>
      Effect.gen(function* () {
        const [named, message] = yield* refusal(options)
        assert.strictEqual(named, option)
        assert.include(message, `${option} must be`)
        assert.notInclude(message, "short")
      })
    )
  }

  it.live("a host that others can reach needs tokens, or to be told that it does not", () =>
    Effect.gen(function* () {
      for (const host of ["0.0.0.0", "::", "192.0.2.1", "gateway.example"]) {
        const [option, message] = yield* refusal({ host })
        assert.strictEqual(option, "tokens")
        assert.include(message, host)
      }
      for (const options of [{ tokens }, { allowUnauthenticated: true }]) {
        const gateway = Layer.provide(GatewayServer.layer({ host: "0.0.0.0", port: 0, ...options }), services)
        yield* Effect.scoped(Layer.build(gateway))
      }
      for (const host of ["127.0.0.2", "localhost"]) {
        yield* Effect.scoped(Layer.build(Layer.provide(GatewayServer.layer({ host, port: 0 }), services)))
      }
    })
  )

  it.live("routes on a server of somebody else's see for themselves where that listens", () =>
    Effect.gen(function* () {
      const app = (options: Gateway.Options) =>
        HttpRouter.serve(Gateway.layer(options), { disableListenLog: true }).pipe(
          Layer.provide(NodeHttpServer.layer(() => createServer(), { host: "0.0.0.0", port: 0 })),
          Layer.provide(services)
        )
      const error = yield* Effect.flip(Effect.scoped(Layer.build(app({}))))
      assert.strictEqual((error as OpenRouterError.InvalidOption).option, "tokens")
      yield* Effect.scoped(Layer.build(app({ tokens })))
    })
  )

  it.live("a port that is taken is a ServeError", () =>
    Effect.gen(function* () {
      const gateway = (port: number) => Layer.provide(GatewayServer.layer({ port }), services)
      const { address } = Context.get(yield* Layer.build(gateway(0)), HttpServer.HttpServer)
      assert.isTrue(NetAddress.isInetAddress(address))
      const { port } = address as NetAddress.InetAddress
      const error = yield* Effect.flip(Layer.build(gateway(port)))
      assert.strictEqual(error._tag, "ServeError")
    }).pipe(Effect.scoped)
  )
})

/** A gateway as a process of its own. */
const started = (options: GatewayServer.Options) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const { baseUrl, keys } = yield* Simulator.Simulator
      const env = {
        ...process.env,
        OPENROUTER_BASE_URL: baseUrl,
        OPENROUTER_KEYS: keys.map(({ secret }) => Redacted.value(secret)).join(",")
      }
      const args = [
        "--conditions=@evenkeel/source",
        join(import.meta.dirname, "serve.ts"),
        JSON.stringify(options)
      ]
      const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] })
      let printed = ""
      const exit = new Promise<number | null>((resolve) => child.once("exit", resolve))
      const url = yield* Effect.promise(
        () =>
          new Promise<string>((resolve) =>
            child.stdout.on("data", (data) => {
              printed += data
              const address = /^http:\S+$/m.exec(printed)
              if (address !== null) resolve(address[0])
            })
          )
      )
      const stop = () => void child.kill("SIGTERM")
      return { child, exit, printed: () => printed, stop, url }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

const ask = (url: string, stream: boolean) =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, messages, stream })
  })

const refused = async (url: string): Promise<void> => {
  for (;;) {
    const failed = await fetch(`${url}/health`, { headers: { connection: "close" } }).then(
      (response) => void response.text(),
      (error: unknown) => (error as { readonly cause?: { readonly code?: string } }).cause?.code
    )
    if (failed === "ECONNREFUSED") return
  }
}

const slow = Simulator.layer({
  chunkDelay: "40 millis",
  completion: () => "one two three four five six ".repeat(4)
})

describe("SIGTERM", () => {
  it.live(
    "in the middle of a stream: no new connections, the stream comes to its end, the process goes",
    () =>
      Effect.gen(function* () {
        const { exit, printed, stop, url } = yield* started({ drainTimeout: "20 seconds" })
        yield* Effect.promise(async () => {
          const feed = await fetch(`${url}/events`)
          const response = await ask(url, true)
          const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
          let text = (await reader.read()).value!
          stop()
          await refused(url)
          // A live page does not hold it up.
          await feed.text()
          for (;;) {
            const { done, value } = await reader.read()
            if (done) break
            text += value
          }
          assert.include(text, "[DONE]")
          await exit
          assert.include(printed(), "gone")
        })
        const { inFlight, requests } = yield* Simulator.Simulator
        assert.strictEqual(yield* inFlight, 0)
        assert.deepStrictEqual(
          (yield* requests).map(({ aborted }) => aborted),
          [false]
        )
      }).pipe(Effect.scoped, Effect.provide(slow))
  )

  it.live("cuts what is not over in time, and frees its key", () =>
    Effect.gen(function* () {
      const { exit, printed, stop, url } = yield* started({ drainTimeout: 200 })
      yield* Effect.promise(async () => {
        const response = await ask(url, true)
        const reader = response.body!.getReader()
        await reader.read()
        stop()
        const broken = await (async () => {
          while (!(await reader.read()).done) {}
        })().catch((error: unknown) => error)
        assert.instanceOf(broken, Error)
        await exit
        assert.include(printed(), "gone")
      })
      const { requests, waitUntil } = yield* Simulator.Simulator
      yield* waitUntil(({ keys }) => keys.every(({ inFlight }) => inFlight === 0))
      assert.strictEqual((yield* requests)[0]!.aborted, true)
    }).pipe(Effect.scoped, Effect.provide(Simulator.layer({ chunkDelay: "1 second" })))
  )

  it.live("with a delay: load balancers see that it is about to go, and may still send", () =>
    Effect.gen(function* () {
      const { exit, stop, url } = yield* started({ drainDelay: "2 seconds" })
      yield* Effect.promise(async () => {
        assert.strictEqual((await fetch(`${url}/ready`)).status, 200)
        stop()
        for (;;) {
          const { status } = await fetch(`${url}/ready`)
          if (status === 503) break
        }
        assert.strictEqual((await ask(url, false)).status, 200)
        await refused(url)
        await exit
      })
    }).pipe(Effect.scoped, Effect.provide(Simulator.layer()))
  )
})
