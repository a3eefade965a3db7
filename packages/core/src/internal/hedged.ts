/**
 * A request and, when it takes long, its copy on another key: the first answer wins.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Restore } from "./room.ts"

export interface Hedged<A, E, R> {
  readonly request: Effect.Effect<A, E, R>
  /** Milliseconds until a copy is due, asked again when they have passed; 0 or less when it is. */
  readonly due: () => number
  /** The copy; `undefined` if none may be sent. */
  readonly copy: () => Effect.Effect<A, E, R> | undefined
  /** Gives up an answer that came too late to win. */
  readonly discard: (value: A) => Effect.Effect<void>
}

type Run<A, E> = Fiber.Fiber<A, E>

/** Runs in an uninterruptible region, so that no answer is lost between its coming and its being given up. */
export const hedge = <A, E, R>(
  { copy, discard, due, request }: Hedged<A, E, R>,
  restore: Restore
): Effect.Effect<A, E, R> => {
  const runs: Array<Run<A, E>> = []
  const start = (effect: Effect.Effect<A, E, R>) =>
    Effect.map(Effect.forkChild(effect, { startImmediately: true }), (run) => void runs.push(run))
  /** Ends all runs but the winner, and gives up what they may have got by then. */
  const endOthers = (winner: Run<A, E> | undefined) =>
    Effect.forEach(
      runs,
      (run) =>
        run === winner
          ? Effect.void
          : Effect.flatMap(Effect.andThen(Fiber.interrupt(run), Fiber.await(run)), (exit) =>
              exit._tag === "Success" ? discard(exit.value) : Effect.void
            ),
      { discard: true }
    )
  /** The answer, if it comes before a copy is due. */
  const early: Effect.Effect<Run<A, E> | undefined> = Effect.suspend(() => {
    const duration = due()
    if (duration <= 0) return Effect.undefined
    return Effect.timeoutOrElse(answerOf(runs), { duration, orElse: () => early })
  })
  const decided = Effect.flatMap(start(request), () =>
    Effect.flatMap(restore(early), (winner) => {
      if (winner !== undefined) return Effect.succeed(winner)
      const second = copy()
      return Effect.andThen(second === undefined ? Effect.void : start(second), restore(answerOf(runs)))
    })
  )
  return Effect.matchCauseEffect(decided, {
    onFailure: (cause) => Effect.andThen(endOthers(undefined), Effect.failCause(cause)),
    onSuccess: (winner) => Effect.andThen(endOthers(winner), Fiber.join(winner))
  })
}

/** The first run that succeeds, or the last to fail when all have: it knows what the others met. */
const answerOf = <A, E>(runs: ReadonlyArray<Run<A, E>>): Effect.Effect<Run<A, E>> =>
  Effect.callback((resume) => {
    let failed = 0
    const ended = (run: Run<A, E>) => (exit: Exit.Exit<A, E>) => {
      if (exit._tag === "Success") resume(Effect.succeed(run))
      else if (++failed === runs.length) resume(Effect.succeed(run))
    }
    const forget = runs.map((run) => run.addObserver(ended(run)))
    return Effect.sync(() => {
      for (const stop of forget) stop()
    })
  })
