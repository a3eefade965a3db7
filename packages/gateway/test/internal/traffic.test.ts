import { assert, describe, it } from "@effect/vitest"
import { Passage, Traffic } from "../../src/internal/traffic.ts"

const at = 1_800_000_000_000

const passage = (status: number, code?: string, cost?: number) => {
  const one = new Passage("/v1/chat/completions", at)
  one.used({ prompt_tokens: 2, completion_tokens: 3, cost })
  one.over(status, code)
  return one
}

describe("Traffic", () => {
  it("sums by the second, and forgets what is older than a minute", () => {
    const traffic = new Traffic()
    traffic.add(passage(200, undefined, 0.5), at)
    traffic.add(passage(502, "unavailable"), at + 1000)
    traffic.add(new Passage("/v1/models", at), at + 1500)
    const minute = traffic.minute(at + 1999)
    assert.deepStrictEqual(minute.at(-2), { requests: 1, failures: 0, aborted: 0, tokens: 5, cost: 0.5 })
    assert.deepStrictEqual(minute.at(-1), { requests: 2, failures: 1, aborted: 1, tokens: 5, cost: 0 })
    const sum = (now: number) => traffic.minute(now).reduce((all, { requests }) => all + requests, 0)
    assert.strictEqual(sum(at + 59_999), 3)
    assert.strictEqual(sum(at + 60_000), 2)
    assert.strictEqual(sum(at + 61_000), 0)
    assert.strictEqual(sum(at + 10 ** 9), 0)
    assert.deepStrictEqual(traffic.total, { requests: 3, failures: 1, aborted: 1, tokens: 10, cost: 0.5 })
  })

  it("remembers the last requests, the youngest first, and no more than twelve", () => {
    const traffic = new Traffic()
    for (let i = 1; i <= 1000; i++) traffic.add(passage(200), at + i)
    assert.deepStrictEqual(
      traffic.recent.map(({ id }) => id),
      Array.from({ length: 12 }, (_, i) => 1000 - i)
    )
  })

  it("bears a clock that was set back", () => {
    const traffic = new Traffic()
    traffic.add(passage(200), at)
    traffic.add(passage(200), at - 3600_000)
    assert.strictEqual(traffic.minute(at - 3600_000).at(-1)!.requests, 2)
  })
})
