import { NodeRuntime } from "@effect/platform-node"
import { KeyPool } from "@evenkeel/core"
import { Console, Layer } from "effect"
import { HttpServer } from "effect/http"
import { gateway } from "./gateway.ts"

// Keys come from OPENROUTER_KEYS. It stops on Ctrl-C, when the requests in work are answered.
const told = HttpServer.addressFormattedWith((address) => Console.log(`The gateway listens on ${address}`))

Layer.effectDiscard(told).pipe(
  Layer.provide(gateway),
  Layer.provide(KeyPool.layerConfig),
  Layer.launch,
  NodeRuntime.runMain
)
