/**
 * The real parts, for the tests of pain points: without HTTP where time matters, and with it where the wire does.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { Secrets } from "@evenkeel/chaos"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Balancer, Credits, Errors, KeyPool, Outcome, Selector, type Lease } from "@evenkeel/core"
import { ChatRequest, OpenRouter } from "@evenkeel/openrouter"
import { Hedge, Retry } from "@evenkeel/retry"
import { Simulator } from "@evenkeel/testkit"
import { Cause, type Duration, Effect, type Exit, Layer, Schedule, type Scope } from "effect"

export interface Setup {
  /** Names, each of the account of its first letter. */
  readonly keys: string
  readonly maxInFlight?: number
  readonly selector?: Selector.Selector
  /** `false`: never retries, and waits for nobody. */
  readonly retry?: Retry.Options | false
  readonly circuits?: CircuitBreaker.Options | false
  readonly hedge?: Hedge.Options
  readonly credits?: Credits.Credits
  readonly balancer?: Balancer.Options
}

/** The first of the candidates: the choice that is easiest to foretell. */
export const first = Selector.make("first", (candidates) => candidates[0])

const policies = ({ circuits = false, hedge, retry = false, selector = first }: Setup) =>
  Layer.mergeAll(
    Selector.layer(selector),
    retry === false ? Layer.empty : Retry.layer(retry),
    hedge === undefined ? Layer.empty : Hedge.layer(hedge),
    // A circuit of which no fault counts is one by hand alone.
    CircuitBreaker.layer(
      circuits === false
        ? { key: false, workspace: false, account: false, upstream: false, host: false }
        : circuits
    )
  )

const poolOf = ({ keys, maxInFlight }: Setup) =>
  KeyPool.layer({
    keys: keys
      .split(" ")
      .map((id) => ({ id, secret: Secrets.secretOf(id), account: id.slice(0, 1), maxInFlight })),
    slowStart: 0
  })

/** What a body may run; its errors are whatever went wrong. */
type Body<A> = Generator<Effect.Effect<any, any, any>, A>

export interface Parts {
  readonly balancer: Balancer.Balancer["Service"]
  readonly pool: KeyPool.KeyPool["Service"]
  readonly circuits: CircuitBreaker.CircuitBreaker["Service"]
}

/** A balancer over a pool, and no HTTP. */
export const using = <A>(setup: Setup, body: (parts: Parts) => Body<A>) =>
  Effect.gen(function* () {
    const balancer = yield* Balancer.Balancer
    const pool = yield* KeyPool.KeyPool
    const circuits = yield* CircuitBreaker.CircuitBreaker
    return yield* Effect.gen(() => body({ balancer, circuits, pool })) as Effect.Effect<
      A,
      unknown,
      Scope.Scope
    >
  }).pipe(
    Effect.provide(
      Balancer.layerWith(setup.balancer ?? {}).pipe(
        Layer.provideMerge(policies(setup)),
        Layer.provide(Layer.succeed(Credits.Credits, setup.credits ?? Credits.unknown)),
        Layer.provideMerge(poolOf(setup))
      )
    )
  )

export interface Wired extends Parts {
  readonly openrouter: OpenRouter.OpenRouter["Service"]
  readonly simulator: Simulator.Simulator["Service"]
}

/** OpenRouter over HTTP, with a simulator behind it. */
export const wired = <A>(
  setup: Setup & {
    readonly simulator?: Omit<Simulator.SimulatorOptions, "keys">
    readonly traits?: Readonly<Record<string, Partial<Simulator.SimulatorKey>>>
    readonly openrouter?: OpenRouter.Options
  },
  body: (parts: Wired) => Body<A>
) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator.Simulator
    const live = OpenRouter.layerWith({
      baseUrl: simulator.baseUrl,
      credits: false,
      ...setup.openrouter
    }).pipe(
      Layer.provide(NodeHttpClient.layerUndici),
      Layer.provideMerge(policies(setup)),
      Layer.provideMerge(poolOf(setup))
    )
    return yield* Effect.gen(function* () {
      const parts: Wired = {
        simulator,
        openrouter: yield* OpenRouter.OpenRouter,
        balancer: yield* Balancer.Balancer,
        pool: yield* KeyPool.KeyPool,
        circuits: yield* CircuitBreaker.CircuitBreaker
      }
      return yield* Effect.gen(() => body(parts)) as Effect.Effect<A, unknown, Scope.Scope>
    }).pipe(Effect.provide(live))
  }).pipe(
    Effect.provide(
      Simulator.layer({
        ...setup.simulator,
        accounts: Array.from(new Set(setup.keys.split(" ").map((name) => name.slice(0, 1))), (name) => ({
          name,
          organizationId: `org_${name}`,
          ...setup.simulator?.accounts?.find((account) => account.name === name)
        })),
        keys: setup.keys.split(" ").map((name) => ({
          account: name.slice(0, 1),
          secret: Secrets.secretOf(name),
          ...setup.traits?.[name],
          name
        }))
      })
    )
  )

/** At once, so that no test waits. */
export const impatient: Retry.Options = { schedule: Schedule.spaced("1 millis"), patience: 0 }

export const model = "openai/gpt-4o-mini"
export const hello = { ...ChatRequest.ask(model, "hello"), max_tokens: 100 }

/** The failure of somebody. */
export const fault = (options: Parameters<typeof Outcome.faulted>[0]) =>
  new Errors.Fault({ outcome: Outcome.faulted(options) })
export const down = fault({ scope: "key", reason: "unavailable" })
export const rejected = fault({ scope: "key", reason: "rejected" })
export const throttled = (scope: Outcome.FaultScope, retryAfter: Duration.Duration) =>
  fault({ scope, reason: "throttled", retryAfter })

export const ok = (lease: Lease.Lease) => Effect.succeed(lease.key.id)

/** Forks and runs up to the first suspension. */
export const start = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.forkChild(effect, { startImmediately: true })

export const times = (count: number) => Array.from({ length: count }, (_, n) => n)

/** Does the same again and again, one after the other. */
export const again = <A, E, R>(count: number, effect: Effect.Effect<A, E, R>) =>
  Effect.forEach(times(count), () => effect)

export const inFlight = (pool: Parts["pool"]) =>
  Effect.map(pool.snapshot, ({ keys }) => keys.reduce((sum, key) => sum + key.inFlight, 0))

/** Who is out, and why. */
export const out = (pool: Parts["pool"]) =>
  Effect.map(pool.snapshot, ({ benches, keys }) => [
    ...keys.flatMap(({ id, ineligible: no }) =>
      no === undefined ? [] : [`${id}: ${no.scope} ${no.reason}`]
    ),
    ...benches.map(({ id, reason, scope }) => `${scope} ${id}: ${reason}`)
  ])

/** How many requests each key of the simulator has met, in their order. */
export const met = (simulator: Wired["simulator"]) =>
  Effect.map(simulator.snapshot, ({ keys }) => keys.map((key) => key.requests))

export const failureOf = <A, E>(exit: Exit.Exit<A, E>): unknown =>
  exit._tag === "Failure" ? Cause.squash(exit.cause) : undefined

export const refusalOf = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Errors.NoEligibleKey, A | E, R> =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof Errors.NoEligibleKey ? Effect.succeed(error) : Effect.fail(error)
  )

/** Looks again and again until it holds; the time limit of the test ends it. */
export const eventually = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  holds: (value: A) => boolean
): Effect.Effect<A, E, R> =>
  Effect.flatMap(effect, (value) =>
    holds(value) ? Effect.succeed(value) : Effect.andThen(Effect.sleep(1), eventually(effect, holds))
  )
