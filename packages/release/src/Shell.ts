/**
 * Commands: each answers with what it printed, and fails with the same.
 */
import * as Effect from "effect/Effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

export class CommandFailed extends Schema.TaggedError<CommandFailed>()("CommandFailed", {
  command: Schema.String,
  exitCode: Schema.Number,
  output: Schema.String
}) {
  override get message() {
    return `${this.command} ended with ${this.exitCode}\n${this.output}`
  }
}

export interface Options {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
}

/** Starts a process that ends with the scope. */
export const start = Effect.fnUntraced(function* (command: ReadonlyArray<string>, { cwd, env }: Options) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const [program, ...args] = command as [string, ...ReadonlyArray<string>]
  return yield* spawner.spawn(ChildProcess.make(program, args, { cwd, env: { ...env }, extendEnv: true }))
})

/** Runs a command to its end, five minutes at most. */
export const run = Effect.fnUntraced(
  function* (command: ReadonlyArray<string>, options: Options) {
    const handle = yield* start(command, options)
    const output = yield* handle.all.pipe(Stream.decodeText(), Stream.mkString)
    const exitCode = yield* handle.exitCode
    if (exitCode === 0) return output
    return yield* new CommandFailed({ command: command.join(" "), exitCode, output })
  },
  Effect.scoped,
  Effect.timeout("5 minutes")
)

/** pnpm, as .ci/run and README call it. */
export const pnpm = (args: ReadonlyArray<string>, options: Options) =>
  run(["npx", "--yes", "pnpm@12", ...args], options)
