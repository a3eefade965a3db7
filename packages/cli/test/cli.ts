/**
 * The command as its user runs it: within the test where that is enough, and as a process where it is not.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Simulator } from "@evenkeel/testkit"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { TestConsole } from "effect/testing"
import { spawn, type ChildProcess } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run } from "../src/Command.ts"
import { Signals } from "../src/internal/signals.ts"

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Nobody presses Ctrl-C. */
const quiet = Layer.succeed(Signals, Signals.of({ first: Effect.succeed(Effect.never) }))

/** Runs the command in this process, with nothing in its environment but `env`. */
export const cli = (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): Effect.Effect<Ran> =>
  Effect.gen(function* () {
    const code = yield* run(args).pipe(
      Effect.as(0),
      Effect.catchTag("Ended", (ended) => Effect.succeed(ended.code))
    )
    const text = (lines: ReadonlyArray<unknown>) => lines.map((line) => `${String(line)}\n`).join("")
    return {
      code,
      stdout: text(yield* TestConsole.logLines),
      stderr: text(yield* TestConsole.errorLines)
    }
  }).pipe(
    Effect.provide(
      Layer.mergeAll(
        NodeServices.layer,
        TestConsole.layer,
        quiet,
        ConfigProvider.layer(ConfigProvider.fromEnvRecord({ ...env }))
      )
    ),
    Effect.scoped
  )

/** The command as a process. */
export const start = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) => {
  const main = join(import.meta.dirname, "../src/main.ts")
  const { OPENROUTER_API_KEY: _key, OPENROUTER_KEYS: _keys, ...surroundings } = process.env
  const child = spawn(process.execPath, ["--conditions=@evenkeel/source", main, ...args], {
    env: { ...surroundings, NO_COLOR: "1", ...env },
    stdio: "pipe"
  })
  return { child, ended: endOf(child) }
}

const endOf = (child: ChildProcess): Promise<Ran & { readonly signal: string | null }> => {
  let [stdout, stderr] = ["", ""]
  child.stdout!.on("data", (chunk) => (stdout += String(chunk)))
  child.stderr!.on("data", (chunk) => (stderr += String(chunk)))
  return new Promise((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }))
  )
}

/** What points the command at the simulator. */
export const environment = Simulator.Simulator.useSync(({ baseUrl, keys }) => ({
  OPENROUTER_BASE_URL: baseUrl,
  OPENROUTER_KEYS: keys.map(({ name, secret }) => `${name}=${Redacted.value(secret)}`).join(",")
}))

/** A folder that goes with the scope. */
export const folder = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "evenkeel-cli-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  ),
  (path) => ({
    path: (name: string) => join(path, name),
    write: (name: string, lines: ReadonlyArray<unknown>) => {
      const file = join(path, name)
      writeFileSync(
        file,
        lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join("")
      )
      return file
    },
    read: (name: string): ReadonlyArray<any> =>
      readFileSync(join(path, name), "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line))
  })
)

/** `count` requests, each with a prompt of its own. */
export const prompts = (count: number): ReadonlyArray<unknown> =>
  Array.from({ length: count }, (_, i) => ({
    custom_id: `r${i + 1}`,
    model: "openai/gpt-4o-mini",
    prompt: `p${i + 1}`
  }))

/** A simulator that counts how often each prompt was answered. */
export const counting = (options: Simulator.SimulatorOptions = {}) => {
  const answered = new Map<string, number>()
  const layer = Simulator.layer({
    ...options,
    completion: ({ lastUserMessage }) => {
      answered.set(lastUserMessage, (answered.get(lastUserMessage) ?? 0) + 1)
      return `Said ${lastUserMessage}`
    }
  })
  return { answered, layer }
}
