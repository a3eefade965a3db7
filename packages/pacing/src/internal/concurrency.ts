/**
 * A limit of requests in flight that is learnt from throttles: additive increase, multiplicative decrease.
 *
 * There is none before the first throttle, and the first one starts from what is in flight at that moment. One round trip
 * teaches one decrease: what was admitted before it tells of the same crowd, and changes nothing any more.
 *
 * Sources: Netflix concurrency-limits, `AIMDLimit` (0.9; one more while at least half is in use); D. Chiu and R. Jain,
 * "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989.
 */

export interface Settings {
  readonly min: number
  readonly max: number
  readonly backoff: number
  /** Milliseconds. */
  readonly forgetAfter: number
}

export class Concurrency {
  private readonly settings: Settings
  private limit: number | undefined
  /** Uses up to this number were admitted before the last decrease. */
  private fence = 0
  private throttledAt = 0

  constructor(settings: Settings) {
    this.settings = settings
  }

  /** The limit; `undefined` if there is none, or not any more. */
  at(nowMillis: number): number | undefined {
    return nowMillis - this.throttledAt < this.settings.forgetAfter ? this.limit : undefined
  }

  /** `latest` is the last use admitted so far, `most` the limit that no learning goes beyond. */
  throttled(admission: number, latest: number, inFlight: number, most: number, nowMillis: number): void {
    if (admission <= this.fence) return
    const { backoff, max, min } = this.settings
    const before = Math.min(this.at(nowMillis) ?? inFlight, max, most)
    this.limit = Math.max(min, Math.floor(before * backoff))
    this.fence = latest
    this.throttledAt = nowMillis
  }

  succeeded(admission: number, inFlight: number, most: number): void {
    const { limit } = this
    if (limit === undefined || admission <= this.fence) return
    if (inFlight * 2 >= limit && limit < this.settings.max && limit < most) this.limit = limit + 1
  }
}
