import { assert, describe, it } from "@effect/vitest"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { Errors, Outcome, RetryPolicy } from "@evenkeel/core"
import { Context, Duration, Effect, Exit, Fiber, Layer, Metric, Redacted, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { PrometheusMetrics } from "effect/observability"
import { Metrics } from "@evenkeel/telemetry"
import { balancing, hello, model, scrape, using } from "./utils.ts"

const ok = Effect.void
const fault = (reason: Outcome.FaultReason, more: object = {}) =>
  new Errors.Fault({ outcome: Outcome.faulted({ scope: "key", reason, ...more }) })

/** Of a scrape, the series whose names begin so. */
const of = (samples: ReadonlyMap<string, number>, ...names: ReadonlyArray<string>) =>
  Object.fromEntries(
    [...samples].filter(([series]) => names.some((name) => series.startsWith(`evenkeel_${name}`)))
  )

describe("counts", () => {
  it.effect("requests and attempts, by what became of them", () => {
    const retry: RetryPolicy.RetryPolicy = {
      ...RetryPolicy.never,
      start: Effect.succeed({
        decide: ({ attempt }) =>
          Effect.succeed(attempt === 0 ? RetryPolicy.rotate : RetryPolicy.retry(Duration.millis(500)))
      })
    }
    const keys = [
      { id: "a", secret: "sk-0000001", account: "acme" },
      { id: "b", secret: "sk-0000002" }
    ]
    return balancing({ keys, retry }, function* ({ balancer }) {
      let n = 0
      const use = Effect.suspend(() => (++n < 3 ? fault("unavailable", { class: "down" }) : ok))
      const fiber = yield* Effect.forkChild(
        balancer.use(() => use, { upstream: "m" }),
        {
          startImmediately: true
        }
      )
      yield* TestClock.adjust(500)
      yield* Fiber.join(fiber)
      yield* Effect.exit(balancer.use(() => Effect.fail("mine")))
      yield* Effect.exit(balancer.use(() => ok, { filter: () => no }))
      yield* Effect.forkChild(Effect.exit(balancer.use(() => Effect.never, { timeout: 100 })), {
        startImmediately: true
      })
      yield* TestClock.adjust(100)
      const samples = yield* scrape
      assert.deepStrictEqual(of(samples, "requests_total", "attempts_total", "rotations", "retries"), {
        'evenkeel_requests_total{model="m",outcome="answered",class="none"}': 1,
        'evenkeel_requests_total{model="none",outcome="failed",class="none"}': 1,
        'evenkeel_requests_total{model="none",outcome="refused",class="none"}': 1,
        'evenkeel_requests_total{model="none",outcome="timed-out",class="none"}': 1,
        'evenkeel_attempts_total{key="a",account="acme",model="m",outcome="fault",class="down"}': 1,
        'evenkeel_attempts_total{key="b",account="none",model="m",outcome="fault",class="down"}': 1,
        'evenkeel_attempts_total{key="a",account="acme",model="m",outcome="success",class="none"}': 1,
        'evenkeel_attempts_total{key="a",account="acme",model="none",outcome="ignored",class="none"}': 2,
        'evenkeel_rotations_total{key="a",account="acme",class="down"}': 1,
        'evenkeel_retries_total{key="b",account="none",class="down"}': 1
      })
      assert.deepInclude(Object.fromEntries(samples), {
        'evenkeel_request_duration_seconds_sum{model="m",outcome="answered"}': 0.5,
        'evenkeel_request_duration_seconds_count{model="m",outcome="answered"}': 1,
        'evenkeel_request_duration_seconds_bucket{model="m",outcome="answered",le="0.32"}': 0,
        'evenkeel_request_duration_seconds_bucket{model="m",outcome="answered",le="0.64"}': 1,
        'evenkeel_wait_duration_seconds_sum{model="m"}': 0.5,
        'evenkeel_attempt_duration_seconds_sum{key="a",account="acme",outcome="ignored"}': 0.1
      })
    })
  })

  it.live("tokens, cost and the first token of real answers", () =>
    using(quick, function* (world) {
      yield* world.openrouter.chat(hello)
      yield* Stream.runDrain(world.openrouter.chatStream(hello))
      const samples = yield* scrape
      const labels = `key="a",account="acme",model="${model}"`
      assert.deepStrictEqual(of(samples, "tokens_total", "cached_tokens"), {
        [`evenkeel_tokens_total{${labels},type="input"}`]: 4,
        [`evenkeel_tokens_total{${labels},type="output"}`]: 8,
        [`evenkeel_cached_tokens_total{${labels}}`]: 0
      })
      assert.closeTo(samples.get(`evenkeel_cost_usd_total{${labels}}`)!, 0.0000054, 1e-12)
      assert.strictEqual(samples.get(`evenkeel_time_to_first_token_seconds_count{model="${model}"}`), 1)
      assert.isAbove(samples.get(`evenkeel_time_to_first_token_seconds_sum{model="${model}"}`)!, 0.001)
    })
  )

  it.effect("miss nothing, however many requests come at once", () =>
    balancing({ keys: ["sk-0000001"] }, function* ({ balancer }) {
      yield* Effect.forEach(Array.from({ length: 5000 }), () => balancer.use(() => ok), {
        concurrency: "unbounded",
        discard: true
      })
      const samples = of(yield* scrape, "requests_total")
      assert.deepStrictEqual(Object.values(samples), [5000])
    })
  )
})

describe("labels", () => {
  const use = (models: ReadonlyArray<string>, metrics: Metrics.Options) =>
    balancing({ keys: ["sk-0000001"], telemetry: { metrics } }, function* ({ balancer }) {
      for (const upstream of models) yield* balancer.use(() => ok, { upstream })
      return Object.keys(of(yield* scrape, "requests_total")).map(
        (series) => /model="([^"]*)"/.exec(series)![1]
      )
    })

  it.effect("are bounded: of models the first have their own, and those that are named", () =>
    Effect.gen(function* () {
      const models = Array.from({ length: 1000 }, (_, n) => `m${n}`)
      assert.deepStrictEqual(yield* use(models, { maxModels: 2 }), ["m0", "m1", "other"])
      assert.deepStrictEqual(yield* use(models, { maxModels: 1, models: ["m900"] }), ["m0", "other", "m900"])
      assert.deepStrictEqual(yield* use(models, { maxModels: 0 }), ["other"])
      assert.lengthOf(yield* use(models, {}), 101)
      assert.deepStrictEqual(yield* use(["x".repeat(201)], {}), ["other"])
    })
  )

  it.effect("of a bad option name it and its range", () =>
    Effect.gen(function* () {
      for (const maxModels of [-1, 1.5, NaN]) {
        const exit = yield* Effect.exit(use([], { maxModels }))
        assert.match(String(exit), /Metrics: maxModels must be a whole number from 0 up/)
      }
    })
  )

  it.effect("of a key that leaves the pool leave with it, and stay away", () => {
    const keys = [
      { id: "a", secret: "sk-0000001" },
      { id: "b", secret: "sk-0000002" }
    ]
    return balancing({ keys }, function* ({ balancer, pool }) {
      const late = yield* Effect.forkChild(
        balancer.use(() => Effect.sleep(100)),
        { startImmediately: true }
      )
      yield* balancer.use(() => ok)
      yield* Effect.exit(balancer.use(() => fault("throttled")))
      yield* pool.credit("a", { remaining: 5, limit: 10 })
      assert.isAbove([...(yield* scrape).keys()].filter((name) => name.includes('key="a"')).length, 20)
      yield* pool.remove("a")
      yield* TestClock.adjust(100)
      yield* Fiber.join(late)
      const left = [...(yield* scrape).keys()]
      assert.deepStrictEqual(
        left.filter((name) => name.includes('key="a"')),
        []
      )
      assert.isAbove(left.filter((name) => name.includes('key="b"')).length, 5)
      // Back again, it begins anew.
      yield* pool.add({ id: "a", secret: "sk-0000001" })
      assert.strictEqual((yield* scrape).get('evenkeel_key_state{key="a",account="none",state="ready"}'), 1)
    })
  })

  it.live("never hold a secret", () =>
    using({ simulator: { keys: [{ name: "a" }, { name: "b" }] } }, function* (world) {
      yield* world.simulator.revoke("a")
      yield* world.openrouter.chat(hello)
      const text = yield* PrometheusMetrics.format()
      for (const { secret } of world.simulator.keys) assert.notInclude(text, Redacted.value(secret).slice(-8))
    })
  )
})

describe("gauges", () => {
  it.effect("are read at the scrape: in flight, waiting, state, credit", () => {
    const keys = [{ id: "a", secret: "sk-0000001", account: "acme", maxInFlight: 1 }]
    return balancing({ keys }, function* ({ balancer, pool }) {
      const a = 'key="a",account="acme"'
      const state = (samples: ReadonlyMap<string, number>) =>
        Metrics.states.filter((name) => samples.get(`evenkeel_key_state{${a},state="${name}"}`) === 1)
      let samples = yield* scrape
      assert.deepStrictEqual(state(samples), ["ready"])
      assert.deepStrictEqual(of(samples, "key_in", "key_max", "key_credit", "key_latency", "waiting"), {
        [`evenkeel_key_in_flight{${a}}`]: 0,
        [`evenkeel_key_max_in_flight{${a}}`]: 1,
        evenkeel_waiting: 0
      })
      const one = yield* Effect.forkChild(
        balancer.use(() => Effect.sleep(1000)),
        { startImmediately: true }
      )
      const two = yield* Effect.forkChild(
        balancer.use(() => Effect.sleep(1000)),
        { startImmediately: true }
      )
      yield* pool.credit("a", { remaining: 5, limit: 10 })
      yield* TestClock.adjust(500)
      samples = yield* scrape
      assert.deepStrictEqual(state(samples), ["busy"])
      assert.deepInclude(Object.fromEntries(samples), {
        [`evenkeel_key_in_flight{${a}}`]: 1,
        evenkeel_waiting: 1,
        [`evenkeel_key_credit_usd{${a}}`]: 5,
        [`evenkeel_key_credit_limit_usd{${a}}`]: 10,
        [`evenkeel_key_credit_age_seconds{${a}}`]: 0.5
      })
      yield* TestClock.adjust(1500)
      yield* Fiber.join(one)
      yield* Fiber.join(two)
      yield* Effect.exit(balancer.use(() => fault("rejected")))
      // A key that has no cap any more has no series for its credit.
      yield* pool.credit("a", { remaining: undefined })
      samples = yield* scrape
      assert.deepStrictEqual(state(samples), ["rejected"])
      assert.deepStrictEqual(of(samples, "key_credit_usd", "key_credit_limit", "key_latency", "benches"), {
        [`evenkeel_key_latency_seconds{${a}}`]: 1,
        'evenkeel_benches_total{scope="key",reason="rejected"}': 1
      })
      yield* pool.change("a", { account: "other" })
      samples = yield* scrape
      assert.strictEqual(samples.get('evenkeel_key_state{key="a",account="other",state="rejected"}'), 1)
      assert.deepStrictEqual(
        [...samples.keys()].filter((name) => name.startsWith(`evenkeel_key_state{${a}`)),
        []
      )
    })
  })

  it.live("show benches that belong to no key, and circuits where they are given", () => {
    const circuits = Effect.flatMap(CircuitBreaker.CircuitBreaker, ({ troubled }) => troubled)
    return using(
      { simulator: { keys: [{ name: "a" }] }, telemetry: { metrics: { circuits } } },
      function* ({ circuits, pool }) {
        yield* pool.bench({ scope: "upstream", id: "m", reason: "throttled", for: "1 minute" })
        yield* circuits.open({ scope: "upstream", id: "n" }, "1 minute")
        yield* circuits.open("a", "1 minute")
        const samples = yield* scrape
        assert.strictEqual(samples.get('evenkeel_benched{scope="upstream"}'), 1)
        assert.strictEqual(samples.get('evenkeel_benched{scope="host"}'), 0)
        assert.strictEqual(samples.get('evenkeel_circuits{scope="upstream",state="open"}'), 1)
        assert.strictEqual(samples.get('evenkeel_circuits{scope="key",state="half-open"}'), 0)
        const states = [...samples].filter(
          ([name, value]) => name.startsWith("evenkeel_key_state") && value === 1
        )
        assert.lengthOf(states, 1)
        assert.include(states[0]![0], 'state="unavailable"')
      }
    )
  })

  it.effect("go with the scope, and the counts stay for a last export", () =>
    balancing({ keys: ["sk-0000001"], telemetry: { metrics: false } }, function* ({ balancer, pool }) {
      const scope = yield* Scope.make()
      const { KeyPool, Balancer } = yield* Effect.promise(() => import("@evenkeel/core"))
      const services = Context.make(KeyPool.KeyPool, pool).pipe(Context.add(Balancer.Balancer, balancer))
      yield* Layer.buildWithScope(Layer.provide(Metrics.layer(), Layer.succeedContext(services)), scope)
      yield* balancer.use(() => ok)
      assert.isTrue((yield* scrape).has("evenkeel_waiting"))
      yield* Scope.close(scope, Exit.void)
      const samples = yield* scrape
      assert.deepStrictEqual(of(samples, "key_", "waiting", "benched"), {})
      assert.deepStrictEqual(Object.values(of(samples, "requests_total")), [1])
      yield* balancer.use(() => ok)
      assert.deepStrictEqual(Object.values(of(yield* scrape, "requests_total")), [1])
    })
  )

  it.effect("carry the attributes of their surroundings", () =>
    balancing({ keys: ["sk-0000001"] }, function* ({ balancer }) {
      yield* balancer.use(() => ok)
      assert.include([...(yield* scrape).keys()], 'evenkeel_waiting{pool="batch"}')
      for (const name of (yield* scrape).keys()) assert.include(name, 'pool="batch"')
    }).pipe(Effect.provideService(Metric.CurrentMetricAttributes, { pool: "batch" }))
  )
})

const quick = {
  simulator: { keys: [{ name: "a" }], chunkDelay: "2 millis" },
  traits: { a: { account: "acme" } }
} as const

const no = { reason: "elsewhere", scope: "request", since: undefined, until: undefined } as const
