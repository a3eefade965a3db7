import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { appendFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { cli, counting, environment, folder, prompts } from "./cli.ts"

const { errors } = Simulator

const withSimulator = <A, E, R>(effect: Effect.Effect<A, E, R>, options: Simulator.SimulatorOptions = {}) =>
  effect.pipe(Effect.provide(Simulator.layer(options)), Effect.scoped)

describe("evenkeel batch", () => {
  it.live("answers all forms of a request, in order, and says which key answered and what it cost", () =>
    withSimulator(
      Effect.gen(function* () {
        const files = yield* folder
        const input = files.write("in.jsonl", [
          {
            custom_id: "a",
            method: "POST",
            url: "/v1/chat/completions",
            body: { model: "openai/gpt-4o-mini", messages: [{ role: "user", content: "one" }] }
          },
          { messages: [{ role: "user", content: "two" }] },
          "",
          { prompt: "three", model: "anthropic/claude-sonnet-4.5" }
        ])
        const ran = yield* cli(
          ["batch", input, "-o", files.path("out.jsonl"), "--json", "-q", "-m", "deepseek/deepseek-chat"],
          yield* environment
        )
        assert.strictEqual(ran.code, 0, ran.stderr)
        const out = files.read("out.jsonl")
        assert.deepStrictEqual(
          out.map((line) => [line.id, line.custom_id, line.response.body.model]),
          [
            ["line-1", "a", "openai/gpt-4o-mini"],
            ["line-2", null, "deepseek/deepseek-chat"],
            ["line-4", null, "anthropic/claude-sonnet-4.5"]
          ]
        )
        for (const line of out) {
          assert.match(line.response.body.choices[0].message.content, /one|two|three/)
          assert.strictEqual(line.response.status_code, 200)
          assert.match(line.key, /^key-[123]$/)
          assert.strictEqual(line.cost, line.response.body.usage.cost)
          assert.deepInclude(line, { error: null, attempts: 1 })
        }
        const summary = JSON.parse(ran.stdout)
        assert.deepInclude(summary, {
          total: 3,
          succeeded: 3,
          failed: 0,
          sent: 3,
          stopped: null,
          exit_code: 0
        })
        assert.closeTo(
          summary.cost,
          out.reduce((sum, line) => sum + line.cost, 0),
          1e-12
        )
        const { snapshot } = yield* Simulator.Simulator
        const usage = (yield* snapshot).keys.reduce((sum, key) => sum + key.usage, 0)
        assert.closeTo(summary.cost, usage, 1e-12)
      })
    )
  )

  it.live("names the line that is no request, before anything is sent", () =>
    withSimulator(
      Effect.gen(function* () {
        const files = yield* folder
        const env = yield* environment
        const good = { model: "m", prompt: "hello" }
        const bad: ReadonlyArray<readonly [unknown, RegExp]> = [
          ["{", /line 2: not JSON/],
          ["[1]", /line 2: must be a JSON object/],
          [{ prompt: "x" }, /line 2: names no model, and --model gives none/],
          [{ model: "m", messages: [] }, /line 2: .*messages/],
          [{ model: "m", prompt: "x", temperature: 9 }, /line 2: .*temperature/],
          [{ model: "m", prompt: "x", stream: true }, /line 2: stream must be false/],
          [{ model: "m", prompt: "x", custom_id: 7 }, /line 2: custom_id must be a string/],
          [{ url: "/v1/embeddings", body: {} }, /line 2: url must be \/v1\/chat\/completions/]
        ]
        for (const [line, expected] of bad) {
          const input = files.write("in.jsonl", [good, line])
          const { code, stderr } = yield* cli(["batch", input, "-o", files.path("out.jsonl"), "-q"], env)
          assert.strictEqual(code, 2)
          assert.match(stderr, expected)
        }
        const { requests } = yield* Simulator.Simulator
        assert.deepStrictEqual(
          (yield* requests).filter(({ path }) => path === "/chat/completions"),
          []
        )
      })
    )
  )

  it.live("a failure is a line of its own, exits with 1, and is tried again by the next run", () => {
    const { answered, layer } = counting()
    return Effect.gen(function* () {
      const files = yield* folder
      const env = yield* environment
      const input = files.write("in.jsonl", prompts(5))
      const args = ["batch", input, "-o", files.path("out.jsonl"), "-q", "-c", "1"]
      const { fault } = yield* Simulator.Simulator
      yield* fault({ times: 1, action: errors.moderation403() })
      const first = yield* cli(args, env)
      assert.strictEqual(first.code, 1, first.stderr)
      const [failed, ...others] = files.read("out.jsonl")
      assert.deepInclude(failed.error, { code: "moderated", status_code: 403 })
      assert.deepInclude(failed, { id: "line-1", custom_id: "r1", response: null, cost: 0, attempts: 1 })
      assert.deepStrictEqual(
        others.map(({ error }) => error),
        [null, null, null, null]
      )

      const second = yield* cli(args, env)
      assert.strictEqual(second.code, 0, second.stderr)
      assert.deepStrictEqual(
        files.read("out.jsonl").map((line) => line.response.body.choices[0].message.content),
        [1, 2, 3, 4, 5].map((n) => `Said p${n}`)
      )
      assert.deepStrictEqual([...answered.values()], [1, 1, 1, 1, 1])
      // Nothing is left to do, and nothing is done.
      assert.strictEqual((yield* cli(args, env)).code, 0)
      assert.deepStrictEqual([...answered.values()], [1, 1, 1, 1, 1])
    }).pipe(Effect.provide(layer), Effect.scoped)
  })

  it.live(
    "does not go on from the journal of another input, nor write over a file that it does not know",
    () =>
      withSimulator(
        Effect.gen(function* () {
          const files = yield* folder
          const env = yield* environment
          const input = files.write("in.jsonl", prompts(3))
          const out = files.path("out.jsonl")
          assert.strictEqual((yield* cli(["batch", input, "-o", out, "-q"], env)).code, 0)

          files.write("in.jsonl", [...prompts(1), { model: "openai/gpt-4o-mini", prompt: "another" }])
          const changed = yield* cli(["batch", input, "-o", out, "-q"], env)
          assert.strictEqual(changed.code, 2)
          assert.match(changed.stderr, /in\.jsonl, line 2: not the request that the journal has an answer to/)

          files.write("in.jsonl", prompts(2))
          const shorter = yield* cli(["batch", input, "-o", out, "-q"], env)
          assert.strictEqual(shorter.code, 2)
          assert.match(shorter.stderr, /the journal has an answer to line 3/)
          // What was answered is still there.
          assert.strictEqual(files.read("out.jsonl").length, 3)

          // A longer one is the same batch, with more to do.
          files.write("in.jsonl", prompts(4))
          assert.strictEqual((yield* cli(["batch", input, "-o", out, "-q"], env)).code, 0)
          assert.strictEqual(files.read("out.jsonl").length, 4)

          const other = files.write("precious.jsonl", [{ precious: true }])
          const refused = yield* cli(["batch", input, "-o", other, "-q"], env)
          assert.strictEqual(refused.code, 2)
          assert.match(refused.stderr, /--out: .*precious\.jsonl exists/)
          assert.deepStrictEqual(files.read("precious.jsonl"), [{ precious: true }])
          for (const args of [
            ["-o", input],
            ["-o", other, "--journal", input],
            ["-o", other, "--journal", other]
          ])
            assert.strictEqual((yield* cli(["batch", input, ...args, "-q"], env)).code, 2)

          files.write("in.jsonl", prompts(1))
          assert.strictEqual((yield* cli(["batch", input, "-o", out, "-q", "--restart"], env)).code, 0)
          assert.strictEqual(files.read("out.jsonl").length, 1)
        })
      )
  )

  it.live("cuts off what a crash has left of a record, and refuses a file that is no journal", () => {
    const { answered, layer } = counting()
    return Effect.gen(function* () {
      const files = yield* folder
      const env = yield* environment
      const input = files.write("in.jsonl", prompts(4))
      const args = ["batch", input, "-o", files.path("out.jsonl"), "-q", "-c", "1"]
      assert.strictEqual((yield* cli(args, env)).code, 0)
      const journal = files.path("out.jsonl.journal")
      truncateSync(journal, readFileSync(journal).length - 30)
      assert.strictEqual((yield* cli(args, env)).code, 0)
      assert.deepStrictEqual([...answered.values()], [1, 1, 1, 2])
      assert.strictEqual(files.read("out.jsonl").length, 4)
      assert.strictEqual((yield* cli(args, env)).code, 0)

      appendFileSync(journal, "broken\n{}\n")
      const broken = yield* cli(args, env)
      assert.strictEqual(broken.code, 2)
      assert.match(broken.stderr, /out\.jsonl\.journal, line \d+: not a journal/)
      writeFileSync(journal, "something else\n")
      assert.strictEqual((yield* cli(args, env)).code, 2)
      assert.strictEqual(readFileSync(journal, "utf8"), "something else\n")
    }).pipe(Effect.provide(layer), Effect.scoped)
  })

  it.live("one process at a time has a journal, and a dead one does not keep it", () =>
    withSimulator(
      Effect.gen(function* () {
        const files = yield* folder
        const env = yield* environment
        const input = files.write("in.jsonl", prompts(1))
        const args = ["batch", input, "-o", files.path("out.jsonl"), "-q"]
        const lock = files.path("out.jsonl.journal.lock")
        writeFileSync(lock, `${process.pid}\n`)
        const refused = yield* cli(args, env)
        assert.strictEqual(refused.code, 2)
        assert.match(refused.stderr, /another run has it/)
        // Greater than any process id of Linux.
        writeFileSync(lock, "4194999\n")
        assert.strictEqual((yield* cli(args, env)).code, 0)
        assert.isFalse(existsSync(lock))
      })
    )
  )

  it.live.skipIf(!existsSync("/dev/full"))("a full disk loses no answer", () => {
    const { answered, layer } = counting({ latency: [1, 20] })
    return Effect.gen(function* () {
      const files = yield* folder
      const env = yield* environment
      const input = files.write("in.jsonl", prompts(40))
      const args = ["batch", input, "--journal", files.path("journal"), "-q", "-c", "8"]
      const full = yield* cli([...args, "-o", "/dev/full", "--restart"], env)
      assert.strictEqual(full.code, 5, full.stderr)
      // What was in flight is waited for, and in the journal.
      assert.isBelow(answered.size, 40)
      const rest = yield* cli([...args, "-o", files.path("out.jsonl")], env)
      assert.strictEqual(rest.code, 0, rest.stderr)
      assert.strictEqual(files.read("out.jsonl").length, 40)
      assert.isTrue([...answered.values()].every((times) => times === 1))
    }).pipe(Effect.provide(layer), Effect.scoped)
  })

  it.live("stops when no key is of use any more, and says why", () =>
    withSimulator(
      Effect.gen(function* () {
        const files = yield* folder
        const { revoke, keys } = yield* Simulator.Simulator
        for (const { name } of keys) yield* revoke(name)
        const input = files.write("in.jsonl", prompts(200))
        const args = ["batch", input, "-o", files.path("out.jsonl"), "--json", "-q", "-c", "4"]
        const ran = yield* cli([...args, "--max-wait", "0s"], yield* environment)
        assert.strictEqual(ran.code, 4, ran.stderr)
        assert.match(ran.stderr, /key-1 rejected/)
        const summary = JSON.parse(ran.stdout)
        assert.strictEqual(summary.stopped, "no-key")
        // Those in flight fail; the rest is left for a better day.
        assert.isAtMost(summary.sent, 16)
        for (const { secret } of keys) assert.notInclude(ran.stderr + ran.stdout, Redacted.value(secret))
      })
    )
  )

  it.live("without keys it says so, before it reads anything", () =>
    Effect.gen(function* () {
      const files = yield* folder
      const input = files.write("in.jsonl", prompts(1))
      const ran = yield* cli(["batch", input, "-o", files.path("out.jsonl")])
      assert.strictEqual(ran.code, 4)
      assert.match(ran.stderr, /OPENROUTER_KEYS/)
      const twice = yield* cli(["batch", input, "-o", files.path("out.jsonl")], {
        OPENROUTER_KEYS: "same-secret-0001,same-secret-0001"
      })
      assert.strictEqual(twice.code, 2)
      assert.match(twice.stderr, /key at position 2: secret must be unique/)
      assert.isFalse(existsSync(files.path("out.jsonl")))
      const missing = yield* cli(["batch", files.path("none.jsonl"), "--simulate"])
      assert.strictEqual(missing.code, 2)
      assert.match(missing.stderr, /none\.jsonl: there is no such file/)
    }).pipe(Effect.scoped)
  )

  it.live("reads keys from a file, and the environment goes before it", () =>
    withSimulator(
      Effect.gen(function* () {
        const files = yield* folder
        const { OPENROUTER_BASE_URL, OPENROUTER_KEYS } = yield* environment
        const input = files.write("in.jsonl", prompts(1))
        const dotenv = files.write(".env", [
          "OPENROUTER_BASE_URL=http://127.0.0.1:1/nowhere",
          `OPENROUTER_KEYS=${OPENROUTER_KEYS}`
        ])
        const args = ["batch", input, "-o", files.path("out.jsonl"), "-q", "--env-file", dotenv]
        const ran = yield* cli(args, { OPENROUTER_BASE_URL })
        assert.strictEqual(ran.code, 0, ran.stderr)
      })
    )
  )

  it.live("needs no key with --simulate", () =>
    Effect.gen(function* () {
      const files = yield* folder
      const input = files.write("in.jsonl", prompts(10))
      const ran = yield* cli(["batch", input, "-o", files.path("out.jsonl"), "-q", "--simulate"])
      assert.strictEqual(ran.code, 0, ran.stderr)
      assert.strictEqual(files.read("out.jsonl").length, 10)
    }).pipe(Effect.scoped)
  )
})

describe("evenkeel batch --budget", () => {
  // 20 bytes of prompt at most cost little; the answer is bounded to 10 tokens of $0.000015.
  const dear = (count: number) =>
    prompts(count).map((line) => ({
      ...(line as object),
      model: "anthropic/claude-sonnet-4.5",
      max_tokens: 10
    }))

  it.live("stops before it is overspent, says so, and goes on with more", () => {
    const { answered, layer } = counting({ latency: [1, 10] })
    return Effect.gen(function* () {
      const files = yield* folder
      const env = yield* environment
      const { snapshot } = yield* Simulator.Simulator
      const spent = Effect.map(snapshot, ({ keys }) => keys.reduce((sum, key) => sum + key.usage, 0))
      const input = files.write("in.jsonl", dear(100))
      const args = ["batch", input, "-o", files.path("out.jsonl"), "--json", "-q", "-c", "8"]
      const first = yield* cli([...args, "--budget", "0.002"], env)
      assert.strictEqual(first.code, 3, first.stderr)
      assert.match(first.stderr, /the budget of \$0\.0020 does not allow another request/)
      const summary = JSON.parse(first.stdout)
      assert.strictEqual(summary.stopped, "budget")
      assert.isAtMost(yield* spent, 0.002)
      // It is used up to what one request may cost at most.
      assert.isAtLeast(yield* spent, 0.002 - 0.0006)
      assert.isAbove(summary.succeeded, 10)
      assert.strictEqual(files.read("out.jsonl").length, summary.succeeded)

      // The same budget is that of all runs together.
      const again = yield* cli([...args, "--budget", "0.002"], env)
      assert.strictEqual(again.code, 3)
      assert.isAtMost(yield* spent, 0.002)

      const rest = yield* cli([...args, "--budget", "1"], env)
      assert.strictEqual(rest.code, 0, rest.stderr)
      assert.strictEqual(files.read("out.jsonl").length, 100)
      assert.isTrue([...answered.values()].every((times) => times === 1))
    }).pipe(Effect.provide(layer), Effect.scoped)
  })

  it.live("is not overspent when answers fail after they were billed", () =>
    withSimulator(
      Effect.gen(function* () {
        const files = yield* folder
        const env = yield* environment
        const { fault, snapshot } = yield* Simulator.Simulator
        // The client goes away, and the answer is billed in full.
        yield* fault({ probability: 0.4, action: Simulator.actions.hang() })
        const input = files.write("in.jsonl", dear(60))
        const args = ["batch", input, "-o", files.path("out.jsonl"), "-q", "-c", "8", "--timeout", "150ms"]
        const ran = yield* cli([...args, "--budget", "0.003"], env)
        assert.strictEqual(ran.code, 3, ran.stderr)
        assert.isAtMost(
          (yield* snapshot).keys.reduce((sum, key) => sum + key.usage, 0),
          0.003
        )
      })
    )
  )

  it.live("refuses what it cannot bound, unless it is told what that may cost", () =>
    withSimulator(
      Effect.gen(function* () {
        const files = yield* folder
        const env = yield* environment
        const image = { type: "image_url", image_url: { url: "https://example.org/a.png" } }
        const unbounded: ReadonlyArray<readonly [object, RegExp]> = [
          [{ model: "openai/gpt-4o-mini:online", prompt: "x" }, /line 2: web search costs more/],
          [{ model: "nobody/knows", prompt: "x" }, /line 2: the price of nobody\/knows is not known/],
          [
            { model: "openai/gpt-4o-mini", messages: [{ role: "user", content: [image] }] },
            /line 2: a part of type "image_url"/
          ]
        ]
        for (const [line, expected] of unbounded) {
          const input = files.write("in.jsonl", [...prompts(1), line])
          const ran = yield* cli(["batch", input, "-o", files.path("out.jsonl"), "-q", "--budget", "1"], env)
          assert.strictEqual(ran.code, 2)
          assert.match(ran.stderr, expected)
          assert.match(ran.stderr, /--estimate/)
        }
        const input = files.write("in.jsonl", [...prompts(1), unbounded[2]![0]])
        const args = [
          "batch",
          input,
          "-o",
          files.path("out.jsonl"),
          "-q",
          "--budget",
          "1",
          "--estimate",
          "0.01"
        ]
        const ran = yield* cli(args, env)
        assert.strictEqual(ran.code, 0, ran.stderr)
      })
    )
  )
})

describe("evenkeel batch, with much to do", () => {
  it.live(
    "keeps the order and the memory of a long input",
    () => {
      const { answered, layer } = counting({ logSize: 1 })
      const count = 1000
      return Effect.gen(function* () {
        const files = yield* folder
        const input = files.write("in.jsonl", prompts(count))
        const ran = yield* cli(
          ["batch", input, "-o", files.path("out.jsonl"), "-q", "-c", "64"],
          yield* environment
        )
        assert.strictEqual(ran.code, 0, ran.stderr)
        const ids = files.read("out.jsonl").map(({ custom_id }) => custom_id)
        assert.deepStrictEqual(
          ids,
          prompts(count).map((line) => (line as { custom_id: string }).custom_id)
        )
        assert.strictEqual(answered.size, count)
      }).pipe(Effect.provide(layer), Effect.scoped)
    },
    60_000
  )
})
