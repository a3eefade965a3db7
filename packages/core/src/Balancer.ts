/**
 * The balancer: filters → pick → lease → use → outcome → settle, and again while the retry policy allows.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { Breaker } from "./Breaker.ts"
import type { PickContext } from "./Candidate.ts"
import { Credits } from "./Credits.ts"
import { Fault, noEligibleKey, type Attempt, type NoEligibleKey } from "./Errors.ts"
import * as Filter from "./Filter.ts"
import type { Demand, Strategy } from "./internal/demand.ts"
import { verdictOf, type Engine } from "./internal/engine.ts"
import type { OpenLease } from "./internal/openLease.ts"
import type { Waiter } from "./internal/waitRoom.ts"
import { KeyPool } from "./KeyPool.ts"
import type { Lease } from "./Lease.ts"
import * as Outcome from "./Outcome.ts"
import { RetryPolicy, type Failure, type Session } from "./RetryPolicy.ts"
import { Selector } from "./Selector.ts"

/**
 * What is known of a request before its key is picked.
 */
export interface LeaseOptions {
  /** What is behind the key: for OpenRouter the model. Faults of scope `upstream` belong to it. */
  readonly upstream?: string | undefined
  /** Requests with the same affinity gain from meeting the same key or account. */
  readonly affinity?: string | undefined
  /** Tokens the request may take, prompt and answer together. */
  readonly tokens?: number | undefined
  /** How many of `tokens` are the prompt. */
  readonly promptTokens?: number | undefined
  /** Upstreams that may serve in place of `upstream`, such as fallback models. */
  readonly fallbacks?: ReadonlyArray<string> | undefined
  /** USD the request may cost, held until it settles. Default: what `Credits` estimates. */
  readonly estimate?: number | undefined
  /** Facts of this request's own, such as "what it names lives on another key". They join the balancer's. */
  readonly filter?: Filter.Filter | undefined
}

/**
 * Options of one `use`.
 */
export interface UseOptions<A, E> extends LeaseOptions {
  /**
   * What the use taught. Default: a success is `Success`, a `Fault` is the outcome it carries, all else is `Ignored`.
   *
   * `undefined` leaves the lease open: the value has taken it over, as the body of a response does, and must settle it.
   * An interruption may fall between the end of `use` and the first step behind it, and then the value is lost: whoever
   * takes a lease over must be able to settle it without having been reached (by a scope that was open before, or by
   * watching the fiber and the collection of garbage, as the balanced `HttpClient` does).
   */
  readonly outcome?: ((exit: Exit.Exit<A, E>, lease: Lease) => Outcome.Outcome | undefined) | undefined
}

/**
 * Options of a balancer.
 */
export interface Options {
  /** Further facts about keys, besides those of the pool, the breaker and the selector. */
  readonly filters?: ReadonlyArray<Filter.Filter> | undefined
  /**
   * How many requests may wait for a permit when all keys that could serve have `maxInFlight` requests in flight; first
   * come, first served. 0 refuses at once. Default 10,000: a bound on memory (about 1 KB each), not on patience, which
   * is the caller's (`Effect.timeout`).
   */
  readonly maxWaiting?: number | undefined
}

/**
 * Spreads uses over the keys of the pool.
 */
export class Balancer extends Context.Service<
  Balancer,
  {
    /**
     * Runs `f` with a key, and again with another, or later, while the retry policy allows.
     *
     * Fails with `NoEligibleKey` when no key can serve, and otherwise as the last `f` failed.
     */
    readonly use: <A, E, R>(
      f: (lease: Lease) => Effect.Effect<A, E, R>,
      options?: UseOptions<A, E>
    ) => Effect.Effect<A, E | NoEligibleKey, R>
    /**
     * A key for as long as the scope is open: for streams, and for uses that are no single effect. It is not retried.
     *
     * Unless it is settled by hand, closing the scope settles it: as `Success` of unknown cost, or as `Ignored` when the
     * scope closes with a failure or an interruption.
     */
    readonly lease: (options?: LeaseOptions) => Effect.Effect<Lease, NoEligibleKey, Scope.Scope>
  }
>()("@evenkeel/core/Balancer") {}

/**
 * Makes a balancer over the pool, with the selector and the policies of its surroundings.
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Balancer["Service"], never, KeyPool | Selector | Scope.Scope> {
  const { engine } = yield* KeyPool
  const selector = yield* Selector
  const breaker = yield* Breaker
  const retry = yield* RetryPolicy
  const credits = yield* Credits
  const filters = [
    ...(selector.eligible === undefined ? [] : [selector.eligible]),
    ...(options.filters ?? [])
  ]
  const strategy: Strategy = {
    name: selector.name,
    picker: yield* selector.make,
    breaker,
    credits,
    filter: filters.length === 0 ? undefined : Filter.all(...filters)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => engine.strategies.add(strategy)),
    () => Effect.sync(() => engine.strategies.delete(strategy))
  )
  const room: Room = { engine, strategy, retry, maxWaiting: options.maxWaiting ?? 10_000 }
  return Balancer.of({
    // One uninterruptible region holds the whole request, and only `f`, waiting and sleeping are let out of it: between
    // the count and its release there is no point at which an interruption could fall.
    use: (f, options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.withFiber((fiber) =>
          new Request(room, fiber, restore, options).run(f, options?.outcome ?? outcomeOf)
        )
      ),
    lease: (options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.withFiber((fiber) =>
          Effect.tap(new Request(room, fiber, restore, options).open, (lease) =>
            Effect.flatMap(Scope.Scope, (scope) =>
              Scope.addFinalizerExit(scope, (exit) =>
                lease.settle(exit._tag === "Success" ? Outcome.success() : Outcome.ignored())
              )
            )
          )
        )
      )
  })
})

/**
 * The layer of a balancer with options.
 */
export const layerWith = (options: Options): Layer.Layer<Balancer, never, KeyPool | Selector> =>
  Layer.effect(Balancer, make(options))

/**
 * The layer of a balancer.
 */
export const layer: Layer.Layer<Balancer, never, KeyPool | Selector> = layerWith({})

/**
 * What a use taught when nothing else says: a success is `Success` of unknown cost, a `Fault` is the outcome it carries,
 * and any other failure, defect or interruption is `Ignored`.
 */
export const outcomeOf = <A, E>(exit: Exit.Exit<A, E>): Outcome.Outcome => {
  if (exit._tag === "Success") return Outcome.success()
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail" && reason.error instanceof Fault) return reason.error.outcome
  }
  return Outcome.ignored()
}

/** What all requests of a balancer share. */
interface Room {
  readonly engine: Engine
  readonly strategy: Strategy
  readonly retry: RetryPolicy
  readonly maxWaiting: number
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** One request, over all its attempts. */
class Request {
  private readonly room: Room
  private readonly restore: Restore
  private readonly options: LeaseOptions | undefined
  private readonly clock: Clock.Clock
  private readonly random: () => number
  private attempt = 0
  private tried: Set<string> | undefined
  private attempts: Array<Attempt> | undefined
  private lastError: unknown
  private session: Session | undefined

  constructor(
    room: Room,
    fiber: Fiber.Fiber<unknown, unknown>,
    restore: Restore,
    options: LeaseOptions | undefined
  ) {
    this.room = room
    this.restore = restore
    this.options = options
    this.clock = fiber.getRef(Clock.Clock)
    this.random = randomOf(fiber.getRef(Random.Random))
  }

  private readonly now = () => this.clock.currentTimeMillisUnsafe()

  private readonly demand = (): Demand => {
    const { options, room } = this
    const context: { -readonly [K in keyof PickContext]: PickContext[K] } = {
      attempt: this.attempt,
      nowMillis: this.now(),
      random: this.random,
      affinity: options?.affinity,
      upstream: options?.upstream,
      tokens: options?.tokens,
      promptTokens: options?.promptTokens,
      fallbacks: options?.fallbacks,
      estimate: options?.estimate
    }
    context.estimate ??= room.strategy.credits.estimate(context)
    return { strategy: room.strategy, context, filter: options?.filter, tried: this.tried, now: this.now }
  }

  run<A, E, R>(
    f: (lease: Lease) => Effect.Effect<A, E, R>,
    outcomeOf: (exit: Exit.Exit<A, E>, lease: Lease) => Outcome.Outcome | undefined
  ): Effect.Effect<A, E | NoEligibleKey, R> {
    const again = () => this.run(f, outcomeOf)
    return Effect.matchEffect(this.open, {
      onFailure: (error) =>
        this.retry<A, NoEligibleKey, R | never, E>(
          { _tag: "Refused", attempt: this.attempt, error },
          Effect.fail(error),
          again
        ),
      onSuccess: (lease) =>
        Effect.flatMap(Effect.exit(this.restore(Effect.suspend(() => f(lease)))), (exit) => {
          const outcome = settled(lease, exit, outcomeOf)
          if (outcome?._tag !== "Faulted") return exit
          this.record(lease, outcome, exit)
          const failure: Failure = { _tag: "Faulted", keyId: lease.key.id, attempt: this.attempt, outcome }
          return this.retry<A, E, R, NoEligibleKey>(failure, exit, again)
        })
    })
  }

  /** Opens a lease, waiting for a permit if that is all that is missing. */
  readonly open: Effect.Effect<OpenLease, NoEligibleKey> = Effect.suspend(() => {
    const demand = this.demand()
    const lease = this.room.engine.acquire(demand)
    if (lease !== undefined) return Effect.succeed(lease)
    const { engine, maxWaiting } = this.room
    return engine.waiting.size < maxWaiting && engine.busy(demand)
      ? this.wait
      : Effect.fail(this.refusal(demand))
  })

  /** Why the demand was refused, as of the time at which it was: a moment later a key may serve again. */
  private refusal(demand: Demand): NoEligibleKey {
    const verdicts = this.room.engine.verdicts(demand)
    const keys = verdicts.flatMap(([entry, no]) => (no === undefined ? [] : [verdictOf(entry, no)]))
    return noEligibleKey(keys, this.attempts, this.lastError)
  }

  private readonly wait: Effect.Effect<OpenLease, NoEligibleKey> = Effect.suspend(() => {
    const { waiting } = this.room.engine
    let given: OpenLease | undefined
    return this.restore(
      Effect.callback<OpenLease, NoEligibleKey>((resume) => {
        const waiter: Waiter = {
          demand: this.demand,
          answer: (lease, demand) => {
            given = lease
            const answer = lease === undefined ? Effect.fail(this.refusal(demand)) : Effect.succeed(lease)
            return () => resume(answer)
          },
          die: (defect) => resume(Effect.die(defect))
        }
        waiting.enter(waiter)
        return Effect.sync(() => waiting.leave(waiter))
      })
    ).pipe(
      // Interrupted after the lease was given and before it was taken: nobody else will settle it.
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (exit._tag === "Failure") given?.settleUnsafe(Outcome.ignored(0))
        })
      )
    )
  })

  private record(lease: OpenLease, outcome: Outcome.Faulted, exit: Exit.Exit<unknown, unknown>): void {
    this.attempts ??= []
    this.attempts.push({
      keyId: lease.key.id,
      attempt: this.attempt,
      outcome,
      durationMillis: Math.max(0, this.now() - lease.context.nowMillis)
    })
    if (exit._tag === "Failure")
      this.lastError = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  }

  /** What failed is not offered to this request again: the key, or all that share its fault with it. */
  private exclude({ keyId, outcome: { scope } }: Extract<Failure, { _tag: "Faulted" }>): void {
    const tried = (this.tried ??= new Set<string>())
    tried.add(keyId)
    if (scope !== "account" && scope !== "workspace") return
    const { entries } = this.room.engine
    const owner = entries.find((entry) => entry.key.id === keyId)?.key[scope]
    for (const { key } of entries) if (owner !== undefined && key[scope] === owner) tried.add(key.id)
  }

  private retry<A, E, R, E2>(
    failure: Failure,
    otherwise: Effect.Effect<A, E>,
    again: () => Effect.Effect<A, E | E2, R>
  ): Effect.Effect<A, E | E2, R> {
    const start = this.session === undefined ? this.room.retry.start : Effect.succeed(this.session)
    return Effect.flatMap(start, (session) => {
      this.session = session
      return Effect.flatMap(
        this.restore(session.decide(failure)),
        (decision): Effect.Effect<A, E | E2, R> => {
          switch (decision._tag) {
            case "Stop":
              return otherwise
            case "Rotate":
              if (failure._tag === "Faulted") this.exclude(failure)
              this.attempt++
              return again()
            case "Retry":
              // After a while, what refused this request may have changed its mind.
              this.tried = undefined
              this.attempt++
              return Effect.flatMap(
                this.restore(Effect.sleep(Duration.fromInputUnsafe(decision.delay))),
                again
              )
          }
        }
      )
    })
  }
}

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

// The closure is kept as long as the same generator is in use, which is nearly always.
let lastRandom: Random.Random | undefined
let lastNext: () => number = () => 0
const randomOf = (random: { nextDoubleUnsafe(): number }): (() => number) => {
  if (random !== lastRandom) {
    lastRandom = random as typeof lastRandom
    lastNext = () => random.nextDoubleUnsafe()
  }
  return lastNext
}
