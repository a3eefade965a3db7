/**
 * A retry policy of three budgets, for the port that `@evenkeel/core` defines.
 *
 * Whose fault it was decides what may help. A key, or its owner, is cured by another key, and at once: waiting would
 * teach nothing. What lies behind all keys is cured by another model, or by time. The first is bounded by the pool, the
 * second by a count of its own and by a budget over all requests, and what may have been billed by one more: OpenRouter
 * documents no idempotency key, so a POST that is sent again may run, and be billed, twice.
 *
 * Sources: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter: the least work and
 * nearly the least time of all variants); "Timeouts, retries and backoff with jitter", Amazon Builders' Library; RFC 9110
 * sections 9.2.2 (what is not idempotent is not retried by itself) and 10.2.3 (Retry-After).
 */
import { RetryPolicy } from "@evenkeel/core"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { budgetOf, type BudgetOption } from "./internal/budgetOf.ts"
import { count, millisFromZero, positiveMillis } from "./internal/ranges.ts"
import { make as makeSession, type Limits } from "./internal/session.ts"

/**
 * Options of the retry policy.
 */
export interface Options {
  /**
   * The back-off on faults that only time cures. It is stepped with each such failure, and stops the request when it is
   * over. Default: `backoff`, full jitter of 500 ms, 1 s, 2 s, 4 s, then 8 s each.
   */
  readonly schedule?: Schedule.Schedule<unknown, RetryPolicy.Failure> | undefined
  /**
   * The most repetitions of one request: back-offs, and returns to a key that has failed before. A whole number from 0 up,
   * or `Infinity`. Default 3: with three of them a fault of 10 % is one of 0.01 %, and a total outage costs no more than
   * four attempts.
   */
  readonly times?: number | undefined
  /**
   * The most changes of key or model of one request. A whole number from 0 up, or `Infinity`, the default: what failed is
   * not offered again at once, so the pool itself is the bound, and a bound below its size would give up while a good key is
   * left.
   */
  readonly rotations?: number | undefined
  /**
   * The longest back-off; finite and greater than 0. Shorter answers are worth waiting for, and longer ones the caller
   * should hear of: a Retry-After beyond it ends the request, and a delay of the schedule is cut to it. Default 30
   * seconds, half of OpenRouter's rate limit window.
   */
  readonly maxDelay?: Duration.Input | undefined
  /**
   * The longest that a request waits for keys that are cooling, in all; from 0 up. 0 refuses at once, `Infinity` waits as
   * long as a key is known to return. Default 30 seconds, as `maxDelay`.
   */
  readonly patience?: Duration.Input | undefined
  /**
   * The budget over all requests, or the options of one; `false` for none. Rotation to a key that was not tried is free of
   * it: it does not add to the load of what is down. Default: 20 % of the requests, and 10 retries a second besides.
   */
  readonly budget?: BudgetOption | undefined
  /**
   * The most further attempts of one request, rotations among them, after an attempt that may have been billed: one whose
   * cost is unknown (a gateway's timeout, a connection that broke behind the request). A whole number from 0 up, or
   * `Infinity`. Default 1: most of these faults pass, and a request that fails is billed twice at worst. 0: never.
   */
  readonly billed?: number | undefined
}

/**
 * Replaces each delay of a schedule by a random one between 0 and itself ("full jitter").
 *
 * **When to use**
 *
 * On every back-off of clients that fail together: without it they return together.
 *
 * **Details**
 *
 * The numbers come from Effect's `Random`, so `Random.withSeed` makes them reproducible.
 *
 * **Example**
 *
 * ```ts
 * import { Retry } from "@evenkeel/retry"
 * import { Duration, Effect, Random, Schedule } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const step = yield* Schedule.toStep(Schedule.spaced("1 second").pipe(Retry.fullJitter))
 *   const [, delay] = yield* step(0, undefined)
 *   return Duration.toMillis(delay)
 * })
 *
 * const delay = await Effect.runPromise(program.pipe(Random.withSeed("seed")))
 * delay >= 0 && delay < 1000 // => true
 * ```
 */
export const fullJitter = <Output, Input, Error, Env>(
  self: Schedule.Schedule<Output, Input, Error, Env>
): Schedule.Schedule<Output, Input, Error, Env> =>
  Schedule.modifyDelay(self, ({ duration }) =>
    Effect.map(Random.next, (random) => Duration.times(duration, random))
  )

/**
 * The back-off unless a schedule is given: full jitter of 500 ms, doubled each time, up to 8 s.
 *
 * **Details**
 *
 * Most faults of a provider pass within seconds. The first window is short enough for a caller who waits for an answer of
 * seconds not to notice, and the cap keeps the last wait within the time such a caller has.
 */
export const backoff: Schedule.Schedule<Duration.Duration> = fullJitter(
  Schedule.min([Schedule.exponential("500 millis"), Schedule.spaced("8 seconds")])
)

/**
 * Makes the retry policy.
 *
 * **When to use**
 *
 * To combine it with a policy of your own; else `layer` is shorter.
 *
 * **Details**
 *
 * - a fault that another key cures: another key, at once, up to `rotations`; a key that has failed this request before is
 *   a repetition, one of `times` and for a token of the budget
 * - a fault of the upstream, and another may serve in its place: that one, at once, up to `rotations`, for a token of the
 *   budget
 * - any other fault that only time cures: a wait from `schedule`, or until its Retry-After if that is later, up to
 *   `times`, for a token of the budget
 * - after an attempt that may have been billed each of the three also needs a rest of `billed`
 * - a fault that nothing cures, or what is needed is spent: the failure goes to the caller
 *
 * Whoever was told when to return comes up to half a second later, at random: a herd was told the same.
 *
 * Throws a `RangeError` that names the option and its range.
 *
 * **Gotchas**
 *
 * With N keys a request makes at most N + `times` + 1 attempts. Where M models may serve it, (M − 1) · (`times` + 1) more,
 * for a token each. The deadline of the whole call is the balancer's `timeout`.
 *
 * A policy holds its budget, so two balancers over one upstream should share one.
 *
 * **Example**
 *
 * ```ts
 * import { Retry } from "@evenkeel/retry"
 * import { Schedule } from "effect"
 *
 * Retry.make().name // => "retry"
 * const patient = Retry.make({ times: 5, schedule: Schedule.fibonacci("1 second").pipe(Retry.fullJitter) })
 * patient.name // => "retry"
 * ```
 */
export const make = (options: Options = {}): RetryPolicy.RetryPolicy => {
  const limits: Limits = {
    times: count("Retry: times", options.times ?? 3),
    rotations: count("Retry: rotations", options.rotations ?? Infinity),
    billed: count("Retry: billed", options.billed ?? 1),
    maxDelay: positiveMillis("Retry: maxDelay", options.maxDelay ?? "30 seconds")
  }
  const patience = Duration.millis(millisFromZero("Retry: patience", options.patience ?? "30 seconds"))
  const budget = budgetOf(options.budget, {})
  const toStep = Schedule.toStep(options.schedule ?? backoff)
  const start = Effect.map(toStep, (step) => makeSession(limits, step, budget))
  return { name: "retry", start, begun: budget?.deposit, patience }
}

/**
 * The layer of the retry policy. It goes below the balancer.
 *
 * **Details**
 *
 * Each build of the layer has a budget of its own, unless one was given.
 *
 * **Example**
 *
 * ```ts
 * import { Balancer, KeyPool, Outcome, Errors, Selector } from "@evenkeel/core"
 * import { Retry } from "@evenkeel/retry"
 * import { Effect, Layer } from "effect"
 *
 * const first = Selector.make("first", (candidates) => candidates[0])
 * const live = Balancer.layer.pipe(
 *   Layer.provide([
 *     Retry.layer({ maxDelay: "10 seconds" }),
 *     Selector.layer(first),
 *     KeyPool.layer({ keys: [{ id: "revoked", secret: "sk-0000001" }, { id: "good", secret: "sk-0000002" }] })
 *   ])
 * )
 *
 * const program = Effect.gen(function* () {
 *   const balancer = yield* Balancer.Balancer
 *   return yield* balancer.use((lease) =>
 *     lease.key.id === "revoked"
 *       ? new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "rejected" }) })
 *       : Effect.succeed(`served by ${lease.key.id}`)
 *   )
 * })
 *
 * await Effect.runPromise(Effect.provide(program, live)) // => "served by good"
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<never> => {
  // An option out of range is an error of the program, and belongs where it stands: here, not where the layer is built.
  make(options)
  return Layer.sync(RetryPolicy.RetryPolicy, () => make(options))
}
