import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { root, writeSnippets } from "./snippets.ts"

const snippets = writeSnippets()
const exec = promisify(execFile)
const bin = (name: string) => join(root, "node_modules/.bin", name)

describe("code blocks", () => {
  it("there are some", () => {
    assert.isAbove(snippets.filter(({ kind }) => kind === "page").length, 0)
    assert.isAbove(snippets.filter(({ kind }) => kind === "comment").length, 0)
  })

  it("all type-check", async () => {
    const checked = await exec(bin("tsc"), ["-p", "docs/tsconfig.snippets.json"], { cwd: root }).catch(
      (error: { readonly stdout: string }) => error
    )
    assert.strictEqual(checked.stdout, "")
  }, 120_000)

  for (const { file, name } of snippets.filter(({ kind }) => kind === "comment")) {
    it(`${name} does what it says`, async () => {
      await import(file)
    })
  }

  // As a reader would run it: a process of its own, with keys in the environment. OpenRouter is simulated.
  for (const { file, name } of snippets.filter(({ kind }) => kind === "page")) {
    it.live(`${name} runs`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.Simulator
        const env = {
          ...process.env,
          OPENROUTER_BASE_URL: simulator.baseUrl,
          OPENROUTER_KEYS: simulator.keys.map(({ secret }) => Redacted.value(secret)).join(",")
        }
        yield* Effect.tryPromise(() =>
          exec(process.execPath, ["--conditions=@evenkeel/source", file], { cwd: root, env, timeout: 25_000 })
        ).pipe(Effect.mapError((error) => error.cause))
      }).pipe(Effect.provide(Simulator.layer()))
    )
  }
})
