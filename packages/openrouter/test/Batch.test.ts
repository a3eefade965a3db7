import { type Balancer, Errors, KeyPool, Selector } from "@evenkeel/core"
import { Batch, ChatResponse, OpenRouter, OpenRouterError } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Result, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type Body, eventually, hello, helloCost, inFlight, keys, met, poolOf, running } from "./utils.ts"

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

/** A generator: its length is not known, and it tells how far it was read. */
const counting = (count: number) => {
  const counter = { read: 0 }
  function* items() {
    for (let index = 0; index < count; index++) {
      counter.read++
      yield index
    }
  }
  return { counter, items: items() }
}

/** Work that tells how much of it is under way. */
const gauge = () => {
  const now = { running: 0, most: 0, begun: 0, ended: 0 }
  const measured = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      now.begun++
      now.most = Math.max(now.most, ++now.running)
      return effect
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          now.running--
          now.ended++
        })
      )
    )
  return { now, measured }
}

const quiet = Effect.repeat(Effect.yieldNow, { times: 100 })

const valuesOf = <A, E>(items: ReadonlyArray<Batch.Item<A, E>>) =>
  items.map(({ result }) => (Result.isSuccess(result) ? result.success : "failed"))

/** Collects under a clock that moves on until all is done. */
const collected = Effect.fnUntraced(function* <A, E>(stream: Stream.Stream<A, E>) {
  const fiber = yield* Effect.forkChild(Stream.runCollect(stream), { startImmediately: true })
  yield* TestClock.adjust("1 hour")
  return yield* Fiber.join(fiber)
})

describe("the options of its calls", () => {
  it.live("hold for each prompt: a deadline counts from its own beginning", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      yield* simulator.fault({ times: 3, action: Simulator.actions.stall("500 millis") })
      yield* simulator.fault({ times: 1, action: Simulator.actions.stall() })
      const live = OpenRouter.layerWith({ baseUrl: simulator.baseUrl, credits: false }).pipe(
        Layer.provide([Selector.layer(Selector.random), NodeHttpClient.layerUndici, poolOf(simulator)])
      )
      const requests = upTo(4).map(() => hello)
      // One after the other: together they take longer than each may.
      const options = { concurrency: 1, timeout: "1400 millis" } as const
      const items = yield* Effect.provide(Batch.run(requests, options), live)
      assert.deepStrictEqual(
        items.map(({ result }) => (Result.isSuccess(result) ? "ok" : result.failure._tag)),
        ["ok", "ok", "ok", "DeadlineExceeded"]
      )
    }).pipe(Effect.provide(Simulator.layer({ keys: keys("a") })))
  )
})

describe("concurrency", () => {
  for (const [given, expected] of [
    [1, 1],
    [3, 3],
    [undefined, 16],
    [1000, 40]
  ] as const) {
    for (const order of ["input", "completion"] as const) {
      it.effect(`of ${given} has ${expected} of 40 requests under way, with the results by ${order}`, () =>
        Effect.gen(function* () {
          const { measured, now } = gauge()
          const items = yield* collected(
            Batch.streamWith(upTo(40), (n) => measured(Effect.as(Effect.sleep(10), n)), {
              concurrency: given,
              order
            })
          )
          assert.strictEqual(now.most, expected)
          assert.strictEqual(now.running, 0)
          assert.strictEqual(items.length, 40)
        })
      )
    }
  }

  for (const concurrency of [0, -1, 1.5, NaN, Infinity, "4" as never]) {
    it.effect(`of ${String(concurrency)} is refused`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          Stream.runCollect(Batch.streamWith([1], Effect.succeed, { concurrency }))
        )
        assert.instanceOf(error, OpenRouterError.InvalidOption)
        assert.strictEqual(error.option, "concurrency")
      })
    )
  }

  it.effect("may be given with no order but the two", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Stream.runCollect(Batch.streamWith([1], Effect.succeed, { order: "random" as never }))
      )
      assert.instanceOf(error, OpenRouterError.InvalidOption)
      assert.strictEqual(error.option, "order")
    })
  )
})

describe("order", () => {
  // Each takes as long as the number says.
  const delays = [30, 10, 20, 40, 5]
  const wait = (millis: number) => Effect.as(Effect.sleep(millis), millis)

  it.effect("is that of the requests, unless told otherwise", () =>
    Effect.gen(function* () {
      const items = yield* collected(Batch.streamWith(delays, wait))
      assert.deepStrictEqual(valuesOf(items), delays)
      assert.deepStrictEqual(
        items.map(({ index }) => index),
        [0, 1, 2, 3, 4]
      )
      assert.deepStrictEqual(
        items.map(({ durationMillis }) => durationMillis),
        delays
      )
    })
  )

  it.effect("as they complete keeps the index of each", () =>
    Effect.gen(function* () {
      const items = yield* collected(Batch.streamWith(delays, wait, { order: "completion" }))
      assert.deepStrictEqual(
        items.map(({ index }) => index),
        [4, 1, 2, 0, 3]
      )
      assert.deepStrictEqual(valuesOf(items), [5, 10, 20, 30, 40])
    })
  )

  it.effect("as they complete gives each as soon as it is there", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const fiber = yield* Effect.forkChild(
        Batch.streamWith(delays, wait, { order: "completion" }).pipe(
          Stream.runForEach(({ index }) => Effect.sync(() => void seen.push(index)))
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust(12)
      assert.deepStrictEqual(seen, [4, 1])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(seen, [4, 1, 2])
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("a generator's and a stream's is the same", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(valuesOf(yield* collected(Batch.streamWith(new Set(delays), wait))), delays)
      assert.deepStrictEqual(
        valuesOf(yield* collected(Batch.streamWith(Stream.fromArray(delays), wait))),
        delays
      )
      assert.deepStrictEqual(
        valuesOf(yield* collected(Batch.streamWith(counting(5).items, Effect.succeed))),
        upTo(5)
      )
    })
  )
})

describe("results", () => {
  it.effect("of one failure leave the others as they are", () =>
    Effect.gen(function* () {
      const items = yield* collected(
        Batch.streamWith(upTo(6), (n): Effect.Effect<number, "typed"> =>
          n === 1
            ? Effect.fail("typed" as const)
            : n === 2
              ? Effect.die(new Error("boom"))
              : n === 3
                ? Effect.interrupt
                : n === 4
                  ? Effect.suspend(() => {
                      throw new Error("thrown")
                    })
                  : Effect.succeed(n)
        )
      )
      assert.deepStrictEqual(
        items.map(({ result }) => {
          if (Result.isSuccess(result)) return result.success
          // The type of a failure is that of `f`, or a Defect.
          return result.failure === "typed" ? result.failure : result.failure._tag
        }),
        [0, "typed", "Defect", "Defect", "Defect", 5]
      )
      const defect = (index: number) => (items[index]!.result as Result.Failure<never, Batch.Defect>).failure
      assert.include(defect(2).message, "boom")
      assert.isTrue(Cause.hasInterruptsOnly(defect(3).cause))
      assert.include(defect(4).message, "thrown")
    })
  )

  it.effect("of a function that throws before it has an effect is a Defect too", () =>
    Effect.gen(function* () {
      const items = yield* collected(
        Batch.streamWith(upTo(2), (n): Effect.Effect<number> => {
          if (n === 0) throw new Error("early")
          return Effect.succeed(n)
        })
      )
      assert.deepStrictEqual(valuesOf(items), ["failed", 1])
    })
  )

  it.effect("of an empty batch are none, and it ends", () =>
    Effect.gen(function* () {
      for (const empty of [[], new Set<number>(), Stream.empty]) {
        const events: Array<Batch.Progress> = []
        const items = yield* collected(
          Batch.streamWith(empty as Array<number>, Effect.succeed, {
            onProgress: (event) => Effect.sync(() => void events.push(event))
          })
        )
        assert.deepStrictEqual(items, [])
        assert.deepStrictEqual(
          events.map(({ _tag, progress }) => [_tag, progress.succeeded, progress.failed]),
          [["Ended", 0, 0]]
        )
      }
    })
  )

  it.effect("are given before a stream of requests fails, and then its failure", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const exit = yield* Effect.exit(
        Batch.streamWith(
          Stream.concat(Stream.fromArray([1, 2]), Stream.fail("no more")),
          Effect.succeed
        ).pipe(Stream.runForEach(({ index }) => Effect.sync(() => void seen.push(index))))
      )
      assert.deepStrictEqual(exit, Exit.fail("no more"))
      assert.deepStrictEqual(seen, [0, 1])
    })
  )
})

describe("progress", () => {
  it.effect("tells of every start and end, with the counts and the cost at that time", () =>
    Effect.gen(function* () {
      const events: Array<Batch.Progress> = []
      yield* collected(
        Batch.streamWith(
          [10, 30, 5],
          (millis, index) =>
            Effect.andThen(Effect.sleep(millis), index === 1 ? Effect.fail("no") : Effect.succeed(millis)),
          {
            concurrency: 2,
            cost: (millis) => (millis === 5 ? undefined : millis / 100),
            onProgress: (event) => Effect.sync(() => void events.push(event))
          }
        )
      )
      const counts = (
        inFlight: number,
        succeeded: number,
        failed: number,
        cost: number,
        elapsedMillis: number
      ) => ({
        total: 3,
        inFlight,
        succeeded,
        failed,
        cost,
        elapsedMillis
      })
      assert.deepStrictEqual(events, [
        { _tag: "Started", index: 0, progress: counts(1, 0, 0, 0, 0) },
        { _tag: "Started", index: 1, progress: counts(2, 0, 0, 0, 0) },
        { _tag: "Finished", index: 0, ok: true, progress: counts(1, 1, 0, 0.1, 10) },
        { _tag: "Started", index: 2, progress: counts(2, 1, 0, 0.1, 10) },
        { _tag: "Finished", index: 2, ok: true, progress: counts(1, 2, 0, 0.1, 15) },
        { _tag: "Finished", index: 1, ok: false, progress: counts(0, 2, 1, 0.1, 30) },
        { _tag: "Ended", progress: counts(0, 2, 1, 0.1, 30) }
      ])
    })
  )

  it.effect("does not know the total of a stream while it comes", () =>
    Effect.gen(function* () {
      const totals: Array<number | undefined> = []
      yield* collected(
        Batch.streamWith(Stream.fromArray([1, 2]), Effect.succeed, {
          onProgress: (event) =>
            Effect.sync(() => void (event._tag === "Started" && totals.push(event.progress.total)))
        })
      )
      assert.deepStrictEqual(totals, [undefined, undefined])
    })
  )

  it.effect("holds the batch up until it is told", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { measured, now } = gauge()
      const fiber = yield* Effect.forkChild(
        Stream.runDrain(
          Batch.streamWith([1], (n) => measured(Effect.succeed(n)), {
            onProgress: (event) => (event._tag === "Started" ? Deferred.await(gate) : Effect.void)
          })
        )
      )
      yield* quiet
      assert.strictEqual(now.begun, 0)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(now.begun, 1)
    })
  )

  it.effect("ends once, also when the consumer takes no more", () =>
    Effect.gen(function* () {
      const ends: Array<Batch.Counts> = []
      yield* Batch.streamWith(upTo(100), (n) => (n < 3 ? Effect.succeed(n) : Effect.never), {
        concurrency: 4,
        onProgress: (event) => Effect.sync(() => void (event._tag === "Ended" && ends.push(event.progress)))
      }).pipe(Stream.take(2), Stream.runDrain)
      assert.deepStrictEqual(
        ends.map((counts) => counts.inFlight),
        [0]
      )
    })
  )
})

describe("a stream of results", () => {
  for (const order of ["input", "completion"] as const) {
    it.effect(`that nobody reads on, by ${order}, reads no further than it works`, () =>
      Effect.gen(function* () {
        for (const source of ["generator", "stream", "chunk"] as const) {
          const { counter, items } = counting(100_000)
          const input =
            source === "generator"
              ? items
              : source === "stream"
                ? Stream.rechunk(Stream.fromIterable(items, { chunkSize: 1 }), 1)
                : Stream.fromIterable(items, { chunkSize: 8 })
          const fiber = yield* Effect.forkChild(
            Stream.runDrain(Batch.streamWith(input, () => Effect.never, { concurrency: 8, order }))
          )
          yield* quiet
          assert.isAtLeast(counter.read, 8)
          // One more may be in the hand of whoever waits for a place, and what came in one piece with it.
          assert.isAtMost(counter.read, source === "chunk" ? 24 : 10)
          yield* Fiber.interrupt(fiber)
        }
      })
    )

    it.effect(`by ${order} waits for a slow reader`, () =>
      Effect.gen(function* () {
        const { counter, items } = counting(100_000)
        const { now, measured } = gauge()
        const gate = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          Batch.streamWith(items, (n) => measured(Effect.succeed(n)), { concurrency: 8, order }).pipe(
            Stream.runForEach(() => Deferred.await(gate))
          )
        )
        yield* quiet
        assert.isAtMost(now.begun, 40)
        assert.isAtMost(counter.read, 40)
        yield* Fiber.interrupt(fiber)
      })
    )
  }

  it.effect("in the order of the requests holds back no more than a few that overtook a slow one", () =>
    Effect.gen(function* () {
      const { measured, now } = gauge()
      const fiber = yield* Effect.forkChild(
        Stream.runDrain(
          Batch.streamWith(upTo(10_000), (n) => measured(n === 0 ? Effect.never : Effect.succeed(n)), {
            concurrency: 8
          })
        )
      )
      yield* quiet
      assert.isAtMost(now.begun, 40)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("interrupts what is under way when its reader is interrupted, and waits for it", () =>
    Effect.gen(function* () {
      const { measured, now } = gauge()
      const seen: Array<unknown> = []
      const fiber = yield* Effect.forkChild(
        Batch.streamWith(upTo(20), (n) => measured(n < 3 ? Effect.succeed(n) : Effect.never), {
          concurrency: 5
        }).pipe(Stream.runForEach((item) => Effect.sync(() => void seen.push(item))))
      )
      yield* quiet
      assert.strictEqual(now.running, 5)
      assert.strictEqual(seen.length, 3)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(now.running, 0)
      assert.strictEqual(now.begun, 8)
      assert.strictEqual(seen.length, 3)
    })
  )

  it.effect("takes 10,000 requests of a generator in the memory of a few", () =>
    Effect.gen(function* () {
      const { counter, items } = counting(10_000)
      const { measured, now } = gauge()
      let taken = 0
      let most = 0
      yield* Batch.streamWith(items, (n) => measured(Effect.as(Effect.yieldNow, n)), {
        concurrency: 16
      }).pipe(
        Stream.runForEach(({ index }) =>
          Effect.sync(() => {
            assert.strictEqual(index, taken++)
            most = Math.max(most, counter.read - taken)
          })
        )
      )
      assert.strictEqual(taken, 10_000)
      assert.isAtMost(most, 80)
      assert.strictEqual(now.most, 16)
    })
  )
})

describe("a batch that was started", () => {
  const work = (n: number) => (n % 3 === 2 ? Effect.fail("third") : Effect.as(Effect.sleep(10 * (n + 1)), n))

  it.effect("goes on by itself, and gives all results in the order of the requests", () =>
    Effect.gen(function* () {
      const running = yield* Batch.startWith([2, 1, 0], work)
      const fiber = yield* Effect.forkChild(running.await)
      yield* TestClock.adjust("1 second")
      const items = yield* Fiber.join(fiber)
      assert.deepStrictEqual(valuesOf(items), ["failed", 1, 0])
      assert.deepStrictEqual(yield* running.completed, items)
    })
  )

  it.effect("gives them as they completed where that was asked for", () =>
    Effect.gen(function* () {
      const running = yield* Batch.startWith([1, 0], work, { order: "completion" })
      const fiber = yield* Effect.forkChild(running.await)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(valuesOf(yield* Fiber.join(fiber)), [0, 1])
    })
  )

  it.effect("tells what is done at any time", () =>
    Effect.gen(function* () {
      const running = yield* Batch.startWith([0, 1, 3], work)
      yield* TestClock.adjust(25)
      assert.deepStrictEqual(valuesOf(yield* running.completed), [0, 1])
      yield* running.stop
    })
  )

  it.effect("keeps what is done when it is stopped, and leaves nothing under way", () =>
    Effect.gen(function* () {
      const { measured, now } = gauge()
      const running = yield* Batch.startWith(
        upTo(1000),
        (n) => measured(n < 10 ? Effect.succeed(n) : Effect.never),
        { concurrency: 4 }
      )
      yield* quiet
      assert.strictEqual(now.running, 4)
      const kept = yield* running.stop
      assert.deepStrictEqual(valuesOf(kept), upTo(10))
      assert.strictEqual(now.running, 0)
      yield* quiet
      assert.strictEqual(now.begun, 14)
      assert.deepStrictEqual(yield* running.stop, kept)
      assert.deepStrictEqual(yield* running.completed, kept)
    })
  )

  it.effect("ends with the scope", () =>
    Effect.gen(function* () {
      const { measured, now } = gauge()
      const scope = yield* Scope.make()
      yield* Batch.startWith(upTo(10), () => measured(Effect.never), { concurrency: 3 }).pipe(
        Effect.provideService(Scope.Scope, scope)
      )
      yield* quiet
      assert.strictEqual(now.running, 3)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(now.running, 0)
    })
  )

  it.effect("tells its progress from the beginning, to whoever asks, and ends it", () =>
    Effect.gen(function* () {
      const running = yield* Batch.startWith([0, 2], work)
      const early = yield* Effect.forkChild(Stream.runCollect(running.progress))
      yield* TestClock.adjust("1 second")
      const events = yield* Fiber.join(early)
      assert.deepStrictEqual(
        events.map((event) => ("index" in event ? `${event._tag} ${event.index}` : event._tag)),
        ["Started 0", "Started 1", "Finished 1", "Finished 0", "Ended"]
      )
      assert.deepStrictEqual(events.at(-1)!.progress, {
        total: 2,
        inFlight: 0,
        succeeded: 1,
        failed: 1,
        cost: 0,
        elapsedMillis: 10
      })
      assert.deepStrictEqual(yield* Stream.runCollect(running.progress), events)
    })
  )

  it.effect("ends its progress when it is stopped", () =>
    Effect.gen(function* () {
      const running = yield* Batch.startWith(upTo(5), () => Effect.never, { concurrency: 2 })
      const fiber = yield* Effect.forkChild(Stream.runCollect(running.progress))
      yield* quiet
      yield* running.stop
      const events = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        events.map(({ _tag, progress }) => [_tag, progress.inFlight]),
        [
          ["Started", 1],
          ["Started", 2],
          ["Ended", 0]
        ]
      )
    })
  )

  it.effect("with options out of range says so, and its progress ends as well", () =>
    Effect.gen(function* () {
      const running = yield* Batch.startWith([1], Effect.succeed, { concurrency: 0 })
      const error = yield* Effect.flip(running.await)
      assert.instanceOf(error, OpenRouterError.InvalidOption)
      assert.deepStrictEqual(yield* running.completed, [])
      const events = yield* Effect.forkChild(Stream.runCollect(running.progress))
      yield* TestClock.adjust("1 minute")
      assert.isDefined(events.pollUnsafe())
    })
  )

  it.effect("keeps what is done when the requests fail to come", () =>
    Effect.gen(function* () {
      const running = yield* Batch.startWith(
        Stream.concat(Stream.fromArray([1, 2]), Stream.fail("no more")),
        Effect.succeed
      )
      assert.strictEqual(yield* Effect.flip(running.await), "no more")
      assert.deepStrictEqual(valuesOf(yield* running.completed), [1, 2])
      assert.strictEqual((yield* Stream.runCollect(running.progress)).at(-1)!._tag, "Ended")
    })
  )
})

describe("chat completions", () => {
  const { actions, errors } = Simulator
  const requests = (count: number) =>
    upTo(count).map((n) => ({ ...hello, messages: [{ role: "user", content: `hello ${n}` }] as const }))

  const using = <A>(
    body: (world: {
      readonly simulator: Simulator.Simulator["Service"]
      readonly pool: KeyPool.KeyPool["Service"]
      readonly provide: <A2, E2, R2>(
        effect: Effect.Effect<A2, E2, R2>
      ) => Effect.Effect<A2, E2, Exclude<R2, OpenRouter.OpenRouter | Balancer.Balancer>>
    }) => Body<A>
  ) =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.Simulator
      const context = yield* Layer.build(
        OpenRouter.layerWith({ baseUrl: simulator.baseUrl, credits: false }).pipe(
          Layer.provide([
            Selector.layer(Selector.leastBy((key) => key.inFlight)),
            NodeHttpClient.layerUndici
          ]),
          Layer.provideMerge(poolOf(simulator))
        )
      )
      const pool = Context.get(context, KeyPool.KeyPool)
      return yield* running(() => body({ simulator, pool, provide: Effect.provide(context) as never }))
    }).pipe(Effect.provide(Simulator.layer({ keys: keys("a b") })))

  it.live("run over the keys, with one result for each and the cost of all", () =>
    using(function* ({ provide, simulator }) {
      const flagged = (body: unknown) => JSON.stringify(body).includes("hello 7")
      yield* simulator.fault({
        match: { predicate: ({ body }) => flagged(body) },
        action: errors.moderation403()
      })
      const events: Array<Batch.Progress> = []
      const items = yield* provide(
        Batch.run(requests(20), {
          concurrency: 4,
          onProgress: (event) => Effect.sync(() => void events.push(event))
        })
      )
      assert.deepStrictEqual(
        items.map(({ result }) =>
          Result.isSuccess(result)
            ? ChatResponse.text(result.success)
            : result.failure._tag === "OpenRouterError" && result.failure.reason._tag === "Answered"
              ? result.failure.reason.class
              : "?"
        ),
        upTo(20).map((n) => (n === 7 ? "moderated" : `You said: hello ${n}`))
      )
      const { cost, failed, succeeded, total } = events.at(-1)!.progress
      assert.deepStrictEqual({ failed, succeeded, total }, { failed: 1, succeeded: 19, total: 20 })
      const { keys } = yield* simulator.snapshot
      assert.closeTo(
        cost,
        keys.reduce((sum, key) => sum + key.usage, 0),
        1e-12
      )
      assert.isAbove(cost, 19 * helloCost * 0.9)
      // Four at a time, over two keys: two on each.
      assert.isAtMost(Math.max(...keys.map((key) => key.maxInFlight)), 2)
    })
  )

  it.live("of which none can be served tell why, each of them", () =>
    using(function* ({ pool, provide, simulator }) {
      for (const id of ["a", "b"]) yield* pool.bench({ scope: "key", id, reason: "exhausted", for: "1 hour" })
      const items = yield* provide(Batch.run(requests(3)))
      for (const { result } of items) {
        assert.instanceOf((result as Result.Failure<never, unknown>).failure, Errors.NoEligibleKey)
      }
      assert.deepStrictEqual(yield* met(simulator), [0, 0])
    })
  )

  it.live("that are stopped leave nothing in flight, on either side", () =>
    using(function* ({ pool, provide, simulator }) {
      yield* simulator.fault({ after: 3, action: actions.stall() })
      const running = yield* provide(Batch.start(requests(50), { concurrency: 6 }))
      yield* simulator.waitUntil(
        ({ inFlight, keys }) => inFlight === 6 && keys.reduce((sum, key) => sum + key.ok, 0) === 3
      )
      yield* eventually(running.completed, (items) => items.length === 3)
      const kept = yield* running.stop
      assert.strictEqual(kept.length, 3)
      assert.isTrue(kept.every(({ result }) => Result.isSuccess(result)))
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
      yield* simulator.waitUntil((snapshot) => snapshot.inFlight === 0)
      assert.deepStrictEqual(
        (yield* met(simulator)).reduce((sum, count) => sum + count, 0),
        9
      )
    })
  )

  it.live("as a stream come from a stream, and stop with their reader", () =>
    using(function* ({ pool, provide, simulator }) {
      const endless = Stream.fromIterable(requests(1)).pipe(Stream.forever)
      const texts = yield* provide(
        Batch.stream(endless, { concurrency: 3 }).pipe(
          Stream.take(10),
          Stream.map(({ result }) => Result.isSuccess(result) && ChatResponse.text(result.success)),
          Stream.runCollect
        )
      )
      assert.deepStrictEqual(
        texts,
        upTo(10).map(() => "You said: hello 0")
      )
      assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
      yield* simulator.waitUntil((snapshot) => snapshot.inFlight === 0)
    })
  )
})
