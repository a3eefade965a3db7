import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { KeyPool } from "@evenkeel/core"
import { Layer } from "effect"
import { createServer } from "node:http"
import { service } from "./service.ts"

// Keys come from OPENROUTER_KEYS; the service listens on http://127.0.0.1:3000.
service.pipe(
  Layer.provide(KeyPool.layerConfig),
  Layer.provide(NodeHttpServer.layer(() => createServer(), { host: "127.0.0.1", port: 3000 })),
  Layer.launch,
  NodeRuntime.runMain
)
