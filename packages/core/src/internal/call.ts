/**
 * What one request remembers over all its attempts.
 */
import * as Clock from "effect/Clock"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type { LeaseOptions } from "../Balancer.ts"
import type { PickContext } from "../Candidate.ts"
import {
  DeadlineExceeded,
  noEligibleKey,
  PermitLost,
  type Attempt,
  type KeyVerdict,
  type NoEligibleKey
} from "../Errors.ts"
import { earliest } from "../Explanation.ts"
import type * as Outcome from "../Outcome.ts"
import type { Demand } from "./demand.ts"
import { refusals } from "./explain.ts"
import type { OpenLease, Trail } from "./openLease.ts"
import { quietly } from "./quietly.ts"
import { millisOf } from "./ranges.ts"
import type { Restore, Room } from "./room.ts"
import * as Trace from "./trace.ts"

/** How a request ends that no key could serve. */
export type Refusal = NoEligibleKey | DeadlineExceeded

const noAttempts: ReadonlyArray<Attempt> = []
const noKeys: ReadonlyArray<KeyVerdict> = []

export class Call {
  readonly room: Room
  readonly restore: Restore
  readonly options: LeaseOptions | undefined
  readonly now: () => number
  readonly fiber: Fiber.Fiber<unknown, unknown>
  /** Milliseconds since the epoch, or `Infinity`. */
  deadline: number
  attempt = 0
  /** Ids that are not offered to this request again. */
  tried: Set<string> | undefined
  /** Milliseconds it has waited for keys to return. */
  waited = 0
  /** The use under way. */
  current: OpenLease | undefined
  private triedUpstreams: Set<string> | undefined
  private trail: Trail = { attempts: noAttempts }
  private lastError: unknown
  /** When the last attempt ended, or the request began. */
  idleSince: number
  private timeout: number
  private readonly random: () => number

  constructor(
    room: Room,
    fiber: Fiber.Fiber<unknown, unknown>,
    restore: Restore,
    options: LeaseOptions | undefined
  ) {
    this.room = room
    this.restore = restore
    this.options = options
    this.fiber = fiber
    this.now = nowOf(fiber.getRef(Clock.Clock))
    this.random = randomOf(fiber.getRef(Random.Random))
    this.timeout = options?.timeout === undefined ? room.timeout : millisOf("timeout", options.timeout)
    this.idleSince = this.now()
    this.deadline = this.idleSince + this.timeout
  }

  demand(upstream: string | undefined = this.options?.upstream, nowMillis = this.now()): Demand {
    const { options, room } = this
    const context: { -readonly [K in keyof PickContext]: PickContext[K] } = {
      attempt: this.attempt,
      nowMillis,
      random: this.random,
      affinity: options?.affinity,
      upstream,
      tokens: options?.tokens,
      promptTokens: options?.promptTokens,
      fallbacks: options?.fallbacks,
      estimate: options?.estimate
    }
    context.estimate ??= room.strategy.credits.estimate(context)
    const { limiter } = room.strategy
    if (limiter.headroom !== undefined)
      context.headroom = (candidate) => limiter.headroom?.(candidate, nowMillis)
    return { strategy: room.strategy, context, filter: options?.filter, tried: this.tried, now: this.now }
  }

  /** What may serve, in the order of preference, without what has failed already. */
  upstreams(): ReadonlyArray<string | undefined> {
    const { options, triedUpstreams } = this
    if (options?.alternatives === undefined) return [options?.upstream]
    const all = [options.upstream, ...options.alternatives]
    return triedUpstreams === undefined
      ? all
      : all.filter((upstream) => upstream === undefined || !triedUpstreams.has(upstream))
  }

  /** What failed is not offered to this request again: the key, all that share its fault with it, or the upstream. */
  exclude({ context, key }: OpenLease, { scope }: Outcome.Faulted): void {
    if (scope === "upstream" && context.upstream !== undefined && this.upstreams().length > 1) {
      const tried = (this.triedUpstreams ??= new Set<string>())
      tried.add(context.upstream)
      return
    }
    const tried = (this.tried ??= new Set<string>())
    tried.add(key.id)
    if (scope !== "account" && scope !== "workspace") return
    const { entries } = this.room.engine
    const owner = entries.find((entry) => entry.key.id === key.id)?.key[scope]
    for (const { key } of entries) if (owner !== undefined && key[scope] === owner) tried.add(key.id)
  }

  /** After a while, what failed may serve again. */
  forgive(): void {
    this.tried = undefined
    this.triedUpstreams = undefined
  }

  /** It is a copy of another: one trail and one deadline for both. */
  copies({ deadline, timeout, trail }: Call): void {
    this.deadline = deadline
    this.timeout = timeout
    this.trail = trail
  }

  /** The uses that failed. */
  get attempts(): ReadonlyArray<Attempt> {
    return this.trail.attempts
  }

  /** The use follows what the request has met so far. */
  begin(lease: OpenLease): void {
    lease.follow(this.trail, this.idleSince)
  }

  record(
    lease: OpenLease,
    outcome: Outcome.Faulted | Outcome.Ignored,
    exit: Exit.Exit<unknown, unknown>
  ): void {
    this.trail.attempts = lease.attempted(outcome)
    this.idleSince = this.now()
    if (exit._tag === "Failure")
      this.lastError = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  }

  /** Why no key can serve, as of the time at which none could: a moment later one may again. */
  refusal(nowMillis = this.now()): NoEligibleKey {
    const demand = this.demand(this.upstreams()[0], nowMillis)
    const { engine, events } = this.room
    const error = noEligibleKey(refusals(engine, demand), this.attempts, this.lastError)
    Trace.refused(this.fiber, error, demand.context.nowMillis)
    if (events.heard) {
      const { keys, retryAt } = error
      const { nowMillis: at, upstream } = demand.context
      events.emit({ _tag: "Refused", at, upstream, attempts: this.attempts.length, keys, retryAt })
    }
    return error
  }

  /** The deadline has passed, with a use of that key under way. */
  exceeded(inFlight: string | undefined): DeadlineExceeded {
    const { attempts, lastError, timeout: timeoutMillis } = this
    const { events } = this.room
    if (events.heard) {
      const upstream = this.options?.upstream
      events.emit({ _tag: "TimedOut", at: this.now(), upstream, attempts: attempts.length })
    }
    const keys =
      inFlight === undefined ? refusals(this.room.engine, this.demand(this.upstreams()[0])) : noKeys
    const retryAt = earliest(keys)
    return quietly(
      () => new DeadlineExceeded({ timeoutMillis, inFlight, keys, retryAt, attempts, lastError })
    )
  }

  /** The permit of a use under way has lapsed. */
  permitLost(keyId: string): PermitLost {
    const { attempts, lastError } = this
    return quietly(() => new PermitLost({ keyId, keys: noKeys, retryAt: undefined, attempts, lastError }))
  }
}

// The closures are kept as long as the same clock and the same generator are in use, which is nearly always. Leases keep them,
// and outlive the request: they must not hold on to its fiber, and with it to the answer.
let lastClock: Clock.Clock | undefined
let lastNow: () => number = () => 0
const nowOf = (clock: Clock.Clock): (() => number) => {
  if (clock !== lastClock) {
    lastClock = clock
    lastNow = () => clock.currentTimeMillisUnsafe()
  }
  return lastNow
}

let lastRandom: Random.Random | undefined
let lastNext: () => number = () => 0
const randomOf = (random: { nextDoubleUnsafe(): number }): (() => number) => {
  if (random !== lastRandom) {
    lastRandom = random as typeof lastRandom
    lastNext = () => random.nextDoubleUnsafe()
  }
  return lastNext
}
