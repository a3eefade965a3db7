// Every example runs as its reader would run it: as a process of its own. OpenRouter is simulated.
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"

const exec = promisify(execFile)

/** Runs an example and answers with what it printed; without `env`, with no key in its environment. */
const run = (path: string, args: ReadonlyArray<string> = [], env: Record<string, string> = {}) =>
  Effect.tryPromise(() => {
    const { OPENROUTER_KEYS: _keys, ...surroundings } = process.env
    return exec(
      process.execPath,
      ["--conditions=@evenkeel/source", join(import.meta.dirname, path), ...args],
      {
        env: { ...surroundings, ...env },
        timeout: 60_000
      }
    )
  }).pipe(
    Effect.map(({ stdout }) => stdout),
    Effect.mapError((error) => error.cause)
  )

const environment = Simulator.Simulator.useSync(({ baseUrl, keys }) => ({
  OPENROUTER_BASE_URL: baseUrl,
  OPENROUTER_KEYS: keys.map(({ secret }) => Redacted.value(secret)).join(",")
}))

describe("examples", () => {
  it("a first request takes at most 15 lines", () => {
    const lines = readFileSync(join(import.meta.dirname, "first-request/main.ts"), "utf8")
      .trimEnd()
      .split("\n")
    assert.isAtMost(lines.length, 15)
  })

  it.live("a first request prints an answer", () =>
    Effect.gen(function* () {
      const printed = yield* run("first-request/main.ts", [], yield* environment)
      assert.include(printed, "What keeps a ship upright?")
    }).pipe(Effect.provide(Simulator.layer()))
  )

  it.live("a selector of one's own says who serves", () =>
    Effect.gen(function* () {
      assert.match(yield* run("custom-selector/main.ts"), /: (day|night) serves\n$/)
    })
  )

  for (const selector of ["least-in-flight", "round-robin", "credit-aware", "threshold"]) {
    it.live(
      `the demo answers 200 prompts with ${selector} although keys fail`,
      () =>
        Effect.gen(function* () {
          const printed = yield* run("batch/main.ts", ["--selector", selector, "--concurrency", "64"])
          assert.include(printed, "200 prompts: 200 answered, 0 failed")
          assert.notInclude(printed, "sk-or-v1")
        }),
      90_000
    )
  }

  it.live(
    "the demo calls what OPENROUTER_BASE_URL names when keys are set, and reads prompts from a file",
    () =>
      Effect.gen(function* () {
        const prompts = join(import.meta.dirname, "batch/prompts.example.jsonl")
        const printed = yield* run("batch/main.ts", ["--prompts", prompts], yield* environment)
        assert.include(printed, "3 prompts: 3 answered, 0 failed")
        const { requests } = yield* Simulator.Simulator
        const chats = (yield* requests).filter(({ path }) => path === "/chat/completions")
        assert.deepStrictEqual(chats.map(({ model }) => model).toSorted(), [
          "anthropic/claude-sonnet-4.5",
          "openai/gpt-4o-mini",
          "openai/gpt-4o-mini"
        ])
      }).pipe(Effect.provide(Simulator.layer()))
  )

  it.live("the demo names the line of a prompt that is none", () =>
    Effect.gen(function* () {
      const path = join(import.meta.dirname, "batch/prompts.broken.jsonl")
      const error = yield* Effect.flip(run("batch/main.ts", ["--prompts", path]))
      assert.include(String((error as { readonly stdout?: string }).stdout), "line 2")
    })
  )

  it.live("the demo refuses a concurrency out of range", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(run("batch/main.ts", ["--concurrency", "0"]))
      const { stderr, stdout } = error as { readonly stdout?: string; readonly stderr?: string }
      assert.include(`${stdout}${stderr}`, "concurrency")
    })
  )
})
