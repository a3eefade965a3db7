// The official `openai` client over many keys: whole, streamed, and with a JSON schema. Keys come from OPENROUTER_KEYS.
import { OpenRouterFetch } from "@evenkeel/openrouter"
import OpenAI from "openai"

const openrouter = await OpenRouterFetch.make()
const openai = new OpenAI({
  baseURL: process.env["OPENROUTER_BASE_URL"] ?? "https://openrouter.ai/api/v1",
  apiKey: "unused: each request gets a key of its own",
  fetch: openrouter.fetch
})

const model = "openai/gpt-4o-mini"
const messages = [{ role: "user" as const, content: "What keeps a ship upright?" }]

const whole = await openai.chat.completions.create({ model, messages })
console.log(whole.choices[0]?.message.content)

for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? "")
}

const schema = {
  type: "object",
  properties: { reason: { type: "string" } },
  required: ["reason"],
  additionalProperties: false
}
const answer = await openai.chat.completions.create({
  model,
  messages,
  response_format: { type: "json_schema", json_schema: { name: "answer", strict: true, schema } }
})
console.log(`\n${answer.choices[0]?.message.content}`)

for (const key of openrouter.snapshot().keys)
  console.log(`${key.id}: ${key.succeeded} requests, $${key.spent}`)
await openrouter.close()
