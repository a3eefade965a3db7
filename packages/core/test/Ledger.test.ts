import { assert, describe, it } from "@effect/vitest"
import { Outcome } from "@evenkeel/core"
import { Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Burn, tau } from "../src/internal/burn.ts"
import { Ledger } from "../src/internal/ledger.ts"
import { failureOf, keys, rngOf, stateOf, using } from "./utils.ts"

/** When a reading arrives; what counts is when it was asked for. */
const later = 1e6

const read = (remaining: number | undefined, requestedAt: number, lag?: number) => {
  const ledger = new Ledger()
  ledger.read({ remaining, requestedAt, lag }, later)
  return ledger
}

describe("Ledger", () => {
  it("knows no credit before a reading, whatever is spent", () => {
    const ledger = new Ledger()
    ledger.hold(1)
    ledger.settle(1, 2, 0)
    assert.strictEqual(ledger.credit, undefined)
    assert.strictEqual(ledger.readAt, undefined)
  })

  it("holds from the pick, and debits the cost instead of the hold when the use settles", () => {
    const ledger = read(10, 0)
    ledger.hold(3)
    assert.strictEqual(ledger.credit, 7)
    ledger.hold(2)
    assert.strictEqual(ledger.credit, 5)
    ledger.settle(3, 0.5, 100)
    assert.strictEqual(ledger.credit, 7.5)
    ledger.settle(2, 0, 100)
    assert.strictEqual(ledger.credit, 9.5)
  })

  it("a reading drops what settled before it was asked for, keeps what settled later, and keeps what is in flight", () => {
    const ledger = read(10, 0)
    ledger.hold(1)
    ledger.settle(0, 2, 1000)
    ledger.settle(0, 4, 9000)
    ledger.read({ remaining: 8, requestedAt: 5000 }, later)
    assert.strictEqual(ledger.credit, 8 - 4 - 1)
    ledger.read({ remaining: 4, requestedAt: 20_000 }, later)
    assert.strictEqual(ledger.credit, 4 - 1)
  })

  it("a use that settles while the reading is under way is counted at least once, whichever way the race goes", () => {
    // Asked for at 5,000; settled at 5,000, 5,001 and, the reading being slow, before it arrives.
    for (const at of [5000, 5001, 5900]) {
      const ledger = read(10, 0)
      ledger.settle(0, 1, at)
      ledger.read({ remaining: 10, requestedAt: 5000 }, later)
      assert.strictEqual(ledger.credit, 9, String(at))
    }
  })

  it("the lag of the source keeps debits that much longer", () => {
    const ledger = read(10, 0)
    ledger.settle(0, 1, 1000)
    ledger.settle(0, 2, 50_000)
    ledger.read({ remaining: 10, requestedAt: 60_000, lag: 30_000 }, later)
    assert.strictEqual(ledger.credit, 8)
    ledger.read({ remaining: 8, requestedAt: 81_001, lag: 30_000 }, later)
    assert.strictEqual(ledger.credit, 8)
  })

  it("an older reading that arrives late changes nothing, and one of the same time does", () => {
    const ledger = read(10, 5000)
    ledger.read({ remaining: 99, requestedAt: 4999, resetsAt: 1 }, later)
    assert.deepStrictEqual([ledger.credit, ledger.readAt, ledger.resetsAt], [10, 5000, undefined])
    ledger.read({ remaining: 7, requestedAt: 5000 }, later)
    assert.strictEqual(ledger.credit, 7)
  })

  it("a reading that does not say when it was asked for counts as asked for now", () => {
    const ledger = read(10, 0)
    ledger.settle(0, 1, 1000)
    ledger.settle(0, 2, 9000)
    ledger.read({ remaining: 7 }, 5000)
    assert.deepStrictEqual([ledger.credit, ledger.readAt], [5, 5000])
  })

  it("no cap is no number", () => {
    const ledger = read(undefined, 0)
    ledger.hold(5)
    assert.strictEqual(ledger.credit, undefined)
    ledger.read({ remaining: 3, requestedAt: 1 }, later)
    assert.strictEqual(ledger.credit, -2)
  })

  it("forgetting a reading forgets neither debits nor holds", () => {
    const ledger = read(10, 0)
    ledger.hold(1)
    ledger.settle(0, 2, 5000)
    ledger.forget()
    assert.strictEqual(ledger.credit, undefined)
    ledger.read({ remaining: 10, requestedAt: 1000 }, later)
    assert.strictEqual(ledger.credit, 7)
  })

  it("a reading is outdated when it is too old, or when the cap has been filled up since", () => {
    const ledger = new Ledger()
    assert.isFalse(ledger.outdated(1e12, 1))
    ledger.read({ remaining: 0, requestedAt: 1000, resetsAt: 5000 }, later)
    assert.deepStrictEqual(
      [4999, 5000].map((now) => ledger.outdated(now, 1e6)),
      [false, true]
    )
    ledger.read({ remaining: 0, requestedAt: 6000, resetsAt: 5000 }, later)
    assert.deepStrictEqual(
      [6000, 6500, 6501].map((now) => ledger.outdated(now, 500)),
      [false, false, true]
    )
  })

  it("sums of odd amounts come back to nothing held", () => {
    const ledger = read(1, 0)
    for (let n = 0; n < 10; n++) ledger.hold(0.1)
    for (let n = 0; n < 10; n++) ledger.settle(0.1, 0, 0)
    assert.strictEqual(ledger.credit, 1)
  })

  it("what is no amount is none, and the sums stay numbers", () => {
    const ledger = read(10, 0)
    for (const odd of [NaN, Infinity, -Infinity, -3]) {
      ledger.hold(odd)
      assert.strictEqual(ledger.credit, 10)
      ledger.settle(odd, odd, 0)
      assert.strictEqual(ledger.credit, 10)
    }
  })

  it("keeps a bounded number of debits, and forgets none of them before its time", () => {
    const ledger = read(1e6, 0)
    for (let n = 1; n <= 5000; n++) ledger.settle(0, 1, n * 1000)
    assert.isAtMost((ledger as unknown as { readonly debits: ReadonlyArray<unknown> }).debits.length, 512)
    assert.strictEqual(ledger.credit, 1e6 - 5000)
    ledger.read({ remaining: 1e6 - 4000, requestedAt: 4_001_001 }, later)
    assert.isAtMost(ledger.credit!, 1e6 - 5000)
  })

  it("against a list of all debits, random histories never show more credit than is left, and less only within a second", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = rngOf(seed)
      const ledger = new Ledger()
      const spent: Array<{ at: number; usd: number }> = []
      let now = 0
      let reading = { remaining: 1000, at: 0 }
      ledger.read({ remaining: 1000, requestedAt: 0 }, now)
      for (let step = 0; step < 200; step++) {
        now += Math.floor(random() * 700)
        if (random() < 0.8) {
          const usd = Math.ceil(random() * 8) / 8
          spent.push({ at: now, usd })
          ledger.settle(0, usd, now)
        } else {
          const at = now - Math.floor(random() * 300)
          if (at >= reading.at) reading = { remaining: 1000 - sum(spent, (debit) => debit.at < at), at }
          ledger.read({ remaining: 1000 - sum(spent, (debit) => debit.at < at), requestedAt: at }, now)
        }
        const least = reading.remaining - sum(spent, (debit) => debit.at > reading.at - 2000)
        const most = reading.remaining - sum(spent, (debit) => debit.at >= reading.at)
        assert.isAtMost(ledger.credit!, most, `seed ${seed}, step ${step}`)
        assert.isAtLeast(ledger.credit!, least, `seed ${seed}, step ${step}`)
      }
    }
  })

  it("against a source that lags and is slow, nothing is missed, and counted twice only what is younger than its lag", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = rngOf(seed)
      const upTo = (most: number) => Math.floor(random() * most)
      const lag = [0, 500, 60_000][seed % 3]!
      const ledger = new Ledger()
      ledger.read({ remaining: 1000, requestedAt: 0, lag }, 0)
      let now = 0
      // Every request is in one list, with the time at which the source charged it and at which it settled here.
      const requests: Array<{ hold: number; cost: number; charged: number; settled: number | undefined }> = []
      const readings: Array<{ requestedAt: number; seen: number; arrives: number }> = []
      let last = { requestedAt: 0, seen: 0 }
      for (let step = 0; step < 300; step++) {
        now += upTo(800)
        const open = requests.filter((request) => request.settled === undefined)
        const action = random()
        if (action < 0.4) {
          const cost = Math.ceil(random() * 8) / 8
          const hold = upTo(3) / 2
          requests.push({ hold, cost, charged: Infinity, settled: undefined })
          ledger.hold(hold)
        } else if (action < 0.75 && open.length > 0) {
          const request = open[upTo(open.length)]!
          request.charged = Math.min(request.charged, now)
          request.settled = now
          ledger.settle(request.hold, request.cost, now)
        } else if (action < 0.85 && open.length > 0) {
          // The answer is on its way: the source has charged it, and here nobody knows.
          const request = open[upTo(open.length)]!
          request.charged = Math.min(request.charged, now)
        } else readings.push({ requestedAt: now, seen: 0, arrives: now + upTo(3000) })
        for (const reading of readings.splice(0)) {
          if (reading.arrives > now) {
            readings.push(reading)
            continue
          }
          // What it shows is of any time from the lag before it was asked for to now.
          reading.seen = reading.requestedAt - lag + upTo(now - reading.requestedAt + lag + 1)
          const shown = requests.filter((request) => request.charged <= reading.seen)
          const remaining = 1000 - total(shown, ({ cost }) => cost)
          ledger.read({ remaining, requestedAt: reading.requestedAt, lag }, now)
          if (reading.requestedAt >= last.requestedAt) last = reading
        }
        const settled = requests.filter((request) => request.settled !== undefined)
        const held = total(requests, ({ hold, settled }) => (settled === undefined ? hold : 0))
        const most = 1000 - total(settled, ({ cost }) => cost) - held
        assert.isAtMost(ledger.credit!, most, `missed: seed ${seed}, step ${step}`)
        // A second more than the lag: debits are kept by the second.
        const young = last.requestedAt - lag - 1000
        const twice = requests.filter(
          ({ charged, settled }) => charged <= last.seen && (settled === undefined || settled > young)
        )
        const least = most - total(twice, ({ cost }) => cost)
        assert.isAtLeast(ledger.credit!, least, `counted twice: seed ${seed}, step ${step}`)
      }
    }
  })

  it("is stale while a reading is missing, and takes up again with the next", () => {
    const ledger = new Ledger()
    ledger.miss()
    // There is nothing that could be stale.
    assert.isFalse(ledger.stale(0))
    ledger.read({ remaining: 10, requestedAt: 0, freshFor: 120 }, 0)
    assert.deepStrictEqual(
      [0, 120, 121].map((now) => ledger.stale(now)),
      [false, false, true]
    )
    ledger.miss()
    assert.isTrue(ledger.stale(1))
    assert.strictEqual(ledger.credit, 10)
    ledger.read({ remaining: 9, requestedAt: 200 }, 200)
    assert.isFalse(ledger.stale(1e9))
  })

  it("a late reading is refused as a whole", () => {
    const ledger = read(10, 5000)
    ledger.miss()
    assert.isFalse(ledger.read({ remaining: 1, requestedAt: 4000, limit: 5 }, 6000))
    assert.deepStrictEqual([ledger.limit, ledger.stale(6000)], [undefined, true])
    assert.isTrue(ledger.read({ remaining: 1, requestedAt: 5000, limit: 5 }, 6000))
    assert.deepStrictEqual([ledger.limit, ledger.stale(6000)], [5, false])
  })
})

describe("a pool's readings", () => {
  it.effect("tell in the snapshot how old they are, of which cap, and how fast it goes", () =>
    using({ keys: keys("a") }, function* ({ balancer, pool }) {
      const state = Effect.map(
        stateOf(pool, "a"),
        (key) => [key.credit, key.creditLimit, key.creditResetsAt, key.creditStale] as const
      )
      assert.deepStrictEqual(yield* state, [undefined, undefined, undefined, false])
      yield* pool.credit("a", { remaining: 5, requestedAt: 0, limit: 20, resetsAt: 9000, freshFor: 100 })
      assert.deepStrictEqual(yield* state, [5, 20, 9000, false])
      yield* TestClock.adjust(101)
      assert.deepStrictEqual(yield* state, [5, 20, 9000, true])
      yield* pool.credit("a", { remaining: 4 })
      yield* pool.creditFailed("a")
      assert.deepStrictEqual(yield* state, [4, undefined, undefined, true])
      assert.strictEqual((yield* stateOf(pool, "a")).burnRate, 0)
      yield* balancer.use(() => Effect.void, { outcome: () => Outcome.success(1) })
      // A dollar at once is taken for that of a minute.
      assert.closeTo((yield* stateOf(pool, "a")).burnRate, 60, 4)
      assert.strictEqual((yield* failureOf(pool.creditFailed("x")))._tag, "UnknownKey")
    })
  )

  it.effect("that cannot be are refused", () =>
    using({ keys: keys("a") }, function* ({ pool }) {
      for (const [field, value] of [
        ["limit", NaN],
        ["limit", Infinity],
        ["freshFor", -1],
        ["freshFor", NaN]
      ] as const) {
        const error = yield* failureOf(pool.credit("a", { remaining: 1, [field]: value }))
        assert.strictEqual(error._tag, "InvalidReading")
        assert.include(error.message, field)
      }
    })
  )

  it.effect("of a source that lags end an exhaustion only when they can have seen it", () =>
    using({ keys: keys("a") }, function* ({ pool }) {
      const reason = Effect.map(stateOf(pool, "a"), (key) => key.ineligible?.reason)
      yield* TestClock.adjust(1000)
      yield* pool.bench({ scope: "key", id: "a", reason: "exhausted", for: "1 day" })
      yield* TestClock.adjust(5000)
      for (const [requestedAt, expected] of [
        [1000, "exhausted"],
        [5999, "exhausted"],
        [6000, "exhausted"],
        [6001, undefined]
      ] as const) {
        yield* pool.credit("a", { remaining: 1, requestedAt, lag: 5000 })
        assert.strictEqual(yield* reason, expected, String(requestedAt))
      }
    })
  )

  it.effect("end a refusal only where the key itself was accepted, and later", () =>
    using({ keys: keys("a") }, function* ({ pool }) {
      const reason = Effect.map(stateOf(pool, "a"), (key) => key.ineligible?.reason)
      yield* TestClock.adjust(1000)
      yield* pool.bench({ scope: "key", id: "a", reason: "rejected" })
      yield* pool.credit("a", { remaining: 1, requestedAt: 1000, accepted: true })
      yield* pool.credit("a", { remaining: 1, requestedAt: 1001 })
      yield* pool.credit("a", { remaining: 1, requestedAt: 1001, accepted: false })
      assert.strictEqual(yield* reason, "rejected")
      yield* pool.credit("a", { remaining: 0, requestedAt: 1001, accepted: true })
      assert.strictEqual(yield* reason, "exhausted")
    })
  )

  it.effect("a bench without a time lasts for its cooldown, and longer when it returns", () =>
    using({ keys: keys("a") }, function* ({ pool }) {
      const until = Effect.map(stateOf(pool, "a"), (key) => key.ineligible?.until)
      const bench = (reason: Outcome.FaultReason) => pool.bench({ scope: "key", id: "a", reason })
      yield* bench("unavailable")
      assert.isUndefined(yield* until)
      for (const [at, minutes] of [
        [0, 1],
        [30_000, 2],
        [60_000, 4]
      ] as const) {
        yield* bench("rejected")
        assert.strictEqual(yield* until, at + minutes * 60_000)
        // Told again in a moment it is the same fault.
        yield* bench("rejected")
        assert.strictEqual(yield* until, at + minutes * 60_000)
        yield* TestClock.adjust("30 seconds")
      }
      yield* pool.readmit("key", "a")
      yield* bench("rejected")
      assert.strictEqual(yield* until, 90_000 + 60_000)
      yield* bench("exhausted")
      assert.strictEqual(yield* until, 90_000 + 300_000)
    })
  )
})

describe("Burn", () => {
  const hour = 3_600_000
  const Amounts = Schema.Array(
    Schema.Struct({
      usd: Schema.Finite.check(Schema.isBetween({ minimum: 0.001, maximum: 100 })),
      after: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 600_000 }))
    })
  )
  const burnOf = (amounts: typeof Amounts.Type) => {
    const burn = new Burn()
    let now = 1e12
    for (const { after, usd } of amounts) burn.add(usd, (now += after))
    return { burn, now }
  }

  it("is nothing before the first amount", () => {
    assert.strictEqual(new Burn().rate(1e12), 0)
  })

  for (const perMinute of [1, 60, 600]) {
    it(`of steady spending in ${perMinute} amounts a minute is its rate, from the first minutes on`, () => {
      const burn = new Burn()
      const every = 60_000 / perMinute
      for (let n = 0, now = 1e12; n < 90 * perMinute; n++, now += every) {
        burn.add(0.6 / perMinute, now)
        // 36 USD an hour; the newest amount stands for the whole time since the last one.
        if (n >= 5 * perMinute) assert.closeTo(burn.rate(now), 36, 36 * (0.02 + 0.25 / perMinute))
      }
    })
  }

  it.prop("equals the sum over all amounts, each with its own weight", [Amounts], ([amounts]) => {
    const { burn, now } = burnOf(amounts)
    if (amounts.length === 0) return
    let at = 1e12
    let sum = 0
    for (const { after, usd } of amounts) sum += usd * Math.exp(-(now - (at += after)) / tau)
    const watched = Math.max(60_000, now - 1e12 - amounts[0]!.after)
    const rate = (sum / (tau * (1 - Math.exp(-watched / tau)))) * hour
    assert.closeTo(burn.rate(now), rate, rate * 1e-9)
  })

  it.prop("is never below 0, and falls while nothing is spent", [Amounts], ([amounts]) => {
    const { burn, now } = burnOf(amounts)
    let last = Infinity
    for (const later of [0, 60_000, 600_000, hour, 24 * hour]) {
      const rate = burn.rate(now + later)
      assert.isAtLeast(rate, 0)
      assert.isAtMost(rate, last)
      last = rate
    }
    assert.closeTo(last, 0, 1e-9)
  })

  it.prop("is not upset by a clock that is set back", [Amounts], ([amounts]) => {
    const { burn, now } = burnOf(amounts)
    burn.add(1, now - hour)
    assert.isTrue(Number.isFinite(burn.rate(now - 2 * hour)))
  })
})

const total = <A>(items: ReadonlyArray<A>, amount: (item: A) => number) =>
  items.reduce((sum, item) => sum + amount(item), 0)

const sum = (
  debits: ReadonlyArray<{ at: number; usd: number }>,
  which: (debit: { at: number; usd: number }) => boolean
) => debits.filter(which).reduce((total, debit) => total + debit.usd, 0)
