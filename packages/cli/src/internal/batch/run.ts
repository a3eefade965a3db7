/**
 * A batch from its input to its output.
 */
import { type Errors, type Lease } from "@evenkeel/core"
import { Batch, OpenRouter } from "@evenkeel/openrouter"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { PlatformError } from "effect/PlatformError"
import * as Stream from "effect/Stream"
import type { InvalidInput } from "../exit.ts"
import type { Signal } from "../signals.ts"
import type { Journal } from "./journal.ts"
import type { Ordered } from "./ordered.ts"
import { type Plan } from "./plan.ts"
import { settled, type Settled } from "./record.ts"
import type { Request } from "./request.ts"

/** Why a batch ends before its input does. What is in flight is waited for. */
export type Stop =
  | { readonly _tag: "Budget" }
  /** No key is of use any more, and going on would fail every request that is left. */
  | { readonly _tag: "NoKey"; readonly error: Errors.NoEligibleKey }
  | { readonly _tag: "Signal"; readonly signal: Signal }
  | { readonly _tag: "Input"; readonly error: InvalidInput | PlatformError }
  /** The journal or the output cannot be written. */
  | { readonly _tag: "File"; readonly error: PlatformError }

/** It was not sent, because the batch ends. */
interface NotSent {
  readonly _tag: "NotSent"
}

const notSent: NotSent = { _tag: "NotSent" }

export const make = Effect.fnUntraced(function* (
  plan: Plan,
  journal: Journal,
  output: Ordered,
  concurrency: number
) {
  const openrouter = yield* OpenRouter.OpenRouter
  const stopped = yield* Deferred.make<Stop>()
  const stop = (why: Stop) => Deferred.succeed(stopped, why)
  const { budget, tally } = plan

  const send = Effect.fnUntraced(function* (request: Request, restore: Restore) {
    const hold = plan.boundOf(request)
    if (budget !== undefined && !(yield* restore(budget.acquire(hold)))) {
      yield* stop({ _tag: "Budget" })
      return yield* Effect.fail(notSent)
    }
    let spent = 0
    const held = Effect.gen(function* () {
      if (yield* Deferred.isDone(stopped)) return yield* Effect.fail(notSent)
      yield* journal.begin(request)
      // Until it is known better: it may be billed as soon as it is sent.
      spent = hold
      const done = yield* answer(request, restore)
      yield* journal.end(request, done)
      spent = done.cost + done.unknown * hold
      return done
    })
    // Whatever becomes of it, its hold is given back: others wait for that.
    return yield* Effect.ensuring(
      held,
      Effect.sync(() => budget?.settle(hold, spent))
    )
  })

  const answer = Effect.fnUntraced(function* (request: Request, restore: Restore) {
    const from = yield* Clock.currentTimeMillis
    let lease: Lease.Lease | undefined
    tally.inFlight++
    const exit = yield* openrouter
      .chat(request.body, { onAnswer: (answered) => void (lease = answered) })
      .pipe(restore, Effect.exit)
    tally.inFlight--
    // If it is the batch itself that is interrupted, the journal has the request as begun.
    if (exit._tag === "Failure") yield* restore(Effect.void)
    const done = settled(request, exit, lease, (yield* Clock.currentTimeMillis) - from)
    tally.cost += done.cost
    tally[done.ok ? "succeeded" : "failed"]++
    const useless = noKeyLeft(exit)
    if (useless !== undefined) yield* stop({ _tag: "NoKey", error: useless })
    return done
  })

  const run = Effect.fnUntraced(function* (through: (settled: Settled) => void) {
    const pending = plan.requests.pipe(
      Stream.filter((request) => {
        const done = plan.isDone(request)
        output.expect(request.line, !done)
        return !done
      }),
      Stream.catch((error) => Stream.fromEffectDrain(stop({ _tag: "Input", error }))),
      Stream.interruptWhen(Deferred.await(stopped))
    )
    // An output that cannot be written is no reason to drop what is in flight: the journal has its answers.
    let writable = true
    const write = (effect: Effect.Effect<void, PlatformError>) =>
      writable
        ? Effect.catch(effect, (error) => {
            writable = false
            return stop({ _tag: "File", error })
          })
        : Effect.void
    // Nothing that has come, and may have been paid for, is lost between its coming and the journal.
    const one = (request: Request) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.map(send(request, restore), (done) => [request, done] as const)
      )
    yield* Batch.streamWith(pending, one, { concurrency, order: "completion" }).pipe(
      Stream.runForEach(({ result }) => {
        if (result._tag === "Success") {
          const [request, done] = result.success
          through(done)
          return write(output.done(request.line))
        }
        const error = result.failure
        if (error._tag === "NotSent") return Effect.void
        return error._tag === "PlatformError" ? stop({ _tag: "File", error }) : Effect.die(error)
      }),
      Effect.andThen(Effect.suspend(() => write(output.finish)))
    )
    return (yield* Deferred.isDone(stopped)) ? yield* Deferred.await(stopped) : undefined
  })
  return { stop, run }
})

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** What time cures is a failure of the request; what it does not, or not before long, ends the batch. */
const lasting: ReadonlySet<string> = new Set(["rejected", "exhausted"])

const noKeyLeft = (exit: { readonly _tag: string; readonly cause?: Cause.Cause<OpenRouter.CallError> }) => {
  const fail = exit.cause?.reasons.find((reason) => reason._tag === "Fail")
  if (fail?.error._tag !== "NoEligibleKey") return undefined
  return fail.error.keys.every(({ reason }) => lasting.has(reason)) ? fail.error : undefined
}
