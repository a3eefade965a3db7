import { Filter } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { candidate, contextOf } from "./utils.ts"

const context = contextOf(() => 0)
const no = (reason: string): Filter.Ineligible => ({
  reason,
  scope: "key",
  since: undefined,
  until: undefined
})

describe("Filter", () => {
  it("all filters must agree, and the first that says no gives the reason", () => {
    const asked: Array<string> = []
    const says =
      (name: string, verdict: Filter.Ineligible | undefined): Filter.Filter =>
      () => {
        asked.push(name)
        return verdict
      }
    const filter = Filter.all(says("one", undefined), says("two", no("two")), says("three", no("three")))
    assert.deepStrictEqual(filter(candidate("a"), context), no("two"))
    assert.deepStrictEqual(asked, ["one", "two"])
    assert.strictEqual(
      Filter.all(says("one", undefined), says("two", undefined))(candidate("a"), context),
      undefined
    )
  })

  it("all of no filters lets everything pass, and all of one is that one", () => {
    assert.strictEqual(Filter.all()(candidate("a"), context), undefined)
    const only: Filter.Filter = () => no("only")
    assert.strictEqual(Filter.all(only), only)
  })

  it("filters get the candidate and the context", () => {
    const model: Filter.Filter = (one, { upstream }) =>
      one.labels["only"] === upstream ? undefined : no("model")
    const one = candidate("a", { labels: { only: "x" } })
    assert.strictEqual(Filter.all(model, model)(one, { ...context, upstream: "x" }), undefined)
    assert.deepStrictEqual(Filter.all(model, model)(one, { ...context, upstream: "y" }), no("model"))
  })

  it("creditAtLeast refuses less than its floor, and lets pass what is uncapped or not known", () => {
    const filter = Filter.creditAtLeast(5)
    const verdict = (credit: number | undefined) => filter(candidate("a", { credit }), context)?.reason
    assert.deepStrictEqual([undefined, 5, 4.99, 0, -1].map(verdict), [
      undefined,
      undefined,
      "below-floor",
      "below-floor",
      "below-floor"
    ])
  })
})
