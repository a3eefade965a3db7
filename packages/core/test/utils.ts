/**
 * What the tests of the core share.
 */
import {
  Balancer,
  Breaker,
  Credits,
  Errors,
  Hedging,
  KeyPool,
  Limiter,
  Outcome,
  RetryPolicy,
  Selector,
  SharedFacts
} from "@evenkeel/core"
import type { Candidate, Key, Lease } from "@evenkeel/core"
import { Duration, Effect, type Exit, Fiber, Layer, type Redacted } from "effect"
import * as util from "node:util"
import type { Engine } from "../src/internal/engine.ts"

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
export const rngOf = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A secret as OpenRouter makes them, the same for the same name. */
export const secretOf = (name: string): string => {
  const random = rngOf(Array.from(name).reduce((hash, char) => Math.imul(hash, 31) + char.charCodeAt(0), 7))
  return `sk-or-v1-${Array.from({ length: 64 }, () => Math.floor(random() * 16).toString(16)).join("")}`
}

type Traits = Omit<Exclude<Key.Input, string | Redacted.Redacted<string>>, "id" | "secret">

/** A key of this name. */
export const key = (id: string, traits: Traits = {}) => ({ ...traits, id, secret: secretOf(id) })

/** Keys of these one-word names. */
export const keys = (names: string, traits: Traits = {}) => names.split(" ").map((name) => key(name, traits))

/** The first of the candidates: the choice that is easiest to foretell. */
export const first = Selector.make("first", (candidates) => candidates[0])

export const leastInFlight = Selector.leastBy((candidate) => candidate.inFlight / candidate.weight)

export interface Setup {
  readonly keys: ReadonlyArray<Key.Input>
  readonly pool?: Omit<KeyPool.Options, "keys">
  readonly selector?: Selector.Selector
  readonly balancer?: Balancer.Options
  readonly retry?: RetryPolicy.RetryPolicy
  readonly breaker?: Breaker.Breaker
  readonly limiter?: Limiter.Limiter
  readonly hedging?: Hedging.Hedging
  readonly credits?: Credits.Credits
  readonly shared?: SharedFacts.SharedFacts
}

export const layerOf = (setup: Setup) =>
  Balancer.layerWith(setup.balancer ?? {}).pipe(
    Layer.provide([
      Selector.layer(setup.selector ?? first),
      Layer.succeed(RetryPolicy.RetryPolicy, setup.retry ?? RetryPolicy.never),
      Layer.succeed(Breaker.Breaker, setup.breaker ?? Breaker.closed),
      Layer.succeed(Limiter.Limiter, setup.limiter ?? Limiter.unlimited),
      Layer.succeed(Hedging.Hedging, setup.hedging ?? Hedging.never),
      Layer.succeed(Credits.Credits, setup.credits ?? Credits.unknown)
    ]),
    Layer.provideMerge(
      KeyPool.layer({ ...setup.pool, keys: setup.keys }).pipe(
        Layer.provide(Layer.succeed(SharedFacts.SharedFacts, setup.shared ?? SharedFacts.local))
      )
    )
  )

export interface Parts {
  readonly balancer: Balancer.Balancer["Service"]
  readonly pool: KeyPool.KeyPool["Service"]
}

/** Runs the body with a pool and a balancer of its own. */
export const using = <Eff extends Effect.Effect<any, any, any>, A>(
  setup: Setup,
  body: (parts: Parts) => Generator<Eff, A, never>
) =>
  Effect.gen(function* () {
    const balancer = yield* Balancer.Balancer
    const pool = yield* KeyPool.KeyPool
    return yield* Effect.gen(() => body({ balancer, pool }))
  }).pipe(Effect.provide(layerOf(setup)))

/** The engine behind a pool, for what cannot be seen from outside. */
export const engineOf = (pool: Parts["pool"]): Engine =>
  (pool as unknown as { readonly engine: Engine }).engine

/** Forks and runs up to the first suspension. */
export const start = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.forkChild(effect, { startImmediately: true })

/** A use that ends when it is told to. */
export interface Held<A, E> {
  readonly lease: Lease.Lease
  readonly end: (exit: Exit.Exit<A, E>) => void
}

/** Uses that end when they are told to, in the order in which they got their key. */
export const holding = <A = void, E = never>() => {
  const held: Array<Held<A, E>> = []
  const use = (lease: Lease.Lease) =>
    Effect.callback<A, E>((resume) => {
      held.push({ lease, end: resume })
    })
  return { held, use, ids: () => held.map(({ lease }) => lease.key.id) }
}

/** How the uses of one request end, one after the other; the last one again and again. */
export const script = (...ends: ReadonlyArray<Effect.Effect<string, Errors.Fault | string>>) => {
  const ids: Array<string> = []
  const use = (lease: Lease.Lease) => ends[Math.min(ids.push(lease.key.id), ends.length) - 1]!
  return { ids, use }
}

export const fault = (
  scope: Outcome.FaultScope,
  reason: Outcome.FaultReason,
  options: {
    readonly retryAfter?: Duration.Input
    readonly retryable?: Outcome.Retryable
    readonly within?: string
    readonly account?: string
    readonly cause?: unknown
  } = {}
): Effect.Effect<never, Errors.Fault> =>
  Effect.fail(
    new Errors.Fault({
      outcome: Outcome.faulted({
        scope,
        reason,
        retryable: options.retryable,
        within: options.within,
        account: options.account,
        retryAfter:
          options.retryAfter === undefined ? undefined : Duration.fromInputUnsafe(options.retryAfter)
      }),
      cause: options.cause
    })
  )

export const ok = Effect.succeed("ok")

/** Decides by a function, and waits so long for a key to return; not at all by default. */
export const policy = (
  decide: (failure: RetryPolicy.Failure) => RetryPolicy.Decision,
  patience: Duration.Input = 0
): RetryPolicy.RetryPolicy => ({
  name: "test",
  patience: Duration.fromInputUnsafe(patience),
  start: Effect.succeed({ decide: (failure) => Effect.sync(() => decide(failure)) })
})

/** Tries elsewhere at once, whatever happens. */
export const rotating = policy(() => RetryPolicy.rotate)

/** Gives every failure to the caller, and waits so long for a key to return. */
export const patient = (patience: Duration.Input) => policy(() => RetryPolicy.stop, patience)

/** The typed failure of an effect that must fail. */
export const failureOf = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<E, string, R> =>
  Effect.flip(effect).pipe(Effect.mapError((value) => `It succeeded with ${util.inspect(value)}`))

/** The verdicts of the request that no key could serve. */
export const refusalOf = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Errors.NoEligibleKey, string, R> =>
  Effect.flatMap(failureOf(effect), (error) =>
    error instanceof Errors.NoEligibleKey
      ? Effect.succeed(error)
      : Effect.fail(`It failed with ${util.inspect(error)}`)
  )

/** The ids of the next keys, each used at once. */
export const idsOf = (balancer: Parts["balancer"], count: number, options?: Balancer.LeaseOptions) =>
  Effect.forEach(Array.from({ length: count }), () =>
    balancer.use((lease) => Effect.succeed(lease.key.id), options)
  )

/** In flight on each key, in the order of the pool. */
export const inFlight = (pool: Parts["pool"]) =>
  Effect.map(pool.snapshot, (snapshot) => snapshot.keys.map((key) => key.inFlight))

export const waiting = (pool: Parts["pool"]) => Effect.map(pool.snapshot, (snapshot) => snapshot.waiting)

export const stateOf = (pool: Parts["pool"], id: string) =>
  Effect.map(pool.snapshot, (snapshot) => snapshot.keys.find((key) => key.id === id)!)

export const interruptAll = <A, E>(fibers: Iterable<Fiber.Fiber<A, E>>) => Fiber.interruptAll(fibers)

/** A candidate of no pool, for selectors and filters on their own. */
export const candidate = (id: string, fields: Partial<Candidate.Candidate> = {}): Candidate.Candidate => ({
  id,
  account: undefined,
  workspace: undefined,
  weight: 1,
  tier: 0,
  labels: {},
  inFlight: 0,
  maxInFlight: Infinity,
  credit: undefined,
  latency: undefined,
  ...fields
})

export const contextOf = (random: () => number): Candidate.PickContext => ({
  attempt: 0,
  nowMillis: 0,
  random,
  affinity: undefined,
  upstream: undefined,
  tokens: undefined,
  estimate: undefined
})

/** The numbers of an idle key of no owner, as every record of a refusal holds them. */
export const numbers = {
  account: undefined,
  workspace: undefined,
  tier: 0,
  weight: 1,
  inFlight: 0,
  maxInFlight: Infinity,
  credit: undefined,
  latency: undefined
} as const

/** All the text that a log, an error report or a debugger could show of a value. */
export const textOf = (value: unknown): string => {
  const seen = new WeakSet<object>()
  const json = JSON.stringify(value, (_, part: unknown) => {
    if (typeof part === "bigint") return String(part)
    if (typeof part === "object" && part !== null) {
      if (seen.has(part)) return "[again]"
      seen.add(part)
    }
    return part
  })
  const message = value instanceof Error ? `${value.message}\n${value.stack}` : String(value)
  return [message, json, util.inspect(value, { depth: 20, showHidden: true, getters: true })].join("\n")
}

/** The runs of 6 characters of the secret that occur in the text; the public prefix tells nothing. */
export const leaksOf = (text: string, secret: string): ReadonlyArray<string> => {
  const telling = secret.replace(/^sk-or-v1-/, "")
  const runs: Array<string> = []
  for (let i = 0; i + 6 <= telling.length; i++) {
    if (text.includes(telling.slice(i, i + 6))) runs.push(telling.slice(i, i + 6))
  }
  return runs
}
