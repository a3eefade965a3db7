/**
 * A circuit for each key, for the port that `@evenkeel/core` defines: a key that keeps failing is left alone for a while,
 * and then one request, the probe, decides about its return.
 *
 * Only faults of the key itself count. What lies behind all keys (an upstream, the host) or above several (an account, a
 * workspace) would open all circuits at once and leave no key to serve.
 *
 * **Why it is written by hand**
 *
 * `effect/persistence`'s `CircuitBreaker` wraps a call. Here a circuit is one fact among others: the pool filters all
 * keys, picks one and counts it in one synchronous step. Effect's breaker finds out that a probe is due only when a call
 * asks for it (until then its state reads "open", and a filter that went by it would never probe), its rate has no time
 * window, and no hand can open or close it. What it does best is kept: generations fence off late outcomes, and the
 * probe's slot is freed whatever becomes of the probe.
 *
 * Measured on Node 24, state in memory, per request: filter, admit and record of a success take 25 to 50 ns by policy,
 * and a filter 10 ns, open or closed; Effect's `execute` takes 4,700 ns, and a refusal 21,000 ns.
 *
 * Sources: M. Nygard, "Release It!", 2007 (the pattern); linkerd's failure accrual (one probe, buckets by elapsed time);
 * Effect 4.1's `persistence/CircuitBreaker` (generations, the count of openings).
 */
import { Breaker, type Outcome } from "@evenkeel/core"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Cell, type Settings } from "./internal/cell.ts"
import { millisOf } from "./internal/ranges.ts"
import { withinWindow, type TripPolicy } from "./TripPolicy.ts"

export { any, consecutive, failureRate, withinWindow, type Trip, type TripPolicy } from "./TripPolicy.ts"

/**
 * Options of the circuit breaker.
 */
export interface Options {
  /**
   * When a circuit opens. Default: `withinWindow` of 3 failures in 60 s, which keeps a key that fails at once below 2 %
   * of the traffic, and forgives a key that fails once in a while.
   */
  readonly trip?: TripPolicy | undefined
  /**
   * How long a circuit is open before the probe, greater than 0; or as a function of how often it has opened in a row,
   * from 1, which must not throw. `Infinity`: until it is closed by hand. Default 1 minute, OpenRouter's rate limit
   * window. A Retry-After lengthens the opening that it causes, up to an hour.
   */
  readonly cooldown?: Duration.Input | ((openings: number) => Duration.Input) | undefined
  /** Which faults are the key's. The others teach nothing, as an `Ignored` does. Default: `countsDefault`. */
  readonly counts?: ((outcome: Outcome.Faulted) => boolean) | undefined
}

/**
 * The state of one circuit at one time. Times are in milliseconds since the epoch.
 *
 * - `Closed`: the key serves
 * - `Open`: the key is left alone, until a time or, if there is none, until it is closed by hand
 * - `HalfOpen`: the next request is the probe, or it is under way
 */
export type State =
  | { readonly _tag: "Closed" }
  | { readonly _tag: "Open"; readonly since: number; readonly until: number | undefined; readonly by: string }
  | { readonly _tag: "HalfOpen"; readonly since: number; readonly probing: boolean; readonly by: string }

/**
 * The circuits of all keys, to look at and to work by hand.
 */
export class CircuitBreaker extends Context.Service<
  CircuitBreaker,
  {
    /** What the balancer uses. */
    readonly breaker: Breaker.Breaker
    /** The state of the circuit of a key; it changes nothing. A key nobody has heard of is `Closed`. */
    readonly state: (id: string) => Effect.Effect<State>
    /** The circuits that are not closed, by the ids of their keys. */
    readonly troubled: Effect.Effect<ReadonlyMap<string, State>>
    /** Opens a circuit for a while, by default until it is closed by hand. What is in flight goes on. */
    readonly open: (id: string, duration?: Duration.Input) => Effect.Effect<void>
    /** Closes a circuit now. What its policy remembers is forgotten, how often it has opened in a row is not. */
    readonly close: (id: string) => Effect.Effect<void>
    /** Forgets all about a key: it is closed, as if it were new. */
    readonly reset: (id: string) => Effect.Effect<void>
  }
>()("@evenkeel/circuit-breaker/CircuitBreaker") {}

/**
 * The faults that count unless `counts` says otherwise: those of the key alone, except for its credit.
 *
 * **Details**
 *
 * `exhausted` and `insufficient` are not failures but facts, with a time or a reading that ends them: the pool benches
 * the key for them, and a circuit would only keep it out for longer.
 *
 * **Example**
 *
 * ```ts
 * import { CircuitBreaker } from "@evenkeel/circuit-breaker"
 * import { Outcome } from "@evenkeel/core"
 *
 * CircuitBreaker.countsDefault(Outcome.faulted({ scope: "key", reason: "unavailable" })) // => true
 * CircuitBreaker.countsDefault(Outcome.faulted({ scope: "key", reason: "exhausted" })) // => false
 * CircuitBreaker.countsDefault(Outcome.faulted({ scope: "upstream", reason: "unavailable" })) // => false
 * ```
 */
export const countsDefault = (outcome: Outcome.Faulted): boolean =>
  outcome.scope === "key" && outcome.reason !== "exhausted" && outcome.reason !== "insufficient"

/** A server that asks for days is obeyed for an hour; then one request may ask again. */
const maxRetryAfter = 3_600_000

const closed: State = { _tag: "Closed" }

/**
 * Makes a circuit breaker.
 *
 * **When to use**
 *
 * To give `breaker` to a balancer by hand; else `layer` is shorter.
 *
 * **Details**
 *
 * It runs no timers and no fibers: a circuit is half-open because its time is up, not because something told it so. The
 * memory of a key is freed when the key leaves the pool.
 *
 * Throws a `RangeError` that names the option and its range.
 *
 * **Example**
 *
 * ```ts
 * import { CircuitBreaker } from "@evenkeel/circuit-breaker"
 * import { Effect } from "effect"
 *
 * const circuits = CircuitBreaker.make()
 * const program = Effect.gen(function* () {
 *   yield* circuits.open("billing", "1 hour")
 *   return (yield* circuits.state("billing"))._tag
 * })
 *
 * await Effect.runPromise(program) // => "Open"
 * ```
 */
export const make = (options: Options = {}): CircuitBreaker["Service"] => fromRules(rulesOf(options))

/**
 * The layer of the circuit breaker: of the port that the balancer reads, and of the service for your own hands.
 *
 * **Gotchas**
 *
 * Bind the result to a constant if you provide it twice: each call makes circuits of its own.
 *
 * **Example**
 *
 * ```ts
 * import { CircuitBreaker } from "@evenkeel/circuit-breaker"
 * import { Balancer, Errors, KeyPool, Outcome, Selector } from "@evenkeel/core"
 * import { Effect, Layer } from "effect"
 *
 * const live = Balancer.layer.pipe(
 *   Layer.provideMerge(CircuitBreaker.layer({ trip: CircuitBreaker.consecutive(1) })),
 *   Layer.provide(Selector.layer(Selector.random)),
 *   Layer.provide(KeyPool.layer({ keys: [{ id: "only", secret: "sk-0000001" }] }))
 * )
 *
 * const program = Effect.gen(function* () {
 *   const balancer = yield* Balancer.Balancer
 *   const circuits = yield* CircuitBreaker.CircuitBreaker
 *   const fault = new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason: "unavailable" }) })
 *   yield* Effect.ignore(balancer.use(() => fault))
 *   const refused = yield* Effect.flip(balancer.use(() => Effect.void))
 *   yield* circuits.close("only")
 *   return [refused._tag, yield* balancer.use((lease) => Effect.succeed(lease.key.id))]
 * })
 *
 * await Effect.runPromise(Effect.provide(program, live)) // => ["NoEligibleKey", "only"]
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<CircuitBreaker> => {
  const rules = rulesOf(options)
  return Layer.syncContext(() => {
    const service = fromRules(rules)
    return Context.make(CircuitBreaker, service).pipe(Context.add(Breaker.Breaker, service.breaker))
  })
}

/** The options, validated; a layer has no state before it is built. */
const rulesOf = ({ trip, cooldown = "1 minute", counts }: Options) => ({
  policy: trip ?? withinWindow({ failures: 3, window: "1 minute" }),
  counts: counts ?? countsDefault,
  openMillis: openMillisOf(cooldown)
})

const openMillisOf = (cooldown: NonNullable<Options["cooldown"]>): Settings["openMillis"] => {
  if (typeof cooldown === "function") return (openings) => Duration.toMillis(cooldown(openings))
  const millis = millisOf("cooldown", cooldown, "infinite")
  return () => millis
}

const fromRules = ({ policy, counts, openMillis }: ReturnType<typeof rulesOf>): CircuitBreaker["Service"] => {
  const cells = new Map<string, Cell>()
  let generation = 0
  const settings: Settings = { openMillis, generation: () => ++generation }

  const cellOf = (id: string): Cell => {
    let cell = cells.get(id)
    if (cell === undefined) {
      cell = new Cell(policy.make(), settings)
      cells.set(id, cell)
    }
    return cell
  }

  const breaker: Breaker.Breaker = {
    name: `circuit-breaker: ${policy.name}`,
    filter: (candidate, context) => cells.get(candidate.id)?.blocks(context.nowMillis),
    admit: (candidate, context) => cellOf(candidate.id).admit(context.nowMillis),
    record: (candidate, _context, admission, outcome, nowMillis) => {
      const cell = cells.get(candidate.id)
      if (cell === undefined) return
      if (outcome._tag === "Success") cell.succeeded(admission, nowMillis)
      else if (outcome._tag === "Ignored" || !counts(outcome)) cell.ignored(admission, nowMillis)
      else cell.failed(admission, retryAfterMillis(outcome), nowMillis)
    },
    forget: (id) => void cells.delete(id)
  }

  return CircuitBreaker.of({
    breaker,
    state: (id) => Effect.map(Clock.currentTimeMillis, (now) => stateOf(cells.get(id), now)),
    troubled: Effect.map(Clock.currentTimeMillis, (now) => {
      const states = Array.from(cells, ([id, cell]) => [id, stateOf(cell, now)] as const)
      return new Map(states.filter(([, state]) => state !== closed))
    }),
    open: (id, duration = Duration.infinity) =>
      Effect.map(Clock.currentTimeMillis, (now) =>
        cellOf(id).open("hand", millisOf("duration", duration, "infinite"), now)
      ),
    close: (id) => Effect.map(Clock.currentTimeMillis, (now) => cells.get(id)?.close(now)),
    reset: (id) => Effect.sync(() => void cells.delete(id))
  })
}

const retryAfterMillis = ({ retryAfter }: Outcome.Faulted): number =>
  retryAfter === undefined ? 0 : Math.min(Duration.toMillis(retryAfter), maxRetryAfter)

const stateOf = (cell: Cell | undefined, nowMillis: number): State => {
  const trouble = cell?.trouble
  if (cell === undefined || trouble === undefined) return closed
  const { reason, since = 0, until } = trouble
  const { by } = cell
  if (reason === "probing") return { _tag: "HalfOpen", since, probing: true, by }
  return cell.blocks(nowMillis) === undefined
    ? { _tag: "HalfOpen", since, probing: false, by }
    : { _tag: "Open", since, until, by }
}
