/**
 * A bench: why a scope is out, since when and until when. It is itself the verdict that filters hand out.
 */
import * as Duration from "effect/Duration"
import type { Ineligible } from "../Filter.ts"
import type { FaultReason, FaultScope } from "../Outcome.ts"

/** How long a fault benches when it does not say so itself: `base`, doubled for each repetition, up to `max`. */
export interface Cooldown {
  readonly base: Duration.Input
  readonly max: Duration.Input
}

/** The cooldown for each reason of a fault. */
export type Cooldowns = Readonly<Record<FaultReason, Cooldown>>

export const defaultCooldowns: Cooldowns = {
  // OpenRouter's own limits are per minute; a few seconds let a burst pass.
  throttled: { base: "5 seconds", max: "1 minute" },
  // A top-up or a reset takes minutes at least, and one probe an hour costs nothing.
  exhausted: { base: "5 minutes", max: "1 hour" },
  // New keys are refused for minutes at times, revoked ones for ever.
  rejected: { base: "1 minute", max: "1 hour" },
  // Failures behind the key are the circuit breaker's business; only a Retry-After benches.
  unavailable: { base: 0, max: 0 },
  // For requests as large as the one that was refused; the next readings of credit tell more.
  insufficient: { base: "1 minute", max: "1 minute" }
}

export const cooldownMillis = (cooldown: Cooldown, strikes: number): number => {
  const base = Duration.toMillis(cooldown.base)
  return base === 0 ? 0 : Math.min(base * 2 ** Math.min(strikes, 30), Duration.toMillis(cooldown.max))
}

export class Bench implements Ineligible {
  readonly scope: FaultScope
  readonly id: string
  reason: FaultReason
  since: number
  until: number
  /** The order in which it was set: only a use that began later can lift it. */
  sequence = 0
  /** How often in a row a use on this scope has met a fault after its time was up. */
  strikes = 0
  /** When it last lasted longer for returning. */
  struckAt: number
  /** Probes under way; at most one. */
  probing = 0

  constructor(scope: FaultScope, id: string, reason: FaultReason, since: number, until: number) {
    this.scope = scope
    this.id = id
    this.reason = reason
    this.since = since
    this.until = until
    this.struckAt = since
  }

  /**
   * A credential that was refused, or a purse that was empty, has to prove itself again: when the time is up, one
   * request goes ahead and the rest wait for what it meets. A throttled scope just goes on.
   */
  get probation(): boolean {
    return this.reason === "rejected" || this.reason === "exhausted"
  }

  blocks(nowMillis: number): Ineligible | undefined {
    if (nowMillis < this.until) return this
    if (this.probation && this.probing > 0) {
      return { reason: "probing", scope: this.scope, since: this.since, until: undefined }
    }
    return undefined
  }
}

/**
 * A key, or its owner, could not afford a request of this size: requests that may cost as much or more are not offered
 * to it for a while, smaller ones are.
 */
export interface Shortage extends Ineligible {
  readonly until: number
  /** USD. */
  readonly estimate: number
}
