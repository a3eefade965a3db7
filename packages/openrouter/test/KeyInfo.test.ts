import { KeyInfo } from "@evenkeel/openrouter"
import { assert, describe, it } from "@effect/vitest"

/** A Wednesday, six hours old. */
const now = Date.UTC(2026, 10, 25, 6)
const hours = (count: number) => now + count * 3_600_000

const capped: KeyInfo.KeyInfo = { limit: 20, limit_remaining: 12, limit_reset: null }

describe("the forecast of a key", () => {
  it("goes by the faster of today's and of this week's pace", () => {
    // One dollar an hour today, against half a dollar this week.
    assert.strictEqual(KeyInfo.exhaustedAt({ ...capped, usage_daily: 6, usage_weekly: 27 }, now), hours(12))
    // Two dollars an hour this week, of 54 hours.
    assert.strictEqual(KeyInfo.exhaustedAt({ ...capped, usage_daily: 6, usage_weekly: 108 }, now), hours(6))
  })

  it("does not take the first minutes of a day for a pace", () => {
    const midnight = Date.UTC(2026, 10, 23, 0, 1)
    assert.strictEqual(
      KeyInfo.exhaustedAt({ ...capped, usage_daily: 1, usage_weekly: 1 }, midnight),
      midnight + 12 * 3_600_000
    )
  })

  it("is none where nothing runs dry: without a cap, without spending, filled up before, not within a year", () => {
    const spending = { ...capped, usage_daily: 6, usage_weekly: 6 }
    assert.isUndefined(KeyInfo.exhaustedAt({ ...spending, limit: null, limit_remaining: null }, now))
    assert.isUndefined(KeyInfo.exhaustedAt(capped, now))
    assert.isUndefined(KeyInfo.exhaustedAt({ ...spending, limit_remaining: 19, limit_reset: "daily" }, now))
    assert.isUndefined(KeyInfo.exhaustedAt({ ...spending, limit_remaining: 1e6 }, now))
    assert.strictEqual(KeyInfo.exhaustedAt({ ...spending, limit_remaining: 0 }, now), now)
  })

  it("knows when a cap is filled up again, if it is", () => {
    const at = (limit_reset: string | null) => KeyInfo.resetsAt({ ...capped, limit_reset }, now)
    assert.strictEqual(at("daily"), Date.UTC(2026, 10, 26))
    assert.strictEqual(at("weekly"), Date.UTC(2026, 10, 30))
    assert.strictEqual(at("monthly"), Date.UTC(2026, 11, 1))
    assert.isUndefined(at(null))
    assert.isUndefined(at("yearly"))
    assert.isUndefined(KeyInfo.resetsAt({ limit: null, limit_reset: "daily" }, now))
  })
})
