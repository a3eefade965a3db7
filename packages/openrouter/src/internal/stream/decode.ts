/**
 * Chunks as the schema decodes them. That takes longer than all else an event costs, so those that are plainly what the schema
 * asks for are not given to it: it would only copy them.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { ChatChunk } from "../../ChatChunk.ts"

const decode = Schema.decodeUnknownResult(ChatChunk)

/** What the schema says of the value, from `JSON.parse`. */
export const decodeChunk = (value: unknown): Result.Result<ChatChunk, Schema.SchemaError> =>
  isPlain(value) ? Result.succeed(value) : decode(value)

/** `true` only if the schema says so too; `false` if it is to be asked. */
const isPlain = (value: unknown): value is ChatChunk =>
  isRecord(value) &&
  isText(value["id"]) &&
  isText(value["model"]) &&
  isText(value["provider"]) &&
  isNumber(value["created"]) &&
  isListOf(value["choices"], isChoice) &&
  isMissing(value["usage"])

const isChoice = (value: unknown): boolean =>
  isRecord(value) &&
  isNumber(value["index"]) &&
  isText(value["finish_reason"]) &&
  (isMissing(value["delta"]) || isDelta(value["delta"]))

const isDelta = (value: unknown): boolean =>
  isRecord(value) &&
  isText(value["role"]) &&
  isText(value["content"]) &&
  isText(value["reasoning"]) &&
  isText(value["refusal"]) &&
  isListOf(value["tool_calls"], isToolCall)

const isToolCall = (value: unknown): boolean =>
  isRecord(value) &&
  isText(value["id"]) &&
  isText(value["type"]) &&
  (isMissing(value["function"]) || isFunction(value["function"]))

const isFunction = (value: unknown): boolean =>
  isRecord(value) && isText(value["name"]) && isText(value["arguments"])

const isMissing = (value: unknown): boolean => value === undefined || value === null
const isText = (value: unknown): boolean => typeof value === "string" || isMissing(value)
const isNumber = (value: unknown): boolean => Number.isFinite(value) || isMissing(value)
const isListOf = (value: unknown, is: (item: unknown) => boolean): boolean =>
  isMissing(value) || (Array.isArray(value) && value.every(is))
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
