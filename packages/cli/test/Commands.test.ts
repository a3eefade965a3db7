import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { cli, environment, folder } from "./cli.ts"

const three = {
  accounts: [{ name: "acme", organizationId: "org_acme" }, { name: "beta" }],
  keys: [
    { name: "rich", account: "acme", limit: 20, limitReset: "daily", usage: 1 },
    { name: "spent", account: "acme", limit: 5, limitReset: "monthly", usage: 5 },
    { name: "open", account: "beta" },
    { name: "gone", account: "beta" }
  ]
} as const satisfies Simulator.SimulatorOptions

describe("evenkeel keys", () => {
  it.live("shows what each key has, and never a secret", () =>
    Effect.gen(function* () {
      const { keys, revoke } = yield* Simulator.Simulator
      yield* revoke("gone")
      const env = yield* environment
      const { code, stderr, stdout } = yield* cli(["keys"], env)
      assert.strictEqual(code, 0, stderr)
      const row = (id: string) => stdout.split("\n").find((line) => line.startsWith(id)) ?? ""
      assert.match(row("rich"), /^rich +org_acme +live +\$20\.00 daily +\$19\.00 +in .+ +\$1\.00/)
      assert.match(row("spent"), /^spent +org_acme +spent +\$5\.00 monthly +\$0\.00 +in /)
      assert.match(row("open"), /^open +user_simulated_beta +live +none +– +– +\$0\.00 +–$/)
      assert.match(row("gone"), /^gone +– +refused +– +– +– +– +–$/)
      assert.match(stdout, /2 of 4 keys usable/)

      const json = yield* cli(["keys", "--json"], env)
      const told = JSON.parse(json.stdout)
      assert.strictEqual(told.usable, 2)
      assert.deepInclude(told.keys[0], {
        id: "rich",
        account: "org_acme",
        health: "live",
        limit: 20,
        remaining: 19,
        usageToday: 1
      })
      for (const { secret } of keys) {
        for (const text of [stdout, json.stdout]) assert.notInclude(text, Redacted.value(secret).slice(-8))
      }
    }).pipe(Effect.provide(Simulator.layer(three)))
  )

  it.live("exits with 4 when none is usable", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* cli(["keys"], yield* environment)
      assert.strictEqual(code, 4)
      assert.match(stdout, /0 of 1 keys usable/)
    }).pipe(Effect.provide(Simulator.layer({ keys: [{ name: "spent", limit: 1, usage: 1 }] })))
  )

  it.live("says that OpenRouter did not answer", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* cli(["keys"], {
        OPENROUTER_BASE_URL: "http://127.0.0.1:9/api/v1",
        OPENROUTER_KEYS: "a=secret-000001"
      })
      assert.strictEqual(code, 4)
      assert.match(stdout, /^a +– +unknown/m)
    })
  )
})

describe("evenkeel explain", () => {
  it.live("says why a key could not serve, and in which order each strategy prefers the others", () =>
    Effect.gen(function* () {
      const { revoke } = yield* Simulator.Simulator
      yield* revoke("gone")
      const env = yield* environment
      const { code, stderr, stdout } = yield* cli(["explain", "--model", "openai/gpt-4o-mini"], env)
      assert.strictEqual(code, 0, stderr)
      assert.match(stdout, /^rich +org_acme +\$19\.00 +could serve/m)
      assert.match(stdout, /^spent +org_acme +\$0\.00 +exhausted, back in /m)
      assert.match(stdout, /^gone +– +– +rejected, back in /m)
      assert.match(stdout, /2 of 4 keys could serve openai\/gpt-4o-mini/)

      const json = yield* cli(["explain", "--json", "--selector", "credit-aware"], env)
      const told = JSON.parse(json.stdout)
      assert.deepStrictEqual(Object.keys(told.selectors), ["credit-aware"])
      assert.strictEqual(told.able, 2)
      assert.deepStrictEqual(told.unread, [])
    }).pipe(Effect.provide(Simulator.layer(three)))
  )

  it.live("knows what tokens cost, and exits with 4 when none could pay", () =>
    Effect.gen(function* () {
      const args = ["explain", "--model", "anthropic/claude-sonnet-4.5", "--tokens", "1000000"]
      const { code, stdout } = yield* cli(args, yield* environment)
      assert.strictEqual(code, 4)
      assert.match(stdout, /insufficient/)
      assert.match(stdout, /0 of 1 keys could serve .*; the first may be back in /)
    }).pipe(Effect.provide(Simulator.layer({ keys: [{ name: "poor", limit: 1, limitReset: "daily" }] })))
  )
})

describe("evenkeel simulate", () => {
  const scenario = {
    name: "mine",
    seconds: 60,
    arrivals: { kind: "poisson", perSecond: 5 },
    keys: [{ id: "a", maxInFlight: 4 }, { id: "b" }]
  }

  it.live("compares strategies, the same for the same seed", () =>
    Effect.gen(function* () {
      const files = yield* folder
      const path = files.write("mine.json", [scenario])
      const args = ["simulate", path, "--selector", "round-robin", "--selector", "threshold"]
      const { code, stderr, stdout } = yield* cli(args)
      assert.strictEqual(code, 0, stderr)
      assert.match(stdout, /^mine$/m)
      assert.match(stdout, /^round-robin +(\d+) of \1 +[▁-█]{2} /m)
      assert.match(stdout, /^threshold +(\d+) of \1 +[▁-█]{2} /m)
      const [one, two, other] = [
        yield* cli([...args, "--json"]),
        yield* cli([...args, "--json"]),
        yield* cli([...args, "--json", "--seed", "2"])
      ]
      assert.strictEqual(one.stdout, two.stdout)
      assert.notStrictEqual(one.stdout, other.stdout)
      assert.deepStrictEqual(
        JSON.parse(one.stdout)[0].strategies.map(({ strategy }: { readonly strategy: string }) => strategy),
        ["round-robin", "threshold"]
      )
    }).pipe(Effect.scoped)
  )

  it.live("lists what comes along, and names the field of a scenario that is none", () =>
    Effect.gen(function* () {
      const files = yield* folder
      assert.match((yield* cli(["simulate", "--list"])).stdout, /^storm-429 /m)
      for (const [args, expected] of [
        [[], /names none; there are black-hole/],
        [["no-such"], /no-such: scenario: Expected black-hole/],
        [["no-such.json"], /no-such\.json: there is no such file/],
        [[files.write("bad.json", [{ ...scenario, seconds: -1 }])], /bad\.json: seconds: Expected a number/],
        [[files.write("text.json", ["text"])], /text\.json: .*Expected a record as JSON/]
      ] as const) {
        const { code, stderr } = yield* cli(["simulate", ...args])
        assert.strictEqual(code, 2)
        assert.match(stderr, expected)
      }
    }).pipe(Effect.scoped)
  )
})

describe("evenkeel serve", () => {
  it.live("refuses what would open the keys to everybody, and a port that is taken", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* Simulator.Simulator
      const env = yield* environment
      for (const [args, expected] of [
        [["--host", "0.0.0.0"], /EVENKEEL_TOKENS/],
        [["--allow-origin", "*"], /allow-origin|allowedOrigins/],
        [["--port", new URL(baseUrl).port], /port|EADDRINUSE/]
      ] as const) {
        const { code, stderr } = yield* cli(["serve", ...args], env)
        assert.strictEqual(code, 2, stderr)
        assert.match(stderr, expected)
      }
      const short = yield* cli(["serve"], { ...env, EVENKEEL_TOKENS: "too-short" })
      assert.strictEqual(short.code, 2)
      assert.notInclude(short.stderr, "too-short")
    }).pipe(Effect.provide(Simulator.layer()))
  )
})

describe("evenkeel", () => {
  it.live("helps, and names what is wrong with a flag", () =>
    Effect.gen(function* () {
      for (const command of ["batch", "keys", "explain", "serve", "simulate"]) {
        const { code, stdout } = yield* cli([command, "--help"])
        assert.strictEqual(code, 0)
        assert.include(stdout, "EXAMPLES")
        assert.include(stdout, `evenkeel ${command}`)
      }
      assert.match((yield* cli([])).stdout, /SUBCOMMANDS/)
      assert.match((yield* cli(["--version"])).stdout, /^evenkeel v\d/)
      for (const shell of ["bash", "zsh", "fish", "powershell"])
        assert.include((yield* cli(["--completions", shell])).stdout, "evenkeel")
      for (const [args, expected] of [
        [["bach"], /Did you mean this\?\s+batch/],
        [["batch"], /Missing required argument: INPUT/],
        [
          ["batch", "in", "--concurrency", "0"],
          /--concurrency: "0"\. Expected: a whole number from 1 to 10000/
        ],
        [["batch", "in", "--budget", "-1"], /--budget.*greater than 0/s],
        [
          ["batch", "in", "--timeout", "5"],
          /--timeout: "5"\. Expected: a time such as 500ms, 30s, 10m or 1h/
        ],
        [["batch", "in", "--selector", "best"], /--selector.*least-in-flight/s],
        [["keys", "--env-file", "none"], /--env-file/]
      ] as const) {
        const { code, stderr, stdout } = yield* cli(args)
        assert.strictEqual(code, 2, String(args))
        assert.match(stderr, expected)
        assert.strictEqual(stdout, "")
      }
    })
  )
})
