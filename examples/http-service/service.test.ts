import { NodeHttpClient, NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { KeyPool } from "@evenkeel/core"
import { Simulator } from "@evenkeel/testkit"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { HttpClient, HttpClientRequest, HttpServer } from "effect/http"
import { spawn } from "node:child_process"
import { createServer } from "node:http"
import { join } from "node:path"
import { service } from "./service.ts"

const simulator = Simulator.layer({ keys: [{ name: "a" }, { name: "b" }] })

const live = Layer.unwrap(
  Simulator.Simulator.useSync(({ baseUrl, keys }) =>
    service.pipe(
      Layer.provide(KeyPool.layer({ keys: keys.map(({ name, secret }) => ({ id: name, secret })) })),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord({ OPENROUTER_BASE_URL: baseUrl })))
    )
  )
).pipe(
  Layer.provideMerge(HttpServer.layerTestClient.pipe(Layer.provide(NodeHttpClient.layerUndici))),
  Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { host: "127.0.0.1", port: 0 })),
  Layer.provideMerge(simulator)
)

const post = (body: unknown) =>
  HttpClient.execute(HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post("/summaries"), body))

describe("an HTTP service on many keys", () => {
  it.live("answers, and shows its keys without their secrets", () =>
    Effect.gen(function* () {
      const response = yield* post({ text: "Ships float." })
      assert.strictEqual(response.status, 200)
      assert.property(yield* response.json, "summary")

      const keys = yield* Effect.flatMap(HttpClient.get("/keys"), (answer) => answer.text)
      assert.include(keys, '"id":"a"')
      assert.notInclude(keys, "sk-or-v1")
    }).pipe(Effect.provide(live))
  )

  it.live("refuses a request that is none", () =>
    Effect.gen(function* () {
      const response = yield* post({ text: "" })
      assert.strictEqual(response.status, 400)
      yield* response.text
    }).pipe(Effect.provide(live))
  )

  it.live("says when to come back when no key can serve", () =>
    Effect.gen(function* () {
      const { revoke } = yield* Simulator.Simulator
      yield* revoke("a")
      yield* revoke("b")
      const response = yield* post({ text: "Ships float." })
      assert.strictEqual(response.status, 503)
      assert.isAtLeast(Number(response.headers["retry-after"]), 1)
      assert.include(yield* response.text, "a rejected until")
    }).pipe(Effect.provide(live))
  )

  /** The program as its reader starts it, and the address that it says it listens on. */
  const started = Effect.gen(function* () {
    const { baseUrl, keys } = yield* Simulator.Simulator
    const secrets = keys.map(({ secret }) => Redacted.value(secret))
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--conditions=@evenkeel/source", join(import.meta.dirname, "main.ts")], {
          env: { ...process.env, OPENROUTER_BASE_URL: baseUrl, OPENROUTER_KEYS: secrets.join(","), PORT: "0" }
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const address = yield* Effect.promise(
      () =>
        new Promise<string | undefined>((resolve) => {
          let printed = ""
          child.stdout.on("data", (data) => {
            printed += String(data)
            const found = /http:\/\/127\.0\.0\.1:\d+/.exec(printed)
            if (found !== null) resolve(found[0])
          })
          child.on("exit", () => resolve(undefined))
        })
    )
    return { address, child }
  })

  it.live(
    "runs by its command, and ends when it is told to",
    () =>
      Effect.gen(function* () {
        const { address, child } = yield* started
        assert.isDefined(address)
        const keys = yield* Effect.promise(async () => (await fetch(`${address}/keys`)).json())
        assert.lengthOf(keys.keys, 2)
        const ended = Effect.promise(() => new Promise((resolve) => child.on("exit", resolve)))
        child.kill("SIGTERM")
        yield* ended
      }).pipe(Effect.scoped, Effect.provide(simulator)),
    60_000
  )
})
