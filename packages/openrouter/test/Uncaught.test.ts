import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { withServer } from "./streams.ts"

// Node prints an error that nobody has caught by itself, with all that it holds and without asking Effect what to hide.
const secret = "sk-uncaught-0123456789"
const packages = new URL("../..", import.meta.url).href
const program = (client: string, url: string, use: string) => `
  import { NodeHttpClient } from "@effect/platform-node"
  import { Effect, Layer } from "effect"
  import { FetchHttpClient, HttpClientRequest } from "effect/http"
  import { KeyPool, Selector } from "${packages}core/src/index.ts"
  import { OpenRouter } from "${packages}openrouter/src/index.ts"
  import { UndiciHttpClient } from "${packages}undici/src/index.ts"
  const live = OpenRouter.layerWith({ baseUrl: "${url}", credits: false }).pipe(
    Layer.provide([
      Selector.layer(Selector.random),
      KeyPool.layer({ keys: [{ id: "a", secret: "${secret}" }] }),
      ${client}
    ])
  )
  const ask = { model: "m", messages: [{ role: "user", content: "hello" }] }
  const use = ${use}
  Effect.runPromise(Effect.provide(Effect.flatMap(OpenRouter.OpenRouter, use), live))
`

const printed = (script: string) =>
  Effect.callback<string>((resume) => {
    const args = ["--conditions=@evenkeel/source", "--no-warnings", "--input-type=module-typescript"]
    const options = { cwd: import.meta.dirname }
    execFile(process.execPath, [...args, "--eval", script], options, (_, out, err) =>
      resume(Effect.succeed(out + err))
    )
  })

const shown = Effect.fnUntraced(function* (script: string) {
  const all = yield* printed(script)
  assert.match(all, /Transport error|Decode error/)
  assert.notInclude(all, secret)
})

describe("an error that nobody has caught shows no key", () => {
  const nobody = "http://127.0.0.1:1/v1"
  const chat = "(o) => o.chat(ask)"
  for (const client of ["NodeHttpClient.layerUndici", "FetchHttpClient.layer", "UndiciHttpClient.layer"]) {
    it.live(`where nobody listens: ${client}`, () => shown(program(client, nobody, chat)))
    it.live(`where the body breaks off: ${client}`, () =>
      withServer(
        (response) => {
          response.writeHead(200, { "content-type": "application/json", "content-length": "100" })
          response.write("half", () => response.destroy())
        },
        function* ({ server }) {
          yield* shown(program(client, `${server.origin}/v1`, chat))
        }
      )
    )
  }
  for (const use of ['(o) => o.key("a")', '(o) => o.client.execute(HttpClientRequest.get("/models"))'])
    it.live(`in ${use}`, () => shown(program("NodeHttpClient.layerUndici", nobody, use)))
})
