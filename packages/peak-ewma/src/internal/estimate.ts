/**
 * The latency of one key: a peak counts at once, what is faster only with time, and all of it fades while nothing is heard.
 */
export class Estimate {
  private millis: number
  private at: number

  constructor(millis: number, nowMillis: number) {
    this.millis = millis
    this.at = nowMillis
  }

  /** Reading changes nothing, so `explain` and a pick see the same. */
  read(nowMillis: number, decayMillis: number): number {
    return this.millis * Math.exp(-Math.max(0, nowMillis - this.at) / decayMillis)
  }

  observe(millis: number, nowMillis: number, decayMillis: number): void {
    const old = this.millis
    if (millis >= old) this.millis = millis
    else {
      const kept = Math.exp(-Math.max(0, nowMillis - this.at) / decayMillis)
      this.millis = old * kept + millis * (1 - kept)
    }
    this.at = nowMillis
  }
}
