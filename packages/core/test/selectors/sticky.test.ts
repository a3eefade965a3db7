import { Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { fault, idsOf as servedBy, keys, rotating, using } from "../utils.ts"
import { context, first, idsOf, last, lives, offer, pickerOf } from "./support.ts"

describe("Selector.sticky", () => {
  const [a, b, c] = lives("a b c") as [never, never, never]

  it("stays on its key until that is not offered, and then on the next", () => {
    const { pick } = pickerOf(Selector.sticky(last))
    assert.strictEqual(pick([a, b], context()), b)
    assert.strictEqual(pick([a, b, c], context()), b)
    assert.strictEqual(pick([a, c], context()), c)
    assert.strictEqual(pick([a, b, c], context()), c)
  })

  it("a retry takes another key without moving it", () => {
    const { pick } = pickerOf(Selector.sticky(first))
    assert.strictEqual(pick([a, b], context()), a)
    assert.strictEqual(pick([b], context({ attempt: 1 })), b)
    assert.strictEqual(pick([a, b], context()), a)
  })

  it("ranks its key first, and leaves it when it is forgotten", () => {
    const picker = pickerOf(Selector.sticky(first))
    assert.strictEqual(idsOf(picker.rank!([a, b, c], context())), "a b c")
    picker.pick([c], context())
    assert.strictEqual(idsOf(picker.rank!([a, b, c], context())), "c a b")
    picker.forget!("b")
    assert.strictEqual(picker.pick([a, c], context()), c)
    picker.forget!("c")
    assert.strictEqual(picker.pick([a, c], context()), a)
  })

  it.effect("through a balancer it moves on from a benched key and does not go back", () =>
    using(
      { keys: keys("a b c"), selector: Selector.sticky(first), retry: rotating },
      function* ({ balancer, pool }) {
        assert.deepStrictEqual(yield* servedBy(balancer, 2), ["a", "a"])
        yield* balancer.use(({ key }) =>
          key.id === "a" ? fault("key", "throttled", { retryAfter: "1 hour" }) : Effect.void
        )
        assert.deepStrictEqual(yield* servedBy(balancer, 2), ["b", "b"])
        yield* pool.remove("a")
        yield* pool.add(keys("a")[0]!)
        assert.deepStrictEqual(yield* servedBy(balancer, 2), ["b", "b"])
      }
    )
  )

  it("a property of one: nothing but the first offer decides as long as all stay", () => {
    const { pick } = pickerOf(Selector.sticky(Selector.random))
    const keys = offer(lives("a b c d e f"))
    const chosen = pick(keys, context())
    for (let n = 0; n < 100; n++) assert.strictEqual(pick(keys, context({ random: () => n / 100 })), chosen)
  })
})
