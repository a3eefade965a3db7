import { assert, describe, it } from "@effect/vitest"
import { bar, plain, sparkline, table } from "../../src/internal/table.ts"
import { duration, instant, until, usd } from "../../src/internal/format.ts"
import { Rate, textOf } from "../../src/internal/batch/progress.ts"

describe("amounts and times", () => {
  it("are told by what is great about them", () => {
    assert.deepStrictEqual([0, 0.0000123, 0.0042, 1.5, -20].map(usd), [
      "$0.00",
      "$0.000012",
      "$0.0042",
      "$1.50",
      "$-20.00"
    ])
    assert.deepStrictEqual([0, 999, 61_000, 3_600_000, 90_000_000, 86_400_000 * 3 + 1000].map(duration), [
      "0s",
      "1s",
      "1m 1s",
      "1h",
      "1d 1h",
      "3d"
    ])
    assert.deepStrictEqual([until(5, 10), until(70_000, 10_000)], ["now", "in 1m"])
    assert.deepStrictEqual(
      [instant(undefined), instant(Infinity), instant(0)],
      [undefined, undefined, "1970-01-01T00:00:00.000Z"]
    )
  })
})

describe("a table", () => {
  it("is as wide as it must be, and takes no orders from what stands in it", () => {
    const columns = [{ title: "key" }, { title: "left", align: "right" }] as const
    assert.strictEqual(
      table(
        columns,
        [
          ["a", "1"],
          ["ファ", "22"]
        ],
        plain
      ),
      ["key   left", "a        1", "ファ    22"].join("\n")
    )
    // Neither the title of the window nor a line of its own.
    const [, row, ...more] = table(columns, [["\x1b]0;x\x07\n\x1b[2J", "1"]], plain).split("\n")
    assert.notMatch(row!, /\p{Cc}/u)
    assert.deepStrictEqual(more, [])
  })

  it("draws parts and shares", () => {
    assert.strictEqual(bar(0.5, 4), "██░░")
    assert.strictEqual(bar(7, 2), "██")
    assert.strictEqual(sparkline([0, 1, 4]), "▁▃█")
    assert.strictEqual(sparkline([0, 0]), "▁▁")
  })
})

describe("progress", () => {
  const tally = { total: 100, succeeded: 20, failed: 5, inFlight: 4, cost: 0.5 }

  it("tells counts, rate, cost and time left, as far as they are known", () => {
    assert.strictEqual(textOf(tally, 2.5, 1), "25/100  5 failed  2.5/s  $0.5000 of $1.00  30s left")
    assert.strictEqual(textOf({ ...tally, total: undefined, failed: 0 }, undefined, undefined), "20  $0.5000")
  })

  it("goes by the rate of late", () => {
    const rate = new Rate(0, 10)
    assert.isUndefined(rate.at(0, 10))
    assert.strictEqual(rate.at(1000, 20), 10)
    for (let at = 2000; at <= 60_000; at += 1000) rate.at(at, 20 + at / 1000)
    // Ten a second once, one a second since.
    assert.closeTo(rate.at(61_000, 81)!, 1, 0.01)
  })
})
