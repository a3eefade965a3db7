/**
 * The one place that knows HTTP status codes: a table from what an answer says to whose fault it is.
 *
 * OpenRouter sends the same status for very different faults: a 402 may mean that a key's cap is spent, that the
 * account's balance is, that this one request is too large for either, or that too much is in flight just now. So the
 * rows go by `metadata.limit_source` first, then by signs of a provider behind OpenRouter, then by the message, and by
 * the bare status last (OpenRouter's documentation, "Errors and debugging" and "Limits").
 */
import * as Duration from "effect/Duration"
import { Outcome, type Candidate } from "@evenkeel/core"
import { errorIn, isServed } from "./internal/classifier/errorIn.ts"
import { factsOf, type Answer, type Facts } from "./internal/classifier/facts.ts"
import type { Billed, Confidence, Row, Scope } from "./internal/classifier/row.ts"
import { rows as table } from "./internal/classifier/rows.ts"
import { told } from "./internal/classifier/until.ts"

export type { Answer, Facts, PreviousError } from "./internal/classifier/facts.ts"
export type { Billed, Confidence, Row, Scope } from "./internal/classifier/row.ts"
export { maxCapReset, maxRateLimitReset, maxRetryAfter } from "./internal/classifier/until.ts"

/**
 * The classes of the built-in rows, for `switch`. Rows of your own add others.
 */
export type Known = (typeof table)[number]["class"]

/**
 * What the table says of one answer.
 */
export interface Classification {
  /** One of `known`, or of the user's rows. */
  readonly class: Known | (string & {})
  readonly scope: Scope
  readonly reason: Outcome.FaultReason
  readonly retryable: Outcome.Retryable
  /** Milliseconds since the epoch. */
  readonly until: number | undefined
  readonly within: string | undefined
  readonly billed: Billed
  readonly confidence: Confidence
  readonly facts: Facts
}

/**
 * The built-in table, in the order in which it is read: `src/internal/classifier/rows.ts` shows it as one, and
 * `docs/failure-domains.md` in words.
 */
export const rows: ReadonlyArray<Row<Known>> = table

/**
 * The classes of the built-in rows, each once, in the order of the table.
 */
export const known: ReadonlyArray<Known> = Array.from(new Set(rows.map((row) => row.class)))

/**
 * Says whose fault an answer is; `undefined` for one that is no failure: a status below 400, and JSON without an
 * error in it.
 *
 * **Details**
 *
 * `table` is read before the built-in rows, so that users can add rows and replace them.
 *
 * **Example**
 *
 * ```ts
 * import { Classifier } from "@evenkeel/openrouter"
 *
 * const body = { error: { code: 402, message: "Insufficient credits" }, user_id: "org_1" }
 * const found = Classifier.classify({ status: 402, headers: {}, body }, Date.now())
 * found?.class // => "account-exhausted"
 * found?.scope // => "account"
 * ```
 */
export const classify = (
  answer: Answer,
  now: number,
  table: ReadonlyArray<Row> = []
): Classification | undefined => (isServed(answer) ? undefined : verdict(factsOf(answer, now), table))

/**
 * The same for one parsed event of a stream, in any of OpenRouter's skins; `undefined` for one that is no failure.
 *
 * **Details**
 *
 * A stream has been a 200 from its beginning, so only the event itself tells what went wrong: by a code that is a number
 * or a word.
 *
 * **Example**
 *
 * ```ts
 * import { Classifier } from "@evenkeel/openrouter"
 *
 * const event = { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }
 * Classifier.classifyEvent(event, Date.now())?.class // => "upstream-unavailable"
 * Classifier.classifyEvent({ choices: [{ delta: { content: "Hello" } }] }, Date.now()) // => undefined
 * ```
 */
export const classifyEvent = (
  event: unknown,
  now: number,
  table: ReadonlyArray<Row> = []
): Classification | undefined =>
  errorIn(event) === undefined
    ? undefined
    : verdict(factsOf({ status: 200, headers: {}, body: event }, now), table)

const verdict = (facts: Facts, table: ReadonlyArray<Row>): Classification => {
  const own = find(table, facts)
  // The last of the built-in rows takes whatever comes.
  const row = own ?? find(rows, facts)!
  return {
    class: row.class,
    scope: typeof row.scope === "function" ? row.scope(facts) : row.scope,
    reason: row.reason,
    // OpenRouter knows better than the table whether waiting can help.
    retryable:
      own === undefined && row.retryable === "backoff" && facts.retryable === false ? "never" : row.retryable,
    until: row.until?.(facts) ?? told(facts),
    within: row.within,
    billed: row.billed ?? (facts.began ? "maybe" : "no"),
    confidence: row.confidence,
    facts
  }
}

const find = <R extends Row>(table: ReadonlyArray<R>, facts: Facts): R | undefined =>
  table.find((row) => row.status(facts.status) && (row.when === undefined || row.when(facts)))

/**
 * What the balancer learns from a classification.
 *
 * **Details**
 *
 * `context` is that of the lease (`lease.context`): rows whose fault holds within the request's own model need to know
 * its `upstream`, and bench nobody without it.
 */
export const toOutcome = (
  c: Classification,
  context: Partial<Pick<Candidate.PickContext, "upstream">> = {}
): Outcome.Faulted | Outcome.Ignored => {
  const cost = c.facts.cost ?? (c.billed === "maybe" ? undefined : 0)
  const { status } = c.facts
  if (c.scope === "request") return { ...Outcome.ignored(cost), status, class: c.class }
  const within = c.within === "upstream" ? context.upstream : c.within
  const nobody = c.within === "upstream" && within === undefined
  const until = nobody ? c.facts.now : c.until
  return Outcome.faulted({
    scope: c.scope,
    reason: c.reason,
    retryable: c.retryable,
    within,
    retryAfter: until === undefined ? undefined : Duration.millis(Math.max(0, until - c.facts.now)),
    cost,
    account: c.facts.account,
    status,
    class: c.class
  })
}

/**
 * The connection failed before an answer came: the way to the host is at fault, and the request may have run.
 */
export const transport: Outcome.Faulted = Outcome.faulted({
  scope: "host",
  reason: "unavailable",
  class: "transport",
  // The request may have been served, and billed, before the connection broke.
  cost: undefined
})
