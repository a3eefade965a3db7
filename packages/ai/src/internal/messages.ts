/**
 * Prompts of `effect/ai` as messages of OpenRouter (its documentation, "API reference", "Multimodal" and "Reasoning
 * tokens").
 */
import * as Base64 from "effect/encoding/Base64"
import type { Prompt } from "effect/ai"
import type { ChatRequest } from "@evenkeel/openrouter"
import type { CacheControl, Cacheable } from "../Metadata.ts"

type Part = Readonly<Record<string, unknown>>

/** The messages of a prompt. What only other providers understand is left out. */
export const messagesOf = (prompt: Prompt.Prompt): ReadonlyArray<ChatRequest.Message> =>
  prompt.content.flatMap((message): ReadonlyArray<ChatRequest.Message> => {
    switch (message.role) {
      case "system":
        return [{ role: "system", content: textOf(message.content, cacheOf(message)) }]
      case "user":
        return [{ role: "user", content: userContent(message) }]
      case "assistant":
        return assistant(message)
      case "tool":
        return results(message)
    }
  })

interface Options {
  readonly options: { readonly openrouter?: Cacheable | null }
}

const cacheOf = ({ options }: Options): CacheControl | undefined =>
  options.openrouter?.cacheControl ?? undefined

const cached = (part: Part, cache: CacheControl | undefined): Part =>
  cache === undefined ? part : { ...part, cache_control: cache }

/** A plain string is understood by every provider; only a mark in it takes parts. */
const textOf = (text: string, cache: CacheControl | undefined): string | ReadonlyArray<Part> =>
  cache === undefined ? text : [cached({ type: "text", text }, cache)]

const userContent = (message: Prompt.UserMessage): string | ReadonlyArray<Part> => {
  const [only] = message.content
  if (message.content.length === 1 && only?.type === "text") {
    return textOf(only.text, cacheOf(only) ?? cacheOf(message))
  }
  return message.content.map((part, index) => {
    const last = index === message.content.length - 1
    return cached(contentPart(part), cacheOf(part) ?? (last ? cacheOf(message) : undefined))
  })
}

const contentPart = (part: Prompt.TextPart | Prompt.FilePart): Part => {
  if (part.type === "text") return { type: "text", text: part.text }
  const [kind] = part.mediaType.split("/")
  switch (kind) {
    case "image":
      return { type: "image_url", image_url: { url: urlOf(part) } }
    case "video":
      return { type: "video_url", video_url: { url: urlOf(part) } }
    case "audio":
      return { type: "input_audio", input_audio: { data: base64Of(part), format: formatOf(part.mediaType) } }
    default:
      return { type: "file", file: { filename: part.fileName ?? "file", file_data: urlOf(part) } }
  }
}

/** Data URLs and web addresses pass; a string that is neither is Base64, as `Chat` keeps generated files. */
const urlOf = ({ data, mediaType }: Prompt.FilePart): string => {
  if (data instanceof URL) return data.href
  if (typeof data === "string" && /^(https?|data):/i.test(data)) return data
  const known = mediaType === "image/*" ? "image/jpeg" : mediaType
  return `data:${known};base64,${typeof data === "string" ? data : Base64.encode(data)}`
}

/** Audio has no data URL in OpenRouter's API. */
const base64Of = (part: Prompt.FilePart): string => urlOf(part).replace(/^data:[^,]*,/, "")

/** Its names of formats are the usual endings of files. */
const formatOf = (mediaType: string): string => {
  const name = mediaType.slice("audio/".length).replace(/^x-/, "")
  return name === "mpeg" ? "mp3" : name === "wave" ? "wav" : name
}

const assistant = ({ content }: Prompt.AssistantMessage): ReadonlyArray<ChatRequest.Message> => {
  let text = ""
  let reasoning = ""
  const reasoning_details: Array<unknown> = []
  const tool_calls: Array<Part> = []
  const images: Array<Part> = []
  for (const part of content) {
    switch (part.type) {
      case "text":
        text += part.text
        break
      case "reasoning":
        reasoning += part.text
        reasoning_details.push(...(part.options.openrouter?.reasoningDetails ?? []))
        break
      case "file":
        images.push(contentPart(part))
        break
      case "tool-call":
        // What another provider ran by itself has no call here that could be answered.
        if (!part.providerExecuted) {
          const called = { name: part.name, arguments: JSON.stringify(part.params ?? {}) }
          tool_calls.push({ type: "function", id: part.id, function: called })
        }
        break
      default:
    }
  }
  const said = {
    ...(reasoning === "" ? {} : { reasoning }),
    ...(reasoning_details.length === 0 ? {} : { reasoning_details }),
    ...(tool_calls.length === 0 ? {} : { tool_calls }),
    ...(images.length === 0 ? {} : { images })
  }
  if (text === "" && Object.keys(said).length === 0) return []
  return [{ role: "assistant", content: text === "" ? null : text, ...said }]
}

const results = (message: Prompt.ToolMessage): ReadonlyArray<ChatRequest.Message> =>
  message.content.flatMap((part) => {
    if (part.type !== "tool-result" || part.providerExecuted) return []
    const cache = cacheOf(part) ?? (part === message.content.at(-1) ? cacheOf(message) : undefined)
    return [{ role: "tool", tool_call_id: part.id, content: resultContent(part, cache) }]
  })

const resultContent = (part: Prompt.ToolResultPart, cache: CacheControl | undefined) => {
  if (part.modelOutput !== undefined) return part.modelOutput.map(contentPart)
  const text = typeof part.result === "string" ? part.result : JSON.stringify(part.result ?? null)
  return textOf(text, cache)
}
