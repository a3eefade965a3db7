/**
 * What a line of the input asks for. Three forms are taken: a line of OpenAI's batch format (`custom_id` and `body`), the
 * body of a chat completion, and `{"prompt": "…"}`.
 */
import { ChatRequest } from "@evenkeel/openrouter"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import type { Line } from "./lines.ts"

export interface Request {
  /** From 1: where it stands in the input, empty lines counted. */
  readonly line: number
  /** The caller's own name for it. */
  readonly customId: string | undefined
  readonly body: ChatRequest.ChatRequest
  /** Bytes of the body: more than the tokens of its text can be. */
  readonly bytes: number
  /** Of all that is sent, and of the name: the same line with other defaults is another request. */
  readonly hash: string
}

/** What is added where the line does not say. */
export interface Defaults {
  readonly model: string | undefined
  readonly maxTokens: number | undefined
}

const utf8 = new TextDecoder("utf-8", { fatal: true })
const decode = Schema.decodeUnknownResult(ChatRequest.ChatRequest)

/** The request of a line, or what is wrong with it; `undefined` for an empty line. */
export const read = (line: Line, defaults: Defaults): Result.Result<Request, string> | undefined => {
  const text = textOf(line)
  if (text === undefined) return Result.fail("not UTF-8")
  if (text.trim() === "") return undefined
  const fields = fieldsOf(text)
  if (typeof fields === "string") return Result.fail(fields)
  const { custom_id: customId, ...rest } = fields
  if (customId !== undefined && typeof customId !== "string") return Result.fail("custom_id must be a string")
  const asked = "body" in rest ? openAiBody(rest) : rest
  if (typeof asked === "string") return Result.fail(asked)
  const completed = complete(asked, defaults)
  if (typeof completed === "string") return Result.fail(completed)
  const body = decode(completed)
  if (Result.isFailure(body)) return Result.fail(body.failure.message.replaceAll(/\s+/g, " "))
  const json = JSON.stringify(completed)
  const hash = createHash("sha256")
    .update(JSON.stringify([customId ?? null, json]))
    .digest("hex")
    .slice(0, 16)
  return Result.succeed({
    line: line.number,
    customId,
    body: body.success,
    bytes: Buffer.byteLength(json),
    hash
  })
}

const textOf = ({ bytes, number }: Line): string | undefined => {
  try {
    const text = utf8.decode(bytes)
    // The decoder takes a byte order mark off each line, and only the first may have one.
    return number > 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? undefined : text
  } catch {
    return undefined
  }
}

type Fields = Readonly<Record<string, unknown>>

const isRecord = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const fieldsOf = (text: string): Fields | string => {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : "must be a JSON object"
  } catch (error) {
    return `not JSON: ${(error as Error).message}`
  }
}

const openAiBody = ({ body, method, url }: Fields): Fields | string => {
  if (method !== undefined && method !== "POST") return 'method must be "POST"'
  if (url !== undefined && (typeof url !== "string" || !url.endsWith("/chat/completions")))
    return "url must be /v1/chat/completions: other endpoints are not served by a batch"
  return isRecord(body) ? body : "body must be a JSON object"
}

const complete = (asked: Fields, { maxTokens, model }: Defaults): Fields | string => {
  const { prompt, ...rest } = asked
  if (prompt !== undefined) {
    if (typeof prompt !== "string" || prompt === "") return "prompt must be a non-empty string"
    if (rest["messages"] !== undefined) return "has both prompt and messages"
  }
  if (rest["stream"] === true) return "stream must be false: a batch answers whole"
  const limited = ["max_completion_tokens", "max_tokens"].some((name) => rest[name] != null)
  const body = {
    ...rest,
    ...(prompt === undefined ? {} : { messages: [{ role: "user", content: prompt }] }),
    ...(maxTokens === undefined || limited ? {} : { max_completion_tokens: maxTokens })
  }
  if (rest["model"] !== undefined || rest["models"] !== undefined) return body
  return model === undefined ? "names no model, and --model gives none" : { ...body, model }
}
