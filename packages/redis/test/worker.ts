/**
 * A process of a fleet: a pool, a balancer and shared facts, worked by messages from its parent. What it calls is a bank in
 * Redis that belongs to the test: it knows what each key has left, and how many uses of it are under way.
 */
import { NodeRedis } from "@effect/platform-node"
import { Balancer, Errors, KeyPool, Outcome, Selector, SharedFacts, type Key } from "@evenkeel/core"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { RedisConnection, RedisFacts, Sharing, StrictPermits } from "@evenkeel/redis"
import { Context, Effect, Layer, Logger, ManagedRuntime, Metric, Random, References, Stream } from "effect"
import { inspect } from "node:util"
import { createClient } from "redis"

export interface Setup {
  readonly url: string
  readonly keys: ReadonlyArray<Key.Input>
  readonly facts?: RedisFacts.Options | undefined
  readonly strict?: StrictPermits.Options | undefined
}

export interface Load {
  readonly requests: number
  readonly concurrency: number
  /** Milliseconds that a use takes: from, to. */
  readonly millis: readonly [number, number]
  /** USD: what a request may cost, and does cost at least. */
  readonly estimate?: number
  readonly atLeast?: number
  /** Takes the cost from the bank's account of the key: what is not there is refused with a 402. */
  readonly bank?: boolean
  /** What each request asks for. */
  readonly tokens?: number
  /** Counts uses under way in Redis. */
  readonly counted?: boolean
}

export interface Report {
  readonly succeeded: number
  readonly refused: number
  readonly failed: number
  /** Uses that the bank refused for want of money. */
  readonly broke: number
  /** The most uses of one key at once that this process has met. */
  readonly most: number
}

const setup: Setup = JSON.parse(process.argv[2]!)

/** All that was logged, and how uses failed: the first of each, as text. */
const noted: Array<string> = []
const note = (value: unknown): void => {
  if (noted.length < 1000) noted.push(inspect(value, { depth: 20, getters: true }))
}

const redisLive = RedisConnection.patient(
  NodeRedis.layer({
    url: setup.url,
    disableOfflineQueue: true,
    socket: { reconnectStrategy: 50, connectTimeout: 1000 }
  })
)
const factsLive = RedisFacts.layer(setup.facts).pipe(Layer.provide(redisLive))
const strictLive =
  setup.strict === undefined ? Layer.empty : StrictPermits.layer(setup.strict).pipe(Layer.provide(redisLive))
const live = Balancer.layer.pipe(
  Layer.provideMerge(CircuitBreaker.layer()),
  Layer.provide(strictLive),
  Layer.provide(Selector.layer(Selector.leastBy((key) => key.inFlight / key.weight))),
  Layer.provideMerge(KeyPool.layer({ keys: setup.keys, slowStart: 0 })),
  Layer.provideMerge(factsLive),
  Layer.provideMerge(
    Layer.merge(
      Logger.layer([Logger.make((entry) => note(entry))]),
      Layer.succeed(References.MinimumLogLevel, "All")
    )
  )
)

const bank = createClient({ url: setup.url, disableOfflineQueue: true })
bank.on("error", () => {})

/** Uses under way by key, as this process knows them. */
const under: Record<string, number> = {}
const held: Array<() => void> = []
/** How uses that were held have failed. */
const cut: Array<unknown> = []
let stopped = false

const main = Effect.gen(function* () {
  const balancer = yield* Balancer.Balancer
  const pool = yield* KeyPool.KeyPool
  const sharing = yield* Sharing.Sharing
  const shared = yield* SharedFacts.SharedFacts
  const circuits = yield* CircuitBreaker.CircuitBreaker

  const events: Array<unknown> = []
  yield* Effect.forkDetach(
    Stream.runForEach(pool.changes, (event) => Effect.sync(() => events.push({ ...event, at: Date.now() })))
  )

  const settle = (cost: number) => (exit: { readonly _tag: string }) =>
    exit._tag === "Success" ? Outcome.success(cost) : undefined

  const run = Effect.fnUntraced(function* (load: Load) {
    const report = { succeeded: 0, refused: 0, failed: 0, broke: 0, most: 0 }
    stopped = false
    let left = load.requests
    const one = Effect.gen(function* () {
      const [from, to] = load.millis
      const millis = from + (to - from) * (yield* Random.next)
      const least = load.atLeast ?? 0
      const cost = least + ((load.estimate ?? 0) - least) * (yield* Random.next)
      const exit = yield* Effect.exit(
        balancer.use(
          (lease) => {
            const { id } = lease.key
            under[id] = (under[id] ?? 0) + 1
            const work = Effect.gen(function* () {
              if (load.counted === true)
                report.most = Math.max(
                  report.most,
                  yield* Effect.promise(() => bank.incr(`test:under:${id}`))
                )
              if (millis > 0) yield* Effect.sleep(millis)
              if (load.counted === true) yield* Effect.promise(() => bank.decr(`test:under:${id}`))
              if (load.bank !== true) return
              const nanos = Math.round(cost * 1e9)
              const balance = yield* Effect.promise(() => bank.decrBy(`test:bank:${id}`, nanos))
              if (balance >= 0) return
              report.broke++
              return yield* new Errors.Fault({
                outcome: Outcome.faulted({ scope: "key", reason: "exhausted", cost: 0 })
              })
            })
            return Effect.ensuring(
              work,
              Effect.sync(() => void under[id]!--)
            )
          },
          {
            estimate: load.estimate,
            tokens: load.tokens,
            outcome: (exit) => settle(cost)(exit) ?? Balancer.outcomeOf(exit)
          }
        )
      )
      if (exit._tag === "Failure") note(exit)
      if (exit._tag === "Success") report.succeeded++
      else if (exit.cause.reasons.some((one) => one._tag === "Fail" && one.error._tag === "NoEligibleKey"))
        report.refused++
      else report.failed++
    })
    const loop: Effect.Effect<void> = Effect.suspend(() =>
      left-- > 0 && !stopped ? Effect.andThen(one, loop) : Effect.void
    )
    yield* Effect.all(
      Array.from({ length: load.concurrency }, () => loop),
      {
        concurrency: "unbounded",
        discard: true
      }
    )
    return report
  })

  const operations: Record<string, (argument: any) => Effect.Effect<unknown, unknown>> = {
    run,
    stop: () => Effect.sync(() => void (stopped = true)),
    under: () => Effect.sync(() => ({ ...under })),
    /** Opens uses that last until the process ends. */
    hold: (count: number) =>
      Effect.gen(function* () {
        for (let i = 0; i < count; i++) {
          yield* Effect.callback<void>((began) => {
            const use = balancer.use(({ key: { id } }) => {
              under[id] = (under[id] ?? 0) + 1
              const holding = Effect.callback<void>((end) => {
                held.push(() => end(Effect.void))
                began(Effect.void)
              })
              return Effect.ensuring(
                holding,
                Effect.sync(() => void under[id]!--)
              )
            })
            const failed = (error: { readonly _tag: string }) =>
              Effect.sync(() => {
                cut.push(error._tag)
                note(error)
              })
            Effect.runFork(Effect.catch(use, failed))
          })
        }
      }),
    unhold: () => Effect.sync(() => held.splice(0).forEach((end) => end())),
    fault: ({ scope, reason, upstream }: any) =>
      Effect.ignore(
        balancer.use(() => Effect.fail(new Errors.Fault({ outcome: Outcome.faulted({ scope, reason }) })), {
          upstream
        })
      ),
    credit: ({ id, remaining }: any) => pool.credit(id, { remaining }),
    bench: (bench: any) => pool.bench(bench),
    readmit: ({ scope, id }: any) => pool.readmit(scope, id),
    learn: ({ id, ...owner }: any) => pool.learn(id, owner),
    drain: (id: string) => Effect.forkDetach(pool.drain(id)),
    resume: (id: string) => pool.resume(id),
    remove: (id: string) => pool.remove(id),
    add: (key: any) => Effect.asVoid(pool.add(key)),
    /** What has happened in the pool, and when. */
    events: () => Effect.sync(() => events),
    /** Everything that this process says of itself. */
    said: () =>
      Effect.gen(function* () {
        const state = [yield* pool.snapshot, yield* sharing.snapshot, yield* balancer.explain()]
        const fleet = yield* Effect.option(sharing.fleet)
        return [...noted, inspect([state, fleet, yield* Metric.dump], { depth: 20 })]
      }),
    open: ({ target, millis }: any) => circuits.open(target, millis),
    close: (target: any) => circuits.close(target),
    circuits: () => circuits.troubled,
    keys: () => Effect.map(pool.snapshot, ({ keys }) => keys),
    benches: () => Effect.map(pool.snapshot, ({ benches }) => benches),
    sharing: () => sharing.snapshot,
    leads: () => Effect.sync(() => shared.leads!()),
    cut: () => Effect.sync(() => cut),
    lost: () => Effect.map(Metric.value(StrictPermits.lost), ({ count }) => Number(count)),
    lapsed: () => Effect.map(Metric.value(StrictPermits.lapsed), ({ count }) => Number(count)),
    unguarded: () => Effect.map(Metric.value(StrictPermits.unguarded), ({ count }) => Number(count))
  }
  return operations
})

const runtime = ManagedRuntime.make(live)
const operations = await runtime.runPromise(main)
// A Redis that is away is not waited for.
await Promise.race([bank.connect(), new Promise((resolve) => setTimeout(resolve, 500))])
process.on("message", ({ id, operation, argument }: any) => {
  runtime.runPromise(Effect.result(operations[operation]!(argument))).then(
    (result) =>
      process.send!(
        result._tag === "Success"
          ? {
              id,
              result:
                result.success instanceof Object ? JSON.parse(JSON.stringify(result.success)) : result.success
            }
          : { id, error: String(result.failure) }
      ),
    (error) => process.send!({ id, error: String(error) })
  )
})
process.on("disconnect", () => process.exit(0))
process.on("SIGTERM", () => void runtime.dispose().then(() => process.exit(0)))
process.send!({ id: 0, result: Context.get(await runtime.context(), Sharing.Sharing).process })
