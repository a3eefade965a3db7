import { Filter, Selector } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { candidate, holding, idsOf as servedBy, inFlight, keys, refusalOf, start, using } from "../utils.ts"
import { context, first, idsOf, last, logging, offer, success, timing } from "./support.ts"

const [a, b] = [candidate("a"), candidate("b")]

/** Another selector, which keeps a list of when its pickers are made and their scopes close. */
const scoped = (inner: Selector.Selector, name: string, log: Array<string>): Selector.Selector => ({
  ...inner,
  make: Effect.andThen(
    Effect.acquireRelease(
      Effect.sync(() => log.push(`${name} made`)),
      () => Effect.sync(() => log.push(`${name} closed`))
    ),
    inner.make
  )
})

describe("Selector.switchable", () => {
  it.effect("replaces what decides, each picker in a scope of its own", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const one = scoped(first, "first", log)
      const two = scoped(last, "last", log)
      const { current, selector, switch: to } = yield* Selector.switchable(one)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const picker = yield* selector.make
          assert.strictEqual(picker.pick([a, b], context()), a)
          assert.strictEqual(yield* current, one)
          yield* to(two)
          assert.strictEqual(picker.pick([a, b], context()), b)
          assert.strictEqual(yield* current, two)
          assert.deepStrictEqual(log, ["first made", "last made", "first closed"])
          yield* to(one)
          assert.strictEqual(picker.pick([a, b], context()), a)
        })
      )
      assert.deepStrictEqual(log.slice(3), ["first made", "last closed", "first closed"])
      // Nobody uses it, so nothing is made until somebody does.
      yield* to(two)
      assert.strictEqual(log.length, 6)
      yield* Effect.scoped(
        Effect.map(selector.make, ({ pick }) => assert.strictEqual(pick([a, b], context()), b))
      )
      assert.deepStrictEqual(log.slice(6), ["last made", "last closed"])
    })
  )

  it.effect("uses under way are told to the picker that chose", () =>
    Effect.gen(function* () {
      const [one, ones] = logging(first)
      const [two, twos] = logging(last)
      const { selector, switch: to } = yield* Selector.switchable(one)
      const picker = yield* selector.make
      const [before, after] = [context(), context()]
      picker.pick([a, b], before)
      yield* to(two)
      picker.pick([a, b], after)
      // The newer one first, and both on the same key.
      picker.settled!(b, success, timing, after)
      picker.settled!(b, success, timing, before)
      picker.forget!("a")
      assert.deepStrictEqual(ones, { picked: ["a"], settled: ["b"], forgotten: [] })
      assert.deepStrictEqual(twos, { picked: ["b"], settled: ["b"], forgotten: ["a"] })
    })
  )

  it.effect("facts and order are those of what decides now", () =>
    Effect.gen(function* () {
      const { selector, switch: to } = yield* Selector.switchable({
        ...first,
        eligible: Filter.creditAtLeast(5)
      })
      const picker = yield* selector.make
      const poor = candidate("poor", { credit: 1 })
      assert.strictEqual(selector.eligible!(poor, context())?.reason, "below-floor")
      assert.strictEqual(idsOf(picker.rank!(offer([b, a]), context())), "b a")
      yield* to(last)
      assert.isUndefined(selector.eligible!(poor, context()))
      assert.deepStrictEqual(picker.rank!([b, a], context()), [])
    })
  )

  it.effect("if the new picker cannot be made, everything stays as it was", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const { current, selector, switch: to } = yield* Selector.switchable(scoped(first, "first", log))
      const pickers = yield* Effect.all([selector.make, selector.make])
      let made = 0
      const broken = scoped(
        { ...last, make: Effect.suspend(() => (++made === 2 ? Effect.die("bug") : last.make)) },
        "broken",
        log
      )
      assert.isTrue(Exit.isFailure(yield* Effect.exit(to(broken))))
      for (const { pick } of pickers) assert.strictEqual(pick([a, b], context()), a)
      assert.strictEqual((yield* current).name, "first")
      assert.deepStrictEqual(log.slice(2), ["broken made", "broken made", "broken closed", "broken closed"])
      yield* to(last)
      for (const { pick } of pickers) assert.strictEqual(pick([a, b], context()), b)
    })
  )

  it.effect("an interrupted switch leaves nothing open, and the next one goes ahead", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const { selector, switch: to } = yield* Selector.switchable(first)
      const { pick } = yield* selector.make
      const reached = yield* Deferred.make<void>()
      const endless = Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)
      const fiber = yield* start(to(scoped({ ...last, make: endless }, "endless", log)))
      yield* Deferred.await(reached)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(log, ["endless made", "endless closed"])
      assert.strictEqual(pick([a, b], context()), a)
      yield* to(last)
      assert.strictEqual(pick([a, b], context()), b)
    })
  )

  it.effect("switches happen one after the other", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const { selector, switch: to } = yield* Selector.switchable(scoped(first, "0", log))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { pick } = yield* selector.make
          const slow = (name: string) =>
            scoped({ ...last, make: Effect.andThen(Effect.yieldNow, last.make) }, name, log)
          yield* Effect.all([to(slow("1")), to(slow("2")), to(slow("3"))], { concurrency: "unbounded" })
          assert.strictEqual(pick([a, b], context()), b)
        })
      )
      assert.deepStrictEqual(log, [
        "0 made",
        "1 made",
        "0 closed",
        "2 made",
        "1 closed",
        "3 made",
        "2 closed",
        "3 closed"
      ])
    })
  )

  it.effect("through a balancer, counts are kept, and new facts hold from then on", () =>
    Effect.gen(function* () {
      const strategy = yield* Selector.switchable(first)
      yield* using({ keys: keys("a b"), selector: strategy.selector }, function* ({ balancer, pool }) {
        const { held, use } = holding()
        const fibers = [yield* start(balancer.use(use)), yield* start(balancer.use(use))]
        assert.deepStrictEqual(yield* inFlight(pool), [2, 0])
        yield* strategy.switch(Selector.leastBy((one) => one.inFlight))
        assert.deepStrictEqual(yield* inFlight(pool), [2, 0])
        assert.deepStrictEqual(yield* servedBy(balancer, 3), ["b", "b", "b"])
        for (const { end } of held) end(Exit.void)
        yield* Fiber.joinAll(fibers)
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
        yield* pool.credit("a", { remaining: 1 })
        yield* pool.credit("b", { remaining: 1 })
        yield* strategy.switch({ ...first, eligible: Filter.creditAtLeast(5) })
        const { keys } = yield* refusalOf(balancer.use(() => Effect.void))
        assert.deepStrictEqual(
          keys.map(({ reason }) => reason),
          ["below-floor", "below-floor"]
        )
      })
    })
  )
})
