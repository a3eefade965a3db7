/**
 * Who can serve a demand, and what waiting could lead to: the facts of the pool, the strategy, the policies and the request,
 * put together. Reading them changes nothing, but for a reading of credit that is too old to go by.
 */
import type { PickContext } from "../Candidate.ts"
import type { Ineligible } from "../Filter.ts"
import type { Demand } from "./demand.ts"
import type { Domains } from "./domains.ts"
import type { Entry } from "./entry.ts"
import type { Prospect } from "./waitRoom.ts"

export class Eligibility {
  private readonly domains: Domains
  private readonly creditMaxAge: number

  /** `creditMaxAge` is in milliseconds. */
  constructor(domains: Domains, creditMaxAge: number) {
    this.domains = domains
    this.creditMaxAge = creditMaxAge
  }

  /** Why the key cannot serve. The order is that of weight: what lasts longest, and is most worth telling, comes first. */
  verdict(entry: Entry, demand: Demand): Ineligible | undefined {
    const { context, strategy } = demand
    const { view } = entry
    const no = entry.draining ?? this.domains.verdict(entry, context)
    if (no !== undefined) return no
    if (demand.tried !== undefined && demand.tried.has(view.id)) return tried
    if (view.credit !== undefined) {
      const spent = this.spent(entry, context)
      if (spent !== undefined) return spent
    }
    const own = strategy.filter?.(view, context)
    if (isFact(own)) return own
    const asked = demand.filter?.(view, context)
    if (isFact(asked)) return asked
    const broken = strategy.breaker.filter(view, context)
    if (isFact(broken)) return broken
    // Guesses come last: where they alone speak against a key, they may be overlooked.
    if (entry.inFlight >= view.maxInFlight) return saturated
    if (entry.barred !== undefined && context.nowMillis < entry.barred.until) return entry.barred
    return strategy.limiter.filter(view, context) ?? own ?? asked ?? broken
  }

  private spent(entry: Entry, context: PickContext): Ineligible | undefined {
    const { ledger, view } = entry
    if (this.age(entry, context.nowMillis)) return undefined
    const { estimate } = context
    if (ledger.affords(estimate)) return entry.part.affords(estimate) ? undefined : shared
    return {
      reason: view.credit! > 0 ? "insufficient" : "exhausted",
      scope: "key",
      since: ledger.readAt,
      until: ledger.resetsAt
    }
  }

  /** Forgets a reading that is too old to go by; `true` if it was. */
  age({ ledger, view }: Entry, nowMillis: number): boolean {
    if (!ledger.outdated(nowMillis, this.creditMaxAge)) return false
    ledger.forget()
    view.credit = undefined
    return true
  }

  /**
   * What waiting could lead to: a use that settles and frees a key, or the time at which one returns. `undefined` if it
   * is pointless.
   */
  prospect(entries: ReadonlyArray<Entry>, demand: Demand): Prospect | undefined {
    let busy = false
    let until = Infinity
    let returns = Infinity
    const blocked = this.domains.blocked(demand.context)
    for (const entry of entries) {
      const no = blocked ?? this.verdict(entry, demand)
      // It could serve by now, and the next round will see to it: at once.
      if (no === undefined) return { busy: true, returns, until: demand.context.nowMillis + 1 }
      busy ||= freed.has(no.reason)
      // A time that is up and has changed nothing is none to wait for.
      if (no.until === undefined || no.until <= demand.context.nowMillis) continue
      until = Math.min(until, no.until)
      if (!hopeless.has(no.reason)) returns = Math.min(returns, no.until)
    }
    return busy || returns < Infinity ? { busy, returns, until } : undefined
  }
}

/**
 * Whether guesses are overlooked. A guess never takes the last key; but a key that is only busy is not gone, so then the
 * request waits for it.
 */
export const overlooks = (verdicts: ReadonlyArray<readonly [Entry, Ineligible | undefined]>): boolean =>
  verdicts.every(([, no]) => no !== undefined && (no.soft === true || !passing.has(no.reason)))

const isFact = (no: Ineligible | undefined): no is Ineligible => no !== undefined && no.soft !== true

/** What the end of a use frees: a permit, a place in a slow start, the slot of a probe. */
const freed: ReadonlySet<string> = new Set(["saturated", "warming", "shared", "probing"])

/** Reasons that pass within moments: such a key is not gone. A probe may end badly, and is none of them. */
export const passing: ReadonlySet<string> = new Set(["saturated", "warming", "shared", "paced"])

/**
 * Reasons whose end is the time of a probe, not of a return: a credential that was refused and a purse that is empty seldom
 * mend themselves within the seconds that a caller waits, and the caller should hear of them.
 */
const hopeless: ReadonlySet<string> = new Set(["rejected", "exhausted", "insufficient"])

const tried: Ineligible = { reason: "tried", scope: "request", since: undefined, until: undefined }
const shared: Ineligible = { reason: "shared", scope: "key", since: undefined, until: undefined }
const saturated: Ineligible = { reason: "saturated", scope: "key", since: undefined, until: undefined }
