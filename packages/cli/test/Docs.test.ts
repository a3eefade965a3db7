/**
 * Every command of the documentation does what it says, against a simulated OpenRouter.
 */
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { cli, environment, folder, prompts, start } from "./cli.ts"

const page = readFileSync(join(import.meta.dirname, "../../../docs/cli.md"), "utf8")

/** The lines that are of `evenkeel`, each with its words and the exit code that it says it has. */
const commands = Array.from(page.matchAll(/^```sh\n([\s\S]*?)^```/gm), ([, block]) => block!.split("\n"))
  .flat()
  // What runs until it is stopped has a test of its own, among those of processes.
  .filter((line) => /(^|[|=] ?)evenkeel /.test(line) && !line.includes("# runs until"))
  .map((line) => {
    const [command, code] = line.split("# exits with ")
    return { command: command!.trim(), code: Number(code ?? 0) }
  })

/** Within the folder: the commands name their files as one who stands there does. */
const standing = <A, E, R>(path: string, effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const before = process.cwd()
      process.chdir(path)
      return before
    }),
    () => effect,
    (before) => Effect.sync(() => process.chdir(before))
  )

describe("the documentation", () => {
  it("has commands of all kinds", () => {
    for (const name of ["batch", "keys", "explain", "simulate", "--completions"])
      assert.isTrue(
        commands.some(({ command }) => command.includes(`evenkeel ${name}`)),
        name
      )
  })

  it.live(
    "its commands do what they say",
    () =>
      Effect.gen(function* () {
        const files = yield* folder
        const input = files.write("requests.jsonl", prompts(5))
        const env = yield* environment
        for (const { code, command } of commands) {
          const [, assigned, args, behind] = /^((?:\w+=\S* )*)(?:cat \S+ \| )?evenkeel ([^|]+)(\|.*)?$/.exec(
            command
          )!
          const words = args!.trim().split(" ")
          const own = Object.fromEntries(
            assigned!
              .split(" ")
              .filter(Boolean)
              .map((one) => one.split("="))
          )
          if (behind === undefined) {
            const ran = yield* standing(dirname(input), cli(words, { ...env, ...own }))
            assert.strictEqual(ran.code, code, `${command}\n${ran.stdout}${ran.stderr}`)
            continue
          }
          const { child, ended } = start(words, env)
          child.stdin!.end(readFileSync(input))
          const ran = yield* Effect.promise(() => ended)
          assert.strictEqual(ran.code, code, `${command}\n${ran.stderr}`)
          assert.strictEqual(ran.stdout.trimEnd().split("\n").length, 5)
        }
      }).pipe(Effect.provide(Simulator.layer()), Effect.scoped),
    60_000
  )
})
