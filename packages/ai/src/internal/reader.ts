/**
 * Answers of OpenRouter as parts of `effect/ai`: chunk by chunk, in the order in which the model says them. An answer that
 * comes whole is read as a stream of one chunk.
 */
import * as Effect from "effect/Effect"
import { AiError, type Response, Tool } from "effect/ai"
import { ChatResponse, type ChatChunk } from "@evenkeel/openrouter"
import { finishOf, usageOf } from "./finish.ts"
import { json, known, number, record, records, text, type Fields } from "./json.ts"

type Parts = Array<Response.StreamPartEncoded>

export interface Reader {
  /** The parts that a chunk adds. */
  readonly read: (chunk: ChatChunk.ChatChunk) => Parts
  /** The parts that are complete only now: calls of tools, and the finish. */
  readonly end: Effect.Effect<Parts, AiError.AiErrorReason>
}

/** The text or the reasoning that is being said. */
interface Block {
  readonly type: "text" | "reasoning"
  readonly id: string
}

interface Call {
  readonly id: string
  readonly name: string
  arguments: string
}

/**
 * A reader for one answer. `deferred` is `toolCallValidation: "deferred"`: arguments that are no JSON are then passed on as
 * they came, for the program to answer.
 */
export const makeReader = (deferred: boolean): Reader => {
  let id: string | undefined
  let provider: string | undefined
  let answered = false
  let block: Block | undefined
  let blocks = 0
  let sources = 0
  let details: Array<Fields> = []
  let refusal = ""
  const calls = new Map<unknown, Call>()
  let finishReason: string | undefined
  let nativeFinishReason: string | undefined
  let usage: ChatResponse.Usage | undefined

  const close = (parts: Parts): void => {
    if (block?.type === "text") parts.push({ type: "text-end", id: block.id })
    if (block?.type === "reasoning") {
      const metadata =
        details.length === 0 ? {} : { metadata: { openrouter: { reasoningDetails: details.map(json) } } }
      parts.push({ type: "reasoning-end", id: block.id, ...metadata })
      details = []
    }
    block = undefined
  }
  const open = (parts: Parts, type: Block["type"]): Block => {
    if (block?.type === type) return block
    close(parts)
    block = { type, id: `${type}-${blocks++}` }
    parts.push({ type: `${type}-start`, id: block.id })
    return block
  }
  const say = (parts: Parts, type: Block["type"], delta: string): void => {
    const { id } = open(parts, type)
    if (delta !== "") parts.push({ type: `${type}-delta`, id, delta })
  }
  const source = (parts: Parts, url: string, title: string, citation: Fields = {}): void => {
    const openrouter = known({
      content: text(citation["content"]),
      startIndex: number(citation["start_index"]),
      endIndex: number(citation["end_index"])
    })
    const part = { type: "source", sourceType: "url", id: `${id ?? "answer"}-source-${sources++}` } as const
    parts.push({ ...part, url, title, metadata: { openrouter } })
  }
  const call = (parts: Parts, fragment: ChatResponse.ToolCall): void => {
    const name = text(fragment.function?.name)
    // An answer that comes whole has no index; and only the first fragment of a call has its name.
    const key = fragment["index"] ?? (name === undefined ? calls.size - 1 : calls.size)
    let one = calls.get(key)
    if (one === undefined) {
      one = {
        id: text(fragment.id) ?? `${id ?? "answer"}-call-${calls.size}`,
        name: name ?? "",
        arguments: ""
      }
      calls.set(key, one)
      parts.push({ type: "tool-params-start", id: one.id, name: one.name })
    }
    const delta = fragment.function?.arguments ?? ""
    one.arguments += delta
    if (delta !== "") parts.push({ type: "tool-params-delta", id: one.id, delta })
  }

  const read = (chunk: ChatChunk.ChatChunk): Parts => {
    const parts: Parts = []
    if (id === undefined && chunk.id != null) {
      id = chunk.id
      parts.push({
        type: "response-metadata",
        id,
        modelId: chunk.model ?? undefined,
        timestamp: typeof chunk.created === "number" ? timestampOf(chunk.created) : undefined
      })
    }
    provider ??= chunk.provider ?? undefined
    usage = chunk.usage ?? usage
    const choice = chunk.choices?.find(({ index }) => (index ?? 0) === 0)
    if (choice === undefined) return parts
    answered = true
    finishReason = choice.finish_reason ?? finishReason
    nativeFinishReason = text(choice["native_finish_reason"]) ?? nativeFinishReason
    const { delta } = choice
    if (delta == null) return parts
    const thoughts = records(delta["reasoning_details"])
    const thought =
      delta.reasoning ?? thoughts.map((one) => text(one["text"] ?? one["summary"]) ?? "").join("")
    if (thought !== "" || thoughts.length > 0) {
      say(parts, "reasoning", thought)
      keep(details, thoughts)
    }
    if (text(delta.content) !== undefined) say(parts, "text", delta.content!)
    refusal += delta.refusal ?? ""
    for (const fragment of delta.tool_calls ?? []) {
      close(parts)
      call(parts, fragment)
    }
    for (const image of records(delta["images"])) {
      const url = text(record(image["image_url"])["url"])
      if (url === undefined) continue
      close(parts)
      const inline = /^data:([^;,]+);base64,(.*)$/s.exec(url)
      if (inline === null) source(parts, url, "")
      else parts.push({ type: "file", mediaType: inline[1]!, data: inline[2]! })
    }
    for (const annotation of records(delta["annotations"])) {
      const citation = record(annotation["url_citation"])
      const url = text(citation["url"])
      if (url !== undefined) source(parts, url, text(citation["title"]) ?? "", citation)
    }
    return parts
  }

  const end = Effect.suspend((): Effect.Effect<Parts, AiError.AiErrorReason> => {
    if (!answered) {
      return Effect.fail(new AiError.InvalidResponseError({ description: "The answer has no choice" }))
    }
    const parts: Parts = []
    if (refusal !== "") {
      const { id } = open(parts, "text")
      parts.push({ type: "text-end", id, metadata: { openrouter: { refusal } } })
      block = undefined
    }
    close(parts)
    for (const { arguments: args, id, name } of calls.values()) {
      const params = paramsOf(args)
      parts.push({ type: "tool-params-end", id })
      // Cut off in the middle: the finish says so, and half a call is none.
      if (params === undefined && finishReason === "length") continue
      if (params === undefined && !deferred) {
        const description = "The arguments are no JSON"
        return Effect.fail(new AiError.ToolParameterValidationError({ toolName: name, description }))
      }
      parts.push({ type: "tool-call", id, name, params: params ?? args })
    }
    const openrouter = known({
      provider,
      cost: usage?.cost ?? undefined,
      nativeFinishReason,
      usage: usage === undefined ? undefined : json(usage)
    })
    const reason = finishOf(finishReason, calls.size > 0)
    parts.push({ type: "finish", reason, usage: usageOf(usage), metadata: { openrouter } })
    return Effect.succeed(parts)
  })

  return { read, end }
}

/** All parts of an answer that came whole. */
export const partsOf = (
  response: ChatResponse.ChatResponse,
  deferred: boolean
): Effect.Effect<Array<Response.PartEncoded>, AiError.AiErrorReason> => {
  const reader = makeReader(deferred)
  const [choice] = response.choices
  const delta = choice && { ...choice.message, content: ChatResponse.text(response) }
  const read = reader.read({ ...response, choices: choice === undefined ? [] : [{ ...choice, delta }] })
  return Effect.map(reader.end, (rest) => whole([...read, ...rest]))
}

/** Blocks become parts; the fragments of calls are in the calls. */
const whole = (parts: Parts): Array<Response.PartEncoded> => {
  let said = ""
  return parts.flatMap((part): Array<Response.PartEncoded> => {
    switch (part.type) {
      case "text-start":
      case "reasoning-start":
        said = ""
        return []
      case "text-delta":
      case "reasoning-delta":
        said += part.delta
        return []
      case "text-end":
        return [{ type: "text", text: said, metadata: part.metadata }]
      case "reasoning-end":
        return [{ type: "reasoning", text: said, metadata: part.metadata }]
      case "tool-params-start":
      case "tool-params-delta":
      case "tool-params-end":
      case "error":
        return []
      default:
        return [part]
    }
  })
}

/** Text comes in pieces, of which only the last is signed; everything else must go back as it came. */
const keep = (details: Array<Fields>, more: ReadonlyArray<Fields>): void => {
  for (const one of more) {
    const last = details.at(-1)
    const continues =
      one["type"] === "reasoning.text" &&
      last?.["type"] === "reasoning.text" &&
      last["index"] === one["index"]
    if (!continues) details.push(one)
    else details[details.length - 1] = { ...last, ...one, text: `${last["text"] ?? ""}${one["text"] ?? ""}` }
  }
}

const paramsOf = (args: string): unknown => {
  try {
    return args.trim() === "" ? {} : Tool.unsafeSecureJsonParse(args)
  } catch {
    return undefined
  }
}

const timestampOf = (seconds: number): string | undefined => {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString()
}
