// A gateway as a process of its own, for `GatewayServer.test.ts`: options are the first argument, in JSON.
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { KeyPool } from "@evenkeel/core"
import { GatewayServer } from "@evenkeel/gateway"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { OpenRouter } from "@evenkeel/openrouter"
import { Console, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"

const options = JSON.parse(process.argv[2]!) as GatewayServer.Options

const told = Layer.effectDiscard(HttpServer.addressFormattedWith((address) => Console.log(address)))

told.pipe(
  Layer.provide(GatewayServer.layer({ port: 0, ...options })),
  Layer.provide(OpenRouter.layerWith({ credits: false })),
  Layer.provide([LeastInFlight.layer(), KeyPool.layerConfig, NodeHttpClient.layerUndici]),
  Layer.launch,
  Effect.ensuring(Console.log("gone")),
  NodeRuntime.runMain
)
