/**
 * The command with all its subcommands.
 */
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as CliCommand from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { createRequire } from "node:module"
import { batch } from "./commands/batch.ts"
import { explain } from "./commands/explain.ts"
import { keys } from "./commands/keys.ts"
import { serve } from "./commands/serve.ts"
import { simulate } from "./commands/simulate.ts"
import { codes, Ended, told } from "./internal/exit.ts"

export const evenkeel = CliCommand.make("evenkeel").pipe(
  CliCommand.withDescription(
    "Spreads LLM requests over many OpenRouter keys. Keys come from OPENROUTER_KEYS (a list), OPENROUTER_API_KEY, or OPENROUTER_KEY_1 and so on; OPENROUTER_BASE_URL names another address."
  ),
  CliCommand.withSubcommands([batch, keys, explain, serve, simulate]),
  CliCommand.withExamples([
    { command: "evenkeel batch requests.jsonl --out answers.jsonl", description: "Many requests, resumable" },
    { command: "evenkeel keys", description: "What each key has left" },
    {
      command: "evenkeel batch requests.jsonl --out answers.jsonl --simulate",
      description: "Try it without a key"
    },
    { command: "evenkeel --completions zsh", description: "Completions for a shell" }
  ])
)

/** What is wrong goes to standard error, and in a line or two: the whole help would hide it. */
const presenter = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.gen(function* () {
          const formatter = yield* CliOutput.Formatter
          for (const error of event.errors) yield* Console.error(formatter.formatCliError(error))
          yield* Console.error(`\nTry: ${event.commandPath.join(" ")} --help`)
        })
      : CliOutput.defaultPresenter.present(event)
})

/** Standard output is for what was asked for. */
const logger = Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])

/**
 * Runs the command with these arguments. It says all that is to be said, and fails with the exit code unless that is 0.
 */
export const run = (args: ReadonlyArray<string>) =>
  CliCommand.runWith(evenkeel, { version })(args).pipe(
    Effect.catchCause(ended),
    Effect.provide(Layer.mergeAll(presenter, logger))
  )

const { version } = createRequire(import.meta.url)("../package.json") as { readonly version: string }

const ended = (cause: Cause.Cause<unknown>): Effect.Effect<void, Ended> =>
  Effect.gen(function* () {
    if (Cause.hasInterruptsOnly(cause)) return yield* Effect.interrupt
    const error = Cause.squash(cause)
    if (error instanceof Ended) return yield* error
    if (CliError.isCliError(error) && error._tag === "ShowHelp") {
      if (error.errors.length === 0) return
      return yield* new Ended({ code: codes.usage })
    }
    const known = told(error)
    yield* Console.error(`evenkeel: ${known === undefined ? Cause.pretty(cause) : known.message}`)
    return yield* new Ended({ code: known?.code ?? codes.bug })
  })
