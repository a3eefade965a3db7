// One reads credit for all: OpenRouter hears of a fleet as if it were one process.
import { NodeHttpClient, NodeRedis } from "@effect/platform-node"
import { KeyPool } from "@evenkeel/core"
import { OpenRouterCredits } from "@evenkeel/openrouter"
import { RedisFacts } from "@evenkeel/redis"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { HttpClient } from "effect/http"
import { binary, patience, server, until } from "./server.ts"

describe.skipIf(binary === undefined)("the readings of credit over a fleet", patience, () => {
  it.live("exactly one of three reads, all know, and another takes over when it goes", () =>
    Effect.gen(function* () {
      const { url } = yield* server
      const { baseUrl, keys } = yield* Simulator.Simulator
      /** How many keys each has read. */
      const reads = [0, 0, 0]
      const member = (n: number) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
          const http = HttpClient.tapRequest(yield* HttpClient.HttpClient, (request) =>
            Effect.sync(() => void (reads[n]! += request.url.endsWith("/key") ? 1 : 0))
          )
          const live = OpenRouterCredits.layer(http, baseUrl, { interval: "1 second" }).pipe(
            Layer.provideMerge(
              KeyPool.layer({ keys: keys.map(({ name, secret }) => ({ id: name, secret })) })
            ),
            Layer.provide(RedisFacts.layer({ flush: 50, heartbeat: 5000, timeout: 5000 })),
            Layer.provide(NodeRedis.layer({ url, disableOfflineQueue: true }))
          )
          const context = yield* Layer.buildWithScope(Layer.fresh(live), scope)
          const credits = Effect.map(Context.get(context, KeyPool.KeyPool).snapshot, ({ keys }) =>
            keys.map(({ credit }) => credit)
          )
          return { credits, close: Scope.close(scope, Exit.void) }
        })
      const members = [yield* member(0), yield* member(1), yield* member(2)]
      for (const { credits } of members) yield* until(credits, (all) => all.every((credit) => credit === 3))
      // Three rounds of two keys: whoever else reads would have done so by then.
      yield* until(
        Effect.sync(() => reads[0]!),
        (count) => count >= 6
      )
      assert.deepStrictEqual(reads.slice(1), [0, 0])

      yield* members[0]!.close
      const before = reads[0]!
      yield* until(
        Effect.sync(() => reads[1]! + reads[2]!),
        (count) => count >= 6
      )
      assert.strictEqual(reads.filter((count) => count > 0).length, 2)
      assert.strictEqual(reads[0], before)
    }).pipe(
      Effect.scoped,
      Effect.provide(NodeHttpClient.layerNodeHttp),
      Effect.provide(
        Simulator.layer({
          keys: ["a", "b"].map((name, n) => ({ name, secret: `sk-000000${n}`, limit: 3 })),
          keyLag: 0
        })
      )
    )
  )
})
