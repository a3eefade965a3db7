/**
 * Hedging after a percentile, for the port that `@evenkeel/core` defines: a request that takes longer than nearly all
 * others is sent a second time, on another key, and the first answer wins.
 *
 * Keys share their upstreams, so a second copy does not escape an upstream that is slow; it escapes a slow provider behind
 * it, a slow connection, a queue of one key. And it costs: a model may bill both copies. So it is off unless asked for,
 * waits for a percentile, and keeps to a budget.
 *
 * Sources: J. Dean, L. A. Barroso, "The Tail at Scale", CACM 2013 (after the 95th percentile, about 5 % more load);
 * tower's `hedge` (percentile, least number of samples); gRPC's A6 (hedges are throttled like retries, or an outage
 * doubles the load).
 */
import { Hedging } from "@evenkeel/core"
import type * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import { budgetOf, type BudgetOption } from "./internal/budgetOf.ts"
import { fraction, positiveMillis, whole } from "./internal/ranges.ts"
import { SlidingPercentile } from "./internal/slidingPercentile.ts"

/**
 * Options of hedging.
 */
export interface Options {
  /**
   * The share of answers that are awaited before a second copy is sent; between 0 and 1. Default 0.95: 5 % more load takes
   * most of the tail.
   */
  readonly percentile?: number | undefined
  /**
   * How many answers of an upstream must be known, from 1 up to `samples`. Default 20: with fewer, the 95th percentile is
   * the slowest of them.
   */
  readonly minimumSamples?: number | undefined
  /** How many of its last answers are kept; a whole number from 1 up. Default 256, or 4 KB an upstream. */
  readonly samples?: number | undefined
  /**
   * How many upstreams are known at once; a whole number from 1 up. Default 256. The one that was silent for longest is
   * forgotten first.
   */
  readonly upstreams?: number | undefined
  /**
   * The least delay; finite and greater than 0. Default 1 second: where answers are quicker, the tail is short, and hardly
   * worth a second bill.
   */
  readonly minDelay?: Duration.Input | undefined
  /** The longest delay; finite, not less than `minDelay`. Default: the percentile, whatever it is. */
  readonly maxDelay?: Duration.Input | undefined
  /**
   * The budget of hedges, or the options of one; `false` for none. Default: 5 % of the requests of the last minute, which
   * is what the percentile comes to on a good day, and less than one where there are fewer than 20 in a minute: a client
   * of few requests adds `perSecond`, or a longer `window`.
   */
  readonly budget?: BudgetOption | undefined
}

/**
 * Makes a hedging.
 *
 * **When to use**
 *
 * Where a slow answer costs more than a second bill; with `layer`, unless it joins a hedging of your own.
 *
 * **Details**
 *
 * Each upstream has its own percentile, of the times in which it lately answered. While fewer than `minimumSamples` are
 * known nothing is hedged, and when the time has come the budget has the last word. Each request counts where its delay
 * is asked for.
 *
 * Throws a `RangeError` that names the option and its range.
 *
 * **Gotchas**
 *
 * - Both copies may be billed. Cancelling the loser stops the bill only at some of the providers.
 * - What was hedged is known by the time of its winner, so the percentile sinks below that of requests sent once. The
 *   budget and `minDelay` bound what comes of it.
 * - Answers of all kinds share a percentile: streams, which are timed to their first content, are best hedged by a
 *   balancer of their own.
 * - A budget that is shared with a `Retry` counts each request twice; make it half as large.
 *
 * **Example**
 *
 * ```ts
 * import { Hedge } from "@evenkeel/retry"
 *
 * const hedging = Hedge.make({ budget: { ratio: 0.05, perSecond: 1 } })
 * const request = { attempt: 0, nowMillis: 0, random: () => 0, upstream: "openai/gpt-4o-mini" }
 * const context = { ...request, affinity: undefined, tokens: undefined, estimate: undefined }
 *
 * hedging.delay(context) // => undefined
 * for (let i = 1; i <= 20; i++) hedging.observe(context, i * 100)
 * hedging.delay(context) // => 1900
 * ```
 */
export const make = (options: Options = {}): Hedging.Hedging => {
  const share = fraction("Hedge: percentile", options.percentile ?? 0.95)
  const capacity = whole("Hedge: samples", options.samples ?? 256, 1)
  const upstreams = whole("Hedge: upstreams", options.upstreams ?? 256, 1)
  const minimum = whole("Hedge: minimumSamples", options.minimumSamples ?? 20, 1)
  const minDelay = positiveMillis("Hedge: minDelay", options.minDelay ?? "1 second")
  const maxDelay =
    options.maxDelay === undefined ? Infinity : positiveMillis("Hedge: maxDelay", options.maxDelay)
  if (minimum > capacity) {
    throw new RangeError(`Hedge: minimumSamples must not exceed samples, ${capacity}, and is ${minimum}`)
  }
  if (maxDelay < minDelay) {
    throw new RangeError(
      `Hedge: maxDelay must not be less than minDelay, ${minDelay} ms, and is ${maxDelay} ms`
    )
  }
  const budget = budgetOf(options.budget, { ratio: 0.05, perSecond: 0, window: "1 minute" })
  const known = new Map<string | undefined, SlidingPercentile>()

  return {
    name: "hedge",
    delay: ({ nowMillis, upstream }) => {
      budget?.deposit(nowMillis)
      const times = known.get(upstream)
      if (times === undefined || times.size < minimum) return undefined
      return Math.min(Math.max(times.at(share), minDelay), maxDelay)
    },
    allow: ({ nowMillis }) => budget?.withdraw(nowMillis) ?? true,
    observe: ({ upstream }, elapsedMillis) => {
      const times = known.get(upstream)
      // Last again, so that the first is the one that was silent for longest.
      known.delete(upstream)
      if (times === undefined && known.size === upstreams) known.delete(known.keys().next().value)
      const kept = times ?? new SlidingPercentile(capacity)
      kept.add(elapsedMillis)
      known.set(upstream, kept)
    }
  }
}

/**
 * The layer of hedging. It goes below the balancer.
 *
 * **Example**
 *
 * ```ts
 * import { Hedging } from "@evenkeel/core"
 * import { Hedge } from "@evenkeel/retry"
 * import { Effect } from "effect"
 *
 * const program = Effect.map(Hedging.Hedging, (hedging) => hedging.name)
 * await Effect.runPromise(Effect.provide(program, Hedge.layer({ percentile: 0.99 }))) // => "hedge"
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<never> => {
  // An option out of range is an error of the program, and belongs where it stands: here, not where the layer is built.
  make(options)
  return Layer.sync(Hedging.Hedging, () => make(options))
}
