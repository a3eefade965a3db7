#!/usr/bin/env node
/**
 * `evenkeel`: the command line.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliCommand from "effect/cli/Command"
import * as CliOutput from "effect/cli/CliOutput"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { createRequire } from "node:module"
import { evenkeel } from "./Command.ts"
import { codes, Ended, told } from "./internal/exit.ts"
import { runMain } from "./internal/signals.ts"

const { version } = createRequire(import.meta.url)("../package.json") as { readonly version: string }

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

const ended = (cause: Cause.Cause<unknown>): Effect.Effect<never, Ended> =>
  Effect.gen(function* () {
    if (Cause.hasInterruptsOnly(cause)) return yield* Effect.interrupt
    const error = Cause.squash(cause)
    if (error instanceof Ended) return yield* error
    if (typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp") {
      const { errors } = error as unknown as { readonly errors: ReadonlyArray<unknown> }
      return yield* new Ended({ code: errors.length === 0 ? codes.ok : codes.usage })
    }
    const known = told(error)
    yield* Console.error(`evenkeel: ${known === undefined ? Cause.pretty(cause) : known.message}`)
    return yield* new Ended({ code: known?.code ?? codes.bug })
  })

evenkeel.pipe(
  CliCommand.run({ version }),
  Effect.catchCause(ended),
  Effect.provide(Layer.mergeAll(NodeServices.layer, presenter, logger)),
  runMain
)
