/**
 * A retry policy made of Effect's `Schedule`s, for the port that `@evenkeel/core` defines.
 *
 * Whose fault it was decides what may help. A key, or its owner, is cured by another key, and at once: waiting would
 * teach nothing. What lies behind all keys is cured by time alone, so the request backs off; and when no key can serve,
 * the pool knows when one will, so the request waits for just that.
 *
 * Sources: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter: the least work and
 * nearly the least time of all variants); "Timeouts, retries and backoff with jitter", Amazon Builders' Library; RFC 9110
 * section 10.2.3 (Retry-After).
 */
import { RetryPolicy } from "@evenkeel/core"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Pull from "effect/Pull"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"

/**
 * Options of the retry policy.
 */
export interface Options {
  /**
   * The back-off on faults that only time cures. It is stepped with each such failure, and stops the request when it is
   * over. Default: `fullJitter` of 500 ms, 1 s, 2 s, 4 s, then 8 s each.
   */
  readonly schedule?: Schedule.Schedule<unknown, RetryPolicy.Failure> | undefined
  /**
   * The most waits of one request: back-offs, and waits for a key to return. A whole number from 0 up, or `Infinity`.
   * Default 3: with three of them a fault of 10 % is one of 0.01 %, and a total outage costs no more than four attempts.
   */
  readonly times?: number | undefined
  /**
   * The most changes of key of one request. A whole number from 0 up, or `Infinity`, the default: a key that failed is
   * not offered again before the next wait, so the pool itself is the bound, and a bound below its size would give up
   * while a good key is left.
   */
  readonly rotations?: number | undefined
  /**
   * The longest wait; finite and greater than 0. Shorter answers are worth waiting for, and longer ones the caller should
   * hear of: a Retry-After beyond it ends the request. Default 30 seconds, half of OpenRouter's rate limit window.
   */
  readonly maxDelay?: Duration.Input | undefined
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
 * - a fault that another key cures: another key, at once, up to `rotations`
 * - a fault that only time cures: a wait from `schedule`, or until its Retry-After if that is later
 * - no key can serve: a wait until the first one can, unless all are refused or out of credit
 * - a fault that nothing cures, more than `times` waits, a wait beyond `maxDelay`, or one whose end nobody knows: the
 *   failure goes to the caller
 *
 * Whoever was told when to return comes up to half a second later, at random: a herd was told the same.
 *
 * Throws a `RangeError` that names the option and its range.
 *
 * **Gotchas**
 *
 * After a wait all keys are offered again, for they may have recovered: with N keys a request makes up to
 * N · (`times` + 1) attempts in the worst case. There is no deadline here; put `Effect.timeout` around the request.
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
  const times = count("times", options.times ?? 3)
  const rotations = count("rotations", options.rotations ?? Infinity)
  const maxDelay = finite("maxDelay", options.maxDelay ?? "30 seconds")
  const toStep = Schedule.toStep(options.schedule ?? backoff)

  const start = Effect.map(toStep, (step): RetryPolicy.Session => {
    let rotated = 0
    let waited = 0

    /** Milliseconds that the schedule wants to wait; `undefined` when it is over. */
    const next = (nowMillis: number, failure: RetryPolicy.Failure) =>
      Pull.matchEffect(step(nowMillis, failure), {
        onSuccess: ([, delay]) => Effect.succeed(Duration.toMillis(delay)),
        onDone: () => Effect.undefined,
        onFailure: Effect.failCause
      })

    const wait = Effect.fnUntraced(function* (failure: RetryPolicy.Failure) {
      const nowMillis = yield* Clock.currentTimeMillis
      const asked = askedMillis(failure, nowMillis)
      if (waited >= times || (asked !== undefined && asked > maxDelay)) return RetryPolicy.stop
      waited++
      // A refusal says itself when to come back: the back-off is for those who can only guess.
      const wanted = failure._tag === "Refused" ? 0 : yield* next(nowMillis, failure)
      if (wanted === undefined) return RetryPolicy.stop
      const floor = asked === undefined ? 0 : asked + spread * (yield* Random.next)
      // Whole milliseconds, as timers have them; rounded up, so as not to come before the time that was asked for.
      return RetryPolicy.retry(Duration.millis(Math.min(Math.ceil(Math.max(wanted, floor)), maxDelay)))
    })

    return {
      decide: (failure) => {
        const retryable = failure._tag === "Refused" ? "backoff" : failure.outcome.retryable
        switch (retryable) {
          case "never":
            return Effect.succeed(RetryPolicy.stop)
          case "rotate":
            return Effect.succeed(rotated++ < rotations ? RetryPolicy.rotate : RetryPolicy.stop)
          case "backoff":
            return wait(failure)
        }
      }
    }
  })
  return { name: "retry", start }
}

/**
 * The layer of the retry policy. It goes below the balancer.
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
export const layer = (options: Options = {}): Layer.Layer<never> =>
  Layer.succeed(RetryPolicy.RetryPolicy, make(options))

/** Milliseconds over which those who were told the same time spread out: the first window of the back-off. */
const spread = 500

/**
 * Reasons whose end is the time of a probe, not of a return: a credential that was refused and a purse that is empty seldom
 * mend themselves within the seconds that a caller waits, and the caller should hear of them.
 */
const hopeless: ReadonlySet<string> = new Set(["rejected", "exhausted", "insufficient"])

/** How long the failure asks to be left alone: `undefined` if it did not say, and for ever if nobody knows. */
const askedMillis = (failure: RetryPolicy.Failure, nowMillis: number): number | undefined => {
  if (failure._tag === "Refused") {
    const times = failure.error.keys.flatMap(({ reason, until }) =>
      until === undefined || hopeless.has(reason) ? [] : [until]
    )
    return times.length === 0 ? Infinity : Math.max(0, Math.min(...times) - nowMillis)
  }
  const { retryAfter } = failure.outcome
  return retryAfter === undefined ? undefined : Duration.toMillis(retryAfter)
}

const count = (field: string, value: number): number => {
  if (value === Infinity || (Number.isInteger(value) && value >= 0)) return value
  throw new RangeError(`Retry: ${field} must be a whole number from 0 up, or Infinity, not ${String(value)}`)
}

const finite = (field: string, value: Duration.Input): number => {
  const duration = Duration.fromInput(value)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : NaN
  if (millis > 0 && millis < Infinity) return millis
  throw new RangeError(`Retry: ${field} must be a finite duration greater than 0, not ${String(value)}`)
}
