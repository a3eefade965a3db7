/**
 * A simulator of OpenRouter: a real HTTP server on loopback that checks keys, caps, balances and rate limits, bills
 * every request, and fails on demand.
 *
 * **When to use**
 *
 * Use it wherever a program that speaks to OpenRouter is tested, whatever its client is: only the base URL changes.
 *
 * **Details**
 *
 * The wire follows OpenRouter's documentation and observed bodies as of autumn 2026. It is independent of
 * `@evenkeel/openrouter`, so that the one can be checked against the other. Time and randomness come from `Clock` and
 * `Random` of the layer's context alone: under `TestClock` caps reset when the test says so.
 *
 * - A token is four characters, rounded up, so every cost is predictable. `usage.cost` is what is charged.
 * - A request is charged when it completes. If the client goes away, a plain request is charged in full, a stream for
 *   what it has produced.
 * - The checks before a request look at what is spent, not at what requests in flight will spend: concurrent requests
 *   can overrun a cap or a balance, here as there.
 * - Where no real body or rule is known the simulator chooses: a disabled key reads like a revoked one, a spent cap
 *   stops free models too, and limits of requests count only those that were let in.
 *
 * **Gotchas**
 *
 * With a latency or a pace under `TestClock`, answers wait until the test moves the clock.
 *
 * **Example**
 *
 * ```ts
 * import { Simulator } from "@evenkeel/testkit"
 * import { Effect } from "effect"
 * import { HttpClient } from "effect/http"
 *
 * const program = Effect.gen(function* () {
 *   const simulator = yield* Simulator.Simulator
 *   yield* simulator.fault({ match: { key: "a" }, times: 1, action: Simulator.errors.upstream429({ retryAfter: 1 }) })
 *   const response = yield* HttpClient.get(`${simulator.baseUrl}/models`)
 *   return response.status
 * }).pipe(Effect.provide(Simulator.layer({ keys: [{ name: "a", limit: 5 }, { name: "b" }] })))
 * ```
 */
import { NodeHttpServer } from "@effect/platform-node"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import type { ServeError } from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Control from "./internal/simulator/control.ts"
import type { FaultRule } from "./internal/simulator/faults.ts"
import { type Listener, make as makeListener } from "./internal/simulator/listener.ts"
import type { SimulatorKey, SimulatorOptions } from "./internal/simulator/options.ts"
import {
  type RequestRecord,
  requests,
  type SimulatorSnapshot,
  snapshot
} from "./internal/simulator/records.ts"
import * as Routes from "./internal/simulator/routes.ts"
import { type InvalidOptions, make as makeSettings } from "./internal/simulator/settings.ts"
import { make as makeState, type State } from "./internal/simulator/state.ts"

/** What a fault rule does to a request: an error status, or a way in which an answer goes wrong after its 200. */
export * as actions from "./internal/simulator/actions.ts"
export type { FaultAction, InnerError } from "./internal/simulator/actions.ts"
export type { CompletionRequest, CompletionResult, ToolCall } from "./internal/simulator/answer.ts"
export type { AccountPatch, KeyPatch } from "./internal/simulator/control.ts"
export type { FaultMatch, FaultRequest, FaultRule } from "./internal/simulator/faults.ts"
export {
  defaultModels,
  type SimulatorAccount,
  type SimulatorKey,
  type SimulatorModel,
  type SimulatorOptions
} from "./internal/simulator/options.ts"
export type { LimitReset } from "./internal/simulator/period.ts"
export type {
  AccountSnapshot,
  KeySnapshot,
  RequestRecord,
  SimulatorSnapshot
} from "./internal/simulator/records.ts"
export { InvalidOptions } from "./internal/simulator/settings.ts"
export { type Scenario, scenarios } from "./internal/simulator/scenarios.ts"
export type { WireError } from "./internal/simulator/wire.ts"
/** OpenRouter's errors, to be used as actions of fault rules. */
export * as errors from "./internal/simulator/allErrors.ts"

/** A scripted fault that has been added. */
export interface Fault {
  /** Takes the rule away. */
  readonly remove: Effect.Effect<void>
  /** How many requests it has hit. */
  readonly hits: Effect.Effect<number>
}

/** A running simulator. */
export class Simulator extends Context.Service<
  Simulator,
  {
    /** `http://127.0.0.1:<port>/api/v1`. */
    readonly baseUrl: string
    /** The keys at the start, to be handed to the client under test. */
    readonly keys: ReadonlyArray<{ readonly name: string; readonly secret: Redacted.Redacted<string> }>
    /** The finished requests in the order in which they ended, as many as the log holds. */
    readonly requests: Effect.Effect<ReadonlyArray<RequestRecord>>
    /** Keys and accounts as they are now, without the lag of `/key`. */
    readonly snapshot: Effect.Effect<SimulatorSnapshot>
    /** Inference requests under way, until the last byte of their body is about to leave. */
    readonly inFlight: Effect.Effect<number>
    /** Waits until a snapshot satisfies the predicate; looked at whenever a request begins, is let in, or ends. */
    readonly waitUntil: (
      predicate: (snapshot: SimulatorSnapshot) => boolean
    ) => Effect.Effect<SimulatorSnapshot>
    /** Changes a key at once. `usage` sets what is spent, in total and in the current periods. */
    readonly setKey: (name: string, patch: Control.KeyPatch) => Effect.Effect<void>
    readonly addKey: (key: SimulatorKey) => Effect.Effect<void>
    /** Forgets a key; from then on its secret is unknown. */
    readonly removeKey: (name: string) => Effect.Effect<void>
    /** From now on the key answers 401 "User not found.", also on `/key`. */
    readonly revoke: (name: string) => Effect.Effect<void>
    /** Takes a revocation back. */
    readonly restore: (name: string) => Effect.Effect<void>
    /** Changes an account at once. */
    readonly setAccount: (name: string, patch: Control.AccountPatch) => Effect.Effect<void>
    /** Adds a scripted fault. Of several rules that match, the first one added wins. */
    readonly fault: (rule: FaultRule) => Effect.Effect<Fault>
    readonly clearFaults: Effect.Effect<void>
  }
>()("@evenkeel/testkit/Simulator") {}

const service = (state: State, listener: Listener) =>
  Layer.effect(
    Simulator,
    Effect.gen(function* () {
      const server = yield* HttpServer.HttpServer
      yield* Effect.addFinalizer(() => listener.drain(state.settings.drainMillis))
      return Simulator.of({
        ...Control.make(state),
        baseUrl: `${HttpServer.formatAddress(server.address)}${Routes.prefix}`,
        keys: Array.from(state.keys.values(), ({ name, secret }) => ({
          name,
          secret: Redacted.make(secret, { label: name })
        })),
        requests: Effect.sync(() => requests(state)),
        snapshot: Effect.sync(() => snapshot(state)),
        inFlight: Effect.sync(() => state.inFlight)
      })
    })
  )

/**
 * Starts a simulator on 127.0.0.1, and stops it with the layer's scope.
 *
 * **Gotchas**
 *
 * Every call makes another simulator: bind the layer to a constant to share one.
 */
export const layer = (options: SimulatorOptions = {}): Layer.Layer<Simulator, InvalidOptions | ServeError> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const settings = yield* Effect.try({
        try: () => makeSettings(options),
        catch: (error) => error as InvalidOptions
      })
      const state = makeState(settings, yield* Clock.Clock, yield* Random.Random)
      const listener = makeListener()
      const routes = HttpRouter.serve(Routes.layer(state), { disableListenLog: true, disableLogger: true })
      return service(state, listener).pipe(
        Layer.provide(routes),
        Layer.provide(
          NodeHttpServer.layerServer(() => listener.node, {
            host: "127.0.0.1",
            port: settings.port,
            gracefulShutdownTimeout: 0
          })
        )
      )
    })
  )
