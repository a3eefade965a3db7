/**
 * One program of a scenario: a real pool and a real balancer with the strategy and the policies under test, and someone
 * who reads its credit now and then.
 */
import { Balancer, KeyPool, Outcome, SharedFacts, type Lease, type Selector } from "@evenkeel/core"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import { generator } from "./random.ts"
import type { Recorder, Ticket } from "./recorder.ts"
import type { Scenario } from "./scenario.ts"
import type { Attempt, Upstream } from "./upstream.ts"
import type { VirtualTime } from "./virtualTime.ts"
import { meanCost, type Request } from "./workload.ts"

/** What is the same for all processes of a run. */
export interface World {
  readonly scenario: Scenario
  readonly seed: string | number
  readonly time: VirtualTime
  readonly upstream: Upstream
  readonly recorder: Recorder
  readonly layer: Layer.Layer<Selector.Selector>
  readonly pool: Omit<KeyPool.Options, "keys">
  readonly balancer: Balancer.Options
}

export interface Process {
  readonly pool: KeyPool.KeyPool["Service"]
  readonly context: Context.Context<never>
  /** Serves a request. */
  readonly serve: (request: Request, ticket: Ticket) => Effect.Effect<Attempt, unknown>
}

/** The model that all requests name; faults of scope `upstream` are its. */
const model = "model"

export const make = Effect.fnUntraced(function* (
  world: World,
  index: number,
  facts: SharedFacts.SharedFacts | undefined
): Effect.fn.Return<Process, never, Scope.Scope> {
  const { scenario, seed, time } = world
  const context = Context.make(Clock.Clock, time.clock).pipe(
    Context.add(Scheduler.Scheduler, time.scheduler),
    Context.add(Random.Random, yield* generator(seed, `process-${index}`))
  )
  const keys = scenario.keys.map(({ account, id, maxInFlight, tier, weight }, n) => ({
    id,
    account,
    weight,
    tier,
    maxInFlight,
    // An id cannot hold a tilde, and so nothing of a secret.
    secret: `lab~${n}`
  }))
  const live = Balancer.layerWith(world.balancer).pipe(
    Layer.provide(world.layer),
    Layer.provideMerge(KeyPool.layer({ ...world.pool, keys }).pipe(Layer.orDie)),
    Layer.provide(Layer.succeed(SharedFacts.SharedFacts, facts ?? SharedFacts.local))
  )
  // A memo of its own, or all processes would share the state of one layer.
  const built = yield* Layer.buildWithMemoMap(live, Layer.makeMemoMapUnsafe(), yield* Effect.scope).pipe(
    Effect.provideContext(context)
  )
  const pool = Context.get(built, KeyPool.KeyPool)
  const balancer = Context.get(built, Balancer.Balancer)
  // Of processes that share facts one reads for all.
  if (facts?.leads?.() !== false) read(world, index, context, pool)
  return { pool, context, serve: serving(world, balancer) }
})

const serving = ({ recorder, scenario, time, upstream }: World, balancer: Balancer.Balancer["Service"]) => {
  const { costs, estimates } = scenario.readings
  const estimate = estimates ? meanCost(scenario.requests) : undefined
  const outcome = (exit: Exit.Exit<Attempt, Attempt>): Outcome.Outcome =>
    exit._tag === "Success"
      ? Outcome.success(costs ? exit.value.cost : undefined)
      : (refusalOf(exit) ?? Outcome.ignored())
  return (request: Request, ticket: Ticket) => {
    const use = (lease: Lease.Lease): Effect.Effect<Attempt, Attempt> =>
      Effect.callback((resume) => {
        const attempt = upstream.begin(lease.key.id, request, time.now)
        recorder.attempted(attempt, time.now)
        const end = () => {
          ticket.busy += time.now - attempt.beganAt
          upstream.end(attempt, time.now)
        }
        const ended = time.at(time.now + attempt.millis, () => {
          end()
          resume(attempt.status === 200 ? Effect.succeed(attempt) : Effect.fail(attempt))
        })
        const first =
          attempt.firstMillis === undefined
            ? undefined
            : time.at(time.now + attempt.firstMillis, () => {
                ticket.answeredAt = time.now
                lease.answeredUnsafe()
              })
        return Effect.sync(() => {
          ended.run = undefined
          if (first !== undefined) first.run = undefined
          end()
        })
      })
    return balancer.use(use, {
      upstream: model,
      affinity: request.session,
      tokens: request.prompt + request.completion,
      promptTokens: request.prompt,
      estimate,
      outcome
    })
  }
}

const refusalOf = (exit: Exit.Failure<Attempt, Attempt>): Outcome.Faulted | undefined => {
  const reason = exit.cause.reasons.find(({ _tag }) => _tag === "Fail")
  return reason?._tag === "Fail" ? reason.error.refusal : undefined
}

/**
 * Reads what is left of every cap: at once, and then every so often, each process at a time of its own. With a lag the
 * source tells what was left so long before.
 */
const read = (
  { scenario, time, upstream }: World,
  index: number,
  context: Context.Context<never>,
  pool: KeyPool.KeyPool["Service"]
): void => {
  const capped = scenario.keys.filter(({ cap }) => cap !== undefined)
  if (capped.length === 0) return
  const every = scenario.readings.everySeconds * 1000
  const lag = scenario.readings.lagSeconds * 1000
  const run = Effect.runForkWith(context)
  const look = () => capped.map(({ cap, id }) => ({ id, limit: cap!, ...upstream.reading(id, time.now) }))
  const tell = (readings: ReturnType<typeof look>) => {
    for (const { id, limit, remaining, resetsAt } of readings)
      run(pool.credit(id, { remaining, resetsAt, limit, lag, requestedAt: time.now, freshFor: 2 * every }))
  }
  const next = (at: number) => {
    time.at(at - lag, () => {
      const readings = look()
      time.at(at, () => tell(readings))
      next(at + every)
    })
  }
  tell(look())
  next(time.now + every * (1 + index / scenario.processes))
}
