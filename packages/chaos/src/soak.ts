/**
 * A program that makes very many requests, and tells how its heap grows: run by the test of memory in a process of its own,
 * with `--expose-gc`, over keys and a base URL of its environment.
 */
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatRequest, OpenRouter } from "@evenkeel/openrouter"
import { Pacing } from "@evenkeel/pacing"
import { Retry } from "@evenkeel/retry"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"

/** What is told of the process, at one time. */
export interface Told {
  readonly requests: number
  readonly answered: number
  readonly failed: number
  /** MB, once what can be collected is. */
  readonly heap: number
  readonly inFlight: number
  readonly waiting: number
  /** Circuits that are not closed, and limiters. */
  readonly kept: number
}

const models = ["openai/gpt-4o-mini", "deepseek/deepseek-chat", "anthropic/claude-sonnet-4.5"] as const
const concurrency = 64

const live = OpenRouter.layerWith({ timeout: "5 seconds", credits: { interval: "1 second", lag: 0 } }).pipe(
  Layer.provide([LeastInFlight.layer(), NodeHttpClient.layerUndici]),
  Layer.provideMerge(
    Layer.mergeAll(
      Retry.layer({ schedule: Schedule.spaced("1 millis"), patience: "1 second" }),
      CircuitBreaker.layer(),
      Pacing.layer({ account: { maxInFlight: 1000 } }),
      KeyPool.layerConfig
    )
  )
)

/** One in five is a stream, and one in fifty is given up on its way. */
const ask = ({ chat, chatStream }: OpenRouter.OpenRouter["Service"], n: number) => {
  const request = {
    ...ChatRequest.ask(models[n % models.length]!, "hello"),
    max_tokens: 20,
    session_id: `session ${n}`
  }
  if (n % 5 > 0) return chat(request)
  return Stream.runDrain(n % 50 === 0 ? Stream.take(chatStream(request), 1) : chatStream(request))
}

const program = Effect.gen(function* () {
  const openrouter = yield* OpenRouter.OpenRouter
  const pool = yield* KeyPool.KeyPool
  const circuits = yield* CircuitBreaker.CircuitBreaker
  const pacing = yield* Pacing.Pacing
  const stops = (process.env["EVENKEEL_STOPS"] ?? "1000").split(",").map(Number)
  let [n, answered, failed] = [0, 0, 0]
  const one = Effect.suspend(() => ask(openrouter, n++)).pipe(
    Effect.match({ onFailure: () => void failed++, onSuccess: () => void answered++ })
  )
  for (const stop of stops) {
    const worker = Effect.whileLoop({ while: () => n < stop, body: () => one, step: () => {} })
    yield* Effect.all(
      Array.from({ length: concurrency }, () => worker),
      { concurrency: "unbounded", discard: true }
    )
    for (let i = 0; i < 3; i++) {
      // Finalizers of collected things run between two collections.
      yield* Effect.sleep(50)
      globalThis.gc?.()
    }
    const { keys, waiting } = yield* pool.snapshot
    const limits = yield* pacing.state
    const told: Told = {
      requests: n,
      answered,
      failed,
      heap: process.memoryUsage().heapUsed / 1_000_000,
      inFlight: keys.reduce((sum, key) => sum + key.inFlight, 0),
      waiting,
      kept: (yield* circuits.troubled).length + limits.keys.size + limits.accounts.size
    }
    process.send?.(told)
  }
  process.disconnect?.()
})

NodeRuntime.runMain(Effect.provide(program, live))
