/**
 * What users of other gateways report about requests: retries, waits, streams, money, caches, secrets, memory. Each test is
 * named after the behaviour that must hold here, and its block after the report.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { Secrets } from "@evenkeel/chaos"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Credits, KeyPool, Selector } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatChunk, OpenRouter, OpenRouterError } from "@evenkeel/openrouter"
import { RoundRobin } from "@evenkeel/round-robin"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Layer, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
// oxfmt-ignore
import {
  again, eventually, fault, hello, impatient, inFlight, met, model, ok, out, refusalOf, rejected, start, throttled, times,
  using, wired
} from "./parts.ts"

const { actions, errors } = Simulator

const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + value, 0)

const only =
  (wanted: string) =>
  ({ id }: { readonly id: string }) =>
    id === wanted
      ? undefined
      : ({ reason: "other", scope: "request", since: undefined, until: undefined } as const)

describe("7: retries that multiply the load", () => {
  it.live("one request to what is down makes four attempts, not sixteen", () =>
    wired({ keys: "a b c", retry: impatient }, function* ({ openrouter, simulator }) {
      yield* simulator.fault({ action: errors.badGateway502() })
      yield* Effect.flip(openrouter.chat(hello))
      assert.strictEqual(sum(yield* met(simulator)), 4)
    })
  )

  it.live("a total outage costs a fifth more, not four times as much", () =>
    wired(
      { keys: "a b c", retry: { ...impatient, budget: { perSecond: 0 } } },
      function* ({ openrouter, simulator }) {
        yield* simulator.fault({ action: errors.badGateway502() })
        yield* Effect.forEach(times(300), () => Effect.exit(openrouter.chat(hello)), { concurrency: 16 })
        assert.isAtMost(sum(yield* met(simulator)), 360)
      }
    )
  )

  it.live("a Retry-After of days is not slept through: the caller is told", () =>
    wired({ keys: "a b", retry: {} }, function* ({ openrouter, simulator }) {
      yield* simulator.fault({ action: errors.upstream429({ retryAfter: 172_800 }) })
      const error = yield* Effect.flip(openrouter.chat(hello))
      assert.isTrue(error._tag === "OpenRouterError" && error.reason._tag === "Answered")
      if (error._tag === "OpenRouterError" && error.reason._tag === "Answered")
        assert.isAtLeast(Duration.toSeconds(error.reason.retryAfter!), 3600 - 1)
      assert.strictEqual(sum(yield* met(simulator)), 1)
    })
  )
})

describe("8: no wait, no time and no reason when all keys are cooling", () => {
  const cooling = (id: string) => throttled("key", Duration.seconds(id === "a" ? 20 : 10))

  it.effect(
    "when all keys are cooling the request waits for the first that returns, to the millisecond",
    () =>
      using({ keys: "a b", retry: {} }, function* ({ balancer, pool }) {
        let attempts = 0
        const request = yield* start(
          balancer.use(({ key }) =>
            ++attempts <= 2 ? cooling(key.id) : Effect.map(Clock.currentTimeMillis, (at) => [key.id, at])
          )
        )
        assert.strictEqual((yield* pool.snapshot).waiting, 1)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* Fiber.join(request), ["b", 10_000])
      })
  )

  it.effect("who has no patience is told at once: why for each key, and when to come back", () =>
    using({ keys: "a b", retry: { patience: "9 seconds" } }, function* ({ balancer }) {
      const { attempts, keys, message, retryAt } = yield* refusalOf(
        balancer.use(({ key }) => cooling(key.id))
      )
      assert.deepStrictEqual(
        keys.map(({ keyId, reason, until }) => [keyId, reason, until]),
        [
          ["a", "throttled", 20_000],
          ["b", "throttled", 10_000]
        ]
      )
      assert.strictEqual(retryAt, 10_000)
      assert.strictEqual(attempts.length, 2)
      assert.include(message, "1970-01-01T00:00:10.000Z")
    })
  )
})

describe("9: streams that fail in silence", () => {
  const reading = ({ chatStream }: OpenRouter.OpenRouter["Service"]) =>
    Stream.mkString(Stream.map(chatStream(hello), ChatChunk.text))
  const spent = {
    code: 402,
    message: "Insufficient credits",
    metadata: { limit_source: "openrouter_credits" }
  }

  it.live("a stream that fails before its first content comes whole from another key", () =>
    wired({ keys: "a b", retry: impatient }, function* ({ openrouter, simulator }) {
      yield* simulator.fault({ times: 1, action: actions.firstEventError(spent) })
      assert.strictEqual(yield* reading(openrouter), "You said: hello")
      assert.deepStrictEqual(yield* met(simulator), [1, 1])
    })
  )

  const breaks = {
    "an error": actions.midStreamError({ afterChunks: 2 }),
    "an end that is none": actions.truncate({ afterChunks: 2 }),
    "a connection that breaks": actions.cut({ afterChunks: 2 }),
    silence: actions.hang({ afterChunks: 2 })
  }
  for (const [name, action] of Object.entries(breaks)) {
    it.live(`a stream that breaks by ${name} is an error with what was said, and is not told twice`, () =>
      wired({ keys: "a b", retry: impatient, openrouter: { idleTimeout: "100 millis" } }, function* (parts) {
        yield* parts.simulator.fault({ action })
        const error = yield* Effect.flip(reading(parts.openrouter))
        assert.instanceOf(error, OpenRouterError.OpenRouterError)
        const { attempts, reason } = error as OpenRouterError.OpenRouterError
        assert.deepStrictEqual(
          [reason._tag, reason._tag === "Broken" && reason.text],
          ["Broken", "You said:"]
        )
        assert.strictEqual(attempts.length, 1)
        assert.deepStrictEqual(yield* met(parts.simulator), [1, 0])
        assert.strictEqual(yield* inFlight(parts.pool), 0)
      })
    )
  }

  it.live("a 200 with an error in it is no answer, and counts as a failure", () =>
    wired({ keys: "a b" }, function* ({ openrouter, pool, simulator }) {
      yield* simulator.fault({ action: actions.okWithErrorBody() })
      yield* Effect.flip(openrouter.chat(hello))
      assert.strictEqual((yield* pool.snapshot).keys[0]!.faulted, 1)
    })
  )
})

describe("12: budgets that are overspent, and money that is spent on nothing", () => {
  it.live("a hundred requests at once do not overspend a cap", () =>
    wired(
      {
        keys: "a",
        traits: { a: { limit: 0.001 } },
        simulator: { latency: 5, keyLag: "1 minute" },
        openrouter: { credits: { firstEstimate: 0.0001 } }
      },
      function* ({ openrouter, pool, simulator }) {
        yield* eventually(pool.snapshot, ({ keys }) => keys[0]!.credit !== undefined)
        const results = yield* Effect.forEach(times(100), () => Effect.result(openrouter.chat(hello)), {
          concurrency: "unbounded"
        })
        const [key] = (yield* simulator.snapshot).keys
        assert.isAtLeast(key!.limitRemaining!, 0)
        // None of them was told so by OpenRouter: those that could not be paid were not sent.
        assert.deepStrictEqual(key!.failed, {})
        assert.isTrue(results.some(Result.isSuccess))
        for (const result of results)
          if (Result.isFailure(result)) assert.strictEqual(result.failure._tag, "NoEligibleKey")
      }
    )
  )

  const dollar: Credits.Credits = { ...Credits.unknown, estimate: () => 1 }

  it.effect("what was held for a request that cost nothing comes back", () =>
    using({ keys: "a", credits: dollar }, function* ({ balancer, pool }) {
      yield* pool.credit("a", { remaining: 10 })
      yield* again(50, Effect.flip(balancer.use(() => fault({ scope: "upstream", reason: "unavailable" }))))
      assert.strictEqual((yield* pool.snapshot).keys[0]!.credit, 10)
    })
  )

  it.effect(
    "what a request may have cost of which nobody knows is spent, but only until the next reading",
    () =>
      using({ keys: "a", credits: dollar }, function* ({ balancer, pool }) {
        yield* pool.credit("a", { remaining: 10 })
        yield* again(3, Effect.flatMap(start(balancer.use(() => Effect.never)), Fiber.interrupt))
        assert.strictEqual((yield* pool.snapshot).keys[0]!.credit, 7)
        yield* TestClock.adjust("1 minute")
        yield* pool.credit("a", { remaining: 9.5 })
        assert.strictEqual((yield* pool.snapshot).keys[0]!.credit, 9.5)
      })
  )
})

describe("13: prompt caches that rotation loses, or pins that overload a key", () => {
  const sessions = Selector.affinity(LeastInFlight.make())
  const talk = (openrouter: OpenRouter.OpenRouter["Service"], session: string) =>
    openrouter.chat({ ...hello, session_id: session })

  it.live("a conversation stays on its key, and many of them use all keys", () =>
    wired({ keys: "a b c d", selector: sessions }, function* ({ openrouter, simulator }) {
      const homes: Array<ReadonlyArray<number>> = []
      for (const n of times(24)) {
        const before = yield* met(simulator)
        yield* again(5, talk(openrouter, `session ${n}`))
        homes.push((yield* met(simulator)).map((requests, i) => requests - before[i]!))
      }
      for (const home of homes) assert.deepStrictEqual(home.toSorted(), [0, 0, 0, 5])
      assert.isTrue((yield* met(simulator)).every((requests) => requests > 0))
    })
  )

  it.live("a conversation whose key is out goes on elsewhere, and comes home", () =>
    wired({ keys: "a b", selector: sessions, retry: impatient }, function* ({ openrouter, pool, simulator }) {
      yield* talk(openrouter, "one")
      const home = (yield* met(simulator)).indexOf(1)
      const id = ["a", "b"][home]!
      yield* pool.bench({ scope: "key", id, reason: "throttled", for: "1 minute" })
      yield* talk(openrouter, "one")
      yield* pool.readmit("key", id)
      yield* talk(openrouter, "one")
      assert.strictEqual((yield* met(simulator))[home], 2)
    })
  )

  it.live("a conversation of many requests at once does not overload its key", () =>
    wired(
      { keys: "a b c d", selector: sessions, simulator: { latency: 20 } },
      function* ({ openrouter, simulator }) {
        yield* Effect.forEach(times(80), () => talk(openrouter, "one"), { concurrency: 40 })
        // Its share of 40 is 10, and it may take half as much again.
        for (const { maxInFlight } of (yield* simulator.snapshot).keys) assert.isAtMost(maxInFlight, 16)
      }
    )
  )
})

describe("14: bills for what nobody reads", () => {
  const long = {
    ...hello,
    messages: [{ role: "user", content: "word ".repeat(200) }],
    max_tokens: 500
  } as const

  it.live("a stream that is given up is closed at once, and the bill stops", () =>
    wired({ keys: "a", simulator: { chunkDelay: "2 millis" } }, function* ({ openrouter, simulator }) {
      yield* Stream.runDrain(Stream.take(openrouter.chatStream(long), 3))
      yield* simulator.waitUntil((snapshot) => snapshot.inFlight === 0)
      const [record] = yield* simulator.requests
      assert.isTrue(record!.aborted)
      assert.isBelow(record!.completionTokens, 50)
    })
  )

  it.live("a hedge that loses is closed at once, and frees its slot", () =>
    wired(
      {
        keys: "a b",
        selector: RoundRobin.make(),
        hedge: { minDelay: "20 millis", minimumSamples: 1, budget: false },
        simulator: { latency: 1 }
      },
      function* ({ openrouter, pool, simulator }) {
        yield* again(2, openrouter.chat(hello))
        yield* simulator.fault({ match: { key: "a" }, times: 1, action: actions.stall() })
        yield* openrouter.chat(hello)
        const { keys } = yield* simulator.waitUntil((snapshot) => snapshot.inFlight === 0)
        assert.deepStrictEqual(
          keys.map(({ aborted, ok }) => [ok, aborted]),
          [
            [1, 1],
            [2, 0]
          ]
        )
        assert.deepStrictEqual(
          (yield* pool.snapshot).keys.map(({ ignored, inFlight, succeeded }) => [
            succeeded,
            ignored,
            inFlight
          ]),
          [
            [1, 1, 0],
            [2, 0, 0]
          ]
        )
      }
    )
  )
})

describe("18: keys that leak", () => {
  /** A server that remembers the headers of what it was asked. */
  const listening = Effect.acquireRelease(
    Effect.callback<{
      readonly seen: Array<IncomingHttpHeaders>
      readonly url: string
      readonly close: () => void
    }>((resume) => {
      const seen: Array<IncomingHttpHeaders> = []
      const server = createServer((request, response) => {
        seen.push(request.headers)
        response
          .writeHead(401, { "content-type": "application/json" })
          .end('{"error":{"code":401,"message":"no"}}')
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        resume(
          Effect.succeed({
            seen,
            url: `http://127.0.0.1:${port}`,
            close: () => (server.closeAllConnections(), server.close())
          })
        )
      })
    }),
    ({ close }) => Effect.sync(close)
  )

  it.live("a request carries the key that was picked, and no other, and its failure shows none of them", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* listening
      const ids = ["a", "b", "c"]
      const live = OpenRouter.layerWith({ baseUrl: url, credits: false }).pipe(
        Layer.provide([NodeHttpClient.layerUndici, RoundRobin.layer()]),
        Layer.provide(KeyPool.layer({ keys: ids.map((id) => ({ id, secret: Secrets.secretOf(id) })) }))
      )
      const failures = yield* again(
        3,
        Effect.flip(OpenRouter.OpenRouter.use(({ chat }) => chat(hello)))
      ).pipe(Effect.provide(live))
      assert.deepStrictEqual(
        seen.map(({ authorization }) => authorization),
        ids.map((id) => `Bearer ${Secrets.secretOf(id)}`)
      )
      const find = Secrets.finder(ids.map(Secrets.secretOf))
      for (const headers of seen)
        assert.deepStrictEqual(find(JSON.stringify({ ...headers, authorization: "" })), [])
      for (const failure of failures) assert.deepStrictEqual(find(Secrets.textOf(failure)), [])
    })
  )
})

describe("19: memory that grows", () => {
  it.effect("what is remembered of models, and of keys that have left, is bounded", () =>
    using(
      {
        keys: "a",
        circuits: {
          upstream: { trip: CircuitBreaker.consecutive(1) },
          key: { trip: CircuitBreaker.consecutive(1) }
        }
      },
      function* ({ balancer, circuits, pool }) {
        for (const n of times(3000)) {
          const gone = throttled("upstream", Duration.hours(1))
          yield* Effect.flip(balancer.use(() => gone, { upstream: `model ${n}` }))
        }
        assert.isAtMost((yield* circuits.troubled).length, 1024)
        assert.isAtMost((yield* pool.snapshot).benches.length, 1024)
        for (const n of times(300)) {
          const guest = { id: `guest ${n}`, secret: Secrets.secretOf(`guest ${n}`), account: `account ${n}` }
          yield* pool.add(guest)
          yield* Effect.exit(balancer.use(() => rejected, { filter: only(guest.id) }))
          yield* pool.remove(guest.id)
        }
        assert.strictEqual((yield* pool.snapshot).keys.length, 1)
        assert.isFalse((yield* circuits.troubled).some(({ id }) => id.startsWith("guest")))
      }
    )
  )
})

describe("20: why did it choose that, and why so slowly", () => {
  it.effect(
    "it says for each key whether it would serve, why not, since when and until when, and changes nothing",
    () =>
      using(
        { keys: "a1 b1 c1 d1", selector: LeastInFlight.make(), maxInFlight: 1 },
        function* ({ balancer, circuits, pool }) {
          yield* TestClock.adjust(1000)
          yield* start(Effect.scoped(Effect.andThen(balancer.lease({ filter: only("a1") }), Effect.never)))
          yield* pool.bench({ scope: "account", id: "b", reason: "exhausted", for: "1 hour" })
          yield* circuits.open("c1", "1 minute")
          const before = yield* pool.snapshot
          const { keys, retryAt } = yield* balancer.explain({ upstream: model })
          assert.deepStrictEqual(
            keys.map((key) =>
              key.eligible ? [key.keyId, key.rank] : [key.keyId, key.scope, key.reason, key.since, key.until]
            ),
            [
              ["a1", "key", "saturated", undefined, undefined],
              ["b1", "account", "exhausted", 1000, 3_601_000],
              ["c1", "key", "circuit-open", 1000, 61_000],
              ["d1", 1]
            ]
          )
          assert.strictEqual(retryAt, 61_000)
          assert.deepStrictEqual(yield* pool.snapshot, before)
        }
      )
  )

  it.effect(
    "a request that takes long is sent a second time to another key, where that is asked for, and the first answer wins",
    () =>
      using({ keys: "a b", hedge: { minimumSamples: 1, budget: false } }, function* ({ balancer, pool }) {
        yield* balancer.use(ok)
        const request = yield* start(
          balancer.use((lease) => (lease.key.id === "a" ? Effect.never : ok(lease)))
        )
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Fiber.join(request), "b")
        assert.strictEqual(yield* inFlight(pool), 0)
        assert.deepStrictEqual(yield* out(pool), [])
      })
  )
})
