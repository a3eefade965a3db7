/**
 * What the tests of telemetry share.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Balancer, type Key, KeyPool, RetryPolicy, Selector } from "@evenkeel/core"
import { OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Simulator } from "@evenkeel/testkit"
import { Context, Effect, Layer, Logger, Metric, type Scope } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { Telemetry } from "@evenkeel/telemetry"

export const model = "openai/gpt-4o-mini"

/** "hello" are 2 tokens, the answer "You said: hello" are 4. */
export const hello = { model, max_tokens: 100, messages: [{ role: "user", content: "hello" }] } as const

export type Body<A> = Generator<Effect.Effect<any, any, any>, A>
const generated = <A>(body: () => Body<A>) => Effect.gen(body) as Effect.Effect<A, unknown, Scope.Scope>

/** With metrics of its own, as if it were a program of its own, and with the loggers of the test. */
export const isolated = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  loggers?: ReadonlyArray<Logger.Logger<unknown, unknown>>
): Effect.Effect<A, E, R> =>
  effect.pipe(
    Effect.provideService(Metric.MetricRegistry, new Map()),
    loggers === undefined ? (quiet) => quiet : Effect.provide(Logger.layer(loggers))
  )

export interface Core {
  readonly balancer: Balancer.Balancer["Service"]
  readonly pool: KeyPool.KeyPool["Service"]
}

/** A balancer without OpenRouter, under telemetry. */
export const balancing = <A>(
  setup: {
    readonly keys: ReadonlyArray<Key.Input>
    readonly retry?: RetryPolicy.RetryPolicy
    readonly telemetry?: Telemetry.Options
    readonly loggers?: ReadonlyArray<Logger.Logger<unknown, unknown>>
  },
  body: (core: Core) => Body<A>
) =>
  isolated(
    Effect.gen(function* () {
      const context = yield* Layer.build(
        Telemetry.layer(setup.telemetry).pipe(
          Layer.provideMerge(Balancer.layer),
          Layer.provide([
            Selector.layer(Selector.make("first", (candidates) => candidates[0])),
            Layer.succeed(RetryPolicy.RetryPolicy, setup.retry ?? RetryPolicy.never)
          ]),
          Layer.provideMerge(KeyPool.layer({ keys: setup.keys, slowStart: 0 }))
        )
      )
      const balancer = Context.get(context, Balancer.Balancer)
      return yield* generated(() => body({ balancer, pool: Context.get(context, KeyPool.KeyPool) }))
    }),
    setup.loggers
  )

export interface World extends Core {
  readonly simulator: Simulator.Simulator["Service"]
  readonly openrouter: OpenRouter.OpenRouter["Service"]
  readonly circuits: CircuitBreaker.CircuitBreaker["Service"]
}

export interface Setup {
  readonly simulator?: Simulator.SimulatorOptions
  readonly traits?: Readonly<Record<string, Key.Traits>>
  readonly telemetry?: Telemetry.Options<CircuitBreaker.CircuitBreaker>
  readonly openrouter?: OpenRouter.Options
  readonly loggers?: ReadonlyArray<Logger.Logger<unknown, unknown>>
}

/** A program on OpenRouter, as one would write it, with telemetry. */
export const running = <A>(setup: Setup, body: (world: World) => Body<A>) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator.Simulator
    const context = yield* Layer.build(
      Telemetry.layer(setup.telemetry).pipe(
        Layer.provideMerge(OpenRouter.layerWith({ ...setup.openrouter, baseUrl: simulator.baseUrl })),
        Layer.provide([
          Selector.layer(Selector.make("first", (candidates) => candidates[0])),
          Retry.layer(),
          NodeHttpClient.layerUndici
        ]),
        Layer.provideMerge(CircuitBreaker.layer()),
        Layer.provideMerge(
          KeyPool.layer({
            keys: simulator.keys.map(({ name, secret }) => ({ ...setup.traits?.[name], id: name, secret }))
          })
        )
      )
    )
    return yield* generated(() =>
      body({
        simulator,
        balancer: Context.get(context, Balancer.Balancer),
        pool: Context.get(context, KeyPool.KeyPool),
        openrouter: Context.get(context, OpenRouter.OpenRouter),
        circuits: Context.get(context, CircuitBreaker.CircuitBreaker)
      })
    )
  }).pipe(Effect.provide(Simulator.layer(setup.simulator)))

/** The same, with metrics of its own. */
export const using = <A>(setup: Setup, body: (world: World) => Body<A>) =>
  isolated(running(setup, body), setup.loggers)

/** The samples of a scrape: each series and its value. */
export const scrape = Effect.map(PrometheusMetrics.format(), samplesOf)

export function samplesOf(text: string): ReadonlyMap<string, number> {
  return new Map(
    text
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => {
        const blank = line.lastIndexOf(" ")
        return [line.slice(0, blank), Number(line.slice(blank + 1))] as const
      })
  )
}

/** Looks again and again until the value is as it should be; the test's own time limit ends it. */
export const eventually = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  holds: (value: A) => boolean
): Effect.Effect<A, E, R> =>
  Effect.flatMap(effect, (value) =>
    holds(value) ? Effect.succeed(value) : Effect.andThen(Effect.sleep(20), eventually(effect, holds))
  )
