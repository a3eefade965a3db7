/**
 * A skin is how one endpoint words requests, answers and streams; everything else is the same for all of them.
 */
import type { InnerError } from "../actions.ts"
import { type Answer, billedLength } from "../answer.ts"
import type { Bill } from "../call.ts"
import type { SimulatorModel } from "../options.ts"

/** One answer of a model, before it is put into words. */
export interface Generation {
  /** `gen-…`, also the value of `X-Generation-Id`. */
  readonly id: string
  /** Epoch seconds. */
  readonly created: number
  readonly model: SimulatorModel
  readonly provider: string
  readonly promptTokens: number
  readonly answer: Answer
  /** The request as it came. */
  readonly body: unknown
  /** The last chunk of a stream has `choices: []`. */
  readonly emptyUsageChoices: boolean
}

/** One piece of content in a stream. */
export interface Piece {
  readonly text: string
  /** Characters billed up to and with this piece. */
  readonly billed: number
}

/** A stream in words. */
export interface SkinStream {
  /** Events before the first content. */
  readonly open: ReadonlyArray<string>
  /** Events with content. */
  readonly pieces: ReadonlyArray<Piece>
  /** Events after the last content: finish reason and usage. */
  readonly close: (bill: Bill) => ReadonlyArray<string>
  /** Events that end the stream with an error, before or after content. */
  readonly error: (error: InnerError) => ReadonlyArray<string>
  /** What marks the end of a stream. */
  readonly done: ReadonlyArray<string>
}

/** How one endpoint words things. */
export interface Skin {
  readonly path: `/${string}`
  /** The messages of a request, as chat would word them; `undefined` if the request has none. */
  readonly messages: (body: unknown) => ReadonlyArray<unknown> | undefined
  /** Whether the endpoint generates text; embeddings do not. */
  readonly generates: boolean
  readonly result: (generation: Generation, bill: Bill, error?: InnerError) => unknown
  /** The body of a 200 that is an error. */
  readonly failed: (generation: Generation, error: InnerError) => unknown
  readonly stream: (generation: Generation) => SkinStream
  /** Rewords the body of an error status. */
  readonly reword?: (status: number, body: unknown) => unknown
}

/** `error` without an absent `metadata`. */
export const innerError = (error: InnerError): InnerError =>
  error.metadata === undefined ? { code: error.code, message: error.message } : error

/** Splits text into words with the space before them; joined they are the text again. */
export const words = (text: string): ReadonlyArray<string> => text.match(/\s*\S+|\s+/g) ?? []

/** An SSE event that has only data. */
export const data = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

/** An SSE event with a name, which repeats its type. */
export const named = (value: { readonly type: string; readonly [key: string]: unknown }): string =>
  `event: ${value.type}\n${data(value)}`

/** The marker of OpenRouter's and OpenAI's streams. */
export const doneMarker = "data: [DONE]\n\n"

/** The pieces of the text of an answer. */
export const textPieces = (
  answer: Answer,
  event: (text: string, index: number) => string
): ReadonlyArray<Piece> => {
  let billed = 0
  return words(answer.text).map((word, index) => {
    billed += word.length
    return { text: event(word, index), billed }
  })
}

/** A piece that carries the whole of the tool calls. */
export const toolPiece = (answer: Answer, text: string): ReadonlyArray<Piece> =>
  answer.toolCalls.length === 0 ? [] : [{ text, billed: billedLength(answer) }]

/** OpenRouter's usage, which is part of every answer. */
export const usage = (model: SimulatorModel, bill: Bill) => ({
  prompt_tokens: bill.promptTokens,
  completion_tokens: bill.completionTokens,
  total_tokens: bill.promptTokens + bill.completionTokens,
  cost: bill.cost,
  is_byok: false,
  prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 0, audio_tokens: 0, video_tokens: 0 },
  cost_details: costDetails(model, bill),
  completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 }
})

const costDetails = (model: SimulatorModel, bill: Bill) => ({
  upstream_inference_cost: null,
  upstream_inference_prompt_cost: bill.promptTokens * model.promptPrice,
  upstream_inference_completions_cost: bill.completionTokens * model.completionPrice
})
