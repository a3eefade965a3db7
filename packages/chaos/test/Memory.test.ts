/**
 * Fifty thousand requests over real HTTP leave nothing behind (`EVENKEEL_REQUESTS` says another number). The client has a process of its own, so that the heap is
 * its own, and the simulator does not slow it down more than a server must.
 */
import { Secrets } from "@evenkeel/chaos"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Told } from "../src/soak.ts"

const requests = Number(process.env["EVENKEEL_REQUESTS"] ?? 50_000)
const { actions, errors } = Simulator

/** Runs the program to its end, and gives what it has told. */
const soak = (environment: Readonly<Record<string, string>>) =>
  Effect.callback<ReadonlyArray<Told>, Error>((resume) => {
    const told: Array<Told> = []
    const child = fork(fileURLToPath(new URL("../src/soak.ts", import.meta.url)), {
      env: { ...process.env, ...environment },
      execArgv: ["--expose-gc", "--conditions=@evenkeel/source"]
    })
    child.on("message", (message) => void told.push(message as Told))
    child.on("exit", (code) =>
      resume(
        code === 0 ? Effect.succeed(told) : Effect.fail(new Error(`The program ended with ${String(code)}`))
      )
    )
    return Effect.sync(() => void child.kill())
  })

const names = ["a", "b", "c", "d"]

describe(`${requests} requests`, () => {
  it.live(
    "leave the heap as it was, and nothing in flight",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.Simulator
        for (const action of [
          errors.badGateway502(),
          actions.midStreamError(),
          actions.reset,
          errors.upstream429(),
          actions.garbage
        ])
          yield* simulator.fault({ probability: 0.005, action })
        const told = yield* soak({
          OPENROUTER_BASE_URL: simulator.baseUrl,
          OPENROUTER_KEYS: simulator.keys.map(({ secret }) => Redacted.value(secret)).join(","),
          EVENKEEL_STOPS: [requests / 10, requests / 2, requests].join(",")
        })
        const [, half, whole] = told
        assert.strictEqual(whole!.answered + whole!.failed, whole!.requests)
        assert.isAtLeast(whole!.requests, requests)
        // It was a mix: some failed, and most did not.
        assert.isAbove(whole!.failed, requests / 1000)
        assert.isAbove(whole!.answered, requests * 0.9)
        for (const { inFlight, kept, waiting } of told) {
          assert.deepStrictEqual([inFlight, waiting], [0, 0])
          // Four keys, their accounts, three models and the host.
          assert.isAtMost(kept, 4 + 4 + 3 + 1)
        }
        assert.isBelow(whole!.heap - half!.heap, 2, `MB, of ${half!.heap}`)
      }).pipe(
        Effect.provide(
          Simulator.layer({
            keys: names.map((name) => ({ name, secret: Secrets.secretOf(name).replaceAll(/[^\w-]/g, "x") })),
            completion: () => "Hello.",
            logSize: 100
          })
        )
      ),
    // On two cores that are free it takes about half a minute.
    580_000
  )
})
