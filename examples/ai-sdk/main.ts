// The AI SDK with `@openrouter/ai-sdk-provider` over many keys: text, a stream, an object. Keys come from OPENROUTER_KEYS.
import { OpenRouterFetch } from "@evenkeel/openrouter"
import { createOpenRouter } from "@openrouter/ai-sdk-provider"
import { generateText, Output, streamText } from "ai"
import { z } from "zod"

const { close, fetch, snapshot } = await OpenRouterFetch.make()
const openrouter = createOpenRouter({
  apiKey: "unused: each request gets a key of its own",
  baseURL: process.env["OPENROUTER_BASE_URL"] ?? "https://openrouter.ai/api/v1",
  fetch
})

const question = {
  model: openrouter.chat("openai/gpt-4o-mini"),
  prompt: "What keeps a ship upright?",
  // The AI SDK tries again whatever the fetch has given up, unless it is told not to.
  maxRetries: 0
}

console.log((await generateText(question)).text)

for await (const text of streamText(question).textStream) process.stdout.write(text)

const output = Output.object({ schema: z.object({ reason: z.string() }) })
console.log(`\n${JSON.stringify((await generateText({ ...question, output })).output)}`)

for (const key of snapshot().keys) console.log(`${key.id}: ${key.succeeded} requests, $${key.spent}`)
await close()
