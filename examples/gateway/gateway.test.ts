import { assert, describe, it } from "@effect/vitest"
import { KeyPool } from "@evenkeel/core"
import { Simulator } from "@evenkeel/testkit"
import { ConfigProvider, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import OpenAI from "openai"
import { gateway } from "./gateway.ts"

const live = Layer.unwrap(
  Simulator.Simulator.useSync(({ baseUrl, keys }) =>
    gateway.pipe(
      Layer.provide(
        KeyPool.layer({ keys: keys.map(({ name, secret }, tier) => ({ id: name, secret, tier })) })
      ),
      Layer.provide(
        ConfigProvider.layer(
          ConfigProvider.fromEnvRecord({
            OPENROUTER_BASE_URL: baseUrl,
            GATEWAY_PORT: "0",
            GATEWAY_TOKENS: "a-token-for-alice,a-token-for-robert"
          })
        )
      )
    )
  )
).pipe(Layer.provideMerge(Simulator.layer({ keys: [{ name: "a" }, { name: "b" }] })))

const chat = (apiKey: string) =>
  Effect.flatMap(HttpServer.HttpServer, ({ address }) =>
    Effect.promise(() =>
      new OpenAI({ baseURL: `${HttpServer.formatAddress(address)}/v1`, apiKey }).chat.completions
        .create({ model: "openai/gpt-4o-mini", messages: [{ role: "user", content: "hello" }] })
        .withResponse()
        .catch(({ status }: { readonly status: number }) => status)
    )
  )

describe("a gateway on many keys", () => {
  it.live("serves each client that has a token, on the first tier while that can", () =>
    Effect.gen(function* () {
      const { revoke } = yield* Simulator.Simulator
      const served = Effect.gen(function* () {
        const answer = yield* chat("a-token-for-alice")
        return typeof answer === "number" ? answer : answer.response.headers.get("x-evenkeel-key")
      })
      assert.strictEqual(yield* served, "a")
      yield* revoke("a")
      assert.strictEqual(yield* served, "b")
      assert.strictEqual(yield* chat("a-token-for-nobody"), 401)
    }).pipe(Effect.provide(live))
  )
})
