/**
 * The acceptance of credit: four keys with caps are spent to the end, over HTTP, while `GET /key` lags by a minute.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { Errors, KeyPool, type Selector } from "@evenkeel/core"
import { CreditAware } from "@evenkeel/credit-aware"
import { OpenRouter, OpenRouterCredits } from "@evenkeel/openrouter"
import { Simulator } from "@evenkeel/testkit"
import { Threshold } from "@evenkeel/threshold"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Result } from "effect"
import { eventually, keys, poolOf } from "./utils.ts"

const limits = { a: 100, b: 60, c: 40, d: 20 }
const total = 220

/** 100 tokens of prompt for 0.005 USD, and 100 of answer for 0.1 USD. */
const model: Simulator.SimulatorModel = {
  id: "test/dear",
  promptPrice: 0.00005,
  completionPrice: 0.001,
  contextLength: 10_000,
  maxCompletionTokens: 1000
}
const cost = 0.105
/**
 * What is held for a request, and about what OpenRouter reserves: it allows half as many tokens more than the answer has.
 * Whoever held what requests cost would be told 402 by a key that has no more than that left.
 */
const hold = 0.16
const request = {
  model: model.id,
  max_tokens: 150,
  messages: [{ role: "user", content: "x".repeat(400) }]
} as const

interface Drained {
  readonly results: ReadonlyArray<Result.Result<unknown, { readonly _tag: string }>>
  /** What the keys have spent by the simulator's own books, in the order of the pool. */
  readonly spent: ReadonlyArray<number>
  /** How often each status was answered. */
  readonly statuses: Readonly<Record<string, number>>
  readonly balances: ReadonlyArray<OpenRouterCredits.Balance>
}

/** Asks for so many USD of work, 64 requests at a time. */
const drain = (selector: Layer.Layer<Selector.Selector>, usd: number) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator.Simulator
    const context = yield* Layer.build(
      OpenRouter.layerWith({ baseUrl: simulator.baseUrl, credits: { interval: "1 second" } }).pipe(
        Layer.provideMerge(OpenRouterCredits.layerReport),
        Layer.provide([selector, NodeHttpClient.layerUndici]),
        Layer.provideMerge(poolOf(simulator))
      )
    )
    const openrouter = Context.get(context, OpenRouter.OpenRouter)
    const pool = Context.get(context, KeyPool.KeyPool)
    yield* eventually(pool.snapshot, (state) => state.keys.every((key) => key.creditReadAt !== undefined))
    const count = Math.round(usd / cost)
    const results = yield* Effect.forEach(
      Array.from({ length: count }),
      () => Effect.result(openrouter.chat(request)),
      { concurrency: 64 }
    )
    const { balances } = Context.get(context, OpenRouterCredits.CreditReport)
    const statuses: Record<string, number> = {}
    for (const { path, status } of yield* simulator.requests) {
      if (path === "/chat/completions") statuses[String(status)] = (statuses[String(status)] ?? 0) + 1
    }
    const books = (yield* simulator.snapshot).keys
    return {
      results,
      spent: books.map(({ usage }) => usage),
      statuses,
      balances: yield* balances
    } satisfies Drained
  }).pipe(
    Effect.provide(
      Simulator.layer({
        keys: Object.entries(limits).flatMap(([name, limit]) => keys(name, { limit })),
        models: [model],
        keyLag: "60 seconds",
        latency: [0, 5],
        completion: () => "y".repeat(400)
      })
    )
  )

const sum = (amounts: ReadonlyArray<number>) => amounts.reduce((total, amount) => total + amount, 0)

/** Jain's index of fairness: 1 if all are equal. */
const jain = (shares: ReadonlyArray<number>) =>
  sum(shares) ** 2 / (shares.length * sum(shares.map((share) => share ** 2)))

const sharesOf = (spent: ReadonlyArray<number>) =>
  Object.values(limits).map((limit, index) => spent[index]! / limit)

/** The refusals, by the reasons of the keys. */
const refusals = ({ results }: Drained) =>
  results.flatMap((result) => (Result.isFailure(result) ? [result.failure as Errors.NoEligibleKey] : []))

const selectors = {
  "credit-aware": CreditAware.layer(),
  threshold: Threshold.layer({ floor: 5, whenAllBelow: "richest" })
}

describe("four keys of 100, 60, 40 and 20 USD, read with a lag of 60 seconds", () => {
  for (const [name, selector] of Object.entries(selectors)) {
    it.live(`do 210 USD of work with ${name}, and no answer is a 402`, () =>
      Effect.gen(function* () {
        const { balances, results, spent, statuses } = yield* drain(selector, 210)
        assert.deepStrictEqual(statuses, { 200: 2000 })
        assert.isTrue(results.every(Result.isSuccess))
        assert.closeTo(sum(spent), 210, 1e-6)
        if (name === "credit-aware") assert.isAtLeast(jain(sharesOf(spent)), 0.99)
        // What the pool believes is what the simulator's own books say, though no reading has shown it yet.
        for (const [index, { exhaustedAt, burnRate, remaining, limit }] of balances.entries()) {
          assert.strictEqual(limit, Object.values(limits)[index])
          assert.closeTo(remaining!, limit! - spent[index]!, 1e-6)
          assert.isAbove(burnRate, 0)
          assert.isDefined(exhaustedAt)
        }
      })
    )

    it.live(`refuse with ${name} what goes beyond them, and no answer is a 402`, () =>
      Effect.gen(function* () {
        const drained = yield* drain(selector, 230)
        const served = drained.results.filter(Result.isSuccess).length
        assert.deepStrictEqual(drained.statuses, { 200: served })
        const refused = refusals(drained)
        assert.strictEqual(served + refused.length, Math.round(230 / cost))
        assert.isTrue(refused.every((error) => error instanceof Errors.NoEligibleKey))
        // What is left is less than one more request might cost on each key, and what the 64 that were in flight as the
        // last ones were refused turned out to be cheaper than they might have been.
        assert.isAtMost(sum(drained.spent), total)
        assert.isAtLeast(sum(drained.spent), total - 4 * hold - 64 * (hold - cost))
        for (const { remaining } of drained.balances) assert.isAtLeast(remaining!, 0)
      })
    )
  }

  it.live("are left at the floor where the floor does not give way", () =>
    Effect.gen(function* () {
      const drained = yield* drain(Threshold.layer({ floor: 5 }), 210)
      const refused = refusals(drained)
      assert.deepStrictEqual(drained.statuses, { 200: 2000 - refused.length })
      assert.isTrue(refused.every((error) => error._tag === "NoEligibleKey"))
      assert.deepStrictEqual(
        refused.at(-1)!.keys.map(({ reason }) => reason),
        Array.from({ length: 4 }, () => "below-floor")
      )
      for (const { remaining } of drained.balances) assert.isAbove(remaining!, 5 - hold)
      assert.isAtLeast(sum(drained.spent), total - 4 * (5 + hold) - 64 * (hold - cost))
    })
  )
})
