import { assert, describe, it } from "@effect/vitest"
import { Ledger } from "../src/internal/ledger.ts"
import { rngOf } from "./utils.ts"

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
})

const sum = (
  debits: ReadonlyArray<{ at: number; usd: number }>,
  which: (debit: { at: number; usd: number }) => boolean
) => debits.filter(which).reduce((total, debit) => total + debit.usd, 0)
