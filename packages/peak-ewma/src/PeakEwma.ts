/**
 * Peak EWMA with the power of two choices: of two keys drawn at random the one whose latency times load is less.
 *
 * Sources: Finagle's `PeakEwma` and tower's `load::PeakEwma` (the peak-sensitive average), Mitzenmacher, "The Power of Two
 * Choices in Randomized Load Balancing", IEEE TPDS 2001 (two choices), linkerd's `load-biaser` (failures as latency).
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Candidate, PickContext } from "@evenkeel/core/Candidate"
import type { Outcome } from "@evenkeel/core/Outcome"
import * as Selector from "@evenkeel/core/Selector"
import { Estimate } from "./internal/estimate.ts"

/**
 * Options of the selector.
 */
export interface Options {
  /**
   * How fast an old latency fades: to a third in this time. Finite, greater than 0. Default 10 seconds, as in tower and
   * linkerd: long enough to tell keys apart, short enough to try a slow one again soon.
   */
  readonly decay?: Duration.Input | undefined
  /**
   * What a failure counts for, at least: finite, from 0 up. A Retry-After that is longer counts instead, up to 5 minutes.
   * Default 5 seconds, as linkerd's biaser has it: slower than any healthy key is to its first content.
   */
  readonly penalty?: Duration.Input | undefined
}

/**
 * Makes the selector; throws a `RangeError` on an option out of range.
 *
 * **When to use**
 *
 * When keys differ in how fast they answer: accounts with different providers of their own (BYOK), regions, priority. Keys of
 * one account reach the same providers, and then `LeastInFlight` tells as much and measures nothing.
 *
 * **Details**
 *
 * The cost of a key is latency · (`inFlight` + 1) / weight. Latency is the time to the answer, of a stream to its first
 * content, while the load is counted to the end of the body. It is a peak-sensitive average: a slower answer counts at once,
 * faster ones pull it down only as time passes, and without answers it fades, so a slow key is tried again.
 *
 * A key that nobody has heard of yet is tried at once, by one request; until that is answered it is the dearest of all.
 *
 * A failure counts as slow, however fast it came, so a key that fails at once does not draw the traffic. It is still only a
 * preference: keep a circuit breaker in place.
 *
 * **Gotchas**
 *
 * An answer that is not streamed takes as long as it is: mixed with short ones, a key that got a long one looks slow for a
 * while. Streams, whose first content comes early, are measured best.
 *
 * **Example**
 *
 * ```ts
 * import { PeakEwma } from "@evenkeel/peak-ewma"
 *
 * PeakEwma.make({ decay: "30 seconds" }).name // => "peak-ewma"
 * ```
 */
export const make = (options: Options = {}): Selector.Selector => {
  const decay = millisOf("decay", options.decay ?? "10 seconds", 1)
  const penalty = millisOf("penalty", options.penalty ?? "5 seconds", 0)
  return {
    name: "peak-ewma",
    make: Effect.suspend(() => picker(decay, penalty))
  }
}

/**
 * The layer of the selector. Like `make` it throws at once on an option out of range.
 *
 * **Example**
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Balancer, KeyPool } from "@evenkeel/core"
 * import { PeakEwma } from "@evenkeel/peak-ewma"
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provide(PeakEwma.layer()),
 *   Layer.provide(KeyPool.layer({ keys: [{ id: "slow", secret: "sk-0000001" }, { id: "fast", secret: "sk-0000002" }] }))
 * )
 * const program = Effect.gen(function* () {
 *   const balancer = yield* Balancer.Balancer
 *   const use = balancer.use((lease) => {
 *     const time = lease.key.id === "slow" ? "60 millis" : "1 millis"
 *     return Effect.as(Effect.sleep(time), lease.key.id)
 *   })
 *   // Each of them is tried once, whichever comes first.
 *   yield* Effect.all([use, use], { concurrency: 2 })
 *   return yield* use
 * })
 *
 * await Effect.runPromise(Effect.provide(program, live)) // => "fast"
 * ```
 */
export const layer = (options?: Options): Layer.Layer<Selector.Selector> => Selector.layer(make(options))

/** A Retry-After beyond it tells more of whoever sent it than of the key. */
const longestPenalty = 300_000

/** Dearer than any key that is known. */
const unheard = 1e12

const picker = (decay: number, penalty: number): Selector.Selector["make"] => {
  const estimates = new Map<string, Estimate>()
  const cost = (candidate: Candidate, { nowMillis }: PickContext): number => {
    const { id, inFlight, weight } = candidate
    const estimate = estimates.get(id)
    if (estimate === undefined) return inFlight === 0 ? 0 : (unheard * inFlight) / weight
    return (estimate.read(nowMillis, decay) * (inFlight + 1)) / weight
  }
  const failed = (outcome: Outcome & { readonly _tag: "Faulted" }, elapsedMillis: number): number => {
    const asked = outcome.retryAfter === undefined ? 0 : Duration.toMillis(outcome.retryAfter)
    return Math.max(elapsedMillis, penalty, Math.min(asked, longestPenalty))
  }
  return Effect.map(Selector.powerOfTwo(cost).make, (choice) => ({
    ...choice,
    settled: ({ id }, outcome, { answerMillis, elapsedMillis, nowMillis }) => {
      if (outcome._tag === "Ignored") return
      const millis = outcome._tag === "Success" ? answerMillis : failed(outcome, elapsedMillis)
      const estimate = estimates.get(id)
      if (estimate === undefined) estimates.set(id, new Estimate(millis, nowMillis))
      else estimate.observe(millis, nowMillis, decay)
    },
    forget: (id) => void estimates.delete(id)
  }))
}

const millisOf = (field: string, value: Duration.Input, least: number): number => {
  const duration = Duration.fromInput(value)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : NaN
  if (millis >= least && millis < Infinity) return millis
  const range = least === 0 ? "from 0 up" : "of at least a millisecond"
  throw new RangeError(`PeakEwma: ${field} must be a finite duration ${range}, not ${String(value)}`)
}
