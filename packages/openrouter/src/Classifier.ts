/**
 * The one place that knows HTTP status codes: a table from what an answer says to whose fault it is.
 *
 * OpenRouter sends the same status for very different faults: a 402 may mean that a key's cap is spent, that the
 * account's balance is, that this one request is too large for either, or that too much is in flight just now. So the
 * rows go by `metadata.limit_source` first, then by signs of a provider behind OpenRouter, then by the message, and by
 * the bare status last (OpenRouter's documentation, "Errors and debugging" and "Limits").
 */
import * as Duration from "effect/Duration"
import { Outcome } from "@evenkeel/core"
import { errorIn, factsOf, type Answer, type Facts } from "./internal/facts.ts"
import { isPeriod, nextReset } from "./internal/resets.ts"

export type { Answer, Facts } from "./internal/facts.ts"

/**
 * How sure a row is: `stated` by the answer itself, `inferred` from documented signs, or `guessed` from the bare status.
 */
export type Confidence = "stated" | "inferred" | "guessed"

/**
 * One row: which answers it takes, and whose fault they are. The first row that matches wins.
 */
export interface Row {
  /** The class of the failure: stable, for logs, metrics and `switch`. */
  readonly class: string
  readonly status: (status: number) => boolean
  readonly when?: (facts: Facts) => boolean
  /** `request`: the caller's own, it benches nobody. */
  readonly scope: Outcome.FaultScope | "request" | ((facts: Facts) => Outcome.FaultScope | "request")
  readonly reason: Outcome.FaultReason
  readonly retryable: Outcome.Retryable
  /** Until when the scope is out, in milliseconds since the epoch; by default what Retry-After says. */
  readonly until?: (facts: Facts) => number | undefined
  /** Where the fault holds only for upstreams whose id ends so. */
  readonly within?: string
  readonly confidence: Confidence
}

/**
 * What the table says of one answer.
 */
export interface Classification {
  readonly class: string
  readonly scope: Outcome.FaultScope | "request"
  readonly reason: Outcome.FaultReason
  readonly retryable: Outcome.Retryable
  readonly until: number | undefined
  readonly within: string | undefined
  readonly confidence: Confidence
  readonly facts: Facts
}

const is =
  (...statuses: ReadonlyArray<number>) =>
  (status: number) =>
    statuses.includes(status)
const between = (low: number, high: number) => (status: number) => status >= low && status <= high

const source =
  (...names: ReadonlyArray<string>) =>
  (f: Facts) =>
    names.includes(f.limitSource)
const says = (pattern: RegExp) => (f: Facts) => pattern.test(f.message)
const has =
  (...names: ReadonlyArray<string>) =>
  (f: Facts) =>
    names.some((name) => f.metadata[name] !== undefined)
const type =
  (...names: ReadonlyArray<string>) =>
  (f: Facts) =>
    names.includes(f.errorType)
const either =
  (...tests: ReadonlyArray<(f: Facts) => boolean>) =>
  (f: Facts) =>
    tests.some((test) => test(f))
const both =
  (...tests: ReadonlyArray<(f: Facts) => boolean>) =>
  (f: Facts) =>
    tests.every((test) => test(f))
const edge = (f: Facts) => !f.json
const provider = (f: Facts) => f.provider

const ofKey = either(source("openrouter_key_limit"), says(/settings\/keys/))
const tooLarge = says(/can only afford|Prompt tokens limit exceeded/)

/** A time that has passed already tells of clocks that differ, or of a cache: a bench until then would be none. */
const ahead = (f: Facts, time: number | undefined) => (time !== undefined && time > f.now ? time : undefined)

/** When a spent cap is filled up again: as the answer says, or at the boundary of the period that its message names. */
const reset = (f: Facts): number | undefined => {
  const told = ahead(f, f.resetsAt)
  if (told !== undefined) return told
  const period = /\b(daily|weekly|monthly)\b/.exec(f.message)?.[1]
  return isPeriod(period) ? nextReset(period, f.now) : undefined
}
const within = (millis: number) => (f: Facts) => f.now + Math.min(f.retryAfter ?? millis, maxRetryAfter)

/** Whom a guardrail's budget covers. */
const budgetScope = (f: Facts): Outcome.FaultScope => {
  switch (f.metadata["scope"]) {
    case "workspace":
      return "workspace"
    case "member":
    case "workspace_default_member":
      return "account"
    default:
      return "key"
  }
}

/**
 * A Retry-After of hours is a mistake, or hostile: it is capped at one hour. Resets of caps and of daily quotas are not.
 */
export const maxRetryAfter = 3_600_000

const minute = 60_000

/**
 * The table, in the order in which it is read. Numbers that no answer gives are documented beside their row.
 */
// oxfmt-ignore
export const rows: ReadonlyArray<Row> = [
  // 401 ------------------------------------------------------------------------------------------------------------
  // A provider refused the account's own provider key (BYOK): the OpenRouter key is fine.
  { class: "byok-rejected", status: is(401), when: provider, scope: "request", reason: "rejected", retryable: "never", confidence: "inferred" },
  { class: "key-rejected", status: is(401), scope: "key", reason: "rejected", retryable: "rotate", confidence: "stated" },

  // 402 ------------------------------------------------------------------------------------------------------------
  // A hold on the estimated cost of what is in flight; it passes as requests settle, in seconds.
  { class: "in-flight-budget", status: is(402), when: either(source("openrouter_in_flight_budget"), says(/in-flight requests/)), scope: "account", reason: "throttled", retryable: "rotate", until: within(2_000), confidence: "stated" },
  { class: "over-key-headroom", status: is(402), when: both(ofKey, tooLarge), scope: "key", reason: "insufficient", retryable: "rotate", confidence: "stated" },
  { class: "key-cap-spent", status: is(402), when: ofKey, scope: "key", reason: "exhausted", retryable: "rotate", until: reset, confidence: "stated" },
  { class: "over-account-balance", status: is(402), when: either((f) => f.metadata["reason"] === "weight_exceeds_budget", tooLarge), scope: "account", reason: "insufficient", retryable: "rotate", confidence: "stated" },
  { class: "account-exhausted", status: is(402), when: either(source("openrouter_credits"), says(/Insufficient credits|settings\/credits/)), scope: "account", reason: "exhausted", retryable: "rotate", confidence: "stated" },
  { class: "payment-required", status: is(402), scope: "account", reason: "exhausted", retryable: "rotate", confidence: "guessed" },

  // 403 ------------------------------------------------------------------------------------------------------------
  { class: "key-cap-spent", status: is(403), when: either(source("openrouter_key_limit"), says(/Key limit exceeded/)), scope: "key", reason: "exhausted", retryable: "rotate", until: reset, confidence: "stated" },
  { class: "guardrail-budget-spent", status: is(403), when: source("openrouter_guardrail_budget"), scope: budgetScope, reason: "exhausted", retryable: "rotate", until: (f) => ahead(f, f.resetsAt) ?? f.now + 15 * minute, confidence: "stated" },
  { class: "workspace-budget-spent", status: is(403), when: either(source("openrouter_workspace_budget"), says(/^Workspace .*budget/)), scope: "workspace", reason: "exhausted", retryable: "rotate", until: reset, confidence: "stated" },
  // Trying the same prompt on another key would be evasion, and would disable one key after the other.
  { class: "moderated", status: is(403), when: either(has("patterns", "reasons", "flagged_input"), type("content_policy_violation", "refusal"), says(/Terms Of Service|flagged|moderation/i)), scope: "request", reason: "rejected", retryable: "never", confidence: "stated" },
  { class: "routing-refused", status: is(403), when: either(has("failed_routing_step", "routing_funnel"), says(/is banned|not available in your region/i), (f) => f.availability === "region_restricted", provider), scope: "request", reason: "rejected", retryable: "never", confidence: "inferred" },
  { class: "key-misused", status: is(403), when: says(/management key/i), scope: "key", reason: "rejected", retryable: "rotate", confidence: "inferred" },
  { class: "edge-blocked", status: is(403), when: edge, scope: "host", reason: "unavailable", retryable: "backoff", until: within(5_000), confidence: "inferred" },
  // Weak evidence against the key: it feeds the circuit breaker, and benches nothing by itself.
  { class: "forbidden", status: is(403), scope: "key", reason: "unavailable", retryable: "rotate", confidence: "guessed" },

  // 408, other 4xx ---------------------------------------------------------------------------------------------------
  { class: "timed-out", status: is(408), scope: "upstream", reason: "unavailable", retryable: "backoff", confidence: "guessed" },

  // 429 ------------------------------------------------------------------------------------------------------------
  // The free models of the account alone: its paid ones go on.
  { class: "free-tier-spent", status: is(429), when: either((f) => f.limitSource.startsWith("openrouter_free_tier_"), says(/free-models-per-/)), scope: "account", reason: "throttled", retryable: "rotate", until: (f) => ahead(f, f.rateLimitReset) ?? within(minute)(f), within: ":free", confidence: "stated" },
  { class: "account-throttled", status: is(429), when: (f) => f.rateLimitReset !== undefined, scope: "account", reason: "throttled", retryable: "rotate", until: (f) => ahead(f, f.rateLimitReset), confidence: "inferred" },
  { class: "upstream-throttled", status: is(429), when: provider, scope: "upstream", reason: "throttled", retryable: "backoff", confidence: "stated" },
  { class: "edge-throttled", status: is(429), when: edge, scope: "host", reason: "throttled", retryable: "backoff", until: within(5_000), confidence: "inferred" },
  { class: "throttled", status: is(429), scope: "upstream", reason: "throttled", retryable: "backoff", confidence: "guessed" },

  // The request itself: never retried, whoever answers -----------------------------------------------------------------
  { class: "bad-request", status: between(400, 499), scope: "request", reason: "rejected", retryable: "never", confidence: "stated" },

  // 5xx ------------------------------------------------------------------------------------------------------------
  { class: "upstream-unavailable", status: between(500, 599), when: either(provider, type("provider_overloaded", "provider_unavailable")), scope: "upstream", reason: "unavailable", retryable: "backoff", confidence: "stated" },
  { class: "edge-unavailable", status: between(500, 599), when: edge, scope: "host", reason: "unavailable", retryable: "backoff", confidence: "inferred" },
  { class: "unavailable", status: between(500, 599), scope: "upstream", reason: "unavailable", retryable: "backoff", confidence: "guessed" }
]

/**
 * Says whose fault an answer is; `undefined` for one that is no failure: a status below 400, and JSON without an
 * error in it.
 *
 * **Details**
 *
 * `table` is read before the built-in rows, so that users can add rows and replace them.
 */
export const classify = (
  answer: Answer,
  now: number,
  table: ReadonlyArray<Row> = []
): Classification | undefined => {
  if (answer.status < 400 && answer.body !== undefined && errorIn(answer.body) === undefined) return undefined
  const facts = factsOf(answer, now)
  const row = find(table, facts) ?? find(rows, facts) ?? unknown
  return {
    class: row.class,
    scope: typeof row.scope === "function" ? row.scope(facts) : row.scope,
    reason: row.reason,
    retryable: row.retryable,
    until: row.until === undefined ? told(facts) : (row.until(facts) ?? told(facts)),
    within: row.within,
    confidence: row.confidence,
    facts
  }
}

/**
 * What the balancer learns from a classification.
 */
export const toOutcome = (c: Classification): Outcome.Outcome =>
  c.scope === "request"
    ? Outcome.ignored(0)
    : Outcome.faulted({
        scope: c.scope,
        reason: c.reason,
        retryable: c.retryable,
        within: c.within,
        retryAfter: c.until === undefined ? undefined : Duration.millis(Math.max(0, c.until - c.facts.now)),
        status: c.facts.status
      })

/**
 * The connection failed before an answer came: the way to the host is at fault, and the request may have run.
 */
export const transport: Outcome.Outcome = Outcome.faulted({
  scope: "host",
  reason: "unavailable",
  // The request may have been served, and billed, before the connection broke.
  cost: undefined
})

const find = (table: ReadonlyArray<Row>, facts: Facts): Row | undefined =>
  table.find((row) => row.status(facts.status) && (row.when === undefined || row.when(facts)))

const told = (facts: Facts): number | undefined =>
  facts.retryAfter === undefined ? undefined : facts.now + Math.min(facts.retryAfter, maxRetryAfter)

/** For statuses outside the table, such as a redirect that was not followed. */
const unknown: Row = {
  class: "unknown",
  status: () => true,
  scope: "request",
  reason: "rejected",
  retryable: "never",
  confidence: "guessed"
}
