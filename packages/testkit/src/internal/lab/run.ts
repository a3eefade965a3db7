/**
 * One run: a scenario under one strategy, from the first request to the last answer.
 */
import type { Balancer, KeyPool, Selector } from "@evenkeel/core"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Facts from "./facts.ts"
import * as Process from "./process.ts"
import { stream } from "./random.ts"
import { Recorder } from "./recorder.ts"
import type { Scenario } from "./scenario.ts"
import { Upstream } from "./upstream.ts"
import { VirtualTime } from "./virtualTime.ts"
import * as Workload from "./workload.ts"

export interface Settings {
  readonly scenario: Scenario
  readonly seed: string | number
  readonly strategy: string
  readonly layer: Layer.Layer<Selector.Selector>
  readonly pool: Omit<KeyPool.Options, "keys">
  readonly balancer: Balancer.Options
}

/** Virtual milliseconds after the last arrival at which who is still under way is given up. */
const patience = 3_600_000

/** How often what is in flight is looked at. */
const samples = 500

/** How many events are run before the host's other fibers have their turn. */
const slice = 4096

export const run = Effect.fnUntraced(function* ({ strategy, ...settings }: Settings) {
  const { scenario, seed } = settings
  const startsAt = Date.parse(scenario.startsAt)
  const time = new VirtualTime(startsAt)
  const upstream = new Upstream(scenario, startsAt, yield* stream(seed, "faults"))
  const recorder = new Recorder(scenario, startsAt)
  const world: Process.World = { ...settings, time, upstream, recorder }
  const shared = scenario.facts === undefined ? [] : Facts.make(time, scenario.processes, scenario.facts)
  const processes: Array<Process.Process> = []
  for (let i = 0; i < scenario.processes; i++) processes.push(yield* Process.make(world, i, shared[i]))
  const forks = processes.map(({ context }) => Effect.runForkWith(context))

  const next = yield* Workload.make(scenario, seed)
  const underWay = new Set<Fiber.Fiber<unknown, unknown>>()
  let upcoming = next()
  let defect: Cause.Cause<unknown> | undefined
  const arrive = (request: Workload.Request) => {
    upcoming = next()
    if (upcoming !== undefined) schedule(upcoming)
    const ticket = recorder.began(time.now)
    const fiber = forks[request.process]!(processes[request.process]!.serve(request, ticket))
    underWay.add(fiber)
    fiber.addObserver((exit) => {
      underWay.delete(fiber)
      if (exit._tag === "Failure" && Cause.hasDies(exit.cause)) defect ??= exit.cause
      recorder.ended(ticket, exit, time.now)
    })
  }
  const schedule = (request: Workload.Request) => time.at(startsAt + request.at, () => arrive(request))
  if (upcoming !== undefined) schedule(upcoming)

  const end = startsAt + scenario.seconds * 1000
  const step = (scenario.seconds * 1000) / samples
  const sample = (at: number): unknown =>
    at < end && time.at(at, () => (recorder.sampled(upstream.keys), sample(at + step)))
  sample(startsAt + step)
  let abandoned = false
  const over = () => abandoned || defect !== undefined || (upcoming === undefined && underWay.size === 0)
  const advance = () => {
    for (let i = 0; i < slice && !over(); i++) {
      if (time.now <= end + patience && time.step()) continue
      // Nothing will happen any more, or nothing but readings.
      abandoned = true
      for (const fiber of underWay) fiber.interruptUnsafe()
      time.scheduler.drain()
    }
  }
  while (!over()) {
    time.scheduler.driven(advance)
    yield* Effect.yieldNow
  }
  // The program of a strategy is wrong; the caller should see how.
  if (defect !== undefined) return yield* Effect.failCause(defect as Cause.Cause<never>)
  // The last answers are news to the others, who count what they hear of.
  const { everySeconds, lagSeconds } = scenario.facts ?? { everySeconds: 0, lagSeconds: 0 }
  const known = time.now + 2000 * (everySeconds + lagSeconds)
  time.scheduler.driven(() => {
    while (scenario.facts !== undefined && time.now <= known && time.step());
  })
  const left = { inFlight: 0, waiting: 0 }
  for (const { context, pool } of processes) {
    const { keys, waiting } = yield* Effect.provideContext(pool.snapshot, context)
    left.waiting += waiting
    for (const { inFlight } of keys) left.inFlight += inFlight
  }
  return recorder.report(strategy, upstream.keys, left)
}, Effect.scoped)
