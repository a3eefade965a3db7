import { type Balancer, Credits, type Hedging } from "@evenkeel/core"
import { BalancedHttpClient } from "@evenkeel/openrouter"
import { Hedge } from "@evenkeel/retry"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { begin, counted, done, prompt, said, streaming, withServer } from "./streams.ts"
import { eventually, hello, idle, inFlight, post, serve, sse, stateOf, using } from "./utils.ts"

const { actions } = Simulator

/** A copy is sent as soon as it may be. */
const eager: Hedging.Hedging = { name: "eager", delay: () => 30, allow: () => true, observe: () => {} }

/** A quarter of a dollar is held for each request. */
const credits: Credits.Credits = { ...Credits.unknown, estimate: () => 0.25 }

describe("a request that is hedged", () => {
  it.live(
    "by the policy of the retry package is answered once: the loser is closed, and stays debited",
    () => {
      const hedging = Hedge.make({ minimumSamples: 1, minDelay: "30 millis", budget: false })
      return streaming({ hedging, credits }, function* (world) {
        const { openrouter, pool, simulator } = world
        for (const id of ["a", "b"]) yield* pool.credit(id, { remaining: 10 })
        // The first answer teaches how long they take.
        yield* openrouter.chat(hello)
        const before = (yield* stateOf(pool, "a")).credit!
        yield* simulator.fault({ match: { key: "a" }, action: actions.stall() })
        yield* openrouter.chat(hello)
        yield* idle(world)
        const met = (yield* simulator.requests).map(
          ({ aborted, key }) => `${key} ${aborted ? "aborted" : "ok"}`
        )
        assert.sameMembers(met, ["a ok", "a aborted", "b ok"])
        assert.closeTo((yield* stateOf(pool, "a")).credit!, before - 0.25, 1e-9)
        assert.deepInclude(yield* stateOf(pool, "a"), { leased: 2, succeeded: 1, ignored: 1 })
        assert.deepInclude(yield* stateOf(pool, "b"), { leased: 1, succeeded: 1 })
      })
    }
  )

  it.live("as a stream is one stream; a copy that is behind is closed", () =>
    withServer(
      (response, n) => {
        const begun = begin(response)
        // The first says nothing until long after the second is done.
        if (n === 1) begun.end(said("Hello") + counted + done)
      },
      function* ({ chatStream, pool, server }) {
        for (const id of ["a", "b"]) yield* pool.credit(id, { remaining: 1 })
        const chunks = yield* Stream.runCollect(chatStream(prompt))
        assert.strictEqual(chunks.length, 2)
        yield* eventually(Effect.sync(server.open), (open) => open === 0)
        assert.deepStrictEqual(yield* inFlight(pool), [0, 0])
        assert.strictEqual((yield* stateOf(pool, "a")).credit, 0.75)
      },
      { hedging: eager, credits }
    )
  )

  it.live("as a stream that has begun too late is closed when the balancer gives it up", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => void begin(response, said("Hello")))
      const baseUrl = `${server.origin}/api/v1`
      yield* using({ credits }, function* ({ balancer, plain, pool }) {
        yield* pool.credit("a", { remaining: 1 })
        // Answers that come in the same moment are hard to arrange: here the only one counts as the later of two.
        const late: Balancer.Balancer["Service"] = {
          ...balancer,
          use: (f, options) =>
            Effect.tap(balancer.use(f, options), (value) => options?.discard?.(value) ?? Effect.void)
        }
        yield* BalancedHttpClient.make(plain, late, { baseUrl }).execute(sse())
        // At once, and not only when its body is collected as garbage.
        assert.deepInclude(yield* stateOf(pool, "a"), { inFlight: 0, credit: 0.75, ignored: 1 })
        yield* eventually(Effect.sync(server.open), (open) => open === 0)
      })
    })
  )

  it.live("fails with what both met", () =>
    withServer(
      (response, n) => {
        const fail = () => response.writeHead(503, { "content-type": "application/json" }).end("{}")
        // The copy fails while the first is still under way.
        if (n === 0) setTimeout(fail, 100)
        else fail()
      },
      function* ({ openrouter, server }) {
        const error = yield* Effect.flip(openrouter.chat(hello))
        assert.deepStrictEqual(
          error.attempts.map(({ keyId }) => keyId),
          ["b", "a"]
        )
        assert.strictEqual(server.seen.length, 2)
      },
      { hedging: eager }
    )
  )

  it.live("is not, while the first is quick", () =>
    using({ hedging: { ...eager, delay: () => 10_000 } }, function* ({ client, simulator }) {
      yield* client.execute(post("/chat/completions"))
      assert.strictEqual((yield* simulator.requests).length, 1)
    })
  )
})
