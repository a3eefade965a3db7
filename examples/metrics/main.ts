import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Layer, Logger } from "effect"
import { createServer } from "node:http"
import { service } from "./service.ts"

// Prometheus finds it on http://127.0.0.1:9464/metrics, and the logs are JSON, a line each.
service.pipe(
  Layer.provide(NodeHttpServer.layer(() => createServer(), { host: "127.0.0.1", port: 9464 })),
  Layer.provide(Logger.layer([Logger.consoleJson])),
  Layer.launch,
  NodeRuntime.runMain
)
