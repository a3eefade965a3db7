// A program that knows nothing of keys: it asks for OpenRouter, and whoever runs it says how keys are picked.
import { ChatResponse, OpenRouter } from "@evenkeel/openrouter"
import { Effect } from "effect"

export const summarise = (text: string) =>
  OpenRouter.OpenRouter.use((openrouter) =>
    openrouter.chat({
      model: "openai/gpt-4o-mini",
      max_completion_tokens: 60,
      messages: [
        { role: "system", content: "Summarise in one sentence." },
        { role: "user", content: text }
      ]
    })
  ).pipe(Effect.map(ChatResponse.text))
