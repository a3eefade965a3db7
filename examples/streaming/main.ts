/**
 * An answer printed as it is written, and the usage at its end. If the stream breaks on the way, what was said is kept
 * and the model is asked to go on from there, once.
 */
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatChunk, ChatRequest, OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Console, Effect, Layer, Stream } from "effect"

const live = OpenRouter.layer.pipe(
  Layer.provide([LeastInFlight.layer(), Retry.layer(), KeyPool.layerConfig, NodeHttpClient.layerUndici])
)

const print = (text: string) => Effect.sync(() => process.stdout.write(text))

/** Prints the text as it comes; the result is the usage, which comes last. */
const show = (request: ChatRequest.ChatRequest) =>
  Effect.gen(function* () {
    const { chatStream } = yield* OpenRouter.OpenRouter
    return yield* chatStream(request).pipe(
      Stream.tap((chunk) => print(ChatChunk.text(chunk))),
      Stream.runFold(
        () => undefined as ChatChunk.ChatChunk["usage"],
        (usage, chunk) => chunk.usage ?? usage
      )
    )
  })

/** The request that goes on behind what was said. */
const goOn = (request: ChatRequest.ChatRequest, text: string): ChatRequest.ChatRequest => ({
  ...request,
  messages: [
    ...request.messages,
    { role: "assistant", content: text },
    { role: "user", content: "Go on exactly where you stopped." }
  ]
})

const request = ChatRequest.ask("openai/gpt-4o-mini", "Tell me in three sentences what ballast is for.", {
  max_completion_tokens: 200
})

const program = Effect.gen(function* () {
  // Until the first content other keys are tried. Behind it only the program can know what a second request is worth.
  const usage = yield* show(request).pipe(
    Effect.catchReason("OpenRouterError", "Broken", ({ message, text }) =>
      Effect.andThen(
        Console.error(`\n[${message}; asking again]`),
        show(text === "" ? request : goOn(request, text))
      )
    )
  )
  yield* Console.log(`\n\n${usage?.total_tokens ?? "?"} tokens, $${(usage?.cost ?? 0).toFixed(6)}`)
})

NodeRuntime.runMain(Effect.provide(program, live))
