/**
 * How the command ends: its exit codes, and what it says about an error that it foresaw.
 */
import { Errors, Key } from "@evenkeel/core"
import { OpenRouterError } from "@evenkeel/openrouter"
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as PlatformError from "effect/PlatformError"
import * as Runtime from "effect/Runtime"

/** The documentation promises them (`docs/cli.md`): scripts rely on them. */
export const codes = {
  ok: 0,
  /** Some requests failed; running the command again tries them again. */
  failed: 1,
  /** A flag, a setting, or the input is not what it should be. Nothing was sent for what is wrong. */
  usage: 2,
  /** The budget does not allow another request. */
  budget: 3,
  /** No key can serve: none is set, or none is of use. */
  noKey: 4,
  /** A file could not be read or written. */
  file: 5,
  /** What should not happen (sysexits.h, EX_SOFTWARE). */
  bug: 70,
  /** 128 and the number of the signal, as shells have it. */
  interrupted: 130,
  terminated: 143,
  /** The reader of the output has gone. */
  pipe: 141
} as const

/** The command has said all it has to say, and ends with this code. */
export class Ended extends Data.TaggedError("Ended")<{ readonly code: number }> {
  override readonly [Runtime.errorExitCode] = this.code
  override readonly [Runtime.errorReported] = false
}

/** The input is not what it should be. */
export class InvalidInput extends Data.TaggedError("InvalidInput")<{
  /** As the user knows it: a file, or "standard input". */
  readonly source: string
  /** From 1; `undefined` if it is not about a line. */
  readonly line: number | undefined
  readonly problem: string
}> {
  override get message(): string {
    return `${this.source}${this.line === undefined ? "" : `, line ${this.line}`}: ${this.problem}`
  }
}

/** A flag, or a combination of flags, is refused. */
export class InvalidFlag extends Data.TaggedError("InvalidFlag")<{
  readonly flag: string
  readonly problem: string
}> {
  override get message(): string {
    return `--${this.flag}: ${this.problem}`
  }
}

/** The message and the exit code of an error that was foreseen; `undefined` for any other. */
export const told = (error: unknown): { readonly message: string; readonly code: number } | undefined => {
  if (error instanceof InvalidInput || error instanceof InvalidFlag)
    return { message: error.message, code: codes.usage }
  if (error instanceof Key.InvalidKey) {
    const none = error.position === undefined && error.field === "keys"
    return none
      ? { message: `No keys: ${error.message}. --simulate needs none.`, code: codes.noKey }
      : { message: error.message, code: codes.usage }
  }
  if (error instanceof Config.ConfigError || error instanceof OpenRouterError.InvalidOption)
    return { message: error.message, code: codes.usage }
  if (error instanceof Errors.NoEligibleKey) return { message: error.message, code: codes.noKey }
  if (error instanceof Errors.DeadlineExceeded || error instanceof OpenRouterError.OpenRouterError)
    return { message: error.message, code: codes.failed }
  if (error instanceof PlatformError.PlatformError) return { message: error.message, code: codes.file }
  return undefined
}
