/**
 * One request, over all its attempts: lease → use → outcome → settle, and again while the retry policy and the deadline
 * allow.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { UseOptions } from "../Balancer.ts"
import type { PermitLost } from "../Errors.ts"
import { never } from "../Hedging.ts"
import type { Lease } from "../Lease.ts"
import * as Outcome from "../Outcome.ts"
import type { Failure, Session } from "../RetryPolicy.ts"
import type { Call, Refusal } from "./call.ts"
import type { OpenLease } from "./openLease.ts"
import { outcomeOf } from "./outcomeOf.ts"
import { openPermitted } from "./permitted.ts"
import * as Trace from "./trace.ts"

/** What has cut a use off: the deadline, or the loss of its permit. */
const [late, lost] = [Symbol("late"), Symbol("lost")]

/** How a request ends besides as its last use did. */
type Unserved = Refusal | PermitLost

export class Request<A, E, R> {
  private readonly call: Call
  private readonly f: (lease: Lease) => Effect.Effect<A, E, R>
  private readonly options: UseOptions<A, E> | undefined
  private session: Session | undefined

  constructor(
    call: Call,
    f: (lease: Lease) => Effect.Effect<A, E, R>,
    options: UseOptions<A, E> | undefined
  ) {
    this.call = call
    this.f = f
    this.options = options
  }

  run(): Effect.Effect<A, E | Unserved, R> {
    const opened = openPermitted(this.call)
    // Mostly there is a key at once.
    return Exit.isExit(opened) && Exit.isSuccess(opened)
      ? this.served(opened.value as OpenLease)
      : Effect.flatMap(opened, (lease) => this.served(lease))
  }

  private served(lease: OpenLease): Effect.Effect<A, E | Unserved, R> {
    return Effect.flatMap(Effect.exit(this.use(lease)), (exit) => this.settle(lease, exit))
  }

  private settle(lease: OpenLease, exit: Exit.Exit<A, E>): Effect.Effect<A, E | Unserved, R> {
    this.call.current = undefined
    if (exit._tag === "Failure") {
      if (failedWith(exit, late)) return this.cutOff(lease, (keyId) => this.call.exceeded(keyId))
      if (failedWith(exit, lost)) return this.cutOff(lease, (keyId) => this.call.permitLost(keyId))
    }
    const outcome = settled(lease, exit, this.options?.outcome ?? outcomeOf)
    this.observed(lease, outcome)
    if (outcome?._tag === "Faulted") {
      this.call.record(lease, outcome, exit)
      return this.retry(lease, outcome, exit)
    }
    if (exit._tag === "Success") return exit
    if (outcome?._tag === "Ignored") this.call.record(lease, outcome, exit)
    return this.end(exit)
  }

  /** Only the user's own effect is let out of the uninterruptible region. */
  private use(lease: OpenLease): Effect.Effect<A, E, R> {
    const { call } = this
    call.current = lease
    let use = Effect.suspend(() => this.f(lease))
    if (lease.lost !== undefined)
      use = Effect.raceFirst(use, Effect.andThen(lease.lost, Effect.fail(lost as unknown as E)))
    if (call.deadline === Infinity) return call.restore(use)
    const { deadlines } = call.room.engine.options
    return call.restore(deadlines.run(use, call.deadline, isLate as Effect.Effect<never, E>))
  }

  private observed({ context, key }: OpenLease, outcome: Outcome.Outcome | undefined): void {
    const { call } = this
    const { hedging } = call.room
    if (hedging !== never && (outcome === undefined || outcome._tag === "Success"))
      hedging.observe(context, Math.max(0, call.now() - context.nowMillis))
    if (outcome !== undefined) Trace.settled(call.fiber, key.id, call.attempt, outcome, call.now)
  }

  private cutOff(lease: OpenLease, failure: (keyId: string) => Unserved): Effect.Effect<never, Unserved> {
    // What was cut off may have been billed.
    lease.settleUnsafe(Outcome.ignored())
    return Effect.fail(failure(lease.key.id))
  }

  /** A failure goes to the caller with the trail of what came before. */
  private end(exit: Exit.Exit<A, E>): Effect.Effect<A, E> {
    const failure = this.options?.failure
    if (exit._tag === "Success" || failure === undefined) return exit
    return Effect.mapError(exit, (error) => failure(error, this.call.attempts))
  }

  private retry(
    lease: OpenLease,
    outcome: Outcome.Faulted,
    exit: Exit.Exit<A, E>
  ): Effect.Effect<A, E | Unserved, R> {
    const { call, session } = this
    const { upstream } = lease.context
    const failure: Failure = {
      keyId: lease.key.id,
      attempt: call.attempt,
      outcome,
      upstream,
      alternatives: call.upstreams().some((other) => other !== upstream),
      nowMillis: call.now(),
      deadline: call.deadline
    }
    return Effect.flatMap(
      session === undefined ? call.room.retry.start : Effect.succeed(session),
      (session) => {
        this.session = session
        return Effect.flatMap(
          call.restore(session.decide(failure)),
          (decision): Effect.Effect<A, E | Unserved, R> => {
            switch (decision._tag) {
              case "Stop":
                return this.end(exit)
              case "Rotate":
                if (call.now() >= call.deadline) return this.end(exit)
                call.exclude(lease, outcome)
                this.tell(lease, outcome)
                call.attempt++
                return this.run()
              case "Retry": {
                const delayMillis = Duration.toMillis(decision.delay)
                // What would begin behind the deadline is not worth waiting for.
                if (call.now() + delayMillis >= call.deadline) return this.end(exit)
                call.forgive()
                this.tell(lease, outcome, delayMillis)
                call.attempt++
                return Effect.flatMap(call.restore(Effect.sleep(decision.delay)), () => this.run())
              }
            }
          }
        )
      }
    )
  }

  private tell({ context, key }: OpenLease, outcome: Outcome.Faulted, delayMillis?: number): void {
    const { call } = this
    const { events } = call.room
    if (!events.heard) return
    const { account, id: keyId } = key
    const { upstream } = context
    const event = { at: call.now(), keyId, account, upstream, attempt: call.attempt, outcome }
    events.emit(
      delayMillis === undefined ? { _tag: "Rotated", ...event } : { _tag: "Retried", ...event, delayMillis }
    )
  }
}

const isLate: Effect.Effect<never, unknown> = Effect.fail(late)

const failedWith = (exit: Exit.Failure<unknown, unknown>, error: symbol): boolean =>
  exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error === error)

const settled = <A, E>(
  lease: OpenLease,
  exit: Exit.Exit<A, E>,
  outcomeOf: (exit: Exit.Exit<A, E>, lease: Lease) => Outcome.Outcome | undefined
): Outcome.Outcome | undefined => {
  let outcome: Outcome.Outcome | undefined = Outcome.ignored()
  try {
    outcome = outcomeOf(exit, lease)
    // Only a value can take the lease over.
    if (outcome === undefined && exit._tag === "Failure") outcome = Outcome.ignored()
    return outcome
  } finally {
    if (outcome !== undefined) lease.settleUnsafe(outcome)
  }
}
