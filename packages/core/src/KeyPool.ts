/**
 * The keys of a program and all that is known about them. The pool is the only writer of key state: everything else
 * reads, or tells it what happened.
 */
import type * as Config from "effect/Config"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Reading } from "./Credits.ts"
import { InvalidReading, UnknownKey } from "./Errors.ts"
import type { Ineligible } from "./Filter.ts"
import { Alarm } from "./internal/alarm.ts"
import { defaultCooldowns, type Cooldowns } from "./internal/bench.ts"
import { Deadlines } from "./internal/deadlines.ts"
import { Engine, type Owner } from "./internal/engine.ts"
import type { Entry } from "./internal/entry.ts"
import * as EventHub from "./internal/eventHub.ts"
import { plain } from "./internal/explain.ts"
import * as Key from "./Key.ts"
import * as KeyConfig from "./KeyConfig.ts"
import type { FaultReason, FaultScope } from "./Outcome.ts"
import type { PoolEvent } from "./PoolEvent.ts"
import { SharedFacts, local } from "./SharedFacts.ts"

export type { Cooldown, Cooldowns } from "./internal/bench.ts"
export type { Owner } from "./internal/engine.ts"

/**
 * The state of one key at one time. It holds no secret.
 */
export interface KeySnapshot {
  readonly id: string
  readonly account: string | undefined
  readonly workspace: string | undefined
  readonly weight: number
  readonly tier: number
  readonly maxInFlight: number
  readonly labels: Readonly<Record<string, string>>
  readonly inFlight: number
  /** USD left; `undefined`: uncapped, or not known. */
  readonly credit: number | undefined
  /** When the credit was last read, in milliseconds since the epoch. */
  readonly creditReadAt: number | undefined
  /** There is a reading, and a younger one was due: the last one failed, or none came. What is known is still gone by. */
  readonly creditStale: boolean
  /** When the cap is filled up again, in milliseconds since the epoch; `undefined` if never, or not known. */
  readonly creditResetsAt: number | undefined
  /** USD of the cap; `undefined` if there is none, or it is not known. */
  readonly creditLimit: number | undefined
  /** USD an hour that requests of this pool cost on the key, over about the last 10 minutes; 0 or more. */
  readonly burnRate: number
  /** Whether requests paid by the owner's own provider keys (BYOK) count against the cap; `undefined` if not known. */
  readonly includesByok: boolean | undefined
  /** Smoothed milliseconds of successful uses. */
  readonly latency: number | undefined
  /** Why the pool would not offer the key now; `undefined` if it would. Breakers and selectors may still object. */
  readonly ineligible: Ineligible | undefined
  /** Set while the key, or its owner, cannot afford requests that may cost `estimate` USD or more. */
  readonly shortage: (Ineligible & { readonly estimate: number }) | undefined
  /** Uses opened, and how they ended. */
  readonly leased: number
  readonly succeeded: number
  readonly faulted: number
  readonly ignored: number
  /** USD spent through this pool, as far as answers told it. */
  readonly spent: number
}

/**
 * A bench that the state of no single key shows.
 */
export interface SharedBench extends Ineligible {
  readonly id: string
  /** Set where it holds only for upstreams whose id ends so. */
  readonly within: string | undefined
}

/**
 * The state of the pool at one time.
 */
export interface PoolSnapshot {
  readonly at: number
  readonly keys: ReadonlyArray<KeySnapshot>
  /** What is benched besides whole keys and their owners: upstreams, the host, and keys and owners for some upstreams. */
  readonly benches: ReadonlyArray<SharedBench>
  /** Requests that wait for a permit. */
  readonly waiting: number
}

/**
 * Options of a pool.
 */
export interface Options {
  /** At least one; more can be added while the pool runs. */
  readonly keys: ReadonlyArray<Key.Input>
  /**
   * How long a fault benches its scope when the answer does not say: `base`, doubled each time it returns, up to `max`.
   * Defaults: throttled 5 s to 1 min, exhausted 5 min to 1 h, rejected 1 min to 1 h, unavailable not at all;
   * insufficient 1 min, for requests as dear or dearer.
   */
  readonly cooldowns?: Partial<Cooldowns> | undefined
  /** The age at which a reading of credit is no longer gone by. Default 15 minutes: many times the usual interval. */
  readonly creditMaxAge?: Duration.Input | undefined
  /**
   * How long a key, an account, an upstream that returns is given little at first: one request at a time, and one more
   * with each success; 0 for none. Default 30 seconds: half of OpenRouter's rate limit window.
   */
  readonly slowStart?: Duration.Input | undefined
}

/**
 * The pool of keys.
 */
export class KeyPool extends Context.Service<
  KeyPool,
  {
    /** Adds a key. Requests that wait may use it at once. */
    readonly add: (input: Key.Input) => Effect.Effect<Key.Key, Key.InvalidKey>
    /** Changes traits of a key (weight, tier, `maxInFlight`, account, labels); counts and credit are kept. */
    readonly change: (id: string, traits: Key.Traits) => Effect.Effect<Key.Key, Key.InvalidKey | UnknownKey>
    /**
     * Gives the key no new requests, and waits until those in flight have settled. Interrupting the wait leaves the key
     * draining; `resume` takes it back, `remove` ends it.
     */
    readonly drain: (id: string) => Effect.Effect<void, UnknownKey>
    /** Ends the draining of a key. */
    readonly resume: (id: string) => Effect.Effect<void, UnknownKey>
    /** Removes a key at once. Requests in flight on it go on and settle; nobody is told to use it again. */
    readonly remove: (id: string) => Effect.Effect<void, UnknownKey>
    /** Takes a reading of a key's credit. */
    readonly credit: (id: string, reading: Reading) => Effect.Effect<void, UnknownKey | InvalidReading>
    /** A reading that was due has failed: what is known stays, and is stale until the next reading. */
    readonly creditFailed: (id: string) => Effect.Effect<void, UnknownKey>
    /**
     * Takes what somebody says of the owner of a key, where the user has declared nothing. It gives way to what is
     * learnt later, and to what is declared with `change`.
     */
    readonly learn: (id: string, owner: Owner) => Effect.Effect<void, UnknownKey>
    /**
     * Benches a scope by hand, from now on; of two deadlines the later one holds. Without a time it is the cooldown of
     * the reason, longer each time it returns.
     */
    readonly bench: (bench: {
      readonly scope: FaultScope
      readonly id: string
      readonly reason: FaultReason
      readonly for?: Duration.Input | undefined
      /** For upstreams whose id ends so, and no others. */
      readonly within?: string | undefined
    }) => Effect.Effect<void, UnknownKey>
    /** Lifts the benches of a scope; `false` if there was none. */
    readonly readmit: (scope: FaultScope, id: string) => Effect.Effect<boolean>
    /** A key, with its secret. */
    readonly key: (id: string) => Effect.Effect<Key.Key, UnknownKey>
    /** The keys, with their secrets. */
    readonly keys: Effect.Effect<ReadonlyArray<Key.Key>>
    readonly snapshot: Effect.Effect<PoolSnapshot>
    /** Changes from the subscription on, in a bounded buffer: who falls more than 1,024 behind loses the oldest. */
    readonly changes: Stream.Stream<PoolEvent>
    /** Calls the observer with each change, in the step in which it happens, for as long as the scope is open. */
    readonly observe: (observer: (event: PoolEvent) => void) => Effect.Effect<void, never, Scope.Scope>
    /** @internal */
    readonly engine: Engine
  }
>()("@evenkeel/core/KeyPool") {}

/**
 * Makes a pool from given keys.
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<KeyPool["Service"], Key.InvalidKey, Scope.Scope> {
  const keys = yield* Key.makeAll(options.keys)
  if (keys.length === 0) {
    return yield* new Key.InvalidKey({
      position: undefined,
      field: "keys",
      expected: "a list of at least one key"
    })
  }
  const shared = yield* SharedFacts
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const services = yield* Effect.context<never>()
  const hub = yield* EventHub.make<PoolEvent>()
  const alarm = new Alarm(clock, Effect.runForkWith(services), () => engine.waiting.wake())
  const lastCall = new Alarm(clock, Effect.runForkWith(services), () =>
    deadlines.ring(clock.currentTimeMillisUnsafe())
  )
  const deadlines = new Deadlines(lastCall)
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      alarm.close()
      lastCall.close()
    })
  )
  const engine: Engine = new Engine({
    cooldowns: { ...defaultCooldowns, ...options.cooldowns },
    creditMaxAge: Duration.toMillis(options.creditMaxAge ?? "15 minutes"),
    slowStart: Duration.toMillis(options.slowStart ?? "30 seconds"),
    alarm: (at) => alarm.set(at),
    due: (nowMillis) => alarm.at <= nowMillis,
    deadlines,
    random: () => random.nextDoubleUnsafe(),
    emit: (event) => hub.emit(event),
    publish: shared.publish
  })
  for (const key of keys) engine.add(key)
  if (shared !== local) {
    const { attach } = shared
    if (attach !== undefined) {
      yield* Effect.acquireRelease(
        Effect.sync(() => attach(() => engine.load())),
        (detach) => Effect.sync(detach)
      )
    }
    yield* Stream.runForEach(shared.facts, (fact) =>
      Effect.sync(() => engine.hear(fact, clock.currentTimeMillisUnsafe()))
    ).pipe(Effect.forkScoped)
  }
  return fromEngine(engine, hub)
})

/**
 * The layer of a pool of given keys.
 *
 * **Gotchas**
 *
 * Bind the result to a constant: each call makes a layer, and so a pool, of its own.
 */
export const layer = (options: Options): Layer.Layer<KeyPool, Key.InvalidKey> =>
  Layer.effect(KeyPool, make(options))

/**
 * The layer of a pool whose keys come from `Config`: `OPENROUTER_KEYS`, `OPENROUTER_API_KEY` or `OPENROUTER_KEY_1` and
 * so on (see `KeyConfig.fromConfig`).
 */
export const layerConfigWith = (
  options: Omit<Options, "keys">
): Layer.Layer<KeyPool, Key.InvalidKey | Config.ConfigError> =>
  Layer.effect(
    KeyPool,
    Effect.flatMap(KeyConfig.fromConfig, (inputs) => make({ ...options, keys: inputs }))
  )

/**
 * `layerConfigWith` and the defaults.
 */
export const layerConfig: Layer.Layer<KeyPool, Key.InvalidKey | Config.ConfigError> = layerConfigWith({})

const fromEngine = (engine: Engine, hub: EventHub.EventHub<PoolEvent>): KeyPool["Service"] => {
  const withEntry = <A, E, R>(id: string, f: (entry: Entry) => Effect.Effect<A, E, R>) =>
    Effect.suspend((): Effect.Effect<A, E | UnknownKey, R> => {
      const entry = engine.get(id)
      return entry === undefined ? Effect.fail(new UnknownKey({ keyId: id })) : f(entry)
    })
  return KeyPool.of({
    add: Effect.fnUntraced(function* (input) {
      const added = yield* Key.make(input)
      const present = engine.entries.map((entry) => entry.key)
      const refused = Key.duplicate(present, added, undefined)
      if (refused !== undefined) return yield* refused
      engine.add(added)
      engine.publish({ _tag: "Added", keyId: added.id })
      return added
    }),
    change: (id, traits) =>
      withEntry(id, (entry) =>
        Effect.map(Key.change(entry.key, traits), (key) => {
          engine.change(entry, key)
          // What is declared is not learnt any more.
          if ("account" in traits) entry.learnt.account = undefined
          if ("workspace" in traits) entry.learnt.workspace = undefined
          return key
        })
      ),
    drain: (id) =>
      withEntry(id, (entry) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          engine.drain(entry, now)
          return idle(entry)
        })
      ),
    resume: (id) => withEntry(id, (entry) => Effect.sync(() => engine.resume(entry))),
    remove: (id) => withEntry(id, (entry) => Effect.sync(() => engine.remove(entry))),
    credit: (id, reading) =>
      withEntry(id, (entry) => {
        const invalid = checkReading(reading)
        return invalid === undefined
          ? Effect.map(Clock.currentTimeMillis, (now) => engine.credit(entry, reading, now))
          : Effect.fail(invalid)
      }),
    creditFailed: (id) => withEntry(id, (entry) => Effect.sync(() => entry.ledger.miss())),
    learn: (id, owner) => withEntry(id, (entry) => Effect.sync(() => engine.learn(entry, owner))),
    bench: ({ for: duration, id, reason, scope, within }) =>
      Effect.flatMap(Clock.currentTimeMillis, (since) => {
        if (scope === "key" && engine.get(id) === undefined) return Effect.fail(new UnknownKey({ keyId: id }))
        const millis = duration === undefined ? undefined : Duration.toMillis(duration)
        engine.domains.benchByHand({ scope, id, within, reason, since, millis })
        return Effect.void
      }),
    readmit: (scope, id) =>
      Effect.map(Clock.currentTimeMillis, (now) => engine.domains.readmit(scope, id, now)),
    key: (id) => withEntry(id, (entry) => Effect.succeed(entry.key)),
    keys: Effect.sync(() => engine.entries.map((entry) => entry.key)),
    snapshot: Effect.map(Clock.currentTimeMillis, (now) => snapshot(engine, now)),
    changes: hub.stream,
    observe: (observer) => hub.observe(observer),
    engine
  })
}

const checkReading = ({
  remaining,
  requestedAt,
  lag,
  resetsAt,
  limit,
  freshFor
}: Reading): InvalidReading | undefined => {
  if (remaining !== undefined && !Number.isFinite(remaining)) {
    return new InvalidReading({
      field: "remaining",
      expected: "a finite number of USD, or undefined for no cap"
    })
  }
  for (const [field, value] of Object.entries({ lag, freshFor })) {
    if (value !== undefined && !(value >= 0))
      return new InvalidReading({ field, expected: "milliseconds from 0 up" })
  }
  if (limit !== undefined && !Number.isFinite(limit)) {
    return new InvalidReading({ field: "limit", expected: "a finite number of USD, or undefined for no cap" })
  }
  for (const [field, value] of Object.entries({ requestedAt, resetsAt })) {
    if (Number.isNaN(value)) return new InvalidReading({ field, expected: "milliseconds since the epoch" })
  }
  return undefined
}

/** Waits until nothing is in flight on the key. */
const idle = (entry: Entry): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (entry.inUse === 0) return resume(Effect.void)
    const done = () => resume(Effect.void)
    entry.idle.add(done)
    return Effect.sync(() => entry.idle.delete(done))
  })

const snapshot = (engine: Engine, at: number): PoolSnapshot => ({
  at,
  keys: engine.inspect(at).map(([entry, ineligible]) => ({
    ...entry.view,
    inFlight: entry.inFlight,
    creditReadAt: entry.ledger.readAt,
    creditStale: entry.ledger.stale(at),
    creditResetsAt: entry.ledger.resetsAt,
    creditLimit: entry.ledger.limit,
    burnRate: entry.ledger.burnRate(at),
    includesByok: entry.view.includesByok,
    ineligible: ineligible && plain(ineligible),
    shortage: engine.domains.shortage(entry, at),
    leased: entry.leased,
    succeeded: entry.succeeded,
    faulted: entry.faulted,
    ignored: entry.ignored,
    spent: entry.spent
  })),
  benches: engine.domains.inForce(engine.entries, at),
  waiting: engine.waiting.size
})
