/**
 * What only a process can show: that it is killed, interrupted, fed by a pipe, and left alone by its reader.
 */
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { counting, environment, folder, prompts, start } from "./cli.ts"

/** Waits until so many requests were answered. */
const answers = (count: number) =>
  Simulator.Simulator.use(({ waitUntil }) =>
    waitUntil(({ keys }) => keys.reduce((sum, { ok }) => sum + ok, 0) >= count)
  )

const inFlight = Simulator.Simulator.use(({ waitUntil }) =>
  waitUntil(({ keys }) => keys.reduce((sum, key) => sum + key.inFlight, 0) > 0)
)

const timesOf = (answered: ReadonlyMap<string, number>, prompt: string) => answered.get(prompt) ?? 0

describe("evenkeel as a process", () => {
  it.live(
    "killed in the middle of a batch, it goes on, and pays for nothing twice that was done",
    () => {
      const { answered, layer } = counting({ latency: [20, 60] })
      const [count, concurrency] = [200, 8]
      return Effect.gen(function* () {
        const files = yield* folder
        const env = yield* environment
        const input = files.write("in.jsonl", prompts(count))
        const args = ["batch", input, "-o", files.path("out.jsonl"), "-c", String(concurrency)]

        const first = start(args, env)
        yield* answers(60)
        first.child.kill("SIGKILL")
        const killed = yield* Effect.promise(() => first.ended)
        assert.strictEqual(killed.signal, "SIGKILL")
        const journal = readFileSync(files.path("out.jsonl.journal"), "utf8")
        const done = new Set(Array.from(journal.matchAll(/"custom_id":"r(\d+)"/g), ([, n]) => `p${n}`))
        assert.isAtLeast(done.size, 60 - concurrency)
        assert.isBelow(done.size, count)
        assert.isTrue(existsSync(files.path("out.jsonl.journal.lock")))

        const ended = yield* Effect.promise(() => start(args, env).ended)
        assert.strictEqual(ended.code, 0, ended.stderr)
        assert.match(ended.stderr, new RegExp(`200 answered \\(${done.size} of them before\\), 0 failed`))
        const out = files.read("out.jsonl")
        assert.deepStrictEqual(
          out.map((line) => [line.custom_id, line.response.body.choices[0].message.content]),
          Array.from({ length: count }, (_, i) => [`r${i + 1}`, `Said p${i + 1}`])
        )
        for (const prompt of done) assert.strictEqual(timesOf(answered, prompt), 1, prompt)
        // Only what was in flight may have been paid twice.
        const all = [...answered.values()]
        assert.strictEqual(all.length, count)
        assert.isAtMost(
          all.reduce((sum, times) => sum + times, 0),
          count + concurrency
        )
      }).pipe(Effect.provide(layer), Effect.scoped)
    },
    60_000
  )

  it.live(
    "interrupted, it waits for what is in flight, exits with 130, and goes on later",
    () => {
      const { answered, layer } = counting({ latency: 100 })
      return Effect.gen(function* () {
        const files = yield* folder
        const env = yield* environment
        const input = files.write("in.jsonl", prompts(100))
        const args = ["batch", input, "-o", files.path("out.jsonl"), "-c", "4", "--json"]
        const { child, ended } = start(args, env)
        yield* answers(10)
        child.kill("SIGINT")
        const interrupted = yield* Effect.promise(() => ended)
        assert.strictEqual(interrupted.code, 130, interrupted.stderr)
        assert.match(interrupted.stderr, /requests in flight are waited for/)
        const summary = JSON.parse(interrupted.stdout)
        assert.strictEqual(summary.stopped, "signal")
        // All that was asked for has its answer, and nothing more was asked for.
        assert.strictEqual(summary.succeeded, answered.size)
        assert.isBelow(answered.size, 100)
        assert.strictEqual(files.read("out.jsonl").length, answered.size)

        const rest = yield* Effect.promise(() => start(args, env).ended)
        assert.strictEqual(rest.code, 0, rest.stderr)
        assert.isTrue([...answered.values()].every((times) => times === 1))
        assert.strictEqual(answered.size, 100)
      }).pipe(Effect.provide(layer), Effect.scoped)
    },
    60_000
  )

  it.live(
    "interrupted while requests wait for the budget, it ends nevertheless",
    () =>
      Effect.gen(function* () {
        const files = yield* folder
        const input = files.write("in.jsonl", prompts(10))
        // Enough for one at a time.
        const args = [
          "batch",
          input,
          "-o",
          files.path("out.jsonl"),
          "--max-tokens",
          "5",
          "--budget",
          "0.00003"
        ]
        const { child, ended } = start([...args, "-c", "4"], yield* environment)
        yield* inFlight
        child.kill("SIGINT")
        const { code, stderr } = yield* Effect.promise(() => ended)
        assert.strictEqual(code, 130, stderr)
        assert.match(stderr, /1 answered, 0 failed, 9 not sent/)
      }).pipe(Effect.provide(Simulator.layer({ latency: 1000 })), Effect.scoped),
    60_000
  )

  it.live(
    "interrupted twice, it ends at once",
    () =>
      Effect.gen(function* () {
        const files = yield* folder
        const { fault } = yield* Simulator.Simulator
        yield* fault({ action: Simulator.actions.hang() })
        const input = files.write("in.jsonl", prompts(10))
        const { child, ended } = start(["batch", input, "-o", files.path("out.jsonl")], yield* environment)
        yield* inFlight
        child.kill("SIGTERM")
        yield* Effect.promise(() => new Promise((told) => child.stderr!.once("data", told)))
        child.kill("SIGTERM")
        const { code, stderr } = yield* Effect.promise(() => ended)
        assert.strictEqual(code, 143, stderr)
        assert.isFalse(existsSync(files.path("out.jsonl.journal.lock")))
      }).pipe(Effect.provide(Simulator.layer()), Effect.scoped),
    60_000
  )

  it.live(
    "in a pipe, results alone are on standard output, and no secret is anywhere",
    () =>
      Effect.gen(function* () {
        const { keys } = yield* Simulator.Simulator
        const { child, ended } = start(["batch", "-", "--json"], yield* environment)
        for (const line of prompts(20)) child.stdin!.write(`${JSON.stringify(line)}\n`)
        // The last line needs no end.
        child.stdin!.end('{"model":"openai/gpt-4o-mini","prompt":"last"}')
        const { code, stderr, stdout } = yield* Effect.promise(() => ended)
        assert.strictEqual(code, 0, stderr)
        const lines = stdout
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line))
        assert.strictEqual(lines.length, 21)
        assert.strictEqual(lines[20].id, "line-21")
        assert.deepInclude(JSON.parse(stderr.trimEnd().split("\n").at(-1)!), { succeeded: 21, exit_code: 0 })
        assert.notInclude(stderr, "\x1b")
        for (const { secret } of keys) assert.notInclude(stdout + stderr, Redacted.value(secret).slice(9))
      }).pipe(Effect.provide(Simulator.layer())),
    60_000
  )

  it.live(
    "a line of a pipe that is no request ends the batch, and what came before has its results",
    () =>
      Effect.gen(function* () {
        const { child, ended } = start(["batch", "-", "-q"], yield* environment)
        child.stdin!.end(`${JSON.stringify(prompts(1)[0])}\n{"prompt":\n`)
        const { code, stderr, stdout } = yield* Effect.promise(() => ended)
        assert.strictEqual(code, 2)
        assert.match(stderr, /standard input, line 2: not JSON/)
        assert.strictEqual(JSON.parse(stdout).custom_id, "r1")
      }).pipe(Effect.provide(Simulator.layer())),
    60_000
  )

  it.live(
    "a reader that goes ends it, quietly",
    () =>
      Effect.gen(function* () {
        const files = yield* folder
        const input = files.write("in.jsonl", prompts(5000))
        const { child, ended } = start(["batch", input, "-q"], yield* environment)
        yield* Effect.promise(() => new Promise((read) => child.stdout!.once("data", read)))
        child.stdout!.destroy()
        const { code, stderr } = yield* Effect.promise(() => ended)
        assert.strictEqual(code, 141, stderr)
        assert.notInclude(stderr, "EPIPE")
      }).pipe(Effect.provide(Simulator.layer({ latency: 5 })), Effect.scoped),
    60_000
  )

  it.live(
    "serves until it is told to stop, and lets what is in work finish",
    () =>
      Effect.gen(function* () {
        const token = "a-token-for-this-test"
        const env = { ...(yield* environment), EVENKEEL_TOKENS: token }
        const { child, ended } = start(["serve", "--port", "0"], env)
        const line = yield* Effect.promise(
          () => new Promise<string>((told) => child.stdout.once("data", (chunk) => told(String(chunk))))
        )
        const url = /^Listening on (http:\/\/127\.0\.0\.1:\d+\/v1)\n$/.exec(line)?.[1]
        const ask = (headers: Readonly<Record<string, string>>) =>
          fetch(`${url}/chat/completions`, {
            method: "POST",
            headers: { "content-type": "application/json", ...headers },
            body: JSON.stringify({
              model: "openai/gpt-4o-mini",
              messages: [{ role: "user", content: "Name a knot." }]
            })
          })
        assert.strictEqual((yield* Effect.promise(() => ask({}))).status, 401)
        const answer = ask({ authorization: `Bearer ${token}` })
        yield* inFlight
        child.kill("SIGTERM")
        const response = yield* Effect.promise(() => answer)
        assert.strictEqual(response.status, 200)
        assert.include(yield* Effect.promise(() => response.text()), "Name a knot.")
        const { code, stderr } = yield* Effect.promise(() => ended)
        assert.strictEqual(code, 143, stderr)
        assert.strictEqual(stderr, "")
      }).pipe(Effect.provide(Simulator.layer({ latency: 500 }))),
    60_000
  )
})
