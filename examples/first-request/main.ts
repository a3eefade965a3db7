// A first request: keys from OPENROUTER_KEYS, the key with the fewest requests in flight serves.
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatResponse, OpenRouter } from "@evenkeel/openrouter"
import { Console, Effect, Layer } from "effect"

const live = Layer.provide(OpenRouter.layer, [
  LeastInFlight.layer(),
  KeyPool.layerConfig,
  NodeHttpClient.layerUndici
])

const program = OpenRouter.OpenRouter.use((openrouter) =>
  openrouter.chat({
    model: "openai/gpt-4o-mini",
    messages: [{ role: "user", content: "What keeps a ship upright?" }]
  })
).pipe(Effect.flatMap((response) => Console.log(ChatResponse.text(response))))

program.pipe(Effect.provide(live), NodeRuntime.runMain)
