// Every example runs as its reader would run it: as a process of its own. OpenRouter is simulated.
import { assert, describe, it } from "@effect/vitest"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Redacted } from "effect"
import { execFile, spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
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

  it.live("a chat with tools asks for them, and tells what it learnt", () => {
    const completion = ({ body, lastUserMessage }: Simulator.CompletionRequest) => {
      const { messages } = body as { readonly messages: ReadonlyArray<{ role: string; content: string }> }
      const results = messages.slice(messages.findLastIndex(({ role }) => role === "user") + 1)
      const harbour = lastUserMessage.includes("Rostock") ? "Rostock" : "Atlantis"
      const call = (name: string) => ({ toolCalls: [{ name, arguments: { harbour } }] })
      if (results.length === 0) return call("Depth")
      return results.length === 2 ? call("Tide") : `Depth ${results[1]!.content}, tide ${results[3]!.content}`
    }
    return Effect.gen(function* () {
      const printed = yield* run("language-model/main.ts", ["Rostock?", "Atlantis?"], yield* environment)
      assert.include(printed, 'Depth {"metres":13}, tide {"metres":0.1}')
      assert.include(printed, 'Depth {"problem":"No chart of Atlantis"}, tide {"metres":3.4}')
      assert.match(printed, /\[\$0\.0000\d\d\]/)
    }).pipe(Effect.provide(Simulator.layer({ completion })))
  })

  it.live("several accounts draw what each fault takes out", () =>
    Effect.gen(function* () {
      const printed = yield* run("several-accounts/main.ts")
      assert.include(printed, "acme is throttled: 12 of 12 answered")
      assert.match(printed, /boreas-1 .* 1 refused  account exhausted/)
      assert.notInclude(printed, "sk-or-v1")
    })
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

  const folder = Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "evenkeel-lab-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )

  it.live("the lab prints a table of all strategies and writes a chart", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const printed = yield* run("lab/main.ts", ["stale-credit-1", "--svg", path])
      assert.match(printed, /^## stale-credit-1\n/)
      assert.include(printed, "| least-in-flight |")
      assert.include(printed, "](stale-credit-1.svg)")
      assert.deepStrictEqual(readdirSync(path), ["stale-credit-1.svg"])
      assert.match(readFileSync(join(path, "stale-credit-1.svg"), "utf8"), /^<svg [\s\S]*<\/svg>\n$/)
    }).pipe(Effect.scoped)
  )

  it.live("the lab takes scenarios and traces from files, and gives JSON that is the same each time", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "mine.json")
      const trace = join(import.meta.dirname, "lab/trace.example.jsonl")
      writeFileSync(
        path,
        JSON.stringify({
          name: "mine",
          seconds: 60,
          arrivals: { kind: "poisson", perSecond: 5 },
          keys: [{ id: "a" }]
        })
      )
      const [first, second] = [
        yield* run("lab/main.ts", [path, "--json", "--trace", trace]),
        yield* run("lab/main.ts", [path, "--json", "--trace", trace])
      ]
      assert.strictEqual(first, second)
      const [report] = JSON.parse(first)
      assert.strictEqual(report.strategies[0].requests, 6)
    }).pipe(Effect.scoped)
  )

  it.live("the lab names the field of a scenario that is none", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "broken.json")
      writeFileSync(
        path,
        JSON.stringify({ name: "broken", seconds: -1, arrivals: { kind: "poisson", perSecond: 5 }, keys: [] })
      )
      const error = yield* Effect.flip(run("lab/main.ts", [path]))
      const { stderr, stdout } = error as { readonly stdout?: string; readonly stderr?: string }
      assert.include(`${stdout}${stderr}`, "seconds: Expected a number from 1 to 604,800, got -1")
    }).pipe(Effect.scoped)
  )

  const redis = ["redis-server", "valkey-server"].some((name) => spawnSync(name, ["--version"]).status === 0)
  it.live.skipIf(!redis)("the fleet draws four workers that share four keys", () =>
    Effect.gen(function* () {
      const printed = yield* run("fleet/main.ts", ["--seconds", "2"])
      assert.match(printed, /^process +alpha +beta +gamma +delta +all$/m)
      assert.include(printed, "4 workers")
    })
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
