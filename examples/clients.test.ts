// The examples of the official clients run as their readers would run them. OpenRouter is simulated.
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"

const exec = promisify(execFile)

const run = Effect.fnUntraced(function* (path: string) {
  const { baseUrl, keys } = yield* Simulator.Simulator
  const env = {
    ...process.env,
    OPENROUTER_BASE_URL: baseUrl,
    OPENROUTER_KEYS: keys.map(({ secret }) => Redacted.value(secret)).join(",")
  }
  const args = ["--conditions=@evenkeel/source", join(import.meta.dirname, path)]
  const { stderr, stdout } = yield* Effect.tryPromise(() =>
    exec(process.execPath, args, { env, timeout: 60_000 })
  ).pipe(Effect.mapError((error) => error.cause))
  for (const { secret } of keys) assert.notInclude(stdout + stderr, Redacted.value(secret))
  return stdout
})

const said = "You said: What keeps a ship upright?"

describe("examples of clients", () => {
  for (const [path, answers] of [
    ["openai/main.ts", 3],
    ["openrouter-sdk/main.ts", 2],
    ["ai-sdk/main.ts", 3]
  ] as const) {
    it.live(`${path} answers whole and streamed, on all keys, and ends`, () =>
      Effect.gen(function* () {
        const printed = yield* run(path)
        assert.strictEqual(printed.split(said).length - 1, 2)
        assert.strictEqual(printed.includes('{"reason":'), answers === 3)
        const { keys } = yield* Effect.flatMap(Simulator.Simulator, ({ snapshot }) => snapshot)
        assert.strictEqual(
          keys.reduce((sum, key) => sum + key.ok, 0),
          answers
        )
      }).pipe(Effect.provide(Simulator.layer()))
    )
  }

  it.live("a bad key and a failing upstream are none of the reader's business", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.revoke("key-1")
      yield* simulator.fault({ times: 1, action: Simulator.errors.badGateway502() })
      assert.include(yield* run("openai/main.ts"), said)
    }).pipe(Effect.provide(Simulator.layer()))
  )
})
