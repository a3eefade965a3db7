import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Stream } from "effect"
import { Budget } from "../../src/internal/batch/budget.ts"
import { bound, pricesOf } from "../../src/internal/batch/estimate.ts"
import { split } from "../../src/internal/batch/lines.ts"
import { read } from "../../src/internal/batch/request.ts"

const fork = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkChild(effect, { startImmediately: true })

describe("a budget", () => {
  it.effect("is kept whatever requests cost, and let go to its last part", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 200; round++) {
        let state = round + 1
        // Park and Miller's: all that is wanted is that it is the same each time.
        const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
        const limit = 1 + random()
        const budget = new Budget(limit, 0)
        let spent = 0
        let most = 0
        const one = Effect.gen(function* () {
          for (;;) {
            const hold = 0.01 + 0.2 * random()
            most = Math.max(most, hold)
            if (!(yield* budget.acquire(hold))) return
            for (let i = 0; i < 3 * random(); i++) yield* Effect.yieldNow
            const cost = hold * random()
            spent += cost
            budget.settle(hold, cost)
          }
        })
        yield* Effect.all(
          Array.from({ length: 5 }, () => one),
          { concurrency: "unbounded" }
        )
        assert.isAtMost(spent, limit)
        assert.isAtLeast(spent, limit - most)
      }
    })
  )

  it.effect("what does not fit waits for what is in flight, and is in turn", () =>
    Effect.gen(function* () {
      const budget = new Budget(10, 2)
      assert.isTrue(yield* budget.acquire(6))
      const [second, third] = [yield* fork(budget.acquire(5)), yield* fork(budget.acquire(1))]
      assert.isUndefined(second.pollUnsafe())
      // It would fit, and is not let past the one before it.
      assert.isUndefined(third.pollUnsafe())
      budget.settle(6, 1)
      assert.isTrue(yield* Fiber.join(second))
      assert.isTrue(yield* Fiber.join(third))
      budget.settle(5, 5)
      budget.settle(1, 1)
      // One left, and nothing in flight that could give something back.
      assert.isFalse(yield* budget.acquire(1.5))
      // The end is the end.
      assert.isFalse(yield* budget.acquire(0.1))
    })
  )

  it.effect("who is interrupted while waiting holds nothing, and stands in nobody's way", () =>
    Effect.gen(function* () {
      const budget = new Budget(1, 0)
      assert.isTrue(yield* budget.acquire(1))
      const gone = yield* fork(budget.acquire(1))
      const next = yield* fork(budget.acquire(0.5))
      yield* Fiber.interrupt(gone)
      budget.settle(1, 0)
      assert.isTrue(yield* Fiber.join(next))
    })
  )
})

describe("lines", () => {
  it.effect("are the same however their bytes come, and know where they stand", () =>
    Effect.gen(function* () {
      const text = 'eins\n\n{"zwei":"ü"}\r\ndrei'
      const bytes = new TextEncoder().encode(text)
      for (let size = 1; size <= bytes.length; size++) {
        const chunks: Array<Uint8Array> = []
        for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size))
        const lines = yield* Stream.runCollect(split(Stream.fromIterable(chunks), (_, problem) => problem))
        const told = lines.map((line) => [line.number, new TextDecoder().decode(line.bytes), line.ended])
        assert.deepStrictEqual(told, [
          [1, "eins", true],
          [2, "", true],
          [3, '{"zwei":"ü"}\r', true],
          [4, "drei", false]
        ])
        for (const line of lines)
          assert.deepStrictEqual(
            bytes.slice(line.offset, line.offset + line.bytes.length),
            Uint8Array.from(line.bytes)
          )
      }
    })
  )

  it.effect("too long for memory are refused by their number", () =>
    Effect.gen(function* () {
      const chunk = new Uint8Array(1024 * 1024).fill(65)
      const endless = Stream.concat(Stream.make(new Uint8Array([10])), Stream.forever(Stream.make(chunk)))
      const error = yield* Effect.flip(
        Stream.runDrain(split(endless, (number, problem) => `${number}: ${problem}`))
      )
      assert.strictEqual(error, "2: longer than 64 MiB")
    })
  )
})

const request = (line: unknown, defaults = { model: "a/b", maxTokens: undefined as number | undefined }) =>
  read(
    {
      number: 1,
      offset: 0,
      ended: true,
      bytes: new TextEncoder().encode(typeof line === "string" ? line : JSON.stringify(line))
    },
    defaults
  )!

describe("a request", () => {
  it("is another one with another default, and the same in another form", () => {
    const hash = (...args: Parameters<typeof request>) => Result.getOrThrow(request(...args)).hash
    const one = { prompt: "x" }
    assert.strictEqual(hash(one), hash(' {"prompt":  "x"}\r'))
    const others = [
      hash(one),
      hash(one, { model: "a/c", maxTokens: undefined }),
      hash(one, { model: "a/b", maxTokens: 5 }),
      hash({ ...one, custom_id: "1" }),
      hash({ prompt: "y" })
    ]
    assert.strictEqual(new Set(others).size, others.length)
  })

  it("takes --max-tokens only where it does not say itself, and keeps what we do not know", () => {
    const body = (line: unknown) => Result.getOrThrow(request(line, { model: "a/b", maxTokens: 5 })).body
    assert.deepInclude(body({ prompt: "x", provider: { sort: "price" } }), {
      model: "a/b",
      max_completion_tokens: 5,
      provider: { sort: "price" },
      messages: [{ role: "user", content: "x" }]
    })
    assert.notProperty(body({ prompt: "x", max_tokens: 9 }), "max_completion_tokens")
    assert.notProperty(body({ prompt: "x", custom_id: "a" }), "custom_id")
  })

  it("costs at most what its bytes and its longest answer cost, of the dearest model that may answer", () => {
    const priced = (id: string, prompt: string, completion: string, longest: number) => ({
      id,
      pricing: { prompt, completion },
      top_provider: { max_completion_tokens: longest }
    })
    const prices = pricesOf([
      priced("a/b", "0.001", "0.01", 100),
      priced("a/dear", "0.1", "1", 100),
      priced("a/router", "-1", "-1", 1)
    ])
    const usd = (line: unknown) => {
      const one = Result.getOrThrow(request(line))
      return [bound(one, prices), one.bytes] as const
    }
    const [plain, bytes] = usd({ prompt: "x" })
    assert.deepStrictEqual(plain, Result.succeed(bytes * 0.001 + 100 * 0.01))
    const [short, shortBytes] = usd({ prompt: "x", max_tokens: 3, model: "a/b:nitro" })
    assert.deepStrictEqual(short, Result.succeed(shortBytes * 0.001 + 3 * 0.01))
    const [either, eitherBytes] = usd({ prompt: "x", max_tokens: 3, models: ["a/b", "a/dear"] })
    assert.deepStrictEqual(either, Result.succeed(eitherBytes * 0.1 + 3))
    assert.isTrue(Result.isFailure(usd({ prompt: "x", model: "a/router" })[0]))
  })
})
