/**
 * Random programs against a model of the pool: requests of several priorities, upstreams and patience, with deadlines,
 * that end in all ways or are interrupted; keys that come, go, drain, change and are benched; and time that goes by.
 *
 * A failure prints its seed; `EVENKEEL_SEED=<seed>` runs it again.
 */
import {
  Balancer,
  type Breaker,
  Breaker as Breakers,
  Errors,
  KeyPool,
  Outcome,
  Selector
} from "@evenkeel/core"
import type { Candidate, Lease } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, type Fiber } from "effect"
import { Model, type Domain, type Use, type Waiter } from "./model.ts"
import { VirtualClock } from "./VirtualClock.ts"
import { layerOf, patient, rngOf, secretOf, type Parts } from "./utils.ts"

/** Fewer than are asked in vain before a lane is left in peace, so that the model may ask all. */
const maxWaiting = 7
/**
 * Time goes on by this many milliseconds or a multiple; deadlines and waits end off this grid, each at a time of its own,
 * so that no two timers ring at once.
 */
const unit = 8192
const patience = 4 * unit
const slowStart = 6 * unit
const upstreams = ["x", "y", undefined] as const
const reasons = ["throttled", "exhausted", "rejected", "unavailable"] as const

interface Request {
  readonly waiter: Waiter
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

interface Tally {
  served: number
  waited: number
  refused: number
  late: number
  displaced: number
  suspects: number
}

class Program {
  readonly tally: Tally = { served: 0, waited: 0, refused: 0, late: 0, displaced: 0, suspects: 0 }
  private readonly model = new Model(slowStart)
  private readonly parts: Parts
  private readonly clock: VirtualClock
  private readonly offered: { ids: ReadonlyArray<string> }
  private readonly random: () => number
  private readonly requests = new Map<number, Request>()
  private readonly leases = new Map<
    number,
    { readonly lease: Lease.Lease; readonly end: (exit: Exit.Exit<string, unknown>) => void }
  >()
  private count = 0

  constructor(parts: Parts, clock: VirtualClock, offered: { ids: ReadonlyArray<string> }, seed: number) {
    this.parts = parts
    this.clock = clock
    this.offered = offered
    this.random = rngOf(seed)
    for (const id of ["a", "b", "c"]) this.add(id)
    this.run(parts.pool.remove("seed"))
  }

  private roll(n: number): number {
    return Math.floor(this.random() * n)
  }

  private pickOf<A>(items: ReadonlyArray<A>): A {
    return items[this.roll(items.length)]!
  }

  private on<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.provideService(effect, Clock.Clock, this.clock)
  }

  private run<A, E>(effect: Effect.Effect<A, E>): A {
    return Effect.runSync(this.on(effect))
  }

  // --- requests -------------------------------------------------------------

  private request(): void {
    const { model, tally } = this
    const number = this.count++
    const upstream = this.pickOf(upstreams)
    const priority = this.pickOf([0, 0, 0, 1, 2])
    const own = number % 4000
    const maxWait = this.pickOf([undefined, undefined, 0, this.roll(8) * unit + 4096 + own])
    const timeout = this.pickOf([undefined, undefined, this.roll(16) * unit + 1 + own])
    const deadline = model.now + (timeout ?? Infinity)
    const giveUpAt = Math.min(model.now + (maxWait ?? Infinity), deadline)
    const latest = Math.min(model.now + (maxWait ?? patience), giveUpAt)
    const waiter: Waiter = { number, upstream, priority, deadline, giveUpAt, latest }
    const expected = model.eligible(upstream).map(({ id }) => id)
    const program = this.parts.balancer.use(
      (lease) =>
        Effect.callback<string, unknown>((resume) => {
          this.leases.set(number, { lease, end: resume })
        }),
      { upstream, priority, maxWait, timeout }
    )
    this.offered.ids = []
    const fiber = Effect.runFork(this.on(program))
    this.requests.set(number, { waiter, fiber })
    if (expected.length > 0) {
      assert.deepStrictEqual(this.offered.ids, expected)
      return this.begin(waiter)
    }
    if (giveUpAt <= model.now || !model.worthWaiting(upstream, latest)) return this.refused(waiter)
    if (model.queue.length >= maxWaiting) {
      const least = model.queue.filter((one) => one.priority < priority)
      const lowest = Math.min(...least.map((one) => one.priority))
      const last = least.findLast((one) => one.priority === lowest)
      if (last === undefined) return this.refused(waiter)
      tally.displaced++
      model.leave(last)
      this.refused(last)
    }
    tally.waited++
    model.queue.push(waiter)
    assert.strictEqual(fiber.pollUnsafe(), undefined, "waits")
  }

  private begin({ deadline, number, upstream }: Waiter): void {
    const { model, tally } = this
    const lease = this.leases.get(number)?.lease
    assert.isDefined(lease, `${number} is served`)
    const member = model.members.find(({ id }) => id === lease!.key.id)!
    assert.include(model.eligible(upstream), member, `${member.id} can serve ${number}`)
    assert.strictEqual(lease!.context.nowMillis, model.now, `${number} is served in time`)
    if (model.suspects.has(member.id)) tally.suspects++
    model.open(number, member, upstream, deadline)
    tally.served++
  }

  /** The request has failed so. */
  private failed(
    { number }: Waiter,
    type: typeof Errors.NoEligibleKey | typeof Errors.DeadlineExceeded
  ): void {
    const exit = this.requests.get(number)!.fiber.pollUnsafe()
    const error = exit !== undefined && Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
    assert.isTrue(error?._tag === "Fail" && error.error instanceof type, `${number} fails with ${type.name}`)
    this.requests.delete(number)
  }

  private refused(waiter: Waiter): void {
    this.failed(waiter, Errors.NoEligibleKey)
    this.tally.refused++
  }

  private late(waiter: Waiter): void {
    this.failed(waiter, Errors.DeadlineExceeded)
    this.tally.late++
  }

  private wake(): void {
    const { model } = this
    for (const waiter of model.inTurn()) {
      const served = model.eligible(waiter.upstream).length > 0
      if (!served && model.worthWaiting(waiter.upstream, waiter.latest)) continue
      model.leave(waiter)
      if (served) this.begin(waiter)
      else this.refused(waiter)
    }
  }

  private settle(use: Use): void {
    const { model } = this
    const { member, number } = use
    const { end } = this.leases.get(number)!
    const { upstream } = this.requests.get(number)!.waiter
    this.leases.delete(number)
    this.requests.delete(number)
    const what = this.roll(10)
    model.close(use, what < 5)
    if (what < 5) {
      if (model.isMember(member)) model.suspects.delete(member.id)
      model.lift(use, upstream)
      end(Exit.succeed("ok"))
    } else if (what < 7) end(this.pickOf([Exit.fail("no"), Exit.die("bug")]))
    else {
      const scope = this.pickOf(["key", "key", "account", "account", "upstream", "host"] as const)
      const reason = this.pickOf(reasons)
      const millis = (1 + this.roll(scope === "host" ? 2 : 10)) * unit
      const domain: Domain | undefined = {
        key: model.isMember(member) ? member.own : undefined,
        account: member.account,
        upstream: upstream === undefined ? undefined : model.domainOf(model.upstreams, upstream),
        host: model.host
      }[scope]
      if (domain !== undefined) model.bench(domain, reason, millis)
      // So does the breaker below.
      if (scope === "key" && model.isMember(member)) model.suspects.add(member.id)
      const retryAfter = Duration.millis(millis)
      end(Exit.fail(new Errors.Fault({ outcome: Outcome.faulted({ scope, reason, retryAfter }) })))
    }
    this.wake()
  }

  private interrupt(): void {
    const { model } = this
    const all = [...this.requests.values()]
    if (all.length === 0) return
    const { fiber, waiter } = this.pickOf(all)
    this.requests.delete(waiter.number)
    if (model.queue.includes(waiter)) model.leave(waiter)
    const use = model.uses.get(waiter.number)
    fiber.interruptUnsafe()
    this.end(use)
  }

  /** A use has ended that taught nothing. */
  private end(use: Use | undefined): void {
    if (use === undefined) return
    this.leases.delete(use.number)
    this.model.close(use, false)
    this.wake()
  }

  // --- time -----------------------------------------------------------------

  private pass(millis: number): void {
    const { model } = this
    const to = model.now + millis
    this.clock.advance(to)
    for (let at = model.next(); at <= to; at = model.next()) {
      model.now = at
      const gone = model.queue.find(({ giveUpAt }) => giveUpAt === at)
      const cut = [...model.uses.values()].find(({ deadline }) => deadline === at)
      if (gone !== undefined) {
        model.leave(gone)
        if (at === gone.deadline) this.late(gone)
        else this.refused(gone)
      } else if (cut !== undefined) {
        this.late(this.requests.get(cut.number)!.waiter)
        this.end(cut)
      } else this.wake()
    }
    model.now = to
  }

  // --- keys -----------------------------------------------------------------

  private add(id: string): void {
    const { model } = this
    const account = this.pickOf(["A", "A", "B", undefined])
    const max = this.pickOf([1, 2, 3, Infinity])
    this.run(this.parts.pool.add({ id, secret: secretOf(id), account, maxInFlight: max } as never))
    // A key whose account is not known is an account of its own.
    const accountId = account ?? `key:${id}`
    const domain = model.domainOf(model.accounts, accountId)
    model.members.push({ id, accountId, account: domain, own: {}, max, draining: false, inFlight: 0 })
    this.wake()
  }

  private manage(): void {
    const { model, parts } = this
    const { pool } = parts
    const what = this.roll(12)
    if (what < 3) {
      const id = ["a", "b", "c", "d", "e", "f"].find((id) => !model.members.some((one) => one.id === id))
      return id === undefined ? undefined : this.add(id)
    }
    if (model.members.length === 0) return
    const member = this.pickOf(model.members)
    const { accountId, id } = member
    const reason = this.pickOf(reasons)
    const millis = (1 + this.roll(10)) * unit
    if (what === 3) {
      Effect.runFork(this.on(pool.drain(id))).interruptUnsafe()
      member.draining = true
    } else if (what < 6) {
      this.run(pool.resume(id))
      member.draining = false
    } else if (what === 6) {
      this.run(pool.remove(id))
      model.remove(member)
    } else if (what === 7) {
      this.run(pool.bench({ scope: "key", id, reason, for: millis }))
      model.bench(member.own, reason, millis)
    } else if (what === 8) {
      this.run(pool.bench({ scope: "account", id: accountId, reason, for: millis }))
      model.bench(member.account, reason, millis)
    } else if (what === 9) {
      member.max = this.pickOf([1, 2, 3, Infinity])
      this.run(pool.change(id, { maxInFlight: member.max }))
    } else {
      const [scope, name, domain] =
        what === 10 ? (["key", id, member.own] as const) : (["account", accountId, member.account] as const)
      assert.strictEqual(this.run(pool.readmit(scope, name)), model.readmit(domain))
    }
    this.wake()
  }

  // --- the program ----------------------------------------------------------

  step(): void {
    const what = this.roll(100)
    if (what < 40) this.request()
    else if (what < 68) {
      if (this.model.uses.size > 0) this.settle(this.pickOf([...this.model.uses.values()]))
    } else if (what < 75) this.interrupt()
    else if (what < 91) this.pass(this.roll(4) * unit)
    else this.manage()
  }

  /** The pool is as the model says, and nobody waits who could be served. */
  check(): void {
    const { model, parts } = this
    const { keys, waiting } = this.run(parts.pool.snapshot)
    assert.strictEqual(waiting, model.queue.length, "waiting")
    assert.strictEqual(this.leases.size, model.uses.size, "in use")
    assert.strictEqual(this.requests.size, model.uses.size + model.queue.length, "under way")
    assert.strictEqual(keys.length, model.members.length)
    for (const [index, member] of model.members.entries()) {
      const { id, ineligible, inFlight } = keys[index]!
      if (id !== member.id || inFlight !== member.inFlight)
        assert.deepStrictEqual([id, inFlight], [member.id, member.inFlight])
      const fact = model.blocked(undefined) ?? model.fact(member)
      const says = ineligible === undefined || names.has(ineligible.reason) ? ineligible?.reason : "returning"
      if (says !== fact?.verdict || (ineligible?.until ?? Infinity) !== (fact?.until ?? Infinity))
        assert.deepStrictEqual([says, ineligible?.until], [fact?.verdict, fact?.until], id)
    }
    for (const upstream of new Set(model.queue.map((one) => one.upstream))) {
      const told = this.run(parts.balancer.explain({ upstream }))
      if (told.keys.some((one) => one.eligible)) assert.deepStrictEqual(told.keys, [], "nobody waits in vain")
    }
  }

  /** In the end everything comes back to nothing. */
  finish(): void {
    for (const { fiber } of this.requests.values()) fiber.interruptUnsafe()
    const { keys, waiting } = this.run(this.parts.pool.snapshot)
    assert.deepStrictEqual([keys.map((key) => key.inFlight), waiting], [keys.map(() => 0), 0])
    // The alarm may be set; all other timers belong to requests.
    assert.isAtMost(this.clock.sleepers, 1)
  }
}

const names: ReadonlySet<string> = new Set(["draining", "probing", "warming", "saturated"])

/** Suspects a key from its own fault to its next success. */
const suspicious = (): Breaker.Breaker => {
  const suspects = new Set<string>()
  return {
    ...Breakers.closed,
    name: "suspicious",
    filter: ({ id }) =>
      suspects.has(id)
        ? { reason: "suspect", scope: "key", since: undefined, until: undefined, soft: true }
        : undefined,
    record: ({ id }, _, __, outcome) => {
      if (outcome._tag === "Success") suspects.delete(id)
      else if (outcome._tag === "Faulted" && outcome.scope === "key") suspects.add(id)
    },
    forget: (id) => void suspects.delete(id)
  }
}

const check = (seed: number, steps: number) => {
  const clock = new VirtualClock()
  const offered: { ids: ReadonlyArray<string> } = { ids: [] }
  const random = rngOf(seed + 1)
  const selector = Selector.make("model", (candidates: ReadonlyArray<Candidate.Candidate>) => {
    offered.ids = candidates.map(({ id }) => id)
    return candidates[Math.floor(random() * candidates.length)]!
  })
  return Effect.gen(function* () {
    const parts: Parts = { balancer: yield* Balancer.Balancer, pool: yield* KeyPool.KeyPool }
    let step = 0
    try {
      const program = new Program(parts, clock, offered, seed)
      for (; step < steps; step++) {
        program.step()
        program.check()
      }
      program.finish()
      return program.tally
    } catch (error) {
      const where = `The pool and its model disagree at step ${step}`
      throw new Error(`${where}; run EVENKEEL_SEED=${seed} to see it again`, { cause: error })
    }
  }).pipe(
    Effect.provide(
      layerOf({
        keys: [{ id: "seed", secret: secretOf("seed") }],
        selector,
        retry: patient(patience),
        breaker: suspicious(),
        balancer: { maxWaiting },
        pool: { slowStart }
      })
    ),
    Effect.provideService(Clock.Clock, clock)
  )
}

describe("The pool and its model", () => {
  const given = process.env["EVENKEEL_SEED"]
  const seeds = given === undefined ? Array.from({ length: 60 }, (_, n) => 1000 + n) : [Number(given)]
  it.effect(
    `agree after each of ${seeds.length * 2000} random steps`,
    () =>
      Effect.gen(function* () {
        const total: Tally = { served: 0, waited: 0, refused: 0, late: 0, displaced: 0, suspects: 0 }
        for (const seed of seeds) {
          const tally = yield* check(seed, 2000)
          for (const name of Object.keys(total) as ReadonlyArray<keyof Tally>) total[name] += tally[name]
        }
        // Each of them happens often enough to be tested.
        if (given === undefined)
          for (const count of Object.values(total)) assert.isAbove(count, 100, JSON.stringify(total))
      }),
    120_000
  )
})
