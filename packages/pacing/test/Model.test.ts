/**
 * Random programs against a model that is written to be obvious: it keeps every use in a list and counts it anew each time,
 * and computes rates as the standard does, by a theoretical arrival time, in whole numbers of any size.
 *
 * A failure prints its seed; `EVENKEEL_SEED=<seed>` runs it again.
 */
import { Outcome } from "@evenkeel/core"
import type { Pacing } from "@evenkeel/pacing"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect } from "effect"
import { candidateOf, contextAt, forSeeds, paceOf, rngOf } from "./paces.ts"

const forgetAfter = 20_000

/** GCRA: the theoretical arrival time, in milliseconds times the rate. */
class Arrivals {
  private next = -(10n ** 30n)
  private readonly perMinute: bigint
  private readonly burst: bigint

  constructor(perMinute: number, burst: number) {
    this.perMinute = BigInt(perMinute)
    this.burst = BigInt(burst)
  }

  until(tokens: number, now: number): number {
    const asked = BigInt(tokens) > this.burst ? this.burst : BigInt(tokens)
    const early = this.next - (this.burst - asked) * 60_000n - BigInt(now) * this.perMinute
    return early <= 0n ? now : now + Number((early + this.perMinute - 1n) / this.perMinute)
  }

  take(tokens: number, now: number): void {
    const here = BigInt(now) * this.perMinute
    // What fell due less than a millisecond ago could not have been taken in time.
    const from = this.next > here - this.perMinute ? this.next : here
    this.next = from + BigInt(tokens) * 60_000n
  }
}

class Scope {
  readonly limits: Pacing.Limits
  requests: Arrivals | undefined
  tokens: Arrivals | undefined
  learnt: number | undefined
  throttledAt = -Infinity
  /** Uses opened before the last decrease. */
  readonly old = new Set<Use>()

  constructor(limits: Pacing.Limits) {
    const { burst = 1, requestsPerMinute, tokenBurst = 1, tokensPerMinute } = limits
    this.limits = limits
    if (requestsPerMinute !== undefined) this.requests = new Arrivals(requestsPerMinute, burst)
    if (tokensPerMinute !== undefined) this.tokens = new Arrivals(tokensPerMinute, tokenBurst)
  }

  until(tokens: number, now: number): number {
    return Math.max(
      this.requests?.until(1, now) ?? now,
      tokens > 0 ? (this.tokens?.until(tokens, now) ?? now) : now
    )
  }
}

interface Use {
  readonly id: string
  readonly account: string
  readonly admission: number
  readonly openedAt: number
  readonly candidate: ReturnType<typeof candidateOf>
}

const options: Pacing.Options = {
  key: { requestsPerMinute: 400, burst: 8, maxInFlight: 6 },
  keys: { free: {}, b: { tokensPerMinute: 30_000, tokenBurst: 700 } },
  account: { requestsPerMinute: 900, burst: 20, tokensPerMinute: 200_000, tokenBurst: 3000 },
  accounts: { small: { maxInFlight: 5 }, wide: {} },
  adaptive: { min: 2, max: 9, forgetAfter }
}
const ids = ["a", "b", "c", "d", "free"]
const owners = [undefined, "small", "wide", "acme"]

const outcomes: ReadonlyArray<readonly [number, Outcome.Outcome]> = [
  [0.6, Outcome.success()],
  [0.7, Outcome.ignored()],
  [0.75, Outcome.faulted({ scope: "upstream", reason: "throttled" })],
  [0.78, Outcome.faulted({ scope: "account", reason: "throttled", within: ":free" })],
  [0.82, Outcome.faulted({ scope: "key", reason: "unavailable" })],
  [0.9, Outcome.faulted({ scope: "key", reason: "throttled" })],
  [1, Outcome.faulted({ scope: "account", reason: "throttled" })]
]

const seen = { paced: 0, saturated: 0, learnt: 0, late: 0, forgotten: 0, moved: 0, admitted: 0, steps: 0 }

const run = (seed: number, steps: number): void => {
  const random = rngOf(seed)
  const pick = <A>(all: ReadonlyArray<A>): A => all[Math.floor(random() * all.length)]!
  const { limiter, pacing } = paceOf(options)
  const keys = new Map<string, Scope>()
  const accounts = new Map<string, Scope>()
  const owner = new Map<string, string | undefined>()
  let uses: Array<Use> = []
  let now = 1_700_000_000_000

  const accountOf = (id: string): string => owner.get(id) ?? `key:${id}`
  const keyScope = (id: string): Scope => {
    if (!keys.has(id)) keys.set(id, new Scope(options.keys?.[id] ?? options.key!))
    return keys.get(id)!
  }
  const accountScope = (name: string): Scope => {
    if (!accounts.has(name)) accounts.set(name, new Scope(options.accounts?.[name] ?? options.account!))
    return accounts.get(name)!
  }
  const countOf = (of: Partial<Use>): number =>
    uses.filter((use) => (of.id ?? use.id) === use.id && (of.account ?? use.account) === use.account).length
  const learntOf = (scope: Scope): number =>
    now - scope.throttledAt < forgetAfter ? (scope.learnt ?? Infinity) : Infinity

  /** What the limiter should say. */
  const verdict = (id: string, tokens: number): readonly [string, string | undefined, number | undefined] => {
    const key = keyScope(id)
    const account = accountScope(accountOf(id))
    const keyAt = key.until(tokens, now)
    const accountAt = account.until(tokens, now)
    if (Math.max(keyAt, accountAt) > now) {
      return ["paced", accountAt >= keyAt ? "account" : "key", Math.max(keyAt, accountAt)]
    }
    if (countOf({ id }) >= (key.limits.maxInFlight ?? Infinity)) return ["saturated", "key", undefined]
    const most = Math.min(account.limits.maxInFlight ?? Infinity, learntOf(account))
    if (countOf({ account: accountOf(id) }) >= most) return ["saturated", "account", undefined]
    return ["yes", undefined, undefined]
  }

  const teach = (use: Use, outcome: Outcome.Outcome): void => {
    const scope = accountScope(use.account)
    const most = Math.min(9, scope.limits.maxInFlight ?? Infinity)
    const inFlight = countOf({ account: use.account })
    const late = scope.old.delete(use)
    if (late) {
      seen.late++
      return
    }
    if (outcome._tag === "Success") {
      if (scope.learnt !== undefined && inFlight * 2 >= scope.learnt)
        scope.learnt = Math.max(scope.learnt, Math.min(most, scope.learnt + 1))
    } else if (
      outcome._tag === "Faulted" &&
      outcome.reason === "throttled" &&
      outcome.scope !== "upstream" &&
      outcome.within === undefined
    ) {
      const known = learntOf(scope)
      const before = known === Infinity ? inFlight : known
      scope.learnt = Math.max(2, Math.floor(Math.min(before, most) * 0.9))
      scope.throttledAt = now
      for (const other of uses) if (other.account === use.account) scope.old.add(other)
      seen.learnt++
    }
  }

  for (let step = 0; step < steps; step++) {
    seen.steps++
    const id = pick(ids)
    const action = random()
    const tokens = random() < 0.3 ? 0 : Math.floor(random() * (random() < 0.05 ? 9000 : 600))
    const candidate = candidateOf(id, owner.get(id))
    const context = contextAt(now, tokens === 0 ? undefined : tokens)
    if (action < 0.25) {
      now += Math.floor(random() * (random() < 0.02 ? 40_000 : 60))
    } else if (action < 0.65) {
      const [expected, scope, until] = verdict(id, tokens)
      const no = limiter.filter(candidate, context)
      const where = `${id} of ${accountOf(id)}, ${tokens} tokens, step ${step}`
      assert.deepStrictEqual([no?.reason ?? "yes", no?.scope, no?.until], [expected, scope, until], where)
      if (no === undefined) {
        keyScope(id).requests?.take(1, now)
        accountScope(accountOf(id)).requests?.take(1, now)
        if (tokens > 0) keyScope(id).tokens?.take(tokens, now)
        if (tokens > 0) accountScope(accountOf(id)).tokens?.take(tokens, now)
        const admission = limiter.admit(candidate, context)
        uses.push({ id, account: accountOf(id), admission, openedAt: now, candidate })
        seen.admitted++
      } else seen[no.reason as "paced" | "saturated"]++
    } else if (action < 0.97) {
      const use = uses[Math.floor(random() * uses.length)]
      if (use !== undefined) {
        const roll = random()
        const outcome = outcomes.find(([share]) => roll < share)![1]
        // As the pool does it: the candidate shows who owns the key by now.
        limiter.record(
          candidateOf(use.id, owner.get(use.id)),
          contextAt(use.openedAt),
          use.admission,
          outcome,
          now
        )
        if (use.account !== accountOf(use.id)) seen.moved++
        teach(use, outcome)
        uses = uses.filter((other) => other !== use)
      }
    } else if (action < 0.985) {
      owner.set(id, pick(owners))
    } else {
      limiter.forget(id)
      seen.forgotten += countOf({ id })
      for (const use of uses) if (use.id === id) accountScope(use.account).old.delete(use)
      uses = uses.filter((use) => use.id !== id)
      keys.delete(id)
      accounts.delete(`key:${id}`)
    }
    if (step % 50 === 0) {
      const state = stateAt(pacing, now)
      for (const [name, { inFlight }] of state.accounts)
        assert.strictEqual(inFlight, countOf({ account: name }))
      for (const [name, { inFlight }] of state.keys) assert.strictEqual(inFlight, countOf({ id: name }))
    }
  }

  for (const use of uses) {
    limiter.record(use.candidate, contextAt(use.openedAt), use.admission, Outcome.ignored(), now)
  }
  const { accounts: left, keys: leftKeys } = stateAt(pacing, now)
  for (const [name, { inFlight }] of [...left, ...leftKeys]) assert.strictEqual(inFlight, 0, name)
}

const stateAt = (pacing: Pacing.Pacing["Service"], now: number) =>
  Effect.runSyncWith(Context.make(Clock.Clock, clockAt(now)))(pacing.state)

const clockAt = (now: number): Clock.Clock => ({
  currentTimeMillisUnsafe: () => now,
  currentTimeMillis: Effect.succeed(now),
  currentTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
  currentTimeNanos: Effect.succeed(BigInt(now) * 1_000_000n),
  monotonicTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
  monotonicTimeNanos: Effect.succeed(BigInt(now) * 1_000_000n),
  sleep: () => Effect.never
})

describe("the limiter", () => {
  it("does as its model over 200,000 random steps", () => {
    forSeeds(40, (seed) => run(seed, 5000))
    if (process.env["EVENKEEL_SEED"] !== undefined) return
    // Every kind of thing has happened often, or the comparison would say little.
    assert.strictEqual(seen.steps, 200_000)
    for (const [name, count] of Object.entries(seen)) assert.isAbove(count, 400, name)
  })
})
