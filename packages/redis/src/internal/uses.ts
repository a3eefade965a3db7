/**
 * The uses under way in this process that a permit in Redis stands for: they are renewed as long as they go on, and cut off
 * when their permit is another's.
 *
 * The term of a permit is counted from before it was asked for, so that it ends here no later than in Redis, whatever the
 * clocks say (C. Gray, D. Cheriton, "Leases", 1989).
 */
import type { Permits } from "@evenkeel/core"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import type * as Redis from "effect/persistence/Redis"
import { reasonOf } from "./failure.ts"
import { release, renew, type Cap, type Held } from "./permit.ts"

/** Permits in one call of a script. */
const maxBatch = 1_000

/** Permits that lapsed while their uses went on. */
export const lapsed = Metric.counter("evenkeel_permits_lapsed", {
  description: "Permits that lapsed in Redis while their uses went on",
  incremental: true
})

/** Uses that were cut off. */
export const lost = Metric.counter("evenkeel_permits_lost", {
  description: "Uses that were cut off, because their permit had lapsed and was, or may have been, another's",
  incremental: true
})

interface Use {
  readonly member: string
  readonly caps: ReadonlyArray<Cap>
  readonly lost: Deferred.Deferred<void>
  /** When its permit lapses. */
  until: number
  /** It goes on by the caps of this process, because Redis was away. */
  alone: boolean
}

export interface UsesOptions {
  readonly leaseMillis: number
  readonly timeout: Duration.Input
  /** What goes on without Redis is never cut off for its absence. */
  readonly local: boolean
}

export class Uses {
  private readonly held = new Map<string, Use>()
  /** How many there are of each set. */
  private readonly counts = new Map<string, number>()
  private readonly returned: Queue.Queue<Held>
  private readonly redis: Redis.Redis["Service"]
  private readonly options: UsesOptions

  constructor(redis: Redis.Redis["Service"], returned: Queue.Queue<Held>, options: UsesOptions) {
    this.redis = redis
    this.returned = returned
    this.options = options
  }

  /** The cap, from 1 up, that the uses of this process alone have reached; 0 if none. */
  reached(caps: ReadonlyArray<Cap>): number {
    return 1 + caps.findIndex(({ most, set }) => (this.counts.get(set) ?? 0) >= most)
  }

  /** A use begins; `sentAt` is when its permit was asked for, or `undefined` if it begins without one. */
  begin(member: string, caps: ReadonlyArray<Cap>, sentAt: number | undefined): Permits.Answer {
    const use: Use = {
      member,
      caps,
      lost: Deferred.makeUnsafe(),
      until: (sentAt ?? 0) + this.options.leaseMillis,
      alone: sentAt === undefined
    }
    if (caps.length === 0) return unlimited
    this.held.set(member, use)
    for (const { set } of caps) this.counts.set(set, (this.counts.get(set) ?? 0) + 1)
    return { _tag: "Granted", release: () => this.end(use), lost: Deferred.await(use.lost) }
  }

  private end(use: Use): void {
    if (!this.held.delete(use.member)) return
    for (const { set } of use.caps) {
      const left = (this.counts.get(set) ?? 0) - 1
      if (left > 0) this.counts.set(set, left)
      else this.counts.delete(set)
    }
    this.give(use.member, use.caps)
  }

  /** Gives a permit back, if there is one. */
  give(member: string, caps: ReadonlyArray<Cap>): void {
    for (const { set } of caps) Queue.offerUnsafe(this.returned, [set, member])
  }

  private lose(use: Use): Effect.Effect<void> {
    this.end(use)
    Deferred.doneUnsafe(use.lost, Exit.void)
    return Metric.update(lost, 1)
  }

  /** Hands back what was given back, in batches that nobody waits for. */
  get returning(): Effect.Effect<never> {
    const batch = Effect.flatMap(Queue.takeBetween(this.returned, 1, maxBatch), (batch) =>
      this.redis.eval(release)(batch).pipe(Effect.timeout(this.options.timeout), Effect.ignore)
    )
    return Effect.forever(batch)
  }

  /** Renews all of them, three times in a lease. */
  get renewing(): Effect.Effect<never> {
    const all = Effect.suspend(() => {
      const uses = [...this.held.values()]
      const batches = Array.from({ length: Math.ceil(uses.length / maxBatch) }, (_, n) =>
        uses.slice(n * maxBatch, (n + 1) * maxBatch)
      )
      return Effect.forEach(batches, (batch) => this.renewed(batch), { discard: true })
    })
    return Effect.forever(Effect.andThen(Effect.sleep(this.options.leaseMillis / 3), all))
  }

  private readonly renewed = Effect.fnUntraced(function* (this: Uses, batch: ReadonlyArray<Use>) {
    const { leaseMillis, local, timeout } = this.options
    const sentAt = yield* Clock.currentTimeMillis
    // Those that were given back meanwhile must not come back.
    const uses = batch.filter(({ member }) => this.held.has(member))
    if (uses.length === 0) return
    // What Redis has forgotten before its time, or could not be told, went on as it was meant to.
    const told = uses.map((use) => ({ ...use, force: local && (use.alone || sentAt < use.until) }))
    const answer = yield* Effect.result(
      this.redis.eval(renew)(told, leaseMillis).pipe(Effect.timeout(timeout))
    )
    if (answer._tag === "Failure") {
      const now = yield* Clock.currentTimeMillis
      // No answer for longer than a lease is none of Redis: this process has been stopped.
      if (now - sentAt < leaseMillis) for (const use of uses) use.alone = local
      return yield* Effect.logDebug(`Permits could not be renewed: ${reasonOf(answer.failure)}`)
    }
    const [late, gone] = answer.success
    if (late > 0) yield* Metric.update(lapsed, late)
    const cut = new Set(gone)
    for (const [n, use] of uses.entries()) {
      if (!this.held.has(use.member)) this.give(use.member, use.caps)
      else if (cut.has(n)) yield* this.lose(use)
      else {
        use.until = sentAt + leaseMillis
        use.alone = false
      }
    }
  })

  /**
   * Without `local`: cuts off what has not been renewed in time, for it may be another's by then. A tenth of the lease is kept for
   * timers that ring late, as on a machine that is busy; by then two renewals have failed.
   */
  get expiring(): Effect.Effect<never> {
    const { leaseMillis } = this.options
    const due = Effect.flatMap(Clock.currentTimeMillis, (time) => {
      const now = time + leaseMillis / 10
      const over = [...this.held.values()].filter(({ until }) => until <= now)
      return Effect.andThen(
        Effect.forEach(over, (use) => this.lose(use), { discard: true }),
        Effect.suspend(() => {
          let next = now + leaseMillis / 3
          for (const { until } of this.held.values()) next = Math.min(next, until)
          return Effect.sleep(Math.max(1, next - now))
        })
      )
    })
    return Effect.forever(due)
  }
}

const unlimited: Permits.Answer = { _tag: "Granted", release: () => {} }
