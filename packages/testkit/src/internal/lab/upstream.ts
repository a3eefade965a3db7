/**
 * What lies behind the keys: accounts with balances and limits, caps that reset, prompts that are kept, and faults. It
 * answers as OpenRouter does: 402 where money is missing, 429 where a limit is reached, and by what is *spent*, so that
 * requests under way together can overrun a cap or a balance.
 */
import * as Duration from "effect/Duration"
import { Outcome } from "@evenkeel/core"
import { endOf, type LimitReset } from "../simulator/period.ts"
import type { Next } from "./random.ts"
import type { Fault, Scenario } from "./scenario.ts"
import { costOf, type Request } from "./workload.ts"

export interface Account {
  readonly id: string
  balance: number
  readonly requestsPerMinute: number
  readonly maxInFlight: number
  inFlight: number
  /** The minute that is counted, and the requests in it. */
  minute: number
  inMinute: number
  /** When the prompt of a session was last used, in milliseconds since the epoch. */
  readonly cache: Map<string, number>
}

export interface Key {
  readonly index: number
  readonly spec: Scenario["keys"][number]
  readonly account: Account
  inFlight: number
  mostInFlight: number
  attempts: number
  succeeded: number
  /** USD, in all and since the last reset. */
  spent: number
  spentInPeriod: number
  resetsAt: number
}

/** One attempt as the upstream takes it. */
export interface Attempt {
  readonly key: Key
  readonly request: Request
  readonly beganAt: number
  /** 200, or what it is refused with. */
  readonly status: number
  readonly millis: number
  /** Milliseconds to the first token of a stream. */
  readonly firstMillis: number | undefined
  readonly cached: boolean
  /** USD; 0 for what is refused. */
  readonly cost: number
  /** How the refusal is to be understood. */
  readonly refusal: Outcome.Faulted | undefined
}

/** Milliseconds until a refusal that is no fault of the scenario's: such answers come from the edge. */
const refusalMillis = 50

export class Upstream {
  readonly keys: ReadonlyArray<Key>
  private readonly byId = new Map<string, Key>()
  private readonly scenario: Scenario
  private readonly startsAt: number
  private readonly random: Next

  constructor(scenario: Scenario, startsAt: number, random: Next) {
    this.scenario = scenario
    this.startsAt = startsAt
    this.random = random
    const accounts = new Map(scenario.accounts.map((account) => [account.id, accountOf(account)]))
    this.keys = scenario.keys.map((spec, index) => ({
      index,
      spec,
      account:
        (spec.account === undefined ? undefined : accounts.get(spec.account)) ?? accountOf({ id: spec.id }),
      inFlight: 0,
      mostInFlight: 0,
      attempts: 0,
      succeeded: 0,
      spent: 0,
      spentInPeriod: 0,
      resetsAt: nextReset(spec.resets, startsAt)
    }))
    for (const key of this.keys) this.byId.set(key.spec.id, key)
  }

  /** USD left of the key's cap, and when that is filled up again. */
  reading(id: string, now: number): { readonly remaining: number; readonly resetsAt: number | undefined } {
    const key = this.keyOf(id)
    renew(key, now)
    return {
      remaining: key.spec.cap! - key.spentInPeriod,
      resetsAt: key.resetsAt === Infinity ? undefined : key.resetsAt
    }
  }

  begin(id: string, request: Request, now: number): Attempt {
    const key = this.keyOf(id)
    const { account } = key
    renew(key, now)
    const faults = this.faultsOf(key, now)
    const refusal = this.fault(faults, now) ?? refuse(key, now)
    key.attempts++
    key.mostInFlight = Math.max(key.mostInFlight, ++key.inFlight)
    account.inFlight++
    const attempt = { key, request, beganAt: now }
    if (refusal !== undefined) {
      const { millis, outcome } = refusal
      const status = outcome.status ?? 500
      return { ...attempt, status, millis, firstMillis: undefined, cached: false, cost: 0, refusal: outcome }
    }
    account.inMinute++
    const slow = faults.reduce((product, fault) => product * (fault.slow ?? 1), key.spec.slowness)
    const cached = this.keep(account, request.session, now)
    return {
      ...attempt,
      status: 200,
      millis: request.millis * slow,
      firstMillis: request.firstMillis === undefined ? undefined : request.firstMillis * slow,
      cached,
      cost: costOf(this.scenario.requests, request, cached),
      refusal: undefined
    }
  }

  /** The answer is there, or its caller has gone: a stream is then charged for what came, all else in full. */
  end({ beganAt, cost, firstMillis, key, millis }: Attempt, now: number): void {
    const { account } = key
    key.inFlight--
    account.inFlight--
    if (cost === 0) return
    renew(key, now)
    const done = firstMillis === undefined || millis === 0 ? 1 : Math.min(1, (now - beganAt) / millis)
    key.spent += cost * done
    key.spentInPeriod += cost * done
    account.balance -= cost * done
  }

  private keyOf(id: string): Key {
    const key = this.byId.get(id)
    if (key === undefined) throw new Error(`The lab has no key ${id}`)
    return key
  }

  /** What is wrong with the key now. */
  private faultsOf({ account, spec }: Key, now: number): ReadonlyArray<Fault> {
    const { faults } = this.scenario
    if (faults.length === 0) return faults
    const at = (now - this.startsAt) / 1000
    return faults.filter(
      (fault) =>
        at >= fault.from &&
        at < fault.to &&
        (fault.key === undefined || fault.key === spec.id) &&
        (fault.account === undefined || fault.account === account.id)
    )
  }

  private fault(faults: ReadonlyArray<Fault>, now: number): Refusal | undefined {
    for (const fault of faults) {
      if (fault.status === undefined || (fault.share < 1 && this.random() >= fault.share)) continue
      const ends = fault.to - (now - this.startsAt) / 1000
      const retryAfter = fault.retryAfter === "end" ? ends : fault.retryAfter
      const scope = fault.key !== undefined ? "key" : fault.account !== undefined ? "account" : "upstream"
      return { millis: fault.answerSeconds * 1000, outcome: outcomeOf(fault.status, scope, retryAfter) }
    }
    return undefined
  }

  /** Whether the account has kept the session's prompt; from now on it has. */
  private keep({ cache }: Account, session: string | undefined, now: number): boolean {
    const { sessions } = this.scenario.requests
    if (session === undefined || sessions === undefined) return false
    const usedAt = cache.get(session)
    cache.set(session, now)
    return usedAt !== undefined && now - usedAt <= sessions.cacheSeconds * 1000
  }
}

interface Refusal {
  readonly millis: number
  readonly outcome: Outcome.Faulted
}

const refuse = (key: Key, now: number): Refusal | undefined => {
  const { account, spec } = key
  if (spec.cap !== undefined && key.spentInPeriod >= spec.cap) {
    const retryAfter = key.resetsAt === Infinity ? undefined : (key.resetsAt - now) / 1000
    return { millis: refusalMillis, outcome: outcomeOf(402, "key", retryAfter) }
  }
  if (account.balance <= 0) return { millis: refusalMillis, outcome: outcomeOf(402, "account", undefined) }
  const minute = Math.floor(now / 60_000)
  if (minute !== account.minute) {
    account.minute = minute
    account.inMinute = 0
  }
  if (account.inMinute >= account.requestsPerMinute) {
    const retryAfter = ((minute + 1) * 60_000 - now) / 1000
    return { millis: refusalMillis, outcome: outcomeOf(429, "account", retryAfter) }
  }
  if (account.inFlight >= account.maxInFlight)
    return { millis: refusalMillis, outcome: outcomeOf(429, "account", 1) }
  return undefined
}

/** As the classifier of OpenRouter's answers reads them: the scope is who is at fault. */
const outcomeOf = (
  status: number,
  scope: Outcome.FaultScope,
  retryAfter: number | undefined
): Outcome.Faulted =>
  Outcome.faulted({
    scope,
    reason:
      status === 401
        ? "rejected"
        : status === 402 || status === 403
          ? "exhausted"
          : status === 429
            ? "throttled"
            : "unavailable",
    retryAfter: retryAfter === undefined ? undefined : Duration.seconds(Math.max(0, retryAfter)),
    status
  })

const accountOf = ({
  id,
  balance = Infinity,
  maxInFlight = Infinity,
  requestsPerMinute = Infinity
}: Scenario["accounts"][number]): Account => ({
  id,
  balance,
  requestsPerMinute,
  maxInFlight,
  inFlight: 0,
  minute: -1,
  inMinute: 0,
  cache: new Map()
})

const renew = (key: Key, now: number): void => {
  if (now < key.resetsAt) return
  key.spentInPeriod = 0
  key.resetsAt = nextReset(key.spec.resets, now)
}

const nextReset = (resets: LimitReset | undefined, now: number): number =>
  resets === undefined ? Infinity : endOf(resets, now)
