/**
 * `/embeddings`: short vectors that depend on nothing but the text.
 */
import { list, number, record } from "../json.ts"
import type { Skin } from "./skin.ts"

// FNV-1a, spread over the dimensions: cheap, and equal texts get equal vectors.
const vector = (text: string, dimensions: number): ReadonlyArray<number> => {
  let hash = 0x811c9dc5
  const next = (value: number) => {
    hash = Math.imul(hash ^ value, 0x01000193) >>> 0
    return hash
  }
  for (let i = 0; i < text.length; i++) next(text.charCodeAt(i))
  const raw = Array.from({ length: dimensions }, (_, index) => next(index + 1) / 0xffffffff - 0.5)
  const norm = Math.hypot(...raw)
  return raw.map((value) => value / norm)
}

const inputs = (body: unknown): ReadonlyArray<string> | undefined => {
  const input = record(body)["input"]
  if (typeof input === "string") return [input]
  const texts = list(input).map(String)
  return texts.length > 0 ? texts : undefined
}

const encode = (values: ReadonlyArray<number>, format: unknown) =>
  format === "base64" ? Buffer.from(Float32Array.from(values).buffer).toString("base64") : values

/** `/embeddings`. */
export const embeddings: Skin = {
  path: "/embeddings",
  generates: false,
  messages: (body) => inputs(body)?.map((content) => ({ role: "user", content })),
  failed: (generation, error) => ({ id: generation.id, error }),
  result: (generation, bill) => {
    const dimensions = number(record(generation.body)["dimensions"]) ?? 8
    return {
      id: generation.id,
      object: "list",
      model: generation.model.id,
      provider: generation.provider,
      data: (inputs(generation.body) ?? []).map((text, index) => ({
        object: "embedding",
        index,
        embedding: encode(vector(text, dimensions), record(generation.body)["encoding_format"])
      })),
      usage: { prompt_tokens: bill.promptTokens, total_tokens: bill.promptTokens, cost: bill.cost }
    }
  },
  stream: () => ({ open: [], pieces: [], close: () => [], error: () => [], done: [] })
}
