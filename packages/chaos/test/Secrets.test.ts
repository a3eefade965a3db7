/**
 * Nothing that a program could see of a chaos run shows a secret, or a part of one, as it is or encoded.
 */
import { Churn, Load, Secrets, Seed, Storm, World } from "@evenkeel/chaos"
import { Simulator } from "@evenkeel/testkit"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"

const { actions, errors } = Simulator

/** Everything that the run has left, by what it is. */
const textsOf = Effect.fnUntraced(function* ({ records }: World.World) {
  const texts: Array<readonly [what: string, text: string]> = []
  const show = (what: string, value: unknown) => void texts.push([what, Secrets.textOf(value)])
  for (const line of records.logs) show("a log line", line)
  for (const { attributes, events, name, status } of records.spans)
    show("a span", { attributes: Array.from(attributes), events, name, status })
  for (const event of records.events) show("an event", event)
  for (const change of records.changes) show("a change of a circuit", change)
  for (const error of unlike(records.errors)) show("an error", error)
  for (const [what, value] of records.seen) show(what, value)
  show("the metrics", yield* records.metrics)
  return texts
})

/** A few of each kind: a thousand alike take long to be written out. */
const unlike = (errors: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  const seen = new Map<string, number>()
  return errors.filter((error) => {
    const kind = String(error).replaceAll(/\d+/g, "").slice(0, 60)
    seen.set(kind, (seen.get(kind) ?? 0) + 1)
    return seen.get(kind)! <= 3
  })
}

describe(`secrets, with EVENKEEL_SEED=${Seed.seed}:`, () => {
  it("the search finds a secret, and a part of one, wherever it hides and however it is written", () => {
    const secret = Secrets.secretOf("planted")
    const find = Secrets.finder([secret])
    const encoded = Buffer.from(`Bearer ${secret}`)
    const places: ReadonlyArray<unknown> = [
      secret,
      secret.slice(20, 28),
      { a: { b: { c: [new Map([["d", secret]])] } } },
      new Error("outer", { cause: new Error(secret) }),
      Object.defineProperty({}, "hidden", { value: secret, enumerable: false }),
      encodeURIComponent(secret),
      `https://example.org/?key=${encodeURIComponent(secret)}`,
      encoded.toString("base64"),
      encoded.toString("base64url"),
      Buffer.from(`x${secret}`).toString("base64"),
      Buffer.from(secret).toString("hex"),
      JSON.stringify({ headers: { authorization: `Bearer ${secret}` } })
    ]
    for (const [n, place] of places.entries())
      assert.isAbove(find(Secrets.textOf(place)).length, 0, `of place ${n}`)
    assert.deepStrictEqual(
      find(Secrets.textOf({ secret: Secrets.secretOf("another"), part: secret.slice(20, 27) })),
      []
    )
  })

  it.live("no log line, span, metric, error, event, snapshot or explanation of a chaos run shows one", () =>
    Effect.gen(function* () {
      const world = yield* World.make({ seed: Seed.seed, pacing: { account: { maxInFlight: 20 } } })
      const { balancer, circuits, openrouter, pool, records, simulator } = world
      const see = (what: string, value: unknown) => void records.seen.push([what, value])
      const look = Effect.gen(function* () {
        see("a snapshot of the pool", yield* pool.snapshot)
        see("an explanation", yield* balancer.explain({ upstream: Load.model }))
        see("the circuits", yield* circuits.troubled)
        see("what is saved of circuits", yield* circuits.persist)
      })
      yield* records.recording(
        balancer.use((lease) => {
          see("a lease", lease)
          return Effect.logInfo("In use", lease, lease.key, pool)
        })
      )
      yield* Storm.begin(world, {
        actions: [
          actions.reset,
          actions.cut(),
          actions.hang(),
          actions.garbage,
          actions.midStreamError(),
          actions.truncate(),
          actions.stall("2 seconds"),
          errors.revoked(),
          errors.edgeHtml(502),
          errors.upstream429(),
          errors.moderation403(),
          errors.keyLimit403()
        ],
        over: 300
      })
      const churn = yield* Effect.forkChild(Churn.run(world))
      const watch = yield* Effect.forkChild(Effect.forever(Effect.andThen(look, Effect.sleep(100))))
      yield* simulator.revoke("b1")
      yield* Load.run(world, { requests: 500, concurrency: 16 })
      yield* Fiber.interruptAll([churn, watch])
      yield* records.recording(
        Effect.gen(function* () {
          see("what is known of the keys", yield* openrouter.keys)
          see("the keys", yield* pool.keys)
          const again = yield* Effect.exit(pool.add({ id: "again", secret: world.secrets[0]! }))
          const bad = yield* Effect.exit(pool.add({ id: "bad", secret: `${world.secrets[0]} x` }))
          for (const exit of [again, bad, yield* Effect.exit(openrouter.key("b1"))]) see("a refusal", exit)
        })
      )
      yield* look
      for (const service of [pool, balancer, openrouter, circuits]) see("a service", service)

      const texts = yield* textsOf(world)
      const kinds = new Set(texts.map(([what]) => what))
      for (const what of [
        "a log line",
        "a span",
        "an event",
        "an error",
        "an explanation",
        "a lease",
        "a service"
      ])
        assert.isTrue(kinds.has(what), `there was ${what} to look at`)
      const find = Secrets.finder(world.secrets)
      const leaks = texts.flatMap(([what, text]) =>
        find(text).length === 0 ? [] : [`${what}: ${text.slice(0, 200)}`]
      )
      assert.deepStrictEqual(leaks.slice(0, 5), [])
    })
  )
})
