import { assert, describe, it } from "@effect/vitest"
import { budgets } from "../src/budgets.ts"
import { cell, upstream } from "../src/run.ts"
import { packageSizes, sizes } from "../src/sizes.ts"
import { median, percentile, spread } from "../src/statistics.ts"

/**
 * What no change may raise unseen. Only what repeats to a percent is counted here, on any machine: bytes, never time. Each
 * limit is what was measured when it was set, and 5 % more; who makes it less sets it anew. Those of sizes stand in
 * `budgets.json`.
 */
const allocated = { leanSilent: 20_900, unbalanced: 16_200, chat: 23_700, chatMeasured: 26_500 } as const

describe("regressions", () => {
  it("bytes allocated by a request", { timeout: 120_000 }, async () => {
    const server = await upstream()
    try {
      for (const [name, most] of Object.entries(allocated)) {
        const { bytes } = await cell("allocation", name as keyof typeof allocated, server.url, 2000)
        assert.isBelow(bytes!, most, name)
        // Nothing was collected while it was counted, or this would be little.
        assert.isAbove(bytes!, most / 3, name)
      }
    } finally {
      server.stop()
    }
  })

  it("sizes of programs and packages", async () => {
    for (const { gzipped, name } of [...(await sizes()), ...(await packageSizes())]) {
      const most = budgets[name]
      assert.isDefined(most, `${name} has no budget: pnpm sizes --write gives it one`)
      assert.isAtMost(gzipped, most, name)
      assert.isAbove(gzipped, most / 3, name)
    }
  })
})

describe("statistics", () => {
  it("medians, percentiles and spread", () => {
    assert.strictEqual(median([3, 1, 2]), 2)
    assert.strictEqual(median([4, 1, 2, 3]), 2.5)
    assert.strictEqual(percentile([1, 2, 3, 4], 0.5), 3)
    assert.strictEqual(percentile([1, 2, 3, 4], 0.99), 4)
    assert.strictEqual(spread([9, 10, 11]), 0.2)
  })
})
