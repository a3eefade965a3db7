// The official `@openrouter/sdk` over many keys: whole and streamed. Keys come from OPENROUTER_KEYS.
import { OpenRouterFetch } from "@evenkeel/openrouter"
import { HTTPClient, OpenRouter } from "@openrouter/sdk"

const { close, fetch, snapshot } = await OpenRouterFetch.make()
const openrouter = new OpenRouter({
  apiKey: "unused: each request gets a key of its own",
  serverURL: process.env["OPENROUTER_BASE_URL"] ?? "https://openrouter.ai/api/v1",
  httpClient: new HTTPClient({ fetcher: fetch }),
  // By itself it would go on for an hour when OpenRouter fails; the fetch has tried all there is.
  retryConfig: { strategy: "none" }
})

const model = "openai/gpt-4o-mini"
const messages = [{ role: "user" as const, content: "What keeps a ship upright?" }]

const whole = await openrouter.chat.send({ chatRequest: { model, messages } })
if ("choices" in whole) console.log(whole.choices[0]?.message.content)

const stream = await openrouter.chat.send({ chatRequest: { model, messages, stream: true } })
if (!("choices" in stream)) {
  for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "")
}

for (const key of snapshot().keys) console.log(`\n${key.id}: ${key.succeeded} requests, $${key.spent}`)
await close()
