/**
 * Slow start: what has just recovered is given a little at first, and more with each success, so that those who waited
 * for it do not knock it over again together.
 *
 * Source: V. Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988, and RFC 5681: the allowance grows by one with
 * each success, and so doubles each round trip; after a relapse it starts with half of what it had reached, and grows by
 * one each round trip.
 */

/**
 * The allowance of one scope from its recovery on. Synchronous, over times that it is given.
 *
 * **Details**
 *
 * It starts with one request at a time. It is over after `windowMillis`; but each success that comes while half of what is
 * allowed is in use puts that off, since others may be waiting, and would all come at once.
 */
export class SlowStart {
  private allowance: number
  private readonly threshold: number
  private readonly windowMillis: number
  private admitted = 0
  private end: number
  /** When it began, in milliseconds since the epoch. */
  readonly since: number

  /** `relapsed` is what a slow start had allowed when its scope failed again, as `allowed` told. */
  constructor(since: number, windowMillis: number, relapsed = 0) {
    this.since = since
    this.windowMillis = windowMillis
    this.end = since + windowMillis
    this.allowance = Math.max(1, Math.floor(relapsed / 2))
    this.threshold = relapsed === 0 ? Infinity : this.allowance
  }

  /** When it ends, unless a success puts it off, in milliseconds since the epoch. */
  get until(): number {
    return this.end
  }

  /** How many requests may be in flight. */
  get allowed(): number {
    return Math.floor(this.allowance)
  }

  /** Whether the limit has no force any more. */
  over(nowMillis: number): boolean {
    return this.allowance >= enough || nowMillis >= this.end
  }

  /** Whether one more request would be too much for now; `inFlight` defaults to the uses that were admitted here. */
  blocks(nowMillis: number, inFlight: number = this.admitted): boolean {
    return inFlight >= this.allowed && !this.over(nowMillis)
  }

  admit(): void {
    this.admitted++
  }

  /** Ends a use that was admitted here. */
  settle(succeeded: boolean, nowMillis: number): void {
    if (succeeded && !this.over(nowMillis)) {
      if (this.admitted * 2 >= this.allowed) this.end = Math.max(this.end, nowMillis + this.windowMillis)
      this.allowance += this.allowance < this.threshold ? 1 : 1 / this.allowance
    }
    this.admitted--
  }
}

/** More at a time than a scope that has recovered could be hurt by: ten round trips of doubling. */
const enough = 512
