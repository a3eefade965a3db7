import { Key } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { failureOf, leaksOf, rngOf, secretOf, textOf } from "./utils.ts"

const refused = (inputs: ReadonlyArray<Key.Input>) => failureOf(Key.makeAll(inputs))

describe("Key", () => {
  it.effect("a secret alone makes a key with the defaults", () =>
    Effect.gen(function* () {
      const key = yield* Key.make(secretOf("a"))
      const { id, secret, ...rest } = key
      assert.deepStrictEqual(rest, {
        account: undefined,
        workspace: undefined,
        weight: 1,
        tier: 0,
        maxInFlight: Infinity,
        labels: {}
      })
      assert.match(id, /^[0-9a-f]{10}$/)
      assert.strictEqual(Redacted.value(secret), secretOf("a"))
    })
  )

  it.effect("a redacted secret, a record and a secret with white space around it make the same key", () =>
    Effect.gen(function* () {
      const secret = secretOf("a")
      const made = yield* Effect.forEach(
        [secret, Redacted.make(secret), { secret }, { secret: Redacted.make(secret) }, ` ${secret}\n`],
        (input) => Key.make(input)
      )
      for (const key of made) {
        assert.strictEqual(key.id, made[0]!.id)
        assert.strictEqual(Redacted.value(key.secret), secret)
      }
    })
  )

  it.effect("the id of a secret is the same at each call, and of another secret another", () =>
    Effect.gen(function* () {
      const ids = yield* Effect.forEach(Array.from({ length: 100 }), (_, n) =>
        Effect.map(Effect.all([Key.make(secretOf(`k${n}`)), Key.make(secretOf(`k${n}`))]), ([one, two]) => {
          assert.strictEqual(one.id, two.id)
          return one.id
        })
      )
      assert.strictEqual(new Set(ids).size, 100)
      // Written down, so that a release that changes the ids of all keys does not go unnoticed.
      assert.strictEqual((yield* Key.make("sk-or-v1-0000")).id, "9078f5ca38")
    })
  )

  it.effect("the id contains no run of 6 characters of the secret", () =>
    Effect.gen(function* () {
      for (let n = 0; n < 200; n++) {
        const key = yield* Key.make(secretOf(`k${n}`))
        assert.deepStrictEqual(leaksOf(key.id, secretOf(`k${n}`)), [])
      }
    })
  )

  it.effect("an id of one's own is kept, unless it contains a part of the secret", () =>
    Effect.gen(function* () {
      const secret = secretOf("a")
      assert.strictEqual((yield* Key.make({ secret, id: "production/eu" })).id, "production/eu")
      // The public prefix, and runs too short to tell anything, may be in an id.
      assert.strictEqual((yield* Key.make({ secret, id: "sk-or-v1-mine" })).id, "sk-or-v1-mine")
      assert.strictEqual((yield* Key.make({ secret, id: secret.slice(-5) })).id, secret.slice(-5))
      for (const id of [secret, secret.slice(-6), `key ${secret.slice(20, 26)}`]) {
        const error = yield* failureOf(Key.make({ secret, id: id.slice(0, 64) }))
        assert.strictEqual(error.field, "id")
        assert.deepStrictEqual(leaksOf(textOf(error), secret), [])
      }
    })
  )

  it.effect("fields that are out of range are refused by name, with what is allowed", () =>
    Effect.gen(function* () {
      const secret = secretOf("a")
      const bad: ReadonlyArray<readonly [string, object]> = [
        ["weight", { weight: 0 }],
        ["weight", { weight: -1 }],
        ["weight", { weight: Infinity }],
        ["weight", { weight: NaN }],
        ["weight", { weight: "2" }],
        ["tier", { tier: -1 }],
        ["tier", { tier: 1.5 }],
        ["maxInFlight", { maxInFlight: 0 }],
        ["maxInFlight", { maxInFlight: 2.5 }],
        ["maxInFlight", { maxInFlight: NaN }],
        ["account", { account: "" }],
        ["workspace", { workspace: 7 }],
        ["labels", { labels: { team: 1 } }],
        ["id", { id: "" }],
        ["id", { id: "x".repeat(65) }],
        ["secret", { secret: "" }],
        ["secret", { secret: " \n" }],
        ["secret", { secret: undefined }],
        ["secret", { secret: "two words" }],
        ["secret", { secret: "zwölf" }]
      ]
      for (const [field, traits] of bad) {
        const error = yield* failureOf(Key.make({ secret, ...traits } as Key.Input))
        assert.strictEqual(error._tag, "InvalidKey")
        assert.strictEqual(error.field, field, JSON.stringify(traits))
        assert.isTrue(error.message.startsWith(`${field} must be `), error.message)
      }
      for (const input of [null, undefined, 7]) {
        assert.strictEqual((yield* failureOf(Key.make(input as never))).field, "secret")
      }
      const fine = {
        weight: 0.1,
        tier: 3,
        maxInFlight: 1,
        account: "A",
        workspace: "w",
        labels: { team: "x" }
      }
      const { id: _, secret: __, ...traits } = yield* Key.make({ secret, ...fine })
      assert.deepStrictEqual(traits, fine)
    })
  )

  it.effect("a list names the position of what it refuses", () =>
    Effect.gen(function* () {
      const error = yield* refused([secretOf("a"), { secret: secretOf("b"), weight: 0 }])
      assert.strictEqual(error.message, "key at position 2: weight must be a finite number greater than 0")
      assert.strictEqual((yield* refused([secretOf("a"), secretOf("b"), ""])).position, 3)
    })
  )

  it.effect("the same secret or the same id twice is refused, naming both positions", () =>
    Effect.gen(function* () {
      const secret = yield* refused([
        secretOf("a"),
        secretOf("b"),
        { id: "other", secret: Redacted.make(secretOf("a")) }
      ])
      assert.strictEqual(
        secret.message,
        "key at position 3: secret must be unique: it is the same as at position 1"
      )
      const id = yield* refused([
        { id: "x", secret: secretOf("a") },
        { id: "x", secret: secretOf("b") }
      ])
      assert.strictEqual(id.message, "key at position 2: id must be unique: it is the same as at position 1")
    })
  )

  it.effect("no refusal shows a secret in its message, as JSON or to a debugger", () =>
    Effect.gen(function* () {
      const secret = secretOf("a")
      const errors = [
        yield* refused([secret, secret]),
        yield* refused([{ secret, weight: -1 }]),
        yield* refused([{ secret, id: secret.slice(0, 40) }]),
        yield* refused([`${secret} ${secret}`]),
        yield* refused([`${secret}ü`]),
        yield* refused([{ secret, labels: { note: 7 } } as never])
      ]
      for (const error of errors) assert.deepStrictEqual(leaksOf(textOf(error), secret), [])
      // The check itself does find one.
      assert.isAbove(leaksOf(textOf(new Error(`bad key ${secret}`)), secret).length, 50)
    })
  )

  it.effect("a key shows its id where its secret would be", () =>
    Effect.gen(function* () {
      const key = yield* Key.make({ id: "mine", secret: secretOf("a") })
      assert.deepStrictEqual(leaksOf(textOf(key), secretOf("a")), [])
      assert.include(textOf(key), "<redacted:mine>")
    })
  )

  it.effect(
    "changed traits keep the id, the secret and all other traits, and an owner can be taken away",
    () =>
      Effect.gen(function* () {
        const key = yield* Key.make({
          id: "k",
          secret: secretOf("a"),
          account: "A",
          weight: 3,
          labels: { a: "b" }
        })
        const heavier = yield* Key.change(key, { weight: 5 })
        assert.deepStrictEqual(heavier, { ...key, weight: 5 })
        assert.strictEqual((yield* Key.change(key, { account: undefined })).account, undefined)
        const error = yield* failureOf(Key.change(key, { maxInFlight: 0 }))
        assert.strictEqual(error.message, "maxInFlight must be a whole number from 1 up, or Infinity")
      })
  )

  it.effect.prop(
    "a list of any names is taken if they are distinct, and refused at the first that is not",
    { names: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))) },
    ({ names }) =>
      Effect.gen(function* () {
        const inputs = names.map((name) => ({ id: `key-${name}`, secret: secretOf(`name ${name}`) }))
        const doubled = names.findIndex((name, index) => names.indexOf(name) !== index)
        const exit = yield* Effect.result(Key.makeAll(inputs))
        return exit._tag === "Success" ? doubled === -1 : exit.failure.position === doubled + 1
      }),
    { arbitrary: { runs: 100, seed: 1 } }
  )

  it("the secrets of these tests differ from each other", () => {
    assert.notStrictEqual(secretOf("a"), secretOf("b"))
    assert.match(secretOf("a"), /^sk-or-v1-[0-9a-f]{64}$/)
    assert.notStrictEqual(rngOf(1)(), rngOf(2)())
  })
})
