// An OpenAI-compatible gateway on many keys, with a strategy of its own beneath it.
//
//   GATEWAY_TOKENS   what clients must send, separated by commas; without them only this machine is served
//   GATEWAY_HOST     where to listen, 127.0.0.1 by default
//   GATEWAY_PORT     4040 by default
import { NodeHttpClient } from "@effect/platform-node"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Selector } from "@evenkeel/core"
import { CreditAware } from "@evenkeel/credit-aware"
import { GatewayServer } from "@evenkeel/gateway"
import { OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Config, Effect, Layer, Schema } from "effect"

const Tokens = Config.Array(Schema.RedactedFromValue(Schema.NonEmptyString), "GATEWAY_TOKENS", {
  separator: ","
})

const options = Config.all({
  tokens: Tokens.pipe(Config.withDefault([])),
  host: Config.String("GATEWAY_HOST").pipe(Config.withDefault("127.0.0.1")),
  port: Config.Int("GATEWAY_PORT").pipe(Config.withDefault(4040))
})

/** Keys of the first tier, in proportion to their credit, and the others while none of the first can serve. */
const selector = Selector.layer(Selector.tiered(CreditAware.make()))

/** The gateway with all it needs but keys. */
export const gateway = Layer.unwrap(Effect.map(options, GatewayServer.layer)).pipe(
  Layer.provide(OpenRouter.layer),
  Layer.provide([selector, Retry.layer(), CircuitBreaker.layer(), NodeHttpClient.layerUndici])
)
