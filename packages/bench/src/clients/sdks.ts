import { OpenRouterFetch } from "@evenkeel/openrouter"
import { UndiciHttpClient } from "@evenkeel/undici"
import { createOpenRouter } from "@openrouter/ai-sdk-provider"
import { OpenRouter } from "@openrouter/sdk"
import { generateText, streamText } from "ai"
import OpenAI from "openai"
import { body, messages, model, keyCount, secrets, type Client, type Make } from "../Client.ts"

const overOpenAi = (clients: ReadonlyArray<OpenAI>, close: () => Promise<void>): Client => ({
  call: async (turn) => {
    const answer = await clients[turn % clients.length]!.chat.completions.create(body())
    return answer.choices[0]?.message.content ?? ""
  },
  stream: async (turn, first) => {
    let all = ""
    for await (const chunk of await clients[turn % clients.length]!.chat.completions.create({
      ...body(),
      stream: true
    })) {
      if (all === "") first?.()
      all += chunk.choices[0]?.delta.content ?? ""
    }
    return all
  },
  close
})

/** The official client, one for each key, in turn. */
export const openai: Make = async (baseURL) =>
  overOpenAi(
    secrets.map((apiKey) => new OpenAI({ apiKey, baseURL })),
    async () => {}
  )

/** The official client on Evenkeel's fetch. */
const onOurFetch =
  (httpClient: typeof UndiciHttpClient.layer | undefined): Make =>
  async (baseURL) => {
    const { close, fetch } = await OpenRouterFetch.make({ keys: secrets, baseUrl: baseURL, httpClient })
    return overOpenAi([new OpenAI({ apiKey: "unused", baseURL, fetch })], close)
  }
export const openaiOnFetch: Make = onOurFetch(undefined)
export const openaiOnLeanFetch: Make = onOurFetch(UndiciHttpClient.layer)

export const openrouterSdk: Make = async (serverURL) => {
  const clients = secrets.map((apiKey) => new OpenRouter({ apiKey, serverURL }))
  return {
    call: async (turn) => {
      const answer = await clients[turn % keyCount]!.chat.send({
        chatRequest: { model, messages, temperature: 0.2 }
      })
      return "choices" in answer ? String(answer.choices[0]?.message.content) : ""
    },
    stream: async (turn, first) => {
      const answer = await clients[turn % keyCount]!.chat.send({
        chatRequest: { model, messages, temperature: 0.2, stream: true }
      })
      let all = ""
      if ("choices" in answer) return all
      for await (const chunk of answer) {
        if (all === "") first?.()
        all += chunk.choices[0]?.delta.content ?? ""
      }
      return all
    },
    close: async () => {}
  }
}

export const aiSdk: Make = async (baseURL) => {
  const models = secrets.map((apiKey) => createOpenRouter({ apiKey, baseURL }).chat(model))
  const question = (turn: number) => ({
    model: models[turn % keyCount]!,
    messages: [messages[1]!],
    instructions: messages[0]!.content,
    temperature: 0.2
  })
  return {
    call: async (turn) => (await generateText(question(turn))).text,
    stream: async (turn, first) => {
      let all = ""
      for await (const text of streamText(question(turn)).textStream) {
        if (all === "") first?.()
        all += text
      }
      return all
    },
    close: async () => {}
  }
}
