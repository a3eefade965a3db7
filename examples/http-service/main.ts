import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { KeyPool } from "@evenkeel/core"
import { Config, Layer } from "effect"
import { createServer } from "node:http"
import { service } from "./service.ts"

// Keys come from OPENROUTER_KEYS; the service listens on http://127.0.0.1:3000, or on the port in PORT.
service.pipe(
  Layer.provide(KeyPool.layerConfig),
  Layer.provide(
    NodeHttpServer.layerConfig(() => createServer(), {
      host: Config.succeed("127.0.0.1"),
      port: Config.Int("PORT").pipe(Config.withDefault(3000))
    })
  ),
  Layer.launch,
  NodeRuntime.runMain
)
