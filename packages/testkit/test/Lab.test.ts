import { RetryPolicy, Selector, type Filter } from "@evenkeel/core"
import { Lab } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Layer } from "effect"

const strategies = {
  random: Selector.layer(Selector.random),
  least: Selector.layer(Selector.leastBy(({ inFlight }) => inFlight))
}

/** Something of everything: several processes, sessions, caps, limits, faults, shared facts. */
const eventful: Lab.ScenarioInput = {
  name: "eventful",
  seconds: 120,
  processes: 3,
  facts: { everySeconds: 0.2 },
  arrivals: { kind: "bursts", size: 30, everySeconds: 20, perSecond: 8 },
  requests: {
    prompt: { kind: "lognormal", median: 800, sigma: 0.7 },
    completion: { kind: "exponential", mean: 200 },
    firstToken: { kind: "lognormal", median: 0.4, sigma: 0.3 },
    seconds: { kind: "tokens", perSecond: 90 },
    price: { request: 0.01, prompt: 3, completion: 15 },
    sessions: { count: 40, cacheSeconds: 30 }
  },
  accounts: [
    { id: "one", balance: 3 },
    { id: "two", requestsPerMinute: 200, maxInFlight: 20 }
  ],
  keys: [
    { id: "a", account: "one", weight: 2 },
    { id: "b", account: "two", cap: 2 },
    { id: "c", account: "two", maxInFlight: 8 },
    { id: "d", slowness: 2 }
  ],
  faults: [
    { key: "d", from: 30, to: 60, status: 500, share: 0.5 },
    { from: 70, to: 75, status: 503 },
    { key: "c", from: 80, to: 90, slow: 4 }
  ],
  readings: { everySeconds: 15, lagSeconds: 5 }
}

/** Another key at once, up to three times, or else a second later. */
const rotating = Layer.succeed(RetryPolicy.RetryPolicy, {
  name: "rotating",
  start: Effect.succeed({
    decide: ({ attempt, outcome }: RetryPolicy.Failure) =>
      Effect.succeed(
        attempt >= 3
          ? RetryPolicy.stop
          : outcome.retryable === "rotate"
            ? RetryPolicy.rotate
            : RetryPolicy.retry(Duration.seconds(1))
      )
  }),
  patience: Duration.seconds(10)
})

const simulate = (scenario: Lab.ScenarioInput, options?: Partial<Lab.Options>) =>
  Lab.simulate({ scenario, strategies, ...options })

const only = (scenario: Lab.ScenarioInput, options?: Partial<Lab.Options>) =>
  Effect.map(
    simulate(scenario, { strategies: { random: strategies.random }, ...options }),
    (report) => report.strategies[0]!
  )

const plain = {
  name: "plain",
  seconds: 60,
  arrivals: { kind: "constant", perSecond: 10 },
  keys: [{ id: "a" }, { id: "b" }]
} satisfies Lab.ScenarioInput

describe("Lab.simulate", () => {
  it.effect("gives the same report for the same seed, and another for another", () =>
    Effect.gen(function* () {
      const text = Effect.fnUntraced(function* (seed: number) {
        const report = yield* simulate(eventful, { policies: rotating, seed })
        return [JSON.stringify(report), Lab.table(report), Lab.chart(report)]
      })
      assert.deepStrictEqual(yield* text(7), yield* text(7))
      assert.notStrictEqual((yield* text(7))[0], (yield* text(8))[0])
    })
  )

  it.effect("gives every request one outcome, and counts that return to zero", () =>
    Effect.gen(function* () {
      for (const policies of [rotating, Layer.empty]) {
        const report = yield* simulate(eventful, { policies })
        const [first] = report.strategies
        for (const strategy of report.strategies) {
          assert.strictEqual(strategy.requests, first!.requests, "all meet the same requests")
          assert.isAbove(strategy.failed, 0)
          assert.strictEqual(strategy.succeeded + strategy.failed, strategy.requests)
          assert.deepStrictEqual(strategy.left, { inFlight: 0, waiting: 0 })
          const sum = (of: (key: Lab.KeyReport) => number) =>
            strategy.keys.reduce((all, key) => all + of(key), 0)
          assert.strictEqual(
            sum(({ attempts }) => attempts),
            strategy.attempts
          )
          assert.strictEqual(
            sum(({ succeeded }) => succeeded),
            strategy.succeeded
          )
          const refused = Object.values(strategy.met).reduce((all, count) => all + count, 0)
          assert.strictEqual(refused, strategy.wasted)
          assert.closeTo(
            sum(({ spent }) => spent),
            strategy.cost,
            1e-4
          )
        }
      }
    })
  )

  it.effect("knows the mean load of a queue: Poisson arrivals times the mean service (Little's law)", () =>
    Effect.gen(function* () {
      const { requests, latency } = yield* only({
        ...plain,
        seconds: 2000,
        arrivals: { kind: "poisson", perSecond: 20 },
        requests: { seconds: { kind: "exponential", mean: 2 } }
      })
      // Four standard deviations of a Poisson count, and quantiles of the exponential distribution within 5 %.
      assert.closeTo(requests, 40_000, 4 * Math.sqrt(40_000))
      assert.closeTo(latency.p50, 2000 * Math.log(2), 70)
      assert.closeTo(latency.p95, 2000 * Math.log(20), 300)
    })
  )

  it.effect("refuses with 402 what a cap or a balance does not hold, and fills caps up at midnight", () =>
    Effect.gen(function* () {
      const scenario = {
        ...plain,
        seconds: 1200,
        startsAt: "2026-03-01T23:50:00Z",
        arrivals: { kind: "constant", perSecond: 1 },
        requests: { price: { request: 0.01 }, seconds: 0 },
        readings: { estimates: false, costs: false, everySeconds: 86_400 },
        keys: [{ id: "capped", cap: 1, resets: "daily" }]
      } satisfies Lab.ScenarioInput
      const daily = yield* only(scenario)
      assert.strictEqual(daily.succeeded, 200)
      const never = yield* only({ ...scenario, keys: [{ id: "capped", cap: 1 }] })
      assert.strictEqual(never.succeeded, 100)
      const empty = yield* only({
        ...scenario,
        accounts: [{ id: "poor", balance: 0.5 }],
        keys: [{ id: "a", account: "poor" }]
      })
      assert.strictEqual(empty.succeeded, 50)
      assert.isAbove(empty.met["402"] ?? 0, 0)
    })
  )

  it.effect("throttles an account beyond its requests a minute until the minute is over", () =>
    Effect.gen(function* () {
      const { errors, met, succeeded } = yield* only({
        ...plain,
        seconds: 120,
        accounts: [{ id: "one", requestsPerMinute: 100 }],
        keys: [
          { id: "a", account: "one" },
          { id: "b", account: "one" }
        ]
      })
      assert.strictEqual(succeeded, 200)
      // Those that begin together hear of it together; the pool knows it for all others.
      assert.isAtLeast(met["429"] ?? 0, 2)
      assert.isAtMost(met["429"] ?? 0, 40)
      assert.strictEqual(errors["NoEligibleKey"], 1000 - (met["429"] ?? 0))
    })
  )

  it.effect("keeps the prompts of an account for a while, and bills them less", () =>
    Effect.gen(function* () {
      const scenario = (cacheSeconds: number): Lab.ScenarioInput => ({
        ...plain,
        requests: {
          price: { prompt: 1000 },
          prompt: 1000,
          sessions: { count: 1, cacheSeconds, cachedPrice: 0.25 }
        },
        keys: [{ id: "a" }]
      })
      const kept = yield* only(scenario(60))
      assert.closeTo(kept.cacheHits ?? 0, 599 / 600, 1e-6)
      assert.closeTo(kept.cost, 1 + 599 * 0.25, 1e-6)
      assert.strictEqual((yield* only(scenario(0.05))).cacheHits, 0)
    })
  )

  it.effect("replays a trace", () =>
    Effect.gen(function* () {
      const requests = yield* Lab.trace(`{"at": 1, "seconds": 3}\n{"at": 2, "seconds": 5}\n\n{"at": 90}`)
      const { latency, requests: count } = yield* only({ ...plain, arrivals: { kind: "trace", requests } })
      assert.strictEqual(count, 2, "what comes behind the end is left out")
      assert.deepStrictEqual([latency.p50, latency.p99], [3000, 5000])
    })
  )

  it.effect("tells the time to the first token of streams, and strategies hear of it", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const watching: Selector.Selector = {
        name: "watching",
        make: Effect.succeed({
          pick: (candidates) => candidates[0],
          settled: (_, __, { answerMillis }) => void seen.push(answerMillis)
        })
      }
      const { answer, latency } = yield* only(
        { ...plain, requests: { firstToken: 0.5, seconds: 4 } },
        { strategies: { watching: Selector.layer(watching) } }
      )
      assert.deepStrictEqual([answer.p50, latency.p50], [500, 4000])
      assert.deepStrictEqual([...new Set(seen)], [500])
    })
  )

  it.effect("carries benches to other processes after the delay, and without a bus not at all", () =>
    Effect.gen(function* () {
      const scenario: Lab.ScenarioInput = {
        ...plain,
        processes: 4,
        arrivals: { kind: "constant", perSecond: 40 },
        faults: [{ key: "b", status: 401 }]
      }
      const alone = yield* only(scenario)
      assert.isAtLeast(alone.met["401"] ?? 0, 4)
      // What begins within the 50 ms until the first answer, and the 20 ms until that is told, meets it too.
      const told = yield* only({ ...scenario, facts: { everySeconds: 0.01 } })
      assert.isAtMost(told.met["401"] ?? 0, 2)
      const slowly = yield* only({ ...scenario, facts: { everySeconds: 0.01, lagSeconds: 30 } })
      assert.isAtLeast(slowly.met["401"] ?? 0, 4)
    })
  )

  it.effect("tells processes what the others have in flight and spend: a hundred of them meet no 402", () =>
    Effect.gen(function* () {
      // All want more than all caps hold, and each learns of the others seconds later.
      const scenario: Lab.ScenarioInput = {
        ...plain,
        seconds: 40,
        processes: 100,
        arrivals: { kind: "poisson", perSecond: 50 },
        requests: { seconds: 1, price: { request: 0.01 } },
        keys: ["a", "b", "c", "d"].map((id) => ({ id, cap: 4 })),
        faults: [{ key: "d", from: 10, status: 401 }]
      }
      const one = Effect.fnUntraced(function* (facts: Lab.ScenarioInput["facts"]) {
        const report = yield* only({ ...scenario, facts }, { balancer: { maxWait: "10 seconds" } })
        return { ...report, lastAfter: report.faults[0]!.lastAfter ?? 0 }
      })
      const alone = yield* one(undefined)
      const sharing = yield* one({ everySeconds: 1, lagSeconds: 1 })
      assert.isAbove(alone.met["402"] ?? 0, 100)
      assert.isUndefined(sharing.met["402"])
      assert.isTrue(sharing.keys.every(({ spent }) => spent <= 4))
      // What is left is in the parts that were set aside.
      assert.isAbove(sharing.cost, 6)
      assert.isAbove(alone.lastAfter, 5)
      assert.isBelow(sharing.lastAfter, 4)
      assert.deepStrictEqual(sharing.left, { inFlight: 0, waiting: 0 })
    })
  )

  it.effect("evens out what is in flight, as far as that is known in time", () =>
    Effect.gen(function* () {
      const spread = (facts: Lab.ScenarioInput["facts"]) =>
        Effect.map(
          simulate(
            {
              ...plain,
              seconds: 20,
              processes: 100,
              arrivals: { kind: "poisson", perSecond: 50 },
              requests: { seconds: { kind: "exponential", mean: 2 } },
              keys: ["a", "b", "c", "d"].map((id) => ({ id })),
              facts
            },
            { strategies: { least: strategies.least } }
          ),
          ({ strategies: [least] }) => least!.spread
        )
      const alone = yield* spread(undefined)
      assert.isBelow(yield* spread({ everySeconds: 0.05 }), 0.67 * alone)
      // All hear the same news, and none runs after it: what is older than a request says nothing.
      assert.isBelow(yield* spread({ everySeconds: 2, lagSeconds: 2 }), 1.1 * alone)
    })
  )

  it.effect("gives virtual time to layers, and to each process layers of its own", () =>
    Effect.gen(function* () {
      let built = 0
      const times: Array<number> = []
      const counting = Layer.effect(
        Selector.Selector,
        Effect.gen(function* () {
          built++
          const clock = yield* Clock.Clock
          yield* Effect.forkScoped(
            Effect.forever(
              Effect.andThen(
                Effect.sleep("20 seconds"),
                Effect.sync(() => void times.push(clock.currentTimeMillisUnsafe()))
              )
            )
          )
          return Selector.random
        })
      )
      yield* only({ ...plain, processes: 2, startsAt: "1970-01-01T00:00:00Z" }, { strategies: { counting } })
      assert.strictEqual(built, 2)
      assert.deepStrictEqual(times.slice(0, 4), [20_000, 20_000, 40_000, 40_000])
    })
  )

  it.effect("a selector that throws is a defect of the run", () =>
    Effect.gen(function* () {
      const broken = Selector.make("broken", () => {
        throw new Error("no idea")
      })
      const cause = yield* Effect.flip(
        Effect.sandbox(simulate(plain, { strategies: { broken: Selector.layer(broken) } }))
      )
      assert.include(Cause.pretty(cause), "no idea")
    })
  )

  it.effect("gives up who waits for ever", () =>
    Effect.gen(function* () {
      const stuck: Filter.Filter = () => ({
        reason: "saturated",
        scope: "key",
        since: undefined,
        until: undefined
      })
      const { errors, left, requests } = yield* only(plain, { balancer: { filters: [stuck] } })
      assert.deepStrictEqual(errors, { Unfinished: requests })
      assert.deepStrictEqual(left, { inFlight: 0, waiting: 0 })
    })
  )

  it.effect("says how soon a bad key was left alone, and when it was back", () =>
    Effect.gen(function* () {
      const scenario: Lab.ScenarioInput = {
        ...plain,
        seconds: 120,
        faults: [{ key: "b", from: 30, to: 60, status: 500 }]
      }
      const [ignorant] = (yield* only(scenario)).faults
      assert.strictEqual(ignorant?.isolatedAfter, undefined)
      assert.closeTo(ignorant?.share ?? 0, 0.5, 0.12)
      assert.isBelow(ignorant?.recoveredAfter ?? Infinity, 4)
      // Benched by its own Retry-After, it is left alone from the first answer on.
      const [told] = (yield* only({
        ...scenario,
        faults: [{ key: "b", from: 30, to: 60, status: 429, retryAfter: "end" }]
      })).faults
      assert.isBelow(told?.isolatedAfter ?? Infinity, 1)
      assert.isBelow(told?.share ?? 1, 0.02)
    })
  )
})

describe("Lab.decode", () => {
  const cases: ReadonlyArray<readonly [name: string, change: object, field: string, problem: string]> = [
    ["a number out of range", { seconds: 0 }, "seconds", "Expected a number from 1 to 604,800, got 0"],
    ["a number that is none", { seconds: "60" }, "seconds", "Expected a number from 1 to 604,800"],
    ["a missing field", { seconds: undefined }, "seconds", "Expected a number from 1 to 604,800"],
    ["no keys", { keys: [] }, "keys", "Expected a list of 1 to 1,000 keys, got []"],
    [
      "a part of a number",
      { processes: 1.5 },
      "processes",
      "Expected a whole number from 1 to 2,000, got 1.5"
    ],
    [
      "an arrival of no kind",
      { arrivals: { kind: "poison" } },
      "arrivals",
      'Expected a record of kind "poisson", "constant", "bursts" or "trace", got {"kind":"poison"}'
    ],
    [
      "a field inside of a kind",
      { arrivals: { kind: "poisson", perSecond: -1 } },
      "arrivals.perSecond",
      "Expected a number from 0.001 to 10,000, got -1"
    ],
    [
      "a field that there is not",
      { keys: [{ id: "a", weigth: 2 }] },
      "keys[0].weigth",
      "Unexpected key with value 2"
    ],
    [
      "a weight of nothing",
      { keys: [{ id: "a" }, { id: "b", weight: 0 }] },
      "keys[1].weight",
      "Expected a number from 0.001 to 1,000,000, got 0"
    ],
    [
      "the same key twice",
      { keys: [{ id: "a" }, { id: "a" }] },
      "keys[1].id",
      "Expected a name that no other has"
    ],
    ["an unknown account", { keys: [{ id: "a", account: "x" }] }, "keys[0].account", "there are none"],
    [
      "an unknown key",
      { faults: [{ key: "z", status: 500 }] },
      "faults[0].key",
      "Expected one of the keys: a, b"
    ],
    ["a fault of nothing", { faults: [{ key: "a" }] }, "faults[0].status", "Expected either status or slow"],
    [
      "a fault that ends before it begins",
      { faults: [{ key: "a", status: 500, from: 5, to: 5 }] },
      "faults[0].to",
      "Expected a number above from, which is 5"
    ],
    [
      "a reset without a cap",
      { keys: [{ id: "a", resets: "daily" }] },
      "keys[0].resets",
      "the key has no cap"
    ],
    [
      "a time that is none",
      { startsAt: "noon" },
      "startsAt",
      'Expected a time as 2026-01-01T00:00:00Z, got "noon"'
    ]
  ]
  for (const [name, change, field, problem] of cases) {
    it.effect(`names ${name}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Lab.decode(JSON.parse(JSON.stringify({ ...plain, ...change }))))
        assert.strictEqual(error.field, field)
        assert.include(error.problem, problem)
        assert.strictEqual(error.message, `Lab scenario: ${field}: ${error.problem}`)
      })
    )
  }

  it.effect("names the line of a trace", () =>
    Effect.gen(function* () {
      const field = (text: string) => Effect.map(Effect.flip(Lab.trace(text)), (error) => error.field)
      assert.strictEqual(yield* field(`{"at": 1}\n{"at": -1}`), "line 2: at")
      assert.strictEqual(yield* field(`{"at": 1}\n{"at": 0}`), "line 2: at")
      assert.strictEqual(yield* field(`{"at": 1}\n\n{`), "line 3")
    })
  )
})

describe("Lab.table and Lab.chart", () => {
  const report = simulate(
    { ...eventful, about: 'What < and & and "quotes" do', shows: ["failedShare", "isolatedAfter", "cost"] },
    { strategies: { "a<b&c|d": strategies.random, least: strategies.least } }
  )

  it.effect("a table has a row for each strategy and as many cells as columns", () =>
    Effect.gen(function* () {
      const lines = Lab.table(yield* report)
        .trimEnd()
        .split("\n")
      assert.lengthOf(lines, 4)
      assert.include(lines[0], "| failed |")
      assert.include(lines[2], "a<b&c\\|d")
      const cells = lines.map((line) => line.replaceAll("\\|", "").split("|").length)
      assert.deepStrictEqual(new Set(cells).size, 1)
    })
  )

  it.effect("a chart is well-formed, with a bar for each strategy in each panel", () =>
    Effect.gen(function* () {
      const svg = Lab.chart(yield* report)
      assert.strictEqual(svg.match(/class="(bar|best)"/g)?.length, 6)
      assert.include(svg, "a&lt;b&amp;c|d")
      assert.include(svg, "prefers-color-scheme: dark")
      // Every tag that opens closes, in order.
      const open: Array<string> = []
      for (const [, close, name, , self] of svg.matchAll(/<(\/?)(\w+)((?:\s[\w:-]+="[^"<]*")*)\s*(\/?)>/g)) {
        if (close === "/") assert.strictEqual(open.pop(), name)
        else if (self !== "/") open.push(name!)
      }
      assert.deepStrictEqual(open, [])
      assert.notMatch(svg.replaceAll(/&(amp|lt|gt|quot);/g, ""), /&/)
      assert.notInclude(svg, "NaN")
      assert.notInclude(svg, "undefined")
    })
  )
})
