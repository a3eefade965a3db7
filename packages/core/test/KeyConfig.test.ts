import { Key, KeyConfig, KeyPool } from "@evenkeel/core"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { failureOf, leaksOf, secretOf, textOf } from "./utils.ts"

const [a, b, c] = ["a", "b", "c"].map(secretOf) as [string, string, string]

const env = (record: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnvRecord(record))
const read = (record: Record<string, string>) => Effect.provide(KeyConfig.fromConfig, env(record))
const refused = (record: Record<string, string>) =>
  Effect.map(failureOf(read(record)), (error) => {
    assert.strictEqual(error._tag, "InvalidKey")
    return error as Key.InvalidKey
  })

describe("KeyConfig", () => {
  const lists: ReadonlyArray<readonly [string, string]> = [
    ["commas", `${a},${b},${c}`],
    ["commas with white space", ` ${a} , ${b},\n${c} `],
    ["a comma behind the last", `${a},${b},${c},`],
    ["spaces", `${a} ${b}  ${c}`],
    ["lines", `${a}\n${b}\r\n${c}\n`],
    ["tabs and lines", `\t${a}\n\n\t${b}\n\t${c}`]
  ]
  for (const [what, value] of lists) {
    it.effect(`OPENROUTER_KEYS is a list separated by ${what}`, () =>
      Effect.map(read({ OPENROUTER_KEYS: value }), (inputs) => assert.deepStrictEqual(inputs, [a, b, c]))
    )
  }

  it.effect("a list of one key needs no separator", () =>
    Effect.map(read({ OPENROUTER_KEYS: a }), (inputs) => assert.deepStrictEqual(inputs, [a]))
  )

  it.effect("an empty entry is refused, naming its position and not its neighbours", () =>
    Effect.gen(function* () {
      const positions: ReadonlyArray<readonly [string, number]> = [
        [`${a},,${b}`, 2],
        [`,${a}`, 1],
        [`${a},${b},,`, 3],
        [",", 1],
        ["  ", 1]
      ]
      for (const [value, position] of positions) {
        const error = yield* refused({ OPENROUTER_KEYS: value })
        assert.strictEqual(error.position, position, JSON.stringify(value.length))
        assert.deepStrictEqual([...leaksOf(textOf(error), a), ...leaksOf(textOf(error), b)], [])
      }
    })
  )

  it.effect("an entry may name its key", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read({ OPENROUTER_KEYS: `team-x=${a}, b.2_=${b},${c}` }), [
        { id: "team-x", secret: a },
        { id: "b.2_", secret: b },
        c
      ])
      assert.deepStrictEqual(yield* read({ OPENROUTER_API_KEY: `mine=${a}` }), [{ id: "mine", secret: a }])
      assert.deepStrictEqual(yield* read({ OPENROUTER_KEY_1: `one=${a}`, OPENROUTER_KEY_2: b }), [
        { id: "one", secret: a },
        b
      ])
    })
  )

  it.effect("a token that ends in padding is no name with a secret", () =>
    Effect.gen(function* () {
      const tokens = [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U=",
        "c2hvcnQtdG9rZW4tMTIzNA==",
        "eyJhbGciOiJub25lIn0.e30.===="
      ]
      for (const token of tokens) {
        assert.deepStrictEqual(yield* read({ OPENROUTER_KEYS: token }), [token])
        assert.deepStrictEqual(yield* read({ OPENROUTER_KEYS: `mine=${token}` }), [
          { id: "mine", secret: token }
        ])
      }
    })
  )

  it.effect("OPENROUTER_KEYS comes before OPENROUTER_API_KEY, and that before numbered keys", () =>
    Effect.gen(function* () {
      const all = { OPENROUTER_KEYS: a, OPENROUTER_API_KEY: b, OPENROUTER_KEY_1: c }
      assert.deepStrictEqual(yield* read(all), [a])
      assert.deepStrictEqual(yield* read({ ...all, OPENROUTER_KEYS: "" }), [b])
      assert.deepStrictEqual(yield* read({ OPENROUTER_KEY_1: c }), [c])
    })
  )

  it.effect("numbered keys are read in the order of their numbers", () =>
    Effect.gen(function* () {
      const secrets = Array.from({ length: 12 }, (_, n) => secretOf(`n${n}`))
      const record = Object.fromEntries(
        secrets.map((secret, n) => [`OPENROUTER_KEY_${n + 1}`, secret]).toReversed()
      )
      assert.deepStrictEqual(yield* read(record), secrets)
    })
  )

  it.effect("a gap in the numbers is refused and named, and is not taken for the end", () =>
    Effect.gen(function* () {
      const error = yield* refused({ OPENROUTER_KEY_1: a, OPENROUTER_KEY_3: b })
      assert.strictEqual(error.position, 2)
      assert.include(error.message, "OPENROUTER_KEY_2")
      assert.deepStrictEqual([...leaksOf(textOf(error), a), ...leaksOf(textOf(error), b)], [])
      assert.strictEqual((yield* refused({ OPENROUTER_KEY_2: a })).position, 1)
      assert.strictEqual((yield* refused({ OPENROUTER_KEY_1: a, OPENROUTER_KEY_12: b })).position, 2)
    })
  )

  it.effect("when nothing is set, it says what could be", () =>
    Effect.gen(function* () {
      for (const record of [{}, { OPENROUTER_KEYS: "", OPENROUTER_API_KEY: "" }]) {
        const { message } = yield* refused(record)
        for (const name of ["OPENROUTER_KEYS", "OPENROUTER_API_KEY", "OPENROUTER_KEY_1"])
          assert.include(message, name)
      }
    })
  )

  it.effect("layerConfig makes a pool of them, and refuses a secret that occurs twice", () =>
    Effect.gen(function* () {
      const pool = (record: Record<string, string>) =>
        Effect.flatMap(KeyPool.KeyPool, (pool) => pool.snapshot).pipe(
          Effect.provide(KeyPool.layerConfig.pipe(Layer.provide(env(record)))),
          Effect.map((snapshot) => snapshot.keys.map((key) => key.id))
        )
      assert.deepStrictEqual(yield* pool({ OPENROUTER_KEYS: `x=${a},y=${b}` }), ["x", "y"])
      const error = yield* failureOf(pool({ OPENROUTER_KEYS: `x=${a},y=${a}` }))
      assert.strictEqual(error instanceof Key.InvalidKey && error.position, 2)
      assert.deepStrictEqual(leaksOf(textOf(error), a), [])
      const spaced = yield* failureOf(pool({ OPENROUTER_KEYS: `${a} ${b},${c}` }))
      assert.strictEqual(spaced instanceof Key.InvalidKey && spaced.field, "secret")
      assert.deepStrictEqual(leaksOf(textOf(spaced), a), [])
    })
  )
})
