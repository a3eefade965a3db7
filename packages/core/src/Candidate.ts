/**
 * What a strategy may see: a read-only view of a key, and the circumstances of one pick.
 */

/**
 * A key as strategies see it. It holds no secret.
 *
 * **Gotchas**
 *
 * The view is live: the pool keeps one object per key and updates it as leases open and settle. Read it inside `pick`;
 * copy what must be kept.
 */
export interface Candidate {
  /** Stable and loggable. */
  readonly id: string
  /** The account that owns the key; `undefined` if not known, and then the key shares its fate with no other. */
  readonly account: string | undefined
  readonly workspace: string | undefined
  /** Greater than 0; 1 by default. */
  readonly weight: number
  /** A whole number from 0 up, lower is preferred by strategies that look at tiers; 0 by default. */
  readonly tier: number
  readonly labels: Readonly<Record<string, string>>
  /**
   * Requests in flight, counted from the pick to the settlement. Those of other processes are told now and then: what is
   * expected of them by now is part of it, so that it need not be a whole number. The cap `maxInFlight` goes by what they
   * told.
   */
  readonly inFlight: number
  /** The most requests that may be in flight; `Infinity` by default. */
  readonly maxInFlight: number
  /** USD left: the last reading less local holds and debits. `undefined`: uncapped, or not known. */
  readonly credit: number | undefined
  /** When the cap is filled up again, in milliseconds since the epoch; `undefined` if never, or not known. */
  readonly creditResetsAt?: number | undefined
  /** Whether requests paid by the owner's own provider keys (BYOK) count against the cap; `undefined` if not known. */
  readonly includesByok?: boolean | undefined
  /**
   * Smoothed milliseconds to the answer of successful uses (of a stream: to its first content), quick to rise and slow to
   * fall; `undefined` before the first.
   */
  readonly latency: number | undefined
}

/**
 * The circumstances of one pick, read once from `Clock` and `Random`, so that a run under `TestClock` and a seed is
 * reproducible.
 */
export interface PickContext {
  /** 0 for the first try of a request, 1 for its first retry, and so on. */
  readonly attempt: number
  /** Milliseconds since the epoch. */
  readonly nowMillis: number
  /** A number from 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number
  /** Requests with the same affinity gain from meeting the same key or account: a session, a prompt prefix. */
  readonly affinity: string | undefined
  /** What is behind the key: for OpenRouter the model. Faults of scope `upstream` belong to it. */
  readonly upstream: string | undefined
  /** Tokens the request may take, prompt and answer together; `undefined` if there is no idea. */
  readonly tokens: number | undefined
  /** How many of `tokens` are the prompt, whose price is another; `undefined` if that is not known. */
  readonly promptTokens?: number | undefined
  /** Upstreams that may serve in place of `upstream`, such as fallback models: the estimate covers the dearest. */
  readonly fallbacks?: ReadonlyArray<string> | undefined
  /** USD the request is expected to cost; `undefined` if there is no idea. */
  readonly estimate: number | undefined
  /** What the limiter of the balancer leaves a key for now; absent, or `undefined`, without a limit. */
  readonly headroom?: ((candidate: Candidate) => Headroom | undefined) | undefined
}

/**
 * What a limiter leaves a key, by its own limits and its account's: the less of the two.
 */
export interface Headroom {
  /** Requests that may begin at once, from 0 up; `undefined` without a limit. */
  readonly requests: number | undefined
  /** Tokens that may be asked for at once, from 0 up; `undefined` without a limit. */
  readonly tokens: number | undefined
}
