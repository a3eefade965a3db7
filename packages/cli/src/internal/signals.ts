/**
 * Signals: the first one lets a command that asked for it finish what is under way, the next one interrupts it, and one more
 * ends the process, whatever it still has to put in order.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { codes } from "./exit.ts"

/** A reader of our output that has gone (`| head`) is one as well: there is nobody to go on for. */
export type Signal = "SIGINT" | "SIGTERM" | "SIGPIPE"

const exitCodes: Record<Signal, number> = {
  SIGINT: codes.interrupted,
  SIGTERM: codes.terminated,
  SIGPIPE: codes.pipe
}

/** The exit code of a command that a signal has ended. */
export const codeOf = (signal: Signal): number => exitCodes[signal]

export class Signals extends Context.Service<
  Signals,
  {
    /** Until the scope closes, the first signal is told by this effect, and does not interrupt. */
    readonly first: Effect.Effect<Effect.Effect<Signal>, never, Scope.Scope>
  }
>()("@evenkeel/cli/Signals") {}

/** Runs the command as the process, and ends that with its exit code. */
export const runMain = <A, E>(program: Effect.Effect<A, E, Signals>): void => {
  let listener: Deferred.Deferred<Signal> | undefined
  let last: Signal | undefined
  const service = Signals.of({
    first: Effect.acquireRelease(
      Effect.map(Deferred.make<Signal>(), (deferred) => (listener = deferred)),
      () => Effect.sync(() => void (listener = undefined))
    ).pipe(Effect.map(Deferred.await))
  })
  const run = Runtime.makeRunMain(({ fiber, teardown }) => {
    let interrupted = false
    const on = (signal: Signal) => {
      if (interrupted) process.exit(codeOf(signal))
      if (last === undefined && listener !== undefined) Deferred.doneUnsafe(listener, Effect.succeed(signal))
      else {
        interrupted = true
        fiber.interruptUnsafe(fiber.id)
      }
      last = signal
    }
    const handlers = (["SIGINT", "SIGTERM"] as const).map((signal) => [signal, () => on(signal)] as const)
    for (const [signal, handler] of handlers) process.on(signal, handler)
    process.stdout.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error
      if (last !== "SIGPIPE") on("SIGPIPE")
    })
    process.stderr.on("error", () => {})
    fiber.addObserver((exit) => {
      for (const [signal, handler] of handlers) process.removeListener(signal, handler)
      teardown(exit, (code) => {
        // What a signal has cut off ends with its code, whatever came of it meanwhile.
        const actual = code === codes.interrupted && last !== undefined ? codeOf(last) : code
        if (actual !== 0 || last !== undefined) process.exit(actual)
      })
    })
  })
  run(Effect.provideService(program, Signals, service), { disableErrorReporting: true })
}
