// The example as its reader runs it: as a process of its own. OpenRouter is simulated.
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"

const exec = promisify(execFile)

const run = Effect.gen(function* () {
  const { baseUrl, keys } = yield* Simulator.Simulator
  const env = {
    ...process.env,
    OPENROUTER_BASE_URL: baseUrl,
    OPENROUTER_KEYS: keys.map(({ secret }) => Redacted.value(secret)).join(",")
  }
  const main = join(import.meta.dirname, "main.ts")
  return yield* Effect.tryPromise(() =>
    exec(process.execPath, ["--conditions=@evenkeel/source", main], { env, timeout: 25_000 })
  ).pipe(Effect.mapError((error) => error.cause))
})

const requests = Effect.gen(function* () {
  const { requests } = yield* Simulator.Simulator
  return (yield* requests).filter(({ path }) => path === "/chat/completions")
})

describe("the streaming example", () => {
  it.live("prints the answer, and its usage", () =>
    Effect.gen(function* () {
      const { stderr, stdout } = yield* run
      assert.match(stdout, /^You said: Tell me in three sentences .* for\.\n\n\d+ tokens, \$0\.0000\d\d\n$/)
      assert.strictEqual(stderr, "")
      assert.strictEqual((yield* requests).length, 1)
    }).pipe(Effect.provide(Simulator.layer()))
  )

  it.live("goes on behind what was said when the stream breaks", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ times: 1, action: Simulator.actions.midStreamError({ afterChunks: 3 }) })
      const { stderr, stdout } = yield* run
      assert.match(stdout, /^You said: TellYou said: Go on exactly where you stopped\.\n\n\d+ tokens/)
      assert.include(stderr, "The stream broke after 14 characters")
      assert.strictEqual((yield* requests).length, 2)
    }).pipe(Effect.provide(Simulator.layer()))
  )

  it.live("says nothing of a key that fails before the answer begins", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({
        times: 1,
        action: Simulator.actions.firstEventError({ code: 401, message: "User not found." })
      })
      const { stderr, stdout } = yield* run
      assert.match(stdout, /^You said: Tell me/)
      assert.strictEqual(stderr, "")
      assert.strictEqual(new Set((yield* requests).map(({ key }) => key)).size, 2)
    }).pipe(Effect.provide(Simulator.layer()))
  )
})
