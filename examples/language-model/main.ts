/**
 * A chat with tools through Effect's own `LanguageModel`: the model asks for the tide and for the depth of a harbour, the
 * program answers, and the conversation goes on. Questions may be given as arguments.
 */
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { OpenRouterLanguageModel } from "@evenkeel/ai"
import { Console, Effect, Layer, Schema } from "effect"
import { Chat, Tool, Toolkit } from "effect/ai"

const harbours: Readonly<Record<string, number>> = { Bergen: 11, Ostend: 8, Rostock: 13 }

const Depth = Tool.make("Depth", {
  description: "The depth of a harbour at low water, in metres",
  parameters: Schema.Struct({ harbour: Schema.String }),
  success: Schema.Struct({ metres: Schema.Number }),
  failure: Schema.Struct({ problem: Schema.String }),
  // The model is told what went wrong, and may ask again.
  failureMode: "return"
})
const Tide = Tool.make("Tide", {
  description: "How much the tide adds to the depth now, in metres",
  parameters: Schema.Struct({ harbour: Schema.String }),
  success: Schema.Struct({ metres: Schema.Number })
})
const tools = Toolkit.make(Depth, Tide)

const handlers = tools.toLayer({
  Depth: ({ harbour }) => {
    const metres = harbours[harbour]
    return metres === undefined
      ? Effect.fail({ problem: `No chart of ${harbour}` })
      : Effect.succeed({ metres })
  },
  Tide: ({ harbour }) => Effect.succeed({ metres: harbour === "Rostock" ? 0.1 : 3.4 })
})

/** How often the model may ask for tools before it has to answer. */
const rounds = 5

/** Asks, and answers the model's calls of tools until it has said what it has to say. */
const ask = Effect.fnUntraced(function* (chat: Chat.Chat, question: string) {
  yield* Console.log(`> ${question}`)
  let cost = 0
  for (let round = 0; round <= rounds; round++) {
    const response = yield* chat.generateText({
      // The results of tools are in the history of the chat already.
      prompt: round === 0 ? question : [],
      toolkit: tools,
      toolChoice: round === rounds ? "none" : "auto"
    })
    for (const { name, result } of response.toolResults)
      yield* Console.log(`  ${name}: ${JSON.stringify(result)}`)
    const finish = response.content.find((part) => part.type === "finish")
    cost += finish?.metadata.openrouter?.cost ?? 0
    if (response.toolResults.length === 0) {
      yield* Console.log(`${response.text}\n[$${cost.toFixed(6)}]\n`)
      return
    }
  }
})

const given = process.argv.slice(2)
const questions =
  given.length > 0
    ? given
    : ["May a ship with a draught of 10 metres enter Ostend now?", "And one of 14 metres, at Rostock?"]

const program = Effect.gen(function* () {
  const chat = yield* Chat.fromPrompt([
    { role: "system", content: "You are a harbour pilot. Answer briefly." }
  ])
  for (const question of questions) yield* ask(chat, question)
}).pipe(
  Effect.catchTag("AiError", (error) =>
    Console.error(
      error.message,
      error.isRetryable ? "(it is worth another try)" : "(another try will not help)"
    )
  )
)

const live = OpenRouterLanguageModel.layerConfig("openai/gpt-4o-mini", { max_completion_tokens: 300 }).pipe(
  Layer.provide(NodeHttpClient.layerUndici)
)

program.pipe(Effect.provide([live, handlers]), NodeRuntime.runMain)
