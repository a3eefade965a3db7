/**
 * Random programs against a model that is written to be obvious: it keeps every failure in a list, and names the periods
 * of a circuit by objects instead of numbers.
 */
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Outcome } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Random } from "effect"
import { TestClock } from "effect/testing"
import { candidateOf, contextAt } from "./circuits.ts"

const window = 1000
const failuresToTrip = 3
const cooldown = (openings: number): number => Math.min(500 * 2 ** (openings - 1), 4000)

interface Period {
  readonly kind: "closed" | "open"
  readonly since: number
  until: number
  probe: Lease | undefined
  failures: Array<number>
}

interface Lease {
  readonly id: string
  readonly period: Period
  readonly admission: number
}

class Model {
  period: Period = { kind: "closed", since: -Infinity, until: 0, probe: undefined, failures: [] }
  openings = 0
  lastOpen = 0

  verdict(now: number): "yes" | "circuit-open" | "probing" {
    if (this.period.kind === "closed") return "yes"
    if (this.period.probe !== undefined) return "probing"
    return now < this.period.until ? "circuit-open" : "yes"
  }

  settle(lease: Lease, outcome: Outcome.Outcome, now: number): void {
    const { period } = this
    if (lease.period !== period) return
    const counts = outcome._tag === "Faulted" && outcome.scope === "key" && outcome.reason !== "exhausted"
    const told = outcome._tag === "Faulted" ? Duration.toMillis(outcome.retryAfter ?? 0) : 0
    if (period.kind === "open") {
      if (period.probe !== lease) return
      period.probe = undefined
      period.until = Math.min(period.until, now)
      if (outcome._tag === "Success") this.close(now)
      else if (counts) this.trip(told, now)
    } else if (counts) {
      period.failures = [...period.failures.filter((time) => time > now - window), now]
      if (period.failures.length < failuresToTrip) return
      if (now - period.since >= this.lastOpen) this.openings = 0
      this.trip(told, now)
    }
  }

  trip(told: number, now: number): void {
    this.openings++
    this.lastOpen = Math.max(cooldown(this.openings), Math.min(told, 3_600_000))
    this.open(this.lastOpen, now)
  }

  open(millis: number, now: number): void {
    this.period = { kind: "open", since: now, until: now + millis, probe: undefined, failures: [] }
  }

  close(now: number): void {
    this.period = { kind: "closed", since: now, until: 0, probe: undefined, failures: [] }
  }
}

const outcomes: ReadonlyArray<readonly [number, Outcome.Outcome]> = [
  [0.4, Outcome.success()],
  [0.5, Outcome.ignored()],
  [0.55, Outcome.faulted({ scope: "upstream", reason: "unavailable" })],
  [0.6, Outcome.faulted({ scope: "key", reason: "exhausted" })],
  [0.65, Outcome.faulted({ scope: "key", reason: "throttled", retryAfter: Duration.seconds(3) })],
  [0.66, Outcome.faulted({ scope: "key", reason: "throttled", retryAfter: Duration.hours(30) })],
  [1, Outcome.faulted({ scope: "key", reason: "unavailable" })]
]

describe("the breaker", () => {
  const ids = ["a", "b", "c"]

  it.effect("does as its model over 60,000 random steps", () =>
    Effect.gen(function* () {
      const random = yield* Random.Random
      const dice = () => random.nextDoubleUnsafe()
      const trip = CircuitBreaker.withinWindow({ failures: failuresToTrip, window })
      const circuits = CircuitBreaker.make({ trip, cooldown })
      const { breaker } = circuits
      const models = new Map(ids.map((id) => [id, new Model()]))
      let leases: Array<Lease> = []
      let now = 1000
      const seen = { probes: 0, late: 0, "circuit-open": 0, probing: 0, yes: 0 }

      for (let step = 0; step < 60_000; step++) {
        const id = ids[Math.floor(dice() * ids.length)]!
        const model = models.get(id)!
        const action = dice()
        if (action < 0.3) {
          now += Math.floor(dice() * (dice() < 0.01 ? 4_000_000 : 400))
        } else if (action < 0.65) {
          if (model.verdict(now) === "yes" && leases.length < 30) {
            const admission = breaker.admit(candidateOf(id), contextAt(now))
            const lease: Lease = { id, period: model.period, admission }
            assert.strictEqual(admission < 0, model.period.kind === "open", `step ${step}`)
            if (model.period.kind === "open") {
              model.period.probe = lease
              seen.probes++
            }
            leases.push(lease)
          }
        } else if (action < 0.98) {
          const [lease] = leases.splice(Math.floor(dice() * leases.length), 1)
          if (lease !== undefined) {
            const roll = dice()
            const outcome = outcomes.find(([share]) => roll < share)![1]
            const of = models.get(lease.id)!
            if (lease.period !== of.period) seen.late++
            breaker.record(candidateOf(lease.id), contextAt(now), lease.admission, outcome, now)
            of.settle(lease, outcome, now)
          }
        } else {
          yield* TestClock.setTime(now)
          if (action < 0.985) {
            yield* circuits.open(id, 700)
            model.open(700, now)
          } else if (action < 0.99) {
            yield* circuits.close(id)
            model.close(now)
          } else if (action < 0.995) {
            yield* circuits.reset(id)
            models.set(id, new Model())
          } else {
            breaker.forget(id)
            models.set(id, new Model())
            leases = leases.filter((lease) => lease.id !== id)
          }
        }
        for (const [key, { period, ...rest }] of models) {
          const expected = models.get(key)!.verdict(now)
          const no = breaker.filter(candidateOf(key), contextAt(now))
          seen[expected]++
          assert.strictEqual(no?.reason ?? "yes", expected, `${key} at step ${step} ${JSON.stringify(rest)}`)
          if (expected !== "yes") assert.strictEqual(no?.since, period.since)
          if (expected === "circuit-open") assert.strictEqual(no?.until, period.until)
        }
      }
      // Every kind of thing has happened often, or the comparison would say little.
      assert.isAbove(seen.probes, 300)
      assert.isAbove(seen.late, 300)
      assert.isAbove(Math.min(seen.yes, seen["circuit-open"], seen.probing), 5000)
    }).pipe(Random.withSeed("circuits"))
  )
})
