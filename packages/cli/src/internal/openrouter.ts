/**
 * OpenRouter as the commands use it: with the keys of the environment, or simulated; and with policies for bad days.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { KeyPool } from "@evenkeel/core"
import { OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Selectors from "./selectors.ts"

/** Where keys come from, as flags say it. */
export interface Source {
  readonly envFile: Option.Option<string>
  readonly simulate: Option.Option<"steady" | "bad-day">
}

export interface Settings extends Source {
  readonly selector: Selectors.Name
  readonly openrouter?: OpenRouter.Options
  readonly retry?: Retry.Options
}

/** Policies, and the client. */
export const layer = (settings: Settings) =>
  Layer.unwrap(
    Effect.map(endpoint(settings), ({ options, pool }) =>
      OpenRouter.layerWith({ ...options, ...settings.openrouter }).pipe(
        Layer.provide([
          Selectors.layers[settings.selector],
          Retry.layer(settings.retry),
          CircuitBreaker.layer(),
          NodeHttpClient.layerUndici
        ]),
        Layer.provideMerge(pool)
      )
    )
  ).pipe(Layer.provide(configuration(settings)))

/** Settings. The environment goes before a file, so that a shell can change what a project has set. */
export const configuration = ({ envFile }: Source) =>
  Option.match(envFile, {
    onNone: () => Layer.empty,
    onSome: (path) => ConfigProvider.layerAdd(ConfigProvider.fromDotEnv({ path }))
  })

const endpoint = ({ simulate }: Source) =>
  Option.match(simulate, {
    onNone: () => Effect.succeed({ options: {}, pool: KeyPool.layerConfig }),
    onSome: (day) => simulated(day)
  })

/** Answers in about a third of a second, and its keys are read every second: what happens is to be seen at once. */
const simulated = Effect.fnUntraced(function* (day: "steady" | "bad-day") {
  // The simulator is loaded by those alone who want it: it would make every other start slower by a third.
  const Simulator = yield* Effect.promise(() => import("@evenkeel/testkit/Simulator"))
  const scenario = Simulator.scenarios[day](4)
  const context = yield* Layer.build(
    Simulator.layer({ ...scenario.options, latency: [100, 400], tokensPerSecond: 1000 })
  )
  const simulator = Context.get(context, Simulator.Simulator)
  for (const rule of scenario.faults) yield* simulator.fault(rule)
  const keys = simulator.keys.map(({ name, secret }) => ({ id: name, secret }))
  const options: OpenRouter.Options = {
    baseUrl: simulator.baseUrl,
    credits: { interval: "1 second", lag: 0 }
  }
  return { options, pool: KeyPool.layer({ keys }) }
})
