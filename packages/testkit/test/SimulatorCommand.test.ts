import { NodeHttpClient, NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { fileURLToPath } from "node:url"
import { hello, secretOf } from "./support.ts"

const bin = fileURLToPath(new URL("../src/bin.ts", import.meta.url))

const spawn = (args: ReadonlyArray<string>) =>
  Effect.flatMap(ChildProcessSpawner.ChildProcessSpawner, (spawner) =>
    spawner.spawn(ChildProcess.make(process.execPath, ["--conditions=@evenkeel/source", bin, ...args]))
  )

const layers = Layer.mergeAll(NodeHttpClient.layerUndici, NodeServices.layer)

describe("evenkeel-simulator", () => {
  it.live("prints where it is and with which keys, and drains when interrupted", () =>
    Effect.gen(function* () {
      const child = yield* spawn(["--port", "0", "--keys", "2", "--latency", "300", "--scenario", "bad-day"])
      const lines = yield* child.stdout.pipe(
        Stream.decodeText(),
        Stream.splitLines,
        Stream.takeUntil((line) => line.startsWith("Press Ctrl-C")),
        Stream.runCollect
      )
      const baseUrl = /^Base URL {2}(http:\/\/127\.0\.0\.1:\d+\/api\/v1)$/.exec(lines[0] ?? "")?.[1]
      assert.isDefined(baseUrl)
      assert.deepStrictEqual(lines.slice(1, 3), [
        `key-1     ${secretOf("key-1")}`,
        `key-2     ${secretOf("key-2")}`
      ])
      // The cap of key-1 holds less than the longest completion, so this scenario is the one that was asked for.
      const capped = yield* HttpClientRequest.get(`${baseUrl}/key`).pipe(
        HttpClientRequest.bearerToken(secretOf("key-1")),
        HttpClient.execute,
        Effect.flatMap((response) => response.json)
      )
      assert.propertyVal((capped as { readonly data: object }).data, "limit_reset", "daily")
      yield* child.kill({ killSignal: "SIGINT" }).pipe(Effect.ignore)
      assert.strictEqual(yield* child.isRunning, false)
    }).pipe(Effect.scoped, Effect.provide(layers))
  )

  it.live("lets a stream finish before it ends", () =>
    Effect.gen(function* () {
      const child = yield* spawn(["--port", "0", "--latency", "300"])
      const first = yield* child.stdout.pipe(Stream.decodeText(), Stream.splitLines, Stream.runHead)
      const baseUrl = first._tag === "Some" ? first.value.replace(/^Base URL\s+/, "") : ""
      const response = yield* HttpClientRequest.post(`${baseUrl}/chat/completions`).pipe(
        HttpClientRequest.bearerToken(secretOf("key-1")),
        HttpClientRequest.bodyJsonUnsafe({ ...hello, stream: true }),
        HttpClient.execute
      )
      // The headers are here, the first token is not.
      const stopping = yield* Effect.forkChild(child.kill({ killSignal: "SIGINT" }), {
        startImmediately: true
      })
      const text = yield* response.text
      assert.isTrue(text.endsWith("data: [DONE]\n\n"))
      yield* Effect.ignore(Fiber.join(stopping))
      assert.strictEqual(yield* child.isRunning, false)
    }).pipe(Effect.scoped, Effect.provide(layers))
  )

  it.live("refuses a scenario it does not know", () =>
    Effect.gen(function* () {
      const child = yield* spawn(["--scenario", "sunny"])
      assert.notStrictEqual(Number(yield* child.exitCode), 0)
    }).pipe(Effect.scoped, Effect.provide(layers))
  )
})
