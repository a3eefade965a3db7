/**
 * How fast a key spends: an average in which an amount counts the less, the older it is.
 *
 * The sum of all amounts, each times e^(−age / τ), over τ is the spending in the unit of time, whatever the intervals
 * between amounts are; it takes one number and no timer. (Cormode et al., "Forward Decay", ICDE 2009.)
 */

/** Milliseconds after which an amount counts for a third. 10 minutes: longer than a burst, shorter than a change of load. */
export const tau = 600_000
/** Before a minute of spending is seen, what was spent is taken for that of a minute: two requests are no trend. */
const least = 60_000
const hour = 3_600_000

/** The share of its first weight that an amount keeps after so many milliseconds. */
export const decay = (elapsedMillis: number): number => Math.exp(-Math.max(0, elapsedMillis) / tau)

export class Burn {
  private sum = 0
  private at = 0
  /** When the first amount came. */
  private since: number | undefined

  /** USD spent now. */
  add(usd: number, nowMillis: number): void {
    this.since ??= nowMillis
    this.sum = this.sum * decay(nowMillis - this.at) + usd
    this.at = Math.max(this.at, nowMillis)
  }

  /** USD an hour; 0 before the first amount. Steady spending shows at its true rate after a minute. */
  rate(nowMillis: number): number {
    if (this.since === undefined) return 0
    // What was not watched yet cannot be in the sum, so it must not be in the divisor either.
    const watched = 1 - decay(Math.max(least, nowMillis - this.since))
    return ((this.sum * decay(nowMillis - this.at)) / (tau * watched)) * hour
  }
}
