import { NodeHttpClient } from "@effect/platform-node"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { vi } from "vitest"
import { fetching, rejection, served, until } from "./fetching.ts"
import { leaksOf, secretOf, textOf } from "./utils.ts"

const { actions } = Simulator

setFlagsFromString("--expose-gc")
const collectGarbage = runInNewContext("gc") as () => void

/** A chunk every 20 milliseconds. */
const slowly = { simulator: { chunkDelay: "20 millis" } } as const

const inFlight = (snapshot: () => { readonly keys: ReadonlyArray<{ readonly inFlight: number }> }) =>
  snapshot().keys.reduce((sum, key) => sum + key.inFlight, 0)

describe("OpenRouterFetch: bodies", () => {
  for (const [name, layer] of [
    ["fetch", undefined],
    ["undici", NodeHttpClient.layerUndici]
  ] as const) {
    describe(`over ${name}`, () => {
      const setup = { ...slowly, httpClient: layer }

      it.live("aborted before the call: nothing is sent", () =>
        fetching(setup, async ({ chat, run, simulator }) => {
          const error = await rejection(chat({}, { signal: AbortSignal.abort() }))
          assert.instanceOf(error, DOMException)
          assert.strictEqual(error.name, "AbortError")
          const reason = new Error("mine")
          assert.strictEqual(await rejection(chat({}, { signal: AbortSignal.abort(reason) })), reason)
          assert.isEmpty(await run(simulator.requests))
        })
      )

      it.live("aborted before the headers: rejects, and the request is given up", () =>
        fetching(setup, async ({ chat, idle, run, simulator, snapshot }) => {
          await run(simulator.fault({ action: actions.stall() }))
          const controller = new AbortController()
          const call = rejection(chat({}, { signal: controller.signal }))
          await run(simulator.waitUntil(({ inFlight }) => inFlight === 1))
          controller.abort()
          assert.strictEqual(inFlight(snapshot), 0)
          assert.strictEqual((await call).name, "AbortError")
          await idle()
          assert.isTrue((await run(simulator.requests))[0]!.aborted)
        })
      )

      it.live("aborted by the signal of a Request", () =>
        fetching(setup, async ({ baseUrl, fetch, run, simulator }) => {
          await run(simulator.fault({ action: actions.stall() }))
          const controller = new AbortController()
          const request = new Request(`${baseUrl}/embeddings`, {
            method: "POST",
            body: "{}",
            signal: controller.signal
          })
          const call = rejection(fetch(request))
          await run(simulator.waitUntil(({ inFlight }) => inFlight === 1))
          controller.abort()
          assert.strictEqual((await call).name, "AbortError")
        })
      )

      it.live("aborted in the middle of the body: the reader hears of it", () =>
        fetching(setup, async ({ chat, idle, run, simulator, snapshot }) => {
          const controller = new AbortController()
          const response = await chat({ stream: true }, { signal: controller.signal })
          const reader = response.body!.getReader()
          await reader.read()
          const reading = rejection(
            (async () => {
              while (!(await reader.read()).done);
            })()
          )
          controller.abort()
          assert.strictEqual(inFlight(snapshot), 0)
          assert.strictEqual((await reading).name, "AbortError")
          await idle()
          assert.isTrue((await run(simulator.requests))[0]!.aborted)
        })
      )

      it.live("cancelled by the reader: the lease and the connection are free", () =>
        fetching(setup, async ({ chat, idle, run, simulator, snapshot }) => {
          const response = await chat({ stream: true })
          const reader = response.body!.getReader()
          await reader.read()
          assert.strictEqual(inFlight(snapshot), 1)
          await reader.cancel()
          assert.strictEqual(inFlight(snapshot), 0)
          await (await chat({ stream: true })).body!.cancel()
          await idle()
          const requests = await run(simulator.requests)
          assert.deepStrictEqual(
            requests.map(({ aborted }) => aborted),
            [true, true]
          )
        })
      )

      it.live("a body that breaks off is an error of its reader, without a secret", () =>
        fetching(setup, async ({ chat, run, simulator }) => {
          await run(simulator.fault({ action: actions.cut() }))
          const error = await rejection((await chat({ stream: true })).text())
          assert.instanceOf(error, TypeError)
          assert.strictEqual(error.message, "terminated")
          assert.isEmpty(leaksOf(textOf(error), secretOf("a")))
        })
      )

      it.live("a response that nobody holds any more is given up when it is collected", () =>
        fetching(setup, async ({ chat, snapshot }) => {
          await (async () => void (await chat({ stream: true })))()
          const reader = (await chat({ stream: true })).body!.getReader()
          await reader.read()
          assert.strictEqual(inFlight(snapshot), 2)
          // What was collected is told in turns of the event loop between two collections, so they need a pause.
          while (inFlight(snapshot) > 1) {
            collectGarbage()
            await Effect.runPromise(Effect.sleep(50))
          }
          // The one that is still held lives on.
          assert.strictEqual(inFlight(snapshot), 1)
          await reader.cancel()
        })
      )

      it.live("a reader that outlives its response reads on", () =>
        fetching(setup, async ({ chat }) => {
          const reader = await (async () => (await chat({ stream: true })).body!.getReader())()
          const decoder = new TextDecoder()
          let text = ""
          for (let part = await reader.read(); !part.done; part = await reader.read()) {
            text += decoder.decode(part.value, { stream: true })
            collectGarbage()
          }
          assert.include(text, "[DONE]")
        })
      )
    })
  }

  it.live("reads no more than it is asked for", () => {
    let written = 0
    const chunk = Buffer.alloc(64 * 1024)
    return served(
      (response) => {
        response.writeHead(200, { "content-type": "application/octet-stream" })
        const more = () => {
          while (written < 1000) {
            written++
            if (!response.write(chunk)) return void response.once("drain", more)
          }
          response.end()
        }
        more()
      },
      {},
      async ({ baseUrl, fetch, open }) => {
        const response = await fetch(`${baseUrl}/files/1/content`)
        const reader = response.body!.getReader()
        await reader.read()
        await Effect.runPromise(Effect.sleep(300))
        assert.isBelow(written, 500)
        await reader.cancel()
        await until(() => open() === 0)
      }
    )
  })

  it.live("a body that nobody begins to read is given up after a minute", () =>
    fetching({ simulator: { chunkDelay: "20 millis" } }, async ({ chat, snapshot }) => {
      const timers: Array<() => void> = []
      const real = globalThis.setTimeout
      const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation(((f: () => void, ms: number) => {
        if (ms === 60_000) timers.push(f)
        return real(f, ms)
      }) as never)
      const response = await chat({ stream: true })
      const read = await chat({ stream: true })
      spy.mockRestore()
      const text = read.text()
      assert.strictEqual(timers.length, 2)
      timers[0]!()
      assert.strictEqual(inFlight(snapshot), 1)
      const error = await rejection(response.text())
      assert.strictEqual(error.message, "terminated")
      assert.include(await text, "[DONE]")
    })
  )

  it.live("a stream that falls silent is an error of its reader", () =>
    fetching({ idleTimeout: "100 millis" }, async ({ chat, run, simulator }) => {
      await run(simulator.fault({ action: actions.hang() }))
      const error = await rejection((await chat({ stream: true })).text())
      assert.strictEqual(error.message, "terminated")
      assert.include(error.cause.message, "silent")
    })
  )

  it.live("a script that has its answers ends, although nobody calls close", () =>
    fetching({}, async ({ baseUrl }) => {
      const script = `
        import { OpenRouterFetch } from "@evenkeel/openrouter"
        const { fetch } = await OpenRouterFetch.make()
        const response = await fetch("${baseUrl}/models")
        console.log((await response.json()).data.length > 0)`
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["--conditions=@evenkeel/source", "--input-type=module", "-e", script],
        {
          cwd: import.meta.dirname,
          timeout: 20_000,
          env: { ...process.env, OPENROUTER_KEYS: secretOf("a"), OPENROUTER_BASE_URL: baseUrl }
        }
      )
      assert.strictEqual(stdout.trim(), "true")
    })
  )
})
