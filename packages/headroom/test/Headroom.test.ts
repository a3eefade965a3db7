import { Balancer, KeyPool, type Candidate } from "@evenkeel/core"
import { Headroom } from "@evenkeel/headroom"
import { SelectorLaws } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Pacing } from "@evenkeel/pacing"
import { Effect, Layer, Random } from "effect"

const key = (id: string, weight = 1): Candidate.Candidate => ({
  id,
  account: undefined,
  workspace: undefined,
  weight,
  tier: 0,
  labels: {},
  inFlight: 0,
  maxInFlight: Infinity,
  credit: undefined,
  latency: undefined
})

type Left = Record<string, Candidate.Headroom | undefined>

/** Shares of 20,000 picks over keys a and b. */
const shares = (
  left: Left,
  options: { readonly tokens?: number; readonly weights?: readonly [number, number] } = {}
) =>
  Effect.gen(function* () {
    const picker = yield* Headroom.make().make
    const random = yield* Random.Random
    const [a, b] = options.weights ?? [1, 1]
    const context: Candidate.PickContext = {
      attempt: 0,
      nowMillis: 0,
      random: () => random.nextDoubleUnsafe(),
      affinity: undefined,
      upstream: undefined,
      tokens: options.tokens,
      estimate: undefined,
      headroom: ({ id }) => left[id]
    }
    let first = 0
    for (let i = 0; i < 20_000; i++) if (picker.pick([key("a", a), key("b", b)], context).id === "a") first++
    return first / 20_000
  }).pipe(Effect.scoped, Random.withSeed("headroom"))

const of = (requests: number | undefined, tokens?: number): Candidate.Headroom => ({ requests, tokens })

/** 4 sigma of a share of one half over 20,000 picks. */
const sigma4 = 4 * Math.sqrt(0.25 / 20_000)

const close = (wanted: number) => (share: number) => assert.closeTo(share, wanted, sigma4)

describe("Headroom", () => {
  it.effect("draws in proportion to the requests that are left", () =>
    Effect.map(shares({ a: of(180), b: of(20) }), close(0.9))
  )

  it.effect("and to weight", () =>
    Effect.map(shares({ a: of(50), b: of(50) }, { weights: [3, 1] }), close(0.75))
  )

  it.effect("tokens count in requests like the one at hand", () =>
    Effect.map(shares({ a: of(1000, 30_000), b: of(10) }, { tokens: 1000 }), close(0.75))
  )

  it.effect("a key without a limit counts as the mean of the others", () =>
    Effect.map(shares({ a: undefined, b: of(25) }), close(0.5))
  )

  it.effect("a key with nothing left is not drawn while another has something", () =>
    Effect.map(shares({ a: of(0), b: of(1) }), (a) => assert.strictEqual(a, 0))
  )

  it.effect("when nothing is left anywhere, weights decide", () =>
    Effect.map(shares({ a: of(0), b: of(0) }, { weights: [3, 1] }), close(0.75))
  )

  it.effect("without a limiter weights decide", () =>
    Effect.map(shares({}, { weights: [1, 3] }), close(0.25))
  )

  it.effect("with a limiter accounts run dry together", () =>
    Effect.gen(function* () {
      const balancer = yield* Balancer.Balancer
      const use = balancer.use((lease) => Effect.succeed(lease.key.id))
      const ids = yield* Effect.replicateEffect(use, 110)
      // 20 and 200 at once: of 110 requests a tenth and a bit are the small one's, and neither has refused any.
      const small = ids.filter((id) => id === "s").length
      assert.closeTo(small, 10, 4 * Math.sqrt(10))
      const { keys } = yield* balancer.explain()
      assert.deepStrictEqual(
        keys.map((key) => key.eligible && key.keyId),
        ["s", "l"]
      )
    }).pipe(
      Effect.provide(
        Balancer.layer.pipe(
          Layer.provide([
            Headroom.layer(),
            Pacing.layer({
              accounts: {
                small: { requestsPerMinute: 20, burst: 20 },
                large: { requestsPerMinute: 200, burst: 200 }
              }
            })
          ]),
          Layer.provide(
            KeyPool.layer({
              keys: [
                { id: "s", account: "small", secret: "sk-0000001" },
                { id: "l", account: "large", secret: "sk-0000002" }
              ]
            })
          )
        )
      ),
      Random.withSeed("headroom")
    )
  )
})

describe("the laws", () => {
  it.effect("are kept", () => SelectorLaws.check(Headroom.make(), { fair: true, weighted: true }), 60_000)
})
