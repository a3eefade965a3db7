/**
 * A simulated OpenRouter, and all of Evenkeel's own parts in front of it over real HTTP.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Balancer, KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { OpenRouter } from "@evenkeel/openrouter"
import { Pacing } from "@evenkeel/pacing"
import { Hedge, Retry } from "@evenkeel/retry"
import { Simulator } from "@evenkeel/testkit"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Records from "./Records.ts"
import { secretOf } from "./Secrets.ts"
import { rngOf } from "./Seed.ts"

export interface Options {
  readonly seed: number
  /** By name, each of the account of its first letter. */
  readonly keys?: Readonly<Record<string, Partial<Simulator.SimulatorKey>>>
  readonly simulator?: Omit<Simulator.SimulatorOptions, "accounts" | "keys">
  readonly accounts?: Readonly<Record<string, Partial<Simulator.SimulatorAccount>>>
  /** Of each key; default 8. */
  readonly maxInFlight?: number
  readonly circuits?: CircuitBreaker.Options
  readonly retry?: Retry.Options
  /** Default: none. */
  readonly hedge?: Hedge.Options
  /** Default: none. */
  readonly pacing?: Pacing.Options
  /** Of each request; default 1 second, so that what never answers does not hold a run up. */
  readonly timeout?: OpenRouter.Options["timeout"]
  /** The longest silence of a stream; default 150 milliseconds. */
  readonly idleTimeout?: OpenRouter.Options["idleTimeout"]
}

export interface World {
  readonly options: Options
  readonly random: () => number
  readonly records: Records.Records
  readonly simulator: Simulator.Simulator["Service"]
  readonly openrouter: OpenRouter.OpenRouter["Service"]
  readonly balancer: Balancer.Balancer["Service"]
  readonly pool: KeyPool.KeyPool["Service"]
  readonly circuits: CircuitBreaker.CircuitBreaker["Service"]
  readonly pacing: Pacing.Pacing["Service"] | undefined
  /** When it was made, in milliseconds since the epoch. */
  readonly since: number
  /** Every secret that was ever in it. */
  readonly secrets: ReadonlyArray<string>
  /** A new key, at OpenRouter and in the pool. */
  readonly add: (name: string) => Effect.Effect<void>
  /** Ends our side: the client, the pool, the balancer. The simulator stays. */
  readonly close: Effect.Effect<void>
}

/** Six keys of three accounts, of which one has a cap that will be spent. */
const six: NonNullable<Options["keys"]> = { a1: { limit: 0.0004 }, a2: {}, b1: {}, b2: {}, c1: {}, c2: {} }

/** Milliseconds that a circuit of what is behind all keys stays open, and so the interval of its probes. */
export const probeInterval = 300

const always = { base: probeInterval, max: probeInterval, jitter: "none" } as const
const quick: CircuitBreaker.Options = {
  key: { cooldown: always, slowStart: "200 millis" },
  account: { cooldown: always, slowStart: "200 millis" },
  upstream: { cooldown: always, slowStart: "200 millis" },
  host: { cooldown: always, slowStart: "200 millis" }
}

const accountOf = (name: string): string => name.slice(0, 1)

/** Builds a world for as long as the scope is open. */
export const make = (options: Options): Effect.Effect<World, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { keys: given = six, maxInFlight = 8, pacing, seed } = options
    const names = Object.keys(given)
    const secrets = names.map(secretOf)
    const records = yield* Records.make
    const simulated = yield* Layer.build(
      Simulator.layer({
        latency: [0, 4],
        // What is spent shows a second later, as behind the caches of OpenRouter's edge.
        keyLag: "1 second",
        ...options.simulator,
        accounts: Array.from(new Set(names.map(accountOf)), (name) => ({
          ...options.accounts?.[name],
          name,
          organizationId: `org_${name}`
        })),
        keys: names.map((name) => ({
          account: accountOf(name),
          secret: secretOf(name),
          ...given[name],
          name
        }))
      })
    )
    const simulator = Context.get(simulated, Simulator.Simulator)
    const policies = Layer.mergeAll(
      CircuitBreaker.layer({ ...quick, ...options.circuits }),
      Retry.layer({
        schedule: Schedule.spaced("5 millis").pipe(Retry.fullJitter),
        patience: "2 seconds",
        ...options.retry
      }),
      options.hedge === undefined ? Layer.empty : Hedge.layer(options.hedge),
      pacing === undefined ? Layer.empty : Pacing.layer(pacing)
    )
    const pool = KeyPool.layer({
      keys: names.map((name) => ({
        id: name,
        secret: secretOf(name),
        account: accountOf(name),
        maxInFlight
      })),
      slowStart: "200 millis"
    })
    const live = OpenRouter.layerWith({
      baseUrl: simulator.baseUrl,
      credits: { interval: "1 second", lag: "1 second" },
      idleTimeout: options.idleTimeout ?? "150 millis",
      timeout: options.timeout ?? "1 second"
    }).pipe(
      Layer.provide([LeastInFlight.layer(), NodeHttpClient.layerUndici]),
      Layer.provideMerge(policies),
      Layer.provideMerge(pool)
    )
    const ours = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(ours, Exit.void))
    const context: Context.Context<
      OpenRouter.OpenRouter | Balancer.Balancer | KeyPool.KeyPool | CircuitBreaker.CircuitBreaker
    > = yield* records.recording(Layer.buildWithScope(live, ours))
    const balancer = Context.get(context, Balancer.Balancer)
    const world: World = {
      options,
      random: rngOf(seed),
      records,
      simulator,
      balancer,
      openrouter: Context.get(context, OpenRouter.OpenRouter),
      pool: Context.get(context, KeyPool.KeyPool),
      circuits: Context.get(context, CircuitBreaker.CircuitBreaker),
      pacing: Context.getOrUndefined(context as Context.Context<never>, Pacing.Pacing),
      since: yield* Clock.currentTimeMillis,
      secrets,
      add: (name) =>
        Effect.gen(function* () {
          const [account, secret] = [accountOf(name), secretOf(name)]
          secrets.push(secret)
          yield* simulator.addKey({ name, account, secret })
          yield* Effect.orDie(world.pool.add({ id: name, account, secret, maxInFlight }))
        }),
      close: Scope.close(ours, Exit.void)
    }
    yield* Scope.provide(Records.listen(records, balancer, world.circuits, world.pool), ours)
    return world
  }).pipe(Random.withSeed(options.seed))
