/**
 * The options of the simulator. Defaults and their reasons stand beside each field; `settings.ts` checks the ranges.
 */
import type * as Duration from "effect/Duration"
import type * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import type { CompletionRequest, CompletionResult } from "./answer.ts"
import type { LimitReset } from "./period.ts"

/** One simulated API key. */
export interface SimulatorKey {
  /** The name by which records, snapshots and the control API know the key. Never part of the wire. */
  readonly name: string
  /** What clients send as bearer token. By default `sk-or-v1-simulated-` and a hash of the name. */
  readonly secret?: string | Redacted.Redacted<string> | undefined
  /** The name of the account that pays; the first account by default. */
  readonly account?: string | undefined
  /** `workspace_id` in `/key`; `null` by default. */
  readonly workspace?: string | null | undefined
  /** Cap in USD; `null`, the default, means no cap. */
  readonly limit?: number | null | undefined
  /** When the cap starts anew, in UTC; `null`, the default, means never. */
  readonly limitReset?: LimitReset | null | undefined
  /** USD already spent, all of it in the current day, week and month; 0 by default. */
  readonly usage?: number | undefined
  /** Only shown in `/key`: the simulator bills no BYOK. `false` by default. */
  readonly includeByokInLimit?: boolean | undefined
  /** A disabled key answers 401 `User not found.`, as a revoked one does; `false` by default. */
  readonly disabled?: boolean | undefined
  /** ISO 8601 or epoch milliseconds; from then on the key answers 401. `null`, the default, means never. */
  readonly expiresAt?: string | number | null | undefined
  /** A management key may read `/credits` and may not run inference; `false` by default. */
  readonly management?: boolean | undefined
}

/** One simulated account or organisation: what pays, and what OpenRouter's rate limits apply to. */
export interface SimulatorAccount {
  readonly name: string
  /** USD left; `Infinity` by default, so that tests that are not about money never meet it. May be negative. */
  readonly balance?: number | undefined
  /** `organization_id` in `/key`, and `user_id` of error bodies. An individual account, without one, by default. */
  readonly organizationId?: string | undefined
  /** `creator_user_id` in `/key`; `user_simulated_<name>` by default. */
  readonly userId?: string | undefined
  /** Has never paid; `false` by default. Such an account gets 50 free requests a day instead of 1000. */
  readonly freeTier?: boolean | undefined
  /** Requests in a clock minute before 429; unlimited by default, as OpenRouter sets no such limit on paid models. */
  readonly requestsPerMinute?: number | undefined
  /** USD that the estimates of all requests in flight may hold together before 402; unlimited by default. */
  readonly inFlightBudget?: number | undefined
  /** Requests to `:free` models in a clock minute; 20 by default, the documented limit. */
  readonly freeRequestsPerMinute?: number | undefined
  /** Requests to `:free` models in a UTC day; 1000 by default, 50 with `freeTier`, the documented limits. */
  readonly freeRequestsPerDay?: number | undefined
}

/** One simulated model. */
export interface SimulatorModel {
  /** `author/slug`; an id that ends in `:free` meets the limits of free models. */
  readonly id: string
  /** USD per prompt token. */
  readonly promptPrice: number
  /** USD per completion token. */
  readonly completionPrice: number
  /** Tokens of prompt and completion together. */
  readonly contextLength: number
  /** The longest completion, and what pre-flight reserves when a request sets no `max_tokens`. */
  readonly maxCompletionTokens: number
  /** `provider` of responses; the author in the id by default. */
  readonly provider?: string | undefined
  /** Whether an aborted stream stops the bill, as most providers do, or is billed in full; `true` by default. */
  readonly cancellable?: boolean | undefined
}

/** Options of {@link layer}. */
export interface SimulatorOptions {
  /** TCP port on 127.0.0.1; 0 by default, which lets the system choose a free one. */
  readonly port?: number | undefined
  /** Three keys without caps, `key-1` to `key-3`, by default. */
  readonly keys?: ReadonlyArray<SimulatorKey> | undefined
  /** One account, `default`, with an infinite balance, by default. */
  readonly accounts?: ReadonlyArray<SimulatorAccount> | undefined
  /** See `defaultModels`. */
  readonly models?: ReadonlyArray<SimulatorModel> | undefined
  /** Milliseconds until the first token: fixed, drawn evenly from a range, or drawn by a function. 0 by default. */
  readonly latency?:
    | number
    | readonly [min: number, max: number]
    | ((random: Random.Random) => number)
    | undefined
  /** Pace of generation; infinite by default. Slows plain answers as well as streams. */
  readonly tokensPerSecond?: number | undefined
  /** A pause before every chunk of a stream; none by default. */
  readonly chunkDelay?: Duration.Input | undefined
  /** The answer to a request; by default an echo of the last user message. */
  readonly completion?: ((request: CompletionRequest) => string | CompletionResult) | undefined
  /** `/key` shows the spending as it was that long ago, like OpenRouter's edge caches; 0 by default. */
  readonly keyLag?: Duration.Input | undefined
  /**
   * The status of a request on a key whose cap is spent: 403 "Key limit exceeded", which is seen in practice and is the
   * default, or the 402 of the documentation.
   */
  readonly spentKeyStatus?: 402 | 403 | undefined
  /** `Retry-After` of the in-flight budget's 402, in seconds; 2 by default. */
  readonly inFlightRetryAfter?: number | undefined
  /** The last chunk carries `choices: []`, as older versions sent it, instead of a repeated finish; `false` by default. */
  readonly emptyUsageChoices?: boolean | undefined
  /** Unknown secrets become new keys of the first account, named `unknown-1` and so on; `false` by default. */
  readonly acceptUnknownKeys?: boolean | undefined
  /** How many requests the log keeps, the oldest leave first; 10 000 by default, a few megabytes. */
  readonly logSize?: number | undefined
  /**
   * How long closing the layer waits for requests in flight before their sockets are cut; 0 by default, so that a test
   * with a stalled request ends at once.
   */
  readonly drain?: Duration.Input | undefined
}

/** Models with the ids and roughly the prices of real ones, one of them free. */
export const defaultModels: ReadonlyArray<SimulatorModel> = [
  {
    id: "openai/gpt-4o-mini",
    provider: "OpenAI",
    promptPrice: 0.00000015,
    completionPrice: 0.0000006,
    contextLength: 128_000,
    maxCompletionTokens: 16_384
  },
  {
    id: "anthropic/claude-sonnet-4.5",
    provider: "Anthropic",
    promptPrice: 0.000003,
    completionPrice: 0.000015,
    contextLength: 1_000_000,
    maxCompletionTokens: 64_000
  },
  {
    id: "deepseek/deepseek-chat",
    provider: "DeepSeek",
    promptPrice: 0.0000003,
    completionPrice: 0.0000012,
    contextLength: 163_840,
    maxCompletionTokens: 16_384
  },
  {
    id: "meta-llama/llama-3.3-70b-instruct:free",
    provider: "Together",
    promptPrice: 0,
    completionPrice: 0,
    contextLength: 131_072,
    maxCompletionTokens: 8_192
  },
  {
    id: "openai/text-embedding-3-small",
    provider: "OpenAI",
    promptPrice: 0.00000002,
    completionPrice: 0,
    contextLength: 8_192,
    maxCompletionTokens: 1
  }
]
