/**
 * What the tests share: a model over real HTTP to the simulator.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { OpenRouterEmbeddingModel, OpenRouterLanguageModel } from "@evenkeel/ai"
import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { OpenRouter } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { Effect, Layer, type Scope } from "effect"
import type { EmbeddingModel, LanguageModel } from "effect/ai"

export interface Setup {
  readonly simulator?: Simulator.SimulatorOptions
  readonly model?: string
  readonly config?: OpenRouterLanguageModel.Options
  readonly embeddings?: OpenRouterEmbeddingModel.Options
  readonly openrouter?: OpenRouter.Options
  readonly policies?: Layer.Layer<never>
}

export type World =
  | LanguageModel.LanguageModel
  | EmbeddingModel.EmbeddingModel
  | Simulator.Simulator
  | KeyPool.KeyPool
  | Scope.Scope

/** The simulator has one key, as most programs do. */
export const keys: ReadonlyArray<Simulator.SimulatorKey> = [{ name: "a", secret: "sk-0000001" }]

/** Runs the body with a language model and an embedding model, without retries unless `policies` bring some. */
export const using = <A>(setup: Setup, body: () => Generator<Effect.Effect<any, any, any>, A>) => {
  const services = Layer.unwrap(
    Simulator.Simulator.useSync(({ baseUrl, keys }) => {
      const pool = KeyPool.layer({ keys: keys.map(({ name, secret }) => ({ id: name, secret })) })
      const openrouter = OpenRouter.layerWith({ baseUrl, credits: false, ...setup.openrouter }).pipe(
        Layer.provide([LeastInFlight.layer(), NodeHttpClient.layerUndici, setup.policies ?? Layer.empty]),
        Layer.provideMerge(pool)
      )
      return Layer.mergeAll(
        OpenRouterLanguageModel.layer({ model: setup.model ?? "openai/gpt-4o-mini", config: setup.config }),
        OpenRouterEmbeddingModel.layer({ model: "openai/text-embedding-3-small", config: setup.embeddings })
      ).pipe(Layer.provideMerge(openrouter))
    })
  ).pipe(Layer.provideMerge(Simulator.layer({ keys, ...setup.simulator })))
  return (Effect.gen(body) as Effect.Effect<A, unknown, World>).pipe(Effect.provide(services), Effect.scoped)
}

export type Body = Record<string, any>

/** A completion function that remembers what it was asked, and answers with the next of these, the last one for ever. */
export const script = (...answers: ReadonlyArray<string | Simulator.CompletionResult>) => {
  const seen: Array<Body> = []
  const completion = ({ body }: Simulator.CompletionRequest) => {
    seen.push(body as Body)
    return answers[Math.min(seen.length, answers.length) - 1]!
  }
  return { seen, completion }
}

/** A stream of these chunks, as the simulator may send in place of its own. */
export const events = (...chunks: ReadonlyArray<unknown>): Simulator.FaultAction => {
  const text = chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("")
  return Simulator.actions.status(200, `${text}data: [DONE]\n\n`, { "content-type": "text/event-stream" })
}

/** A chunk with this delta. */
export const chunk = (delta: object, more: object = {}) => ({
  id: "gen-1",
  model: "openai/gpt-4o-mini",
  provider: "OpenAI",
  created: 1_700_000_000,
  choices: [{ index: 0, delta, finish_reason: null, ...more }]
})

/** The last chunk. */
export const last = (finish_reason: string, usage: object = {}) => ({
  ...chunk({ content: "" }, { finish_reason }),
  usage: { prompt_tokens: 20, completion_tokens: 10, cost: 0.25, ...usage }
})
