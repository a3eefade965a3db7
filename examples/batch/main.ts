/**
 * A batch of prompts over many keys, with a live table on a terminal and plain lines in a pipe.
 *
 * With OPENROUTER_KEYS set it calls OpenRouter; without, a simulator on this machine that has a bad day.
 */
import { NodeHttpClient, NodeRuntime, NodeServices } from "@effect/platform-node"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { KeyPool } from "@evenkeel/core"
import { CreditAware } from "@evenkeel/credit-aware"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { Batch, OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { RoundRobin } from "@evenkeel/round-robin"
import { Threshold } from "@evenkeel/threshold"
import { Config, Console, Effect, Layer, Option, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import * as Display from "./display.ts"
import { readPrompts, samplePrompts, toRequest } from "./prompts.ts"
import * as BadDay from "./simulation.ts"

// A strategy is a layer: swapping it is swapping this line.
const selectors = {
  "round-robin": RoundRobin.layer(),
  "least-in-flight": LeastInFlight.layer(),
  "credit-aware": CreditAware.layer(),
  threshold: Threshold.layer()
}

const flags = {
  selector: Flag.Literals("selector", ["least-in-flight", "round-robin", "credit-aware", "threshold"]).pipe(
    Flag.withDescription("How a key is picked"),
    Flag.withDefault("least-in-flight")
  ),
  concurrency: Flag.Int("concurrency").pipe(
    Flag.withDescription("Requests at a time, 1 to 10000"),
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 }))),
    Flag.withDefault(16)
  ),
  prompts: Flag.String("prompts").pipe(
    Flag.withDescription("A file with a prompt a line, or JSONL of chat requests"),
    Flag.optional
  ),
  model: Flag.String("model").pipe(
    Flag.withDescription("The model for prompts that name none"),
    Flag.withDefault("openai/gpt-4o-mini")
  )
}

const run = Effect.fnUntraced(function* (options: {
  readonly concurrency: number
  readonly model: string
  readonly prompts: Option.Option<string>
}) {
  const prompts = Option.isSome(options.prompts) ? yield* readPrompts(options.prompts.value) : samplePrompts
  const requests = prompts.map((prompt) => toRequest(prompt, options.model))
  const pool = yield* KeyPool.KeyPool
  const batch = yield* Batch.start(requests, { concurrency: options.concurrency })
  const display = yield* Effect.forkScoped(Display.show(batch.progress, pool.snapshot))
  const results = yield* batch.await
  yield* Display.finished(display)
  yield* Console.log(Display.summary(results, yield* pool.snapshot))
})

/** OpenRouter with everything on: keys from the environment, and policies for bad days. */
const live = (selector: keyof typeof selectors, openrouter: typeof OpenRouter.layer) =>
  openrouter.pipe(
    Layer.provide([selectors[selector], Retry.layer(), CircuitBreaker.layer(), NodeHttpClient.layerUndici])
  )

const command = Command.make("demo", flags, ({ selector, ...options }) =>
  Effect.gen(function* () {
    const keys = yield* Config.option(Config.Redacted("OPENROUTER_KEYS"))
    if (Option.isSome(keys)) {
      yield* Console.log(`OpenRouter, ${selector}`)
      return yield* run(options).pipe(
        Effect.provide(live(selector, OpenRouter.layer).pipe(Layer.provideMerge(KeyPool.layerConfig)))
      )
    }
    yield* Console.log(
      `Simulated OpenRouter on a bad day (set OPENROUTER_KEYS for the real one), ${selector}`
    )
    const { baseUrl, keys: simulated } = yield* BadDay.start
    // Readings every second, so that the short show includes them; a minute is right for the real one.
    const openrouter = OpenRouter.layerWith({ baseUrl, credits: { interval: "1 second", lag: 0 } })
    return yield* run(options).pipe(
      Effect.provide(live(selector, openrouter).pipe(Layer.provideMerge(KeyPool.layer({ keys: simulated }))))
    )
  }).pipe(Effect.scoped)
).pipe(Command.withDescription("Distributes prompts over the keys of OPENROUTER_KEYS, or of a simulator."))

command.pipe(Command.run({ version: "0.0.0" }), Effect.provide(NodeServices.layer), NodeRuntime.runMain)
