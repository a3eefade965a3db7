import { ChatRequest } from "@evenkeel/openrouter"
import { Data, Effect, FileSystem, Schema } from "effect"

/** A line of the file is not what it should be. */
export class BadPrompt extends Data.TaggedError("BadPrompt")<{
  readonly line: number
  readonly problem: string
}> {
  override get message(): string {
    return `line ${this.line}: ${this.problem}`
  }
}

/** A prompt as it stands in the file: text, or a whole request. */
export type Prompt = string | ChatRequest.ChatRequest

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(ChatRequest.ChatRequest))

/** Reads one prompt a line, or JSONL of chat requests; empty lines are passed over. */
export const readPrompts = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem
  const lines = (yield* files.readFileString(path)).split(/\r?\n/)
  const prompts: Array<Prompt> = []
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue
    if (!line.trimStart().startsWith("{")) prompts.push(line)
    else {
      prompts.push(
        yield* decode(line).pipe(
          Effect.mapError((error) => new BadPrompt({ line: index + 1, problem: error.message }))
        )
      )
    }
  }
  if (prompts.length === 0) return yield* new BadPrompt({ line: 1, problem: "the file holds no prompt" })
  return prompts
})

export const toRequest = (prompt: Prompt, model: string): ChatRequest.ChatRequest =>
  typeof prompt === "string"
    ? { model, max_completion_tokens: 100, messages: [{ role: "user", content: prompt }] }
    : prompt.model === undefined && prompt.models === undefined
      ? { ...prompt, model }
      : prompt

const topics = [
  "tides",
  "ballast",
  "lateen sails",
  "the Plimsoll line",
  "knots",
  "harbour pilots",
  "lighthouses",
  "keels"
]
const asks = [
  "Explain in a sentence",
  "Write a haiku about",
  "Name three facts about",
  "What is odd about",
  "Who invented"
]

/** 200 short prompts. */
export const samplePrompts: ReadonlyArray<string> = Array.from(
  { length: 200 },
  (_, i) => `${asks[i % asks.length]} ${topics[Math.floor(i / asks.length) % topics.length]}. (${i + 1})`
)
