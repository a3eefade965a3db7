/**
 * How a call to OpenRouter can fail, besides having no key (`NoEligibleKey`). None of these holds a secret.
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type { Errors } from "@evenkeel/core"
import type { Usage } from "./ChatResponse.ts"
import type { Classification } from "./Classifier.ts"

/**
 * OpenRouter, or a provider behind it, refused the request or failed to serve it.
 */
export class Answered extends Data.TaggedError("Answered")<{
  /** The class of the failure, a row of the classifier's table: "moderated", "upstream-throttled", … */
  readonly class: Classification["class"]
  readonly status: number
  readonly description: string
  readonly scope: Classification["scope"]
  /** How long OpenRouter asks to wait; `undefined` if it does not say. */
  readonly retryAfter: Duration.Duration | undefined
  readonly keyId: string
  /** The body as it came: the parsed JSON, or text. */
  readonly body: unknown
}> {
  override get message(): string {
    return `${this.status} ${this.class}${this.description === "" ? "" : `: ${this.description}`}`
  }
}

/**
 * The connection failed, or the request could not be sent.
 */
export class Transport extends Data.TaggedError("Transport")<{
  readonly keyId: string | undefined
  readonly description: string
  readonly cause: unknown
}> {
  override get message(): string {
    return this.description
  }
}

/**
 * The answer came, and is not what the documentation promises.
 */
export class Undecodable extends Data.TaggedError("Undecodable")<{
  readonly description: string
  readonly body: unknown
}> {
  override get message(): string {
    return this.description
  }
}

/**
 * A stream broke after it had begun to answer: no other key was tried, because the reader would have read twice.
 */
export class Broken extends Data.TaggedError("Broken")<{
  /**
   * A row of the classifier's table, or `truncated` (it ended without an ending), `undecodable` (a piece that is none), or
   * `transport` (the connection broke, or fell silent).
   */
  readonly class: Classification["class"]
  readonly description: string
  /** The text of the first choice so far. */
  readonly text: string
  /** As far as the stream told it before it broke. */
  readonly usage: Usage | undefined
  /** USD, as far as the stream told it. What it really cost, the next reading of the key tells. */
  readonly cost: number | undefined
  readonly keyId: string
  readonly cause: unknown
}> {
  override get message(): string {
    return `The stream broke after ${this.text.length} characters: ${this.class}${this.description === "" ? "" : `, ${this.description}`}`
  }
}

/**
 * The request cannot be right, and was not sent.
 */
export class InvalidRequest extends Data.TaggedError("InvalidRequest")<{
  readonly field: string
  readonly expected: string
}> {
  override get message(): string {
    return `${this.field} must be ${this.expected}`
  }
}

/**
 * A call to OpenRouter failed: `reason` says how, and `attempts` what it met on the way.
 *
 * **Details**
 *
 * `attempts` has every use of a key that failed, the last one included, in the order of their ends: which key and account,
 * which model, the class, scope and status (`outcome`), how long it took and how long the request had waited for it. It is
 * empty for a request that was not sent. With hedging the attempts of both copies are in it.
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { OpenRouter } from "@evenkeel/openrouter"
 *
 * const answer = OpenRouter.OpenRouter.use((openrouter) =>
 *   openrouter.chat({ model: "openai/gpt-4o-mini", messages: [{ role: "user", content: "Hello" }] })
 * ).pipe(
 *   Effect.catchReason("OpenRouterError", "Answered", (reason) =>
 *     reason.class === "moderated" ? Effect.succeed(undefined) : Effect.die(reason)
 *   )
 * )
 * Effect.isEffect(answer) // => true
 * ```
 */
export class OpenRouterError extends Data.TaggedError("OpenRouterError")<{
  readonly reason: Answered | Broken | Transport | Undecodable | InvalidRequest
  readonly attempts: ReadonlyArray<Errors.Attempt>
}> {
  override get message(): string {
    return this.reason.message
  }
}

/**
 * An option of a layer is out of its range.
 */
export class InvalidOption extends Data.TaggedError("InvalidOption")<{
  readonly option: string
  readonly expected: string
}> {
  override get message(): string {
    return `${this.option} must be ${this.expected}`
  }
}
