/**
 * What one key, or one account, has taken and may take.
 */
import type { Limits } from "../Limits.ts"
import { Bucket } from "./bucket.ts"
import type { Concurrency } from "./concurrency.ts"

/** A key or an account at one time. */
export interface State {
  readonly limits: Limits
  readonly inFlight: number
  /** The limit of requests in flight that throttles have taught; `undefined` if there is none. */
  readonly learnt: number | undefined
  /** `undefined` without a limit. */
  readonly requestsLeft: number | undefined
  /** `undefined` without a limit; negative while a large request is being paid off. */
  readonly tokensLeft: number | undefined
  /** Until when a request of one token waits for a rate, in milliseconds since the epoch; `undefined` if it need not. */
  readonly until: number | undefined
}

export class Cell {
  inFlight = 0
  /** When it was last used, in milliseconds since the epoch. */
  usedAt = -Infinity
  /** What throttles teach; `undefined` if they teach nothing. */
  private readonly learnt: Concurrency | undefined
  private limits: Limits
  private requests: Bucket | undefined
  private tokens: Bucket | undefined

  constructor(limits: Limits, learnt: Concurrency | undefined) {
    this.learnt = learnt
    this.limits = limits
    this.change(limits, 0)
  }

  /** What is taken stays taken, as far as there is a limit for it before and after. */
  change(limits: Limits, nowMillis: number): void {
    const { burst = 1, requestsPerMinute, tokenBurst = 1, tokensPerMinute } = limits
    this.limits = limits
    this.requests = changed(this.requests, requestsPerMinute, burst, nowMillis)
    this.tokens = changed(this.tokens, tokensPerMinute, tokenBurst, nowMillis)
  }

  private get most(): number {
    return this.limits.maxInFlight ?? Infinity
  }

  /** From when on the rates let a request through, in milliseconds; in the past if now. */
  readyAt(tokens: number, nowMillis: number): number {
    const at = this.requests === undefined ? -Infinity : this.requests.readyAt(1, nowMillis)
    if (this.tokens === undefined || tokens === 0) return at
    return Math.max(at, this.tokens.readyAt(tokens, nowMillis))
  }

  /** Whether as much is in flight as may be. */
  isSaturated(nowMillis: number): boolean {
    const { inFlight, learnt, most } = this
    return inFlight >= most || inFlight >= (learnt?.at(nowMillis) ?? Infinity)
  }

  /** Requests that may begin at once. */
  requestsLeft(nowMillis: number): number {
    const { inFlight, learnt, most, requests } = this
    const permits = Math.min(most, learnt?.at(nowMillis) ?? Infinity) - inFlight
    return Math.max(0, Math.min(permits, requests?.left(nowMillis) ?? Infinity))
  }

  /** Tokens that may be asked for at once. */
  tokensLeft(nowMillis: number): number {
    return Math.max(0, this.tokens?.left(nowMillis) ?? Infinity)
  }

  take(tokens: number, nowMillis: number): void {
    this.inFlight++
    this.usedAt = nowMillis
    this.requests?.take(1, nowMillis)
    this.tokens?.take(tokens, nowMillis)
  }

  /** A use has succeeded, and is still counted as in flight; `admission` numbers it. */
  succeeded(admission: number): void {
    this.learnt?.succeeded(admission, this.inFlight, this.most)
  }

  /** A use was throttled, and is still counted as in flight; `latest` numbers the last one admitted. */
  throttled(admission: number, latest: number, nowMillis: number): void {
    this.learnt?.throttled(admission, latest, this.inFlight, this.most, nowMillis)
  }

  /** Whether nothing would be lost if it were made anew. */
  isAtRest(nowMillis: number): boolean {
    return (
      this.inFlight === 0 &&
      this.requests?.isFull(nowMillis) !== false &&
      this.tokens?.isFull(nowMillis) !== false &&
      this.learnt?.at(nowMillis) === undefined
    )
  }

  state(nowMillis: number): State {
    const at = this.readyAt(1, nowMillis)
    return {
      limits: this.limits,
      inFlight: this.inFlight,
      learnt: this.learnt?.at(nowMillis),
      requestsLeft: this.requests?.left(nowMillis),
      tokensLeft: this.tokens?.left(nowMillis),
      until: at > nowMillis ? at : undefined
    }
  }
}

const changed = (
  bucket: Bucket | undefined,
  perMinute: number | undefined,
  burst: number,
  nowMillis: number
): Bucket | undefined => {
  if (perMinute === undefined) return undefined
  if (bucket === undefined) return new Bucket(perMinute, burst)
  bucket.change(perMinute, burst, nowMillis)
  return bucket
}
