/**
 * A token bucket in the form of GCRA: no timer fills it, its level is a function of the time.
 *
 * **Exactness.** The level is kept in tokens times milliseconds of a minute, so a token weighs 60,000 and `perMinute` of
 * them drain in a millisecond. With whole rates and whole milliseconds, which is what clocks give, all of it is arithmetic
 * of integers: nothing is rounded and nothing drifts, in however many years.
 *
 * Source: ITU-T I.371, the generic cell rate algorithm ("continuous-state leaky bucket").
 */

const minute = 60_000

export class Bucket {
  private perMinute: number
  private burst: number
  /** What is taken and has not come back, as of `at`. */
  private level = 0
  private at = -Infinity

  constructor(perMinute: number, burst: number) {
    this.perMinute = perMinute
    this.burst = burst
  }

  /** From when on so many tokens can be taken, in milliseconds; in the past if they can be taken now. */
  readyAt(tokens: number, nowMillis: number): number {
    // The clock was set back: what was taken is taken as of now, or it would not come back before the old time does.
    if (nowMillis < this.at) this.at = nowMillis
    // More than the bucket holds waits for all of it, not for what never comes.
    const lacking = this.level - (this.burst - Math.min(tokens, this.burst)) * minute
    return lacking <= 0 ? -Infinity : this.at + Math.ceil(lacking / this.perMinute)
  }

  /** Takes tokens, also those that are not there: they are owed. */
  take(tokens: number, nowMillis: number): void {
    this.level = this.levelAt(nowMillis) + tokens * minute
    this.at = nowMillis
  }

  /** How many whole tokens are left; negative if some are owed. */
  left(nowMillis: number): number {
    return Math.floor(this.burst - Math.max(0, this.levelAt(nowMillis)) / minute)
  }

  isFull(nowMillis: number): boolean {
    return this.levelAt(nowMillis) <= 0
  }

  /** Goes on with another rate, and with what is taken. */
  change(perMinute: number, burst: number, nowMillis: number): void {
    this.take(0, nowMillis)
    this.perMinute = perMinute
    this.burst = burst
  }

  /**
   * Below empty is what drained since less than a millisecond: whoever waits for a token that comes between two milliseconds
   * takes it at the second one, and would lose the rest of it each time. So little lets nothing through that a clock of
   * whole milliseconds could tell from the exact rate.
   */
  private levelAt(nowMillis: number): number {
    const drained = this.level - Math.max(0, nowMillis - this.at) * this.perMinute
    return drained > -this.perMinute ? drained : 0
  }
}
