import { NodeRuntime } from "@effect/platform-node"
import { Balancer, KeyPool, Selector } from "@evenkeel/core"
import { Console, Effect, Layer } from "effect"
import { nightShift } from "./nightShift.ts"

const pool = KeyPool.layer({
  keys: [
    { id: "day", secret: "sk-or-v1-0001", labels: { shift: "interactive" } },
    { id: "night", secret: "sk-or-v1-0002", labels: { shift: "batch" } }
  ]
})

const live = Balancer.layer.pipe(Layer.provide([Selector.layer(nightShift), pool]))

const program = Balancer.Balancer.use((balancer) =>
  balancer.use((lease) =>
    Console.log(`${new Date(lease.context.nowMillis).toISOString()}: ${lease.key.id} serves`)
  )
)

program.pipe(Effect.provide(live), NodeRuntime.runMain)
