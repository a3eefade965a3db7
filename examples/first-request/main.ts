// A first request: keys from OPENROUTER_KEYS, the key with the fewest requests in flight serves.
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatResponse, OpenRouter } from "@evenkeel/openrouter"
import { Console, Effect, Layer } from "effect"

const needs = Layer.mergeAll(LeastInFlight.layer(), KeyPool.layerConfig, NodeHttpClient.layerUndici)
const live = Layer.provide(OpenRouter.layer, needs)

const messages = [{ role: "user", content: "What keeps a ship upright?" }] as const
const answer = OpenRouter.OpenRouter.use(({ chat }) => chat({ model: "openai/gpt-4o-mini", messages }))
const program = Effect.tap(answer, (response) => Console.log(ChatResponse.text(response)))

NodeRuntime.runMain(Effect.provide(program, live))
