/**
 * Every lease variant, interrupted at every point at which a fiber may yield: the substitute, for one thread, of a test
 * for linearizability. A count that is raised at a different step than the one that guards it leaks at some of them.
 */
import { Balancer, Hedging, KeyPool, Outcome, RetryPolicy } from "@evenkeel/core"
import type { Lease } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Scheduler, Scope } from "effect"
import { fault, holding, key, layerOf, ok, patient, policy, rotating, type Parts } from "./utils.ts"

/** Yields once, at the given operation of the fibers that use it, and resumes when told to. */
class YieldAt extends Scheduler.MixedScheduler {
  private operations = 0
  private readonly points: ReadonlyArray<number>
  private readonly tasks: Array<() => void> = []
  hits = 0

  constructor(...points: ReadonlyArray<number>) {
    super()
    this.points = points
  }

  override shouldYield(): boolean {
    if (++this.operations !== this.points[this.hits]) return false
    this.hits++
    return true
  }

  override makeDispatcher() {
    const dispatcher = super.makeDispatcher()
    dispatcher.scheduleTask = (task) => void this.tasks.push(task)
    return dispatcher
  }

  /** Lets who has yielded go on. */
  resume(): void {
    for (let task = this.tasks.shift(); task !== undefined; task = this.tasks.shift()) task()
  }
}

/** A clock that goes on by 100 ms with the event, and a sleep that lasts until it. */
const time = { now: 0 }
const gates = new Set<() => void>()
const pause = Effect.callback<void>((resume) => {
  const open = () => resume(Effect.void)
  gates.add(open)
  return Effect.sync(() => gates.delete(open))
})
const still: Clock.Clock = {
  currentTimeMillisUnsafe: () => time.now,
  currentTimeMillis: Effect.sync(() => time.now),
  currentTimeNanosUnsafe: () => 0n,
  currentTimeNanos: Effect.succeed(0n),
  monotonicTimeNanosUnsafe: () => 0n,
  monotonicTimeNanos: Effect.succeed(0n),
  sleep: () => pause
}

interface Variant {
  readonly name: string
  readonly program: (parts: Parts) => Effect.Effect<unknown, unknown>
  /** A use that holds the only permit until the event. */
  readonly blocked?: boolean
  /** Milliseconds for which the key is out at first. */
  readonly cooling?: number
  readonly retry?: RetryPolicy.RetryPolicy
  readonly hedging?: Hedging.Hedging
  /** How many points the program has at least. */
  readonly least: number
}

/** In which order the interruption, the event that the program waits for, and its resumption come. */
const orders = [
  "interrupt event resume",
  "event interrupt resume",
  "interrupt resume event",
  "event resume interrupt",
  // Nobody rescues a program that has missed its event while it yielded.
  "event resume"
] as const

interface Run {
  readonly hits: number
  readonly left: readonly [inFlight: number, waiting: number]
}

/** One run that yields at the points; what is left over when everything has ended. */
const run = (variant: Variant, order: string, points: ReadonlyArray<number>) =>
  Effect.gen(function* () {
    const balancer = yield* Balancer.Balancer
    const pool = yield* KeyPool.KeyPool
    const { held, use } = holding()
    time.now = 0
    if (variant.cooling !== undefined)
      yield* pool.bench({ scope: "key", id: "a", reason: "throttled", for: variant.cooling })
    const blocker = variant.blocked
      ? yield* Effect.forkChild(balancer.use(use), { startImmediately: true })
      : undefined
    const scheduler = new YieldAt(...points)
    const fiber = yield* Effect.forkChild(
      Effect.provideService(variant.program({ balancer, pool }), Scheduler.Scheduler, scheduler),
      { startImmediately: true }
    )
    const event = Effect.sync(() => {
      time.now += 100
      held[0]?.end(Exit.void)
      for (const open of Array.from(gates)) {
        gates.delete(open)
        open()
      }
    })
    if (scheduler.hits === 0) yield* event
    const hit = scheduler.hits > 0
    for (const step of order.split(" ")) {
      if (step === "interrupt" && hit) fiber.interruptUnsafe()
      if (step === "event") yield* event
      if (step === "resume") scheduler.resume()
    }
    for (let round = 0; fiber.pollUnsafe() === undefined; round++) {
      assert.isBelow(round, 20, `yield at ${points.join(" and ")}, ${order}: the program does not end`)
      scheduler.resume()
      yield* event
    }
    if (blocker !== undefined) yield* Fiber.await(blocker)
    const snapshot = yield* pool.snapshot
    const left = [snapshot.keys.reduce((sum, one) => sum + one.inFlight, 0), snapshot.waiting] as const
    return { hits: scheduler.hits, left } satisfies Run
  }).pipe(
    Effect.provide(
      layerOf({
        keys: [
          key("a", { maxInFlight: variant.blocked ? 1 : 2 }),
          ...(variant.hedging === undefined ? [] : [key("b")])
        ],
        retry: variant.retry ?? RetryPolicy.never,
        hedging: variant.hedging ?? Hedging.never
      })
    ),
    Effect.provideService(Clock.Clock, still)
  )

/** Runs the variant with a yield at 1, 2, 3, … until none is reached; the points at which something was left over. */
const exhaust = (variant: Variant) =>
  Effect.gen(function* () {
    const leaks: Array<string> = []
    let reached = 0
    for (let point = 1; ; point++) {
      let hits = 0
      for (const order of orders) {
        const { hits: now, left } = yield* run(variant, order, [point])
        hits = Math.max(hits, now)
        if (left[0] !== 0 || left[1] !== 0)
          leaks.push(`yield at ${point}, ${order}: in flight, waiting = ${left.join(", ")}`)
      }
      if (hits === 0) return { leaks, reached }
      reached = point
    }
  })

const handover = {
  outcome: (exit: Exit.Exit<unknown, unknown>) => (Exit.isSuccess(exit) ? undefined : Outcome.ignored())
}

/**
 * A value that holds its key until its scope closes, as the body of a response does. The scope takes the lease over
 * while `use` still guards it: a value can be lost between the end of `use` and whatever comes behind it.
 */
const handoff = ({ balancer }: Parts) =>
  Effect.scoped(
    Effect.flatMap(Scope.Scope, (scope) =>
      Effect.andThen(
        balancer.use(
          (lease) =>
            Effect.as(
              Scope.addFinalizerExit(scope, () => lease.settle(Outcome.success())),
              lease
            ),
          handover
        ),
        pause
      )
    )
  )

const once = () => {
  let failed = false
  return Effect.suspend(() => {
    if (failed) return ok
    failed = true
    return fault("key", "unavailable")
  })
}

const down = fault("upstream", "unavailable")

const hedging: Hedging.Hedging = {
  name: "test",
  delay: () => 100,
  allow: () => true,
  observe: () => {}
}

const variants: ReadonlyArray<Variant> = [
  {
    name: "a use that succeeds",
    program: ({ balancer }) => balancer.use(() => Effect.andThen(pause, ok)),
    least: 10
  },
  {
    name: "a use that fails",
    program: ({ balancer }) => balancer.use(() => Effect.andThen(pause, Effect.fail("no"))),
    least: 10
  },
  {
    name: "a use that faults",
    program: ({ balancer }) => balancer.use(() => Effect.andThen(pause, fault("upstream", "unavailable"))),
    least: 12
  },
  { name: "a use that hands its lease over", program: handoff, least: 12 },
  {
    name: "a scoped lease",
    program: ({ balancer }) => Effect.scoped(Effect.andThen(balancer.lease(), pause)),
    least: 12
  },
  {
    name: "a use that waits for its permit",
    program: ({ balancer }) => balancer.use(() => Effect.andThen(pause, ok)),
    blocked: true,
    least: 12
  },
  {
    name: "a scoped lease that waits for its permit",
    program: ({ balancer }) => Effect.scoped(Effect.andThen(balancer.lease(), pause)),
    blocked: true,
    least: 12
  },
  {
    name: "a use that is retried after a sleep",
    program: ({ balancer }) => {
      const use = once()
      return balancer.use(() => use)
    },
    retry: policy((failure) =>
      failure.attempt === 0 ? RetryPolicy.retry(Duration.millis(100)) : RetryPolicy.stop
    ),
    least: 20
  },
  {
    name: "a waiting use that is retried at once",
    program: ({ balancer }) => {
      const use = once()
      return balancer.use(() => use)
    },
    blocked: true,
    retry: policy((failure) => (failure.attempt < 2 ? RetryPolicy.retry(Duration.zero) : RetryPolicy.stop)),
    least: 20
  },
  {
    name: "a use with a deadline",
    program: ({ balancer }) => balancer.use(() => Effect.andThen(pause, ok), { timeout: 100 }),
    least: 12
  },
  {
    name: "a use that its deadline cuts off",
    program: ({ balancer }) => balancer.use(() => Effect.never, { timeout: 100 }),
    least: 11
  },
  {
    name: "a use that waits for its permit, up to a time",
    program: ({ balancer }) => balancer.use(() => Effect.andThen(pause, ok), { maxWait: 100 }),
    blocked: true,
    least: 20
  },
  {
    name: "a use with a deadline that waits for its permit",
    program: ({ balancer }) => balancer.use(() => Effect.andThen(pause, ok), { timeout: 100 }),
    blocked: true,
    least: 20
  },
  {
    name: "a use that waits for a key to return",
    program: ({ balancer }) => balancer.use(() => Effect.andThen(pause, ok)),
    cooling: 100,
    retry: patient(Infinity),
    least: 12
  },
  {
    name: "a use that goes on to an alternative",
    program: ({ balancer }) =>
      balancer.use(({ context }) => Effect.andThen(pause, context.upstream === "y" ? ok : down), {
        upstream: "x",
        alternatives: ["y"]
      }),
    retry: rotating,
    least: 20
  },
  {
    name: "a hedged use whose copy wins",
    program: ({ balancer }) =>
      balancer.use(({ key }) => (key.id === "a" ? Effect.never : Effect.andThen(pause, ok))),
    hedging,
    least: 30
  },
  {
    name: "a hedged use that wins over its copy",
    program: ({ balancer }) =>
      balancer.use(({ key }) =>
        key.id === "a" ? Effect.andThen(Effect.andThen(pause, pause), ok) : Effect.never
      ),
    hedging,
    least: 30
  },
  {
    name: "a hedged use of which both fail, with a deadline",
    program: ({ balancer }) =>
      balancer.use(() => Effect.andThen(Effect.andThen(pause, pause), down), { timeout: 1000 }),
    hedging,
    least: 30
  }
]

describe("Interrupted at every yield point", () => {
  for (const variant of variants) {
    it.effect(`${variant.name} leaves nothing in flight and nobody waiting`, () =>
      Effect.gen(function* () {
        const { leaks, reached } = yield* exhaust(variant)
        assert.deepStrictEqual(leaks, [])
        assert.isAtLeast(reached, variant.least)
      })
    )
  }

  for (const variant of variants.filter(({ blocked }) => blocked)) {
    it.effect(`${variant.name} leaves nothing, even when it yields once more on its way out`, () =>
      Effect.gen(function* () {
        const { reached } = yield* exhaust(variant)
        let twice = 0
        for (let one = 1; one <= reached; one++) {
          for (let two = one + 1; two <= one + 15; two++) {
            const { hits, left } = yield* run(variant, "interrupt resume event", [one, two])
            if (hits === 2) twice++
            assert.deepStrictEqual(left, [0, 0], `yields at ${one} and ${two}`)
          }
        }
        assert.isAtLeast(twice, 50)
      })
    )
  }

  it.effect("a variant that counts in one step and guards in the next does leak here", () => {
    const leaky: Variant = {
      name: "leaky",
      least: 0,
      program: ({ balancer }) => {
        // Guarded only behind the use: at one point an interruption makes the fiber forget the value.
        const open = balancer.use((lease: Lease.Lease) => Effect.succeed(lease), handover)
        return Effect.flatMap(open, (lease) => Effect.onExit(pause, () => lease.settle(Outcome.success())))
      }
    }
    let count = 0
    const counting: Variant = {
      name: "suspend and onExit",
      least: 0,
      program: ({ pool }) =>
        Effect.suspend(() => {
          count++
          return Effect.onExit(pause, () => Effect.sync(() => void count--))
        }).pipe(Effect.andThen(pool.snapshot))
    }
    return Effect.gen(function* () {
      assert.isAtLeast((yield* exhaust(leaky)).leaks.length, 1)
      let leaks = 0
      for (let point = 1; ; point++) {
        count = 0
        const { hits } = yield* run(counting, "interrupt resume event", [point])
        if (count !== 0) leaks++
        if (hits === 0) break
      }
      assert.isAtLeast(leaks, 1)
    })
  })
})
