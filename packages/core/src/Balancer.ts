/**
 * The balancer: filters → pick → lease → use → outcome → settle, and again while the retry policy allows.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { BalancerEvent } from "./BalancerEvent.ts"
import { Breaker } from "./Breaker.ts"
import { Credits } from "./Credits.ts"
import type { Attempt, DeadlineExceeded, NoEligibleKey, PermitLost } from "./Errors.ts"
import { earliest, type Explanation } from "./Explanation.ts"
import * as Filter from "./Filter.ts"
import { Hedging, never } from "./Hedging.ts"
import { Call } from "./internal/call.ts"
import type { Strategy } from "./internal/demand.ts"
import * as EventHub from "./internal/eventHub.ts"
import { reports } from "./internal/explain.ts"
import { finished } from "./internal/finished.ts"
import { hedge } from "./internal/hedged.ts"
import { openPermitted } from "./internal/permitted.ts"
import { countOf, millisOf } from "./internal/ranges.ts"
import { Request } from "./internal/request.ts"
import type { Room } from "./internal/room.ts"
import { KeyPool } from "./KeyPool.ts"
import type { Lease } from "./Lease.ts"
import { Limiter } from "./Limiter.ts"
import * as Outcome from "./Outcome.ts"
import { Permits } from "./Permits.ts"
import type { PoolEvent } from "./PoolEvent.ts"
import { never as neverRetries, RetryPolicy } from "./RetryPolicy.ts"
import { Selector } from "./Selector.ts"

export { outcomeOf } from "./internal/outcomeOf.ts"

/**
 * What is known of a request before its key is picked, and how long it may take.
 */
export interface LeaseOptions {
  /** What is behind the key: for OpenRouter the model. Faults of scope `upstream` belong to it. */
  readonly upstream?: string | undefined
  /**
   * Upstreams that may be asked in place of `upstream`, in this order, when that is benched, its circuit is open, or it has
   * just failed. The lease says which one it is for (`lease.context.upstream`).
   */
  readonly alternatives?: ReadonlyArray<string> | undefined
  /** Requests with the same affinity gain from meeting the same key or account. */
  readonly affinity?: string | undefined
  /** Tokens the request may take, prompt and answer together. */
  readonly tokens?: number | undefined
  /** How many of `tokens` are the prompt. */
  readonly promptTokens?: number | undefined
  /** Upstreams that may serve in place of `upstream` on the far side, such as fallback models. */
  readonly fallbacks?: ReadonlyArray<string> | undefined
  /** USD the request may cost, held until it settles. Default: what `Credits` estimates. */
  readonly estimate?: number | undefined
  /** Facts of this request's own, such as "what it names lives on another key". They join the balancer's. */
  readonly filter?: Filter.Filter | undefined
  /** Where requests wait, higher goes first, and equals in the order of their coming. Finite; default 0. */
  readonly priority?: number | undefined
  /** The longest that the request waits for a key, whatever for; 0 refuses at once. Default: the balancer's `maxWait`. */
  readonly maxWait?: Duration.Input | undefined
  /** The deadline of the whole call, over all attempts and waits. Default: the balancer's `timeout`. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * Options of one `use`.
 */
export interface UseOptions<A, E> extends LeaseOptions {
  /**
   * What the use taught. Default: a success is `Success`, a `Fault` is the outcome it carries, all else is `Ignored`.
   *
   * `undefined` leaves the lease open: the value has taken it over, as the body of a response does, and must settle it.
   * An interruption may fall between the end of `use` and the first step behind it, and then the value is lost: whoever
   * takes a lease over must be able to settle it without having been reached (by a scope that was open before, or by
   * watching the fiber and the collection of garbage, as the balanced `HttpClient` does).
   */
  readonly outcome?: ((exit: Exit.Exit<A, E>, lease: Lease) => Outcome.Outcome | undefined) | undefined
  /** Makes the failure that the caller sees, of the last error and the trail of all attempts. Default: the error as it is. */
  readonly failure?: ((error: E, attempts: ReadonlyArray<Attempt>) => E) | undefined
  /**
   * Gives up a value that has taken its lease over, when hedging is on and the other copy was quicker. Default: nothing is
   * done about it.
   */
  readonly discard?: ((value: A) => Effect.Effect<void>) | undefined
}

/**
 * Options of a balancer.
 */
export interface Options {
  /** Further facts about keys, besides those of the pool, the policies and the selector. */
  readonly filters?: ReadonlyArray<Filter.Filter> | undefined
  /**
   * How many requests may wait when no key can serve at once: a whole number from 0 up, or `Infinity`. 0 refuses at once.
   * A full queue refuses newcomers, unless they are more urgent than who is in it. Default 10,000: a bound on memory
   * (about 1 KB each), not on patience.
   */
  readonly maxWaiting?: number | undefined
  /**
   * The longest that a request waits for a key, whatever for. Default: for a permit without limit (that is the `timeout`'s),
   * and for a key to return as long as the retry policy has patience: 30 seconds with `@evenkeel/retry`, not at all without.
   */
  readonly maxWait?: Duration.Input | undefined
  /** The deadline of a whole call, over all attempts and waits. Default: none. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * Spreads uses over the keys of the pool.
 */
export class Balancer extends Context.Service<
  Balancer,
  {
    /**
     * Runs `f` with a key, and again with another, or later, while the retry policy and the deadline allow. When no key can
     * serve at once, and one may before long, it waits in the queue.
     *
     * Fails with `NoEligibleKey` when no key can serve, with `DeadlineExceeded` when `timeout` has passed, with `PermitLost`
     * when strict mode has cut it off, and otherwise as the last `f` failed.
     */
    readonly use: <A, E, R>(
      f: (lease: Lease) => Effect.Effect<A, E, R>,
      options?: UseOptions<A, E>
    ) => Effect.Effect<A, E | NoEligibleKey | DeadlineExceeded | PermitLost, R>
    /**
     * A key for as long as the scope is open: for streams, and for uses that are no single effect. It is not retried, and
     * its `timeout` is that of finding a key.
     *
     * Unless it is settled by hand, closing the scope settles it: as `Success` of unknown cost, or as `Ignored` when the
     * scope closes with a failure or an interruption.
     */
    readonly lease: (
      options?: LeaseOptions
    ) => Effect.Effect<Lease, NoEligibleKey | DeadlineExceeded, Scope.Scope>
    /**
     * What would become of such a request now: for every key whether it could serve, or why not, since when and until when,
     * its numbers, and its place in the selector's preference. It changes nothing.
     */
    readonly explain: (options?: LeaseOptions) => Effect.Effect<Explanation>
    /**
     * What happens to requests, and to the pool, from the subscription on. Who falls more than 1,024 behind loses the
     * oldest; while nobody listens, nothing is made.
     */
    readonly events: Stream.Stream<BalancerEvent | PoolEvent>
    /**
     * Calls the observer with each of these events, in the step in which it happens, for as long as the scope is open.
     *
     * It misses none, and so is what metrics count with. It runs within requests: it must be quick, and what it throws is
     * logged and forgotten.
     */
    readonly observe: (
      observer: (event: BalancerEvent | PoolEvent) => void
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("@evenkeel/core/Balancer") {}

/**
 * Makes a balancer over the pool, with the selector and the policies of its surroundings.
 *
 * **Details**
 *
 * It dies with a `RangeError` that names the option when one is out of its range.
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Balancer["Service"], never, KeyPool | Selector | Scope.Scope> {
  const pool = yield* KeyPool
  const { engine } = pool
  const selector = yield* Selector
  const retry = yield* RetryPolicy
  const filters = [
    ...(selector.eligible === undefined ? [] : [selector.eligible]),
    ...(options.filters ?? [])
  ]
  const strategy: Strategy = {
    name: selector.name,
    picker: yield* selector.make,
    breaker: yield* Breaker,
    limiter: yield* Limiter,
    credits: yield* Credits,
    filter: filters.length === 0 ? undefined : Filter.all(...filters)
  }
  const room: Room = {
    engine,
    strategy,
    retry,
    hedging: yield* Hedging,
    permits: yield* Permits,
    events: yield* EventHub.make<BalancerEvent>(),
    maxWaiting: countOf("maxWaiting", options.maxWaiting ?? 10_000),
    maxWait: options.maxWait === undefined ? undefined : millisOf("maxWait", options.maxWait),
    patience: retry.patience === undefined ? 0 : millisOf("patience", retry.patience),
    timeout: millisOf("timeout", options.timeout ?? Infinity)
  }
  for (const { freed } of [strategy.breaker, strategy.limiter]) {
    if (freed === undefined) continue
    yield* Effect.acquireRelease(
      Effect.sync(() => freed(() => engine.waiting.wake())),
      (stop) => Effect.sync(stop)
    )
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => engine.strategies.add(strategy)),
    () => Effect.sync(() => engine.strategies.delete(strategy))
  )
  return Balancer.of({
    use:
      room.hedging === never
        ? (f, options) => once(room, f, options)
        : (f, options) => twice(room, f, options),
    lease: (options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.withFiber((fiber) =>
          Effect.tap(openPermitted(new Call(room, fiber, restore, options)), (lease) =>
            Effect.flatMap(Scope.Scope, (scope) =>
              Scope.addFinalizerExit(scope, (exit) =>
                lease.settle(exit._tag === "Success" ? Outcome.success() : Outcome.ignored())
              )
            )
          )
        )
      ),
    explain: (options) =>
      Effect.withFiber((fiber) =>
        Effect.sync(() => explain(new Call(room, fiber, (effect) => effect, options)))
      ),
    events: Stream.merge(room.events.stream, pool.changes),
    observe: (observer) => Effect.andThen(room.events.observe(observer), pool.observe(observer))
  })
})

/**
 * The layer of a balancer with options.
 */
export const layerWith = (options: Options): Layer.Layer<Balancer, never, KeyPool | Selector> =>
  Layer.effect(Balancer, make(options))

/**
 * The layer of a balancer.
 */
export const layer: Layer.Layer<Balancer, never, KeyPool | Selector> = layerWith({})

/**
 * One uninterruptible region holds the whole request, and only `f`, waiting and sleeping are let out of it: between the
 * count and its release there is no point at which an interruption could fall.
 */
const once = <A, E, R>(
  room: Room,
  f: (lease: Lease) => Effect.Effect<A, E, R>,
  options: UseOptions<A, E> | undefined,
  begun?: (call: Call) => void
) =>
  Effect.uninterruptibleMask((restore) => {
    const call = new Call(room, Fiber.getCurrent()!, restore, options)
    room.retry.begun?.(call.now())
    begun?.(call)
    const request = new Request(call, f, options).run()
    return begun === undefined ? finished(call, request) : request
  })

/** The request, and a copy of it on another key if it takes long. */
const twice = <A, E, R>(
  room: Room,
  f: (lease: Lease) => Effect.Effect<A, E, R>,
  options: UseOptions<A, E> | undefined
): ReturnType<typeof once<A, E, R>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) => {
      const { hedging } = room
      const asked = new Call(room, fiber, restore, options)
      const delay = hedging.delay(asked.demand().context)
      if (delay === undefined) return restore(once(room, f, options))
      let first: Call | undefined
      const both = hedge(
        {
          // Only the time of a use counts: a request that waits for a key, or to be tried again, is not slow.
          due: () => {
            const sent = first?.current?.context.nowMillis
            return first === undefined || sent === undefined ? delay : sent + delay - first.now()
          },
          request: once(room, f, options, (call) => void (first = call)),
          copy: () => {
            const lease = first?.current
            if (first === undefined || lease === undefined) return undefined
            const { id } = lease.key
            const other: Filter.Filter = (candidate) => (candidate.id === id ? inUse : undefined)
            const filter = options?.filter === undefined ? other : Filter.all(other, options.filter)
            const { upstream } = lease.context
            const demand = { ...first.demand(upstream), filter }
            const free = room.engine.verdicts(demand).some(([, no]) => no === undefined)
            // The budget is asked last: a copy that cannot be sent takes nothing of it.
            if (!free || !hedging.allow(lease.context)) return undefined
            if (room.events.heard)
              room.events.emit({ _tag: "Hedged", at: first.now(), upstream, delayMillis: delay })
            const original = first
            const unretried = { ...room, retry: neverRetries }
            return once(unretried, f, { ...options, filter, maxWait: 0 }, (call) => call.copies(original))
          },
          discard: options?.discard ?? (() => Effect.void)
        },
        restore
      )
      return finished(asked, both, () => first?.attempts ?? [])
    })
  )

const inUse: Filter.Ineligible = { reason: "hedged", scope: "request", since: undefined, until: undefined }

const explain = (call: Call): Explanation => {
  const { engine } = call.room
  const [asked, ...others] = call.upstreams()
  let demand = call.demand(asked)
  let keys = reports(engine, demand)
  let [last, lastKeys] = [demand, keys]
  for (const upstream of others) {
    if (lastKeys.some((key) => key.eligible) || engine.prospect(last)?.busy === true) break
    last = call.demand(upstream)
    lastKeys = reports(engine, last)
    if (lastKeys.some((key) => key.eligible)) [demand, keys] = [last, lastKeys]
  }
  const { nowMillis: at, upstream } = demand.context
  return { at, upstream, keys, retryAt: earliest(keys), waiting: engine.waiting.size }
}
