/**
 * Chaos runs over real HTTP. What must hold at the end of each stands in `Invariants`.
 */
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, type Scope } from "effect"
import { Churn, Invariants, Load, Seed, Storm, World } from "@evenkeel/chaos"

const { actions, errors } = Simulator

/** Runs a world, and checks what must hold at its end and what else the body finds. */
const chaos = (
  options: Omit<World.Options, "seed">,
  body: (world: World.World) => Effect.Effect<ReadonlyArray<Load.Asked>, unknown, Scope.Scope>
) =>
  Effect.gen(function* () {
    const world = yield* World.make({ ...options, seed: Seed.seed })
    const asked = yield* body(world)
    assert.deepStrictEqual(yield* Invariants.check(world, asked), [])
    return { asked, world }
  })

const count = (asked: ReadonlyArray<Load.Asked>, ending: Load.Asked["ending"]) =>
  asked.filter((one) => one.ending === ending).length

/** What requests failed with, for the message of a test that expects none. */
const failures = (asked: ReadonlyArray<Load.Asked>) =>
  asked.flatMap(({ ending, error, kind }) => (ending === "answered" ? [] : [`${kind}: ${String(error)}`]))

/** Where nothing is slow but the machine, nothing may fail for it. */
const unhurried = { timeout: "20 seconds", idleTimeout: "20 seconds" } as const

const load = { requests: 1200, concurrency: 32 }

/** Far longer than a run takes, unless something hangs. */
const limit = 120_000

const lost: Storm.Options["actions"] = [actions.reset, actions.cut(), actions.cut({ afterChunks: 3 })]
const silent: Storm.Options["actions"] = [
  actions.stall(),
  actions.stall("20 millis"),
  actions.hang(),
  actions.hang({ afterChunks: 4 })
]
const strange: Storm.Options["actions"] = [
  actions.garbage,
  actions.okWithErrorBody(),
  actions.choiceError(),
  actions.firstEventError(),
  actions.midStreamError(),
  actions.truncate(),
  errors.edgeHtml(502),
  errors.edgeHtml(524),
  actions.status(500, "<html>")
]
const slow: Storm.Options["actions"] = [actions.slowBody("2 millis"), actions.slowBody("10 millis")]
const throttling: Storm.Options["actions"] = [
  errors.upstream429(),
  errors.upstream429({ retryAfter: 1 }),
  errors.capacity429({ retryAfter: 0 }),
  errors.edgeHtml(429, { retryAfter: 0 }),
  errors.inFlightBudget402({ retryAfter: 0 })
]

describe(`chaos, with EVENKEEL_SEED=${Seed.seed}:`, () => {
  const storms = {
    resets: lost,
    stalls: silent,
    "HTML and garbage": strange,
    "slow bodies": slow,
    "a storm of 429s": throttling
  }
  for (const [name, actions] of Object.entries(storms)) {
    it.live(
      name,
      () =>
        Effect.gen(function* () {
          const { asked, world } = yield* chaos({}, (world) =>
            Effect.andThen(Storm.begin(world, { actions }), Load.run(world, load))
          )
          // It was a storm, and yet most requests were answered.
          const hit = (yield* world.simulator.requests).filter(({ fault }) => fault !== undefined)
          assert.isAbove(hit.length, 20)
          assert.isAbove(count(asked, "answered"), load.requests / 3)
        }),
      limit
    )
  }

  it.live(
    "one of three accounts dead: at most 1 % of the traffic meets it",
    () =>
      Effect.gen(function* () {
        const { asked, world } = yield* chaos({ ...unhurried, accounts: { b: { balance: 0 } } }, (world) =>
          Effect.gen(function* () {
            const asked = yield* Load.run(world, { requests: 2000, concurrency: 24, mix: Load.patient })
            assert.isAtMost(yield* Invariants.shareOf(world, ["b1", "b2"]), 0.01)
            return asked
          })
        )
        assert.deepStrictEqual(failures(asked), [])
        assert.isAbove(world.records.events.filter(({ _tag }) => _tag === "Rotated").length, 0)
      }),
    limit
  )

  it.live(
    "one revoked key: at most 1 % of the traffic meets it, and nobody notices",
    () =>
      Effect.gen(function* () {
        const { asked } = yield* chaos(unhurried, (world) =>
          Effect.gen(function* () {
            yield* world.simulator.revoke("c1")
            const asked = yield* Load.run(world, { requests: 2000, concurrency: 24, mix: Load.patient })
            assert.isAtMost(yield* Invariants.shareOf(world, ["c1"]), 0.01)
            return asked
          })
        )
        assert.deepStrictEqual(failures(asked), [])
      }),
    limit
  )

  const outages = {
    "an upstream that is down": {
      action: errors.unavailable503(),
      circuit: { scope: "upstream", id: Load.model }
    },
    "a host that is down": { action: actions.reset, circuit: { scope: "host", id: "host" } }
  } as const
  for (const [name, { action, circuit }] of Object.entries(outages)) {
    it.live(
      `${name} and back: it serves again within one probe interval`,
      () =>
        chaos({}, (world) =>
          Effect.gen(function* () {
            const { circuits, simulator } = world
            const lag = yield* Load.lag
            const outage = yield* simulator.fault({ action })
            const running = yield* Effect.forkChild(
              Load.run(world, { requests: 600, concurrency: 16, mix: Load.patient }),
              {
                startImmediately: true
              }
            )
            const probes = () =>
              world.records.changes.filter(({ id, to }) => id === circuit.id && to === "HalfOpen")
            // Long enough for a probe to have failed, and the circuit to be open again.
            yield* Load.eventually(Effect.sync(probes), (probes) => probes.length > 0)
            yield* Load.eventually(circuits.state(circuit), (state) => state._tag === "Open")
            const [before, probed] = [yield* outage.hits, probes().length]
            yield* outage.remove
            const back = yield* Load.now
            const asked = yield* Fiber.join(running)
            // While it was down it was left alone: ten to open the circuit, what was in flight then, and one for each probe.
            assert.isAtMost(before, 10 + 16 + probed + 1)
            const first = Load.firstSuccess(world, back)
            assert.isDefined(first)
            // The interval, and what timers of a busy machine come late.
            assert.isAtMost(first! - back, World.probeInterval + 50 + lag.worst)
            assert.isAbove(count(asked, "answered"), 300)
            return asked
          })
        ),
      limit
    )
  }

  it.live(
    "everything at once, and keys that come and go",
    () =>
      Effect.gen(function* () {
        const { asked, world } = yield* chaos(
          {
            pacing: { account: { maxInFlight: 20 } },
            hedge: { minDelay: "20 millis" },
            timeout: "3 seconds"
          },
          (world) =>
            Effect.gen(function* () {
              const { simulator } = world
              yield* Storm.begin(world, {
                actions: [...lost, ...silent, ...strange, ...slow, ...throttling],
                gusts: 30
              })
              // The readings of credit go the same way.
              yield* Storm.begin(world, {
                actions: [actions.reset, ...strange],
                match: { path: ["/key", "/models"] },
                over: 10
              })
              const churn = yield* Effect.forkChild(Churn.run(world))
              const trouble = yield* Effect.forkChild(
                Effect.gen(function* () {
                  yield* simulator.waitUntil(({ keys }) => keys.reduce((sum, { ok }) => sum + ok, 0) >= 200)
                  yield* simulator.revoke("b2")
                  yield* simulator.setAccount("c", { balance: 0 })
                  yield* simulator.waitUntil(({ keys }) => keys.reduce((sum, { ok }) => sum + ok, 0) >= 500)
                  yield* simulator.restore("b2")
                  yield* simulator.setAccount("c", { balance: 100 })
                })
              )
              const asked = yield* Load.run(world, load)
              yield* Fiber.interruptAll([churn, trouble])
              return asked
            })
        )
        assert.isAbove(count(asked, "answered"), load.requests / 4)
        assert.isAbove(world.records.events.filter(({ _tag }) => _tag === "KeyRemoved").length, 3)
      }),
    limit
  )
})
