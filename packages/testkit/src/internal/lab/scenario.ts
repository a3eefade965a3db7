/**
 * What a scenario may say. It is data: times are in seconds, money is in USD, and all of it can stand in a JSON file.
 */
import * as Schema from "effect/Schema"
import { metricNames } from "./metricNames.ts"
import { Instant, list, Name, number, orElse, told, whole } from "./ranges.ts"

const share = number(0, 1)
const seconds = number(0, 1_000_000)
const usd = number(0, 1_000_000)

const drawn = [
  number(0, 1_000_000),
  Schema.Struct({ kind: Schema.Literal("exponential"), mean: number(0, 1_000_000) }),
  Schema.Struct({ kind: Schema.Literal("lognormal"), median: number(0, 1_000_000), sigma: number(0, 5) })
] as const

/** A number that is drawn anew each time; a plain number is always itself. */
export const Distribution = told(
  Schema.Union(drawn),
  'a number, or a record of kind "exponential" (mean) or "lognormal" (median, sigma)'
)

export type Distribution = typeof Distribution.Type

/** One request as a trace has it. */
export const TraceEntry = Schema.Struct({
  /** Seconds since the start. */
  at: seconds,
  session: Schema.optional(Name),
  prompt: Schema.optional(whole(0, 10_000_000)),
  completion: Schema.optional(whole(0, 10_000_000)),
  /** How long the answer took. */
  seconds: Schema.optional(seconds)
})

export type TraceEntry = typeof TraceEntry.Type

const perSecond = number(0.001, 10_000)

/** When requests come. */
export const Arrivals = told(
  Schema.Union([
    /** At random, independent of one another. */
    Schema.Struct({ kind: Schema.Literal("poisson"), perSecond }),
    /** One like the other. */
    Schema.Struct({ kind: Schema.Literal("constant"), perSecond }),
    /** `size` at once every so often, and a Poisson process besides. */
    Schema.Struct({
      kind: Schema.Literal("bursts"),
      size: whole(1, 100_000),
      everySeconds: number(0.001, 86_400),
      perSecond: orElse(number(0, 10_000), 0)
    }),
    /** As they came once: `Lab.trace` reads them from JSONL. */
    Schema.Struct({ kind: Schema.Literal("trace"), requests: list(TraceEntry, "requests", 1, 10_000_000) })
  ]),
  'a record of kind "poisson", "constant", "bursts" or "trace"'
)

/** What requests are like. */
export const Requests = Schema.Struct({
  /** Tokens of the prompt. */
  prompt: orElse(Distribution, 500),
  /** Tokens of the answer. */
  completion: orElse(Distribution, 300),
  /** How long an answer takes, or how many tokens come in a second. */
  seconds: orElse(
    told(
      Schema.Union([
        ...drawn,
        Schema.Struct({ kind: Schema.Literal("tokens"), perSecond: number(0.001, 1_000_000) })
      ]),
      'a number, or a record of kind "exponential" (mean), "lognormal" (median, sigma) or "tokens" (perSecond)'
    ),
    2
  ),
  /** Seconds to the first token; with it answers are streams. */
  firstToken: Schema.optional(Distribution),
  /** USD: for a request, and for a million tokens. */
  price: orElse(
    Schema.Struct({
      request: orElse(usd, 0),
      prompt: orElse(usd, 0),
      completion: orElse(usd, 0)
    }),
    {}
  ),
  /** Conversations: their ids are the affinity of requests, and each account keeps their prompts for a while. */
  sessions: Schema.optional(
    Schema.Struct({
      count: whole(1, 1_000_000),
      /** The exponent of their popularity; 0 for all alike. */
      zipf: orElse(number(0, 5), 1),
      /** How long a prompt is kept since its last use. OpenRouter's stickiness lasts 10 minutes. */
      cacheSeconds: orElse(seconds, 600),
      /** The part of the prompt's price that is paid for a prompt that was kept. */
      cachedPrice: orElse(share, 0.1)
    })
  )
})

export const Account = Schema.Struct({
  id: Name,
  /** USD; without it there is no end to it. */
  balance: Schema.optional(usd),
  requestsPerMinute: Schema.optional(whole(1, 1_000_000)),
  /** More at once are refused with a 429. */
  maxInFlight: Schema.optional(whole(1, 1_000_000))
})

export const Key = Schema.Struct({
  id: Name,
  /** One of the accounts; by default the key has an account of its own. */
  account: Schema.optional(Name),
  /** USD that the key may spend, and when it may anew. */
  cap: Schema.optional(usd),
  resets: Schema.optional(Schema.Literals(["daily", "weekly", "monthly"])),
  weight: orElse(number(0.001, 1_000_000), 1),
  tier: orElse(whole(0, 1_000), 0),
  maxInFlight: Schema.optional(whole(1, 1_000_000)),
  /** How many times as long as others its answers take. */
  slowness: orElse(number(0.001, 1_000), 1)
})

/** Something goes wrong for a while: with a key, with an account, or with the upstream of all. */
export const Fault = Schema.Struct({
  key: Schema.optional(Name),
  account: Schema.optional(Name),
  /** Seconds since the start. */
  from: orElse(seconds, 0),
  to: orElse(seconds, 1_000_000),
  /** What is answered instead. */
  status: Schema.optional(Schema.Literals([401, 402, 403, 429, 500, 502, 503, 504, 529])),
  /** How many times as long as before answers take. */
  slow: Schema.optional(number(1, 1_000)),
  /** How long the refusal takes. */
  answerSeconds: orElse(seconds, 0.05),
  /** Seconds, or the end of the fault. */
  retryAfter: Schema.optional(
    Schema.Union([seconds, Schema.Literal("end")]).annotate({
      expected: 'a number from 0 to 1,000,000, or "end"'
    })
  ),
  /** The part of the requests that meets it. */
  share: orElse(share, 1)
})

export type Fault = typeof Fault.Type

export const Scenario = Schema.Struct({
  name: Name,
  /** One sentence on what it is about. */
  about: orElse(Schema.String, ""),
  /** How long requests come; those under way then are waited for. */
  seconds: number(1, 604_800),
  startsAt: orElse(Instant, "2026-01-01T12:00:00Z"),
  /** Programs that use the same keys; each has a pool and a balancer, and a request belongs to one of them. */
  processes: orElse(whole(1, 2_000), 1),
  /**
   * They tell each other what they learn, spend and have in flight, each so often; without it they do not. What one learns
   * is known to another after `lagSeconds`, and up to twice `everySeconds` more. The first reads credit for all.
   */
  facts: Schema.optional(
    Schema.Struct({ everySeconds: number(0.01, 3_600), lagSeconds: orElse(number(0, 3_600), 0) })
  ),
  arrivals: Arrivals,
  requests: orElse(Requests, {}),
  accounts: orElse(Schema.Array(Account), []),
  keys: list(Key, "keys", 1, 1_000),
  faults: orElse(Schema.Array(Fault), []),
  /** What each process knows of credit. */
  readings: orElse(
    Schema.Struct({
      everySeconds: orElse(number(0.1, 86_400), 60),
      /** By how much readings lag behind what was spent. */
      lagSeconds: orElse(number(0, 3_600), 0),
      /** Whether what a request may cost is held from the pick on. */
      estimates: orElse(Schema.Boolean, true),
      /** Whether answers tell what they cost. */
      costs: orElse(Schema.Boolean, true)
    }),
    {}
  ),
  /** What its chart shows. */
  shows: orElse(Schema.Array(Schema.Literals(metricNames)), ["failedShare", "latencyP95"])
})

export type Scenario = typeof Scenario.Type
