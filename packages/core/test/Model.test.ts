/**
 * Random programs against a small model of the pool that is written independently of it: counts, benches with their
 * probation, and the queue for permits.
 *
 * A failure prints its seed; `EVENKEEL_SEED=<seed>` runs it again.
 */
import { Balancer, Errors, KeyPool, Outcome, Selector } from "@evenkeel/core"
import type { Candidate, Lease } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, type Fiber } from "effect"
import { layerOf, rngOf, secretOf, type Parts } from "./utils.ts"

const maxWaiting = 6
const models = ["x", "y", undefined] as const
const reasons = ["throttled", "exhausted", "rejected", "unavailable"] as const

interface Bench {
  until: number
  reason: Outcome.FaultReason
  /** Set in this order: what began earlier cannot lift it. */
  order: number
  probes: number
}

interface Member {
  readonly id: string
  readonly account: string | undefined
  max: number
  draining: boolean
  inFlight: number
  /** The bench of its key scope. */
  readonly own: { bench?: Bench }
}

interface Use {
  readonly member: Member
  readonly began: number
  readonly probed: ReadonlyArray<Bench>
}

/** A key whose account is not known is an account of its own. */
const accountOf = ({ account, id }: Pick<Member, "account" | "id">) => account ?? `key:${id}`

/** What the pool should be. */
class Model {
  now = 0
  order = 0
  readonly members: Array<Member> = []
  readonly accounts = new Map<string, { bench?: Bench }>()
  readonly upstreams = new Map<string, Bench>()
  host: Bench | undefined

  holders(member: Member): ReadonlyArray<{ bench?: Bench }> {
    return [member.own, this.accounts.get(accountOf(member)) ?? {}]
  }

  blocked(upstream: string | undefined): boolean {
    const over = (bench: Bench | undefined) => bench !== undefined && this.now < bench.until
    return over(this.host) || (upstream !== undefined && over(this.upstreams.get(upstream)))
  }

  verdict(member: Member): "out" | "returning" | "probing" | "saturated" | undefined {
    if (member.draining) return "out"
    for (const { bench } of this.holders(member)) {
      if (bench === undefined) continue
      if (this.now < bench.until) return "returning"
      if ((bench.reason === "rejected" || bench.reason === "exhausted") && bench.probes > 0) return "probing"
    }
    return member.inFlight >= member.max ? "saturated" : undefined
  }

  eligible(upstream: string | undefined): ReadonlyArray<Member> {
    return this.blocked(upstream) ? [] : this.members.filter((member) => this.verdict(member) === undefined)
  }

  worthWaiting(upstream: string | undefined): boolean {
    if (this.blocked(upstream)) return false
    const verdicts = this.members.map((member) => this.verdict(member))
    return verdicts.includes("saturated") || (verdicts.includes("probing") && !verdicts.includes("returning"))
  }

  open(member: Member): Use {
    member.inFlight++
    const probed = this.holders(member).flatMap(({ bench }) =>
      bench !== undefined && (bench.reason === "rejected" || bench.reason === "exhausted") ? [bench] : []
    )
    for (const bench of probed) bench.probes++
    return { member, began: this.order, probed }
  }

  close({ member, probed }: Use): void {
    member.inFlight--
    for (const bench of probed) bench.probes--
  }

  set(holder: { bench?: Bench | undefined }, reason: Outcome.FaultReason, until: number): void {
    const order = ++this.order
    if (holder.bench === undefined) holder.bench = { until, reason, order, probes: 0 }
    else {
      if (until >= holder.bench.until) Object.assign(holder.bench, { until, reason })
      holder.bench.order = order
    }
  }

  /** The scopes that the success of the use proves; those that it lifts. */
  lift({ began, member }: Use): boolean {
    let lifted = false
    for (const holder of this.holders(member)) {
      if (holder.bench === undefined || holder.bench.order > began) continue
      delete holder.bench
      lifted = true
    }
    return lifted
  }
}

interface Request {
  readonly number: number
  readonly upstream: string | undefined
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

const runProgram = (
  { balancer, pool }: Parts,
  clock: { now: number },
  offered: { ids: ReadonlyArray<string> },
  seed: number,
  steps: number
) => {
  const random = rngOf(seed)
  const roll = (n: number) => Math.floor(random() * n)
  const pickOf = <A>(items: ReadonlyArray<A>): A => items[roll(items.length)]!
  const model = new Model()
  const run = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.runSync(Effect.provideService(effect, Clock.Clock, clockOf(clock)))

  /** What the pool says: uses that got a key, and how requests ended, in this order. */
  const log: Array<string> = []
  const leases = new Map<
    number,
    { readonly lease: Lease.Lease; readonly end: (exit: Exit.Exit<string, unknown>) => void }
  >()
  const requests = new Map<number, Request>()
  /** What the model says. */
  const uses = new Map<number, Use>()
  const queue: Array<{ readonly number: number; readonly upstream: string | undefined }> = []
  let next = 0
  let served = 0

  const request = () => {
    const number = next++
    const upstream = pickOf(models)
    const program = balancer.use(
      (lease) =>
        Effect.callback<string, unknown>((resume) => {
          log.push(`${number} on ${lease.key.id}`)
          leases.set(number, { lease, end: resume })
        }),
      { upstream }
    )
    const expected = model.eligible(upstream).map(({ id }) => id)
    const waits = expected.length === 0 && queue.length < maxWaiting && model.worthWaiting(upstream)
    const fiber = Effect.runFork(Effect.provideService(program, Clock.Clock, clockOf(clock)))
    requests.set(number, { number, upstream, fiber })
    if (expected.length > 0) {
      assert.deepStrictEqual(offered.ids, expected)
      begin(number)
    } else if (waits) {
      queue.push({ number, upstream })
      assert.strictEqual(fiber.pollUnsafe(), undefined, "waits")
    } else refused(number)
  }
  const begin = (number: number) => {
    const { lease } = leases.get(number)!
    const member = model.members.find(({ id }) => id === lease.key.id)!
    assert.strictEqual(model.verdict(member), undefined, `${member.id} can serve ${number}`)
    uses.set(number, model.open(member))
    served++
  }
  const refused = (number: number) => {
    const exit = requests.get(number)!.fiber.pollUnsafe()
    const error = exit !== undefined && Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
    assert.isTrue(
      error?._tag === "Fail" && error.error instanceof Errors.NoEligibleKey,
      `${number} is refused`
    )
    requests.delete(number)
  }
  /** Serves the queue as the model would, given the order in which the pool did. */
  /** After a use, a few that cannot be served behind one that was end the round. */
  const wake = (patience: number) => {
    let served = false
    let left = patience
    for (const waiter of queue.slice()) {
      const eligible = model.eligible(waiter.upstream)
      const stays = eligible.length === 0 && model.worthWaiting(waiter.upstream)
      if (!stays) {
        queue.splice(queue.indexOf(waiter), 1)
        if (eligible.length === 0) refused(waiter.number)
        else begin(waiter.number)
      }
      if (eligible.length > 0) served = true
      else if (served && --left <= 0) return
    }
  }

  const settle = (number: number) => {
    const { end } = leases.get(number)!
    const use = uses.get(number)!
    const { member } = use
    const removed = !model.members.includes(member)
    leases.delete(number)
    uses.delete(number)
    model.close(use)
    let readmitted = false
    const { upstream } = requests.get(number)!
    const what = roll(10)
    let exit: Exit.Exit<string, unknown>
    if (what < 5) {
      exit = Exit.succeed("ok")
      readmitted = model.lift(use)
    } else if (what < 7) exit = pickOf([Exit.fail("no"), Exit.die("bug")])
    else {
      const scope = pickOf(["key", "key", "account", "account", "upstream", "host"] as const)
      const reason = pickOf(reasons)
      const millis = 1 + roll(scope === "host" ? 10 : 100)
      exit = Exit.fail(
        new Errors.Fault({ outcome: Outcome.faulted({ scope, reason, retryAfter: Duration.millis(millis) }) })
      )
      const until = model.now + millis
      if (scope === "host") {
        const holder: { bench?: Bench | undefined } = { bench: model.host }
        model.set(holder, reason, until)
        model.host = holder.bench
      } else if (scope === "upstream") {
        if (upstream !== undefined) {
          const holder: { bench?: Bench | undefined } = { bench: model.upstreams.get(upstream) }
          model.set(holder, reason, until)
          model.upstreams.set(upstream, holder.bench!)
        }
      } else if (scope === "key") {
        if (!removed) model.set(member.own, reason, until)
      } else {
        // Of a removed key that was the last of its account nothing is left to bench.
        const account = model.accounts.get(accountOf(member))
        if (account !== undefined && !(removed && member.account === undefined))
          model.set(account, reason, until)
        else model.order++
      }
    }
    requests.delete(number)
    end(exit)
    if (readmitted) wake(Infinity)
    wake(8)
  }

  const add = (id: string) => {
    const account = pickOf(["A", "A", "B", undefined])
    const max = pickOf([1, 2, 3, Infinity])
    // Ids are not awaited: a name of one's own needs no hash.
    run(pool.add({ id, secret: secretOf(id), account, maxInFlight: max } as never))
    model.members.push({ id, account, max, draining: false, inFlight: 0, own: {} })
    const name = accountOf({ account, id })
    if (!model.accounts.has(name)) model.accounts.set(name, {})
    wake(Infinity)
  }

  const act = () => {
    const what = roll(100)
    const member = model.members.length > 0 ? pickOf(model.members) : undefined
    if (what < 38) return request()
    if (what < 72) {
      if (uses.size > 0) settle(pickOf([...uses.keys()]))
      return
    }
    if (what < 80) {
      // Interrupt a request: one that runs, or one that waits.
      const all = [...requests.values()]
      if (all.length === 0) return
      const { fiber, number } = pickOf(all)
      requests.delete(number)
      const waiting = queue.findIndex((waiter) => waiter.number === number)
      if (waiting >= 0) queue.splice(waiting, 1)
      const use = uses.get(number)
      if (use !== undefined) {
        uses.delete(number)
        leases.delete(number)
        model.close(use)
      }
      fiber.interruptUnsafe()
      if (use !== undefined) wake(8)
      return
    }
    if (what < 90) {
      clock.now += roll(60)
      model.now = clock.now
      return
    }
    if (what < 92) {
      const id = ["a", "b", "c", "d", "e", "f"].find((id) => !model.members.some((one) => one.id === id))
      return id === undefined ? undefined : add(id)
    }
    if (member === undefined) return
    if (what < 93) {
      engineDrain(member)
    } else if (what < 95) {
      run(pool.resume(member.id))
      if (member.draining) {
        member.draining = false
        wake(Infinity)
      }
    } else if (what < 96) {
      run(pool.remove(member.id))
      model.members.splice(model.members.indexOf(member), 1)
      if (!model.members.some((other) => accountOf(other) === accountOf(member)))
        model.accounts.delete(accountOf(member))
      wake(Infinity)
    } else if (what < 97) {
      const millis = 1 + roll(100)
      const reason = pickOf(reasons)
      run(pool.bench({ scope: "key", id: member.id, reason, for: millis }))
      model.set(member.own, reason, model.now + millis)
      wake(Infinity)
    } else if (what < 98) {
      member.max = pickOf([1, 2, 3, Infinity])
      run(pool.change(member.id, { maxInFlight: member.max }))
      wake(Infinity)
    } else {
      const had = run(pool.readmit("key", member.id))
      assert.strictEqual(had, member.own.bench !== undefined)
      delete member.own.bench
      if (had) wake(Infinity)
    }
  }
  const engineDrain = (member: Member) => {
    const fiber = Effect.runFork(Effect.provideService(pool.drain(member.id), Clock.Clock, clockOf(clock)))
    fiber.interruptUnsafe()
    if (member.draining) return
    member.draining = true
    wake(Infinity)
  }

  for (const id of ["a", "b", "c"]) add(id)
  run(pool.remove("seed"))
  for (let step = 0; step < steps; step++) {
    act()
    const { keys, waiting } = run(pool.snapshot)
    assert.strictEqual(waiting, queue.length, `step ${step}: waiting`)
    for (const [index, member] of model.members.entries()) {
      const seen = keys[index]!
      if (seen.id !== member.id || seen.inFlight !== member.inFlight) {
        assert.deepStrictEqual([seen.id, seen.inFlight], [member.id, member.inFlight], `step ${step}`)
      }
      const verdict = model.blocked(undefined) ? "returning" : model.verdict(member)
      const no = seen.ineligible
      const says =
        no === undefined || no.reason === "saturated" || no.reason === "probing"
          ? no?.reason
          : no.until === undefined
            ? "out"
            : "returning"
      if (says !== verdict)
        assert.strictEqual(says, verdict, `step ${step}: ${member.id} ${JSON.stringify(no)}`)
    }
  }
  // In the end everything comes back to nothing.
  for (const { fiber } of requests.values()) fiber.interruptUnsafe()
  const { keys, waiting } = run(pool.snapshot)
  assert.deepStrictEqual([keys.map((key) => key.inFlight), waiting], [keys.map(() => 0), 0])
  return served
}

const clockOf = (clock: { now: number }): Clock.Clock => ({
  currentTimeMillisUnsafe: () => clock.now,
  currentTimeMillis: Effect.sync(() => clock.now),
  currentTimeNanosUnsafe: () => BigInt(clock.now) * 1_000_000n,
  currentTimeNanos: Effect.sync(() => BigInt(clock.now) * 1_000_000n),
  monotonicTimeNanosUnsafe: () => BigInt(clock.now) * 1_000_000n,
  monotonicTimeNanos: Effect.sync(() => BigInt(clock.now) * 1_000_000n),
  sleep: () => Effect.never
})

const check = (seed: number, steps: number) => {
  const offered: { ids: ReadonlyArray<string> } = { ids: [] }
  const random = rngOf(seed + 1)
  const selector = Selector.make("model", (candidates: ReadonlyArray<Candidate.Candidate>) => {
    offered.ids = candidates.map(({ id }) => id)
    return candidates[Math.floor(random() * candidates.length)]!
  })
  return Effect.gen(function* () {
    const parts: Parts = { balancer: yield* Balancer.Balancer, pool: yield* KeyPool.KeyPool }
    try {
      return runProgram(parts, { now: 0 }, offered, seed, steps)
    } catch (error) {
      throw new Error(`The pool and its model disagree; run EVENKEEL_SEED=${seed} to see it again`, {
        cause: error
      })
    }
  }).pipe(
    Effect.provide(
      layerOf({ keys: [{ id: "seed", secret: secretOf("seed") }], selector, balancer: { maxWaiting } })
    )
  )
}

describe("The pool and its model", () => {
  const given = process.env["EVENKEEL_SEED"]
  const seeds = given === undefined ? Array.from({ length: 50 }, (_, n) => 1000 + n) : [Number(given)]
  it.effect(`agree after each of ${seeds.length * 2500} random steps`, () =>
    Effect.gen(function* () {
      let served = 0
      for (const seed of seeds) served += yield* check(seed, 2500)
      assert.isAbove(served, seeds.length * 300)
    })
  )
})
