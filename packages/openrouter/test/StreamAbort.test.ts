/**
 * Streams that are given up at every point there is: nothing of them stays, on either side.
 *
 * `EVENKEEL_STREAMS` sets how many; 10,000 by default.
 */
import { Credits, KeyPool } from "@evenkeel/core"
import type { Balancer } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { OpenRouter } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { eventually, hello, keys, rngOf, sse, transport } from "./utils.ts"

const streams = Number(process.env["EVENKEEL_STREAMS"] ?? 10_000)
const warmUp = Math.ceil(streams / 10)
const concurrency = 64

const simulator = Simulator.layer({
  keys: keys("a b c d"),
  latency: [0, 1],
  chunkDelay: "1 millis",
  // What the simulator remembers is no part of the measurement.
  logSize: 100
})

/** Sockets of this process, on both sides of loopback. */
const sockets = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length

const collector = () => {
  setFlagsFromString("--expose-gc")
  return runInNewContext("gc") as () => void
}

/** The heap in MB, once what can be collected is. */
const heap = (collect: () => void) =>
  Effect.gen(function* () {
    for (let n = 0; n < 3; n++) {
      // Finalizers of collected things run between two collections.
      yield* Effect.sleep(20)
      collect()
    }
    return process.memoryUsage().heapUsed / 1_000_000
  })

type Openrouter = OpenRouter.OpenRouter["Service"]

const long = { ...hello, messages: [{ role: "user", content: "one two three four five six" }] } as const
const chunks = 8

/** A way to give a stream up. */
interface Way {
  readonly name: string
  readonly run: (openrouter: Openrouter, random: () => number) => Effect.Effect<unknown, unknown>
}

const ways: ReadonlyArray<Way> = [
  {
    // From before it is sent to long after its end.
    name: "an interruption at any time",
    run: ({ chatStream }, random) =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(Stream.runDrain(chatStream(long)), { startImmediately: true })
        const millis = Math.floor(random() * 14)
        if (millis > 0) yield* Effect.sleep(millis)
        yield* Fiber.interrupt(fiber)
      })
  },
  {
    name: "an interruption behind any chunk",
    run: ({ chatStream }, random) => {
      let left = 1 + Math.floor(random() * chunks)
      return chatStream(long).pipe(
        Stream.runForEach(() => (--left === 0 ? Effect.interrupt : Effect.void)),
        Effect.exit
      )
    }
  },
  {
    name: "enough of it",
    run: ({ chatStream }, random) =>
      Stream.runDrain(Stream.take(chatStream(long), 1 + Math.floor(random() * chunks)))
  },
  {
    name: "a consumer that fails or dies",
    run: ({ chatStream }, random) => {
      let left = 1 + Math.floor(random() * chunks)
      const end = random() < 0.5 ? Effect.fail("enough") : Effect.die("oops")
      return Effect.exit(Stream.runForEach(chatStream(long), () => (--left === 0 ? end : Effect.void)))
    }
  },
  {
    name: "bytes of the balanced client, given up anywhere",
    run: ({ client }, random) =>
      Effect.gen(function* () {
        const bytes = Stream.unwrap(
          Effect.map(client.execute(sse({ messages: long.messages })), (response) => response.stream)
        )
        const fiber = yield* Effect.forkChild(Stream.runDrain(bytes), { startImmediately: true })
        yield* Effect.sleep(Math.floor(random() * 14))
        yield* Fiber.interrupt(fiber)
      })
  }
]

const abortAll = (openrouter: Openrouter, count: number, seed: number) => {
  const random = rngOf(seed)
  return Effect.forEach(
    Array.from({ length: count }, () => ways[Math.floor(random() * ways.length)]!),
    ({ run }) => run(openrouter, random),
    { concurrency, discard: true }
  )
}

describe(`${streams} streams aborted at random points`, () => {
  it.live(
    "leave nothing in flight, no socket, and no growth of the heap",
    () =>
      Effect.gen(function* () {
        const { baseUrl, keys: simulated, ...simulator } = yield* Simulator.Simulator
        // Half of the streams would never end by themselves.
        yield* simulator.fault({ probability: 0.5, action: Simulator.actions.hang({ afterChunks: chunks }) })
        const socketsBefore = sockets()
        const collect = collector()
        const live = OpenRouter.layerWith({ baseUrl, credits: false }).pipe(
          Layer.provide([
            LeastInFlight.layer(),
            transport.layer,
            Layer.succeed(Credits.Credits, { ...Credits.unknown, estimate: () => 0.001 })
          ]),
          Layer.provideMerge(
            KeyPool.layer({ keys: simulated.map(({ name, secret }) => ({ id: name, secret })) })
          )
        )
        yield* Effect.scoped(
          Effect.gen(function* () {
            const context: Context.Context<OpenRouter.OpenRouter | Balancer.Balancer | KeyPool.KeyPool> =
              yield* Layer.build(live)
            const openrouter = Context.get(context, OpenRouter.OpenRouter)
            const pool = Context.get(context, KeyPool.KeyPool)
            const atRest = Effect.gen(function* () {
              // The pool is at rest at once: whoever gave a stream up has settled it.
              const { keys, waiting } = yield* pool.snapshot
              assert.deepStrictEqual(
                keys.map(({ inFlight }) => inFlight),
                [0, 0, 0, 0]
              )
              assert.strictEqual(waiting, 0)
              const { keys: served } = yield* simulator
                .waitUntil(({ inFlight }) => inFlight === 0)
                .pipe(Effect.timeout("5 seconds"))
              return { keys, served }
            })

            yield* abortAll(openrouter, warmUp, 1)
            yield* atRest
            const before = yield* heap(collect)
            yield* abortAll(openrouter, streams, 2)
            const { keys, served } = yield* atRest
            const after = yield* heap(collect)

            const sum = (of: ReadonlyArray<number>) => of.reduce((total, one) => total + one, 0)
            const leased = sum(keys.map((key) => key.leased))
            assert.strictEqual(leased, warmUp + streams)
            assert.strictEqual(sum(keys.map((key) => key.succeeded + key.ignored + key.faulted)), leased)
            assert.strictEqual(sum(keys.map((key) => key.faulted)), 0)
            // Most were really given up on their way, and each of them was told to the other side.
            const aborted = sum(served.map((key) => key.aborted))
            assert.isAbove(aborted, (warmUp + streams) / 3)
            assert.isAtLeast(sum(keys.map((key) => key.ignored)), aborted)

            assert.isBelow(after - before, 4, `the heap grew from ${before} MB to ${after} MB`)
            // What is open is kept for the next request: no more than were used at a time, at both ends.
            assert.isAtMost(sockets() - socketsBefore, 2 * concurrency)
          })
        )
        yield* eventually(Effect.sync(sockets), (open) => open <= socketsBefore).pipe(
          Effect.timeout("5 seconds")
        )
      }).pipe(Effect.provide(simulator)),
    110_000
  )

  for (const { name, run } of ways) {
    it.live(`include ${name}`, () =>
      Effect.gen(function* () {
        const { baseUrl, keys: simulated, ...simulator } = yield* Simulator.Simulator
        const pool = KeyPool.layer({ keys: simulated.map(({ name, secret }) => ({ id: name, secret })) })
        const live = OpenRouter.layerWith({ baseUrl, credits: false }).pipe(
          Layer.provide([LeastInFlight.layer(), transport.layer]),
          Layer.provideMerge(pool)
        )
        const exits = yield* Effect.gen(function* () {
          const openrouter = yield* OpenRouter.OpenRouter
          const random = rngOf(3)
          return yield* Effect.forEach(
            Array.from({ length: 60 }, () => run),
            (one) => Effect.exit(one(openrouter, random)),
            {
              concurrency: 8
            }
          )
        }).pipe(Effect.provide(live))
        assert.isTrue(exits.every(Exit.isSuccess))
        const { keys } = yield* simulator.waitUntil(({ inFlight }) => inFlight === 0)
        assert.isAbove(
          keys.reduce((total, key) => total + key.aborted, 0),
          10
        )
      }).pipe(Effect.provide(simulator))
    )
  }
})
