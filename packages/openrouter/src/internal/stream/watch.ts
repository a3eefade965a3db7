/**
 * What the events of a stream tell about it: whether it has said anything yet, what it cost, whether it came to its end.
 */
import * as Classifier from "../../Classifier.ts"
import { parse } from "../json.ts"
import { costOf } from "../credit/cost.ts"
import { record } from "../classifier/facts.ts"

/** An event, and its data as JSON where that was looked at. */
export interface Seen {
  /** Parsed data; `undefined` if it was not parsed, or is not JSON. */
  readonly body: unknown
  readonly data: string
  /** Set for an event that tells of a failure. */
  readonly failure: Classifier.Classification | undefined
}

/** Events of `/responses` and `/messages` that say nothing yet. */
const announcements = new Set([
  "response.created",
  "response.queued",
  "response.in_progress",
  "response.output_item.added",
  "response.content_part.added",
  "response.reasoning_summary_part.added",
  "message_start",
  "content_block_start",
  "ping"
])
/** Events of these that come last. */
const endings = new Set(["response.completed", "response.incomplete", "message_stop"])

export class StreamWatch {
  /** Something that the reader would miss has passed: from here on no other key may be tried. */
  committed = false
  /** The stream has said that it is complete. */
  finished = false
  /** Its last word has come. Behind a finish reason the usage may still follow, behind this nothing. */
  over = false
  /** USD; `undefined` until the stream tells. */
  cost: number | undefined
  usage: unknown
  /** The first event that was looked into, and the one that said how it ends: they tell of the answer as a whole. */
  first: unknown
  last: unknown
  failure: Classifier.Classification | undefined
  private readonly table: ReadonlyArray<Classifier.Row> | undefined
  /** Whether the key's cap counts what the account's own provider keys cost. */
  private readonly includesByok: boolean
  /** Whether the reader wants the data of every event as JSON, also where the watch can do without. */
  private readonly parses: boolean

  constructor(table: ReadonlyArray<Classifier.Row> | undefined, includesByok = false, parses = false) {
    this.table = table
    this.includesByok = includesByok
    this.parses = parses
  }

  see(data: string, now: number): Seen {
    if (data === "[DONE]") {
      this.over = true
      this.finish()
      // An ending behind an error does not make an answer of it.
      if (this.failure === undefined) this.committed = true
      return { data, body: undefined, failure: undefined }
    }
    // Behind the first content most events are nothing but text: those that cannot matter here are not parsed here.
    if (this.committed && !this.parses && !matters(data)) return { data, body: undefined, failure: undefined }
    const body = parse(data)
    const fields = record(body)
    if (fields === undefined) {
      // Not what any of OpenRouter's streams send; it is the reader's to judge.
      this.committed = true
      return { data, body, failure: undefined }
    }
    this.first ??= fields
    const failure = Classifier.classifyEvent(fields, now, this.table)
    if (failure !== undefined) this.failure = failure
    const usage = record(fields["usage"]) ?? record(record(fields["response"])?.["usage"])
    if (usage !== undefined) {
      this.usage = usage
      this.cost = costOf({ usage }, this.includesByok) ?? this.cost
    }
    if (isEnd(fields)) {
      this.last = fields
      this.finish()
    }
    if (fields["type"] === "message_stop") this.over = true
    if (!this.committed && this.failure === undefined && !isPreamble(fields)) this.committed = true
    return { data, body, failure }
  }

  private finish(): void {
    if (this.failure === undefined) this.finished = true
  }
}

const matters = (data: string): boolean =>
  data.includes('"error"') || data.includes('"usage"') || ends.test(data)

/** Not every server writes its JSON without blanks. */
const ends = /"(?:finish_reason|type)"\s*:\s*"/

const isEnd = (fields: Readonly<Record<string, unknown>>): boolean =>
  (typeof fields["type"] === "string" && endings.has(fields["type"])) ||
  (Array.isArray(fields["choices"]) &&
    fields["choices"].some((choice) => typeof record(choice)?.["finish_reason"] === "string"))

/** A role, an empty delta, an announcement: nothing that the reader would see twice if another key began anew. */
const isPreamble = (fields: Readonly<Record<string, unknown>>): boolean => {
  if (typeof fields["type"] === "string") return announcements.has(fields["type"])
  const { choices } = fields
  if (!Array.isArray(choices)) return false
  if (record(fields["usage"]) !== undefined) return false
  return choices.every((choice) => {
    const { delta, finish_reason, text } = record(choice) ?? {}
    if (typeof finish_reason === "string" || (typeof text === "string" && text !== "")) return false
    return Object.entries(record(delta) ?? {}).every(([name, value]) => name === "role" || isEmpty(value))
  })
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0)

/** Whether the data is all there: the last event of a stream that breaks off may be half of one. */
export const isWhole = (data: string): boolean => data === "[DONE]" || parse(data) !== undefined
