import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { live, type Scene, story } from "./story.ts"

const column = <A>({ keys }: Scene, f: (key: Scene["keys"][number]) => A): Record<string, A> =>
  Object.fromEntries(keys.map((key) => [key.id, f(key)]))

const sum = ({ keys }: Scene, f: (key: Scene["keys"][number]) => number) =>
  keys.reduce((total, key) => total + f(key), 0)

describe("several accounts", () => {
  it.live("a fault of one owner takes its keys out, and no other", () =>
    Effect.gen(function* () {
      const [well, throttled, empty, own, revoked, paid] = (yield* story) as ReadonlyArray<Scene>

      assert.strictEqual(well!.answered, 12)
      assert.strictEqual(
        sum(well!, (key) => key.refused),
        0
      )

      // Two keys of the account, and one request that met the throttle: the other key was not asked to confirm it.
      assert.strictEqual(throttled!.answered, 12)
      assert.strictEqual(
        sum(throttled!, (key) => key.refused),
        1
      )
      assert.deepStrictEqual(
        column(throttled!, (key) => key.bench),
        {
          "acme-web": "account throttled",
          "acme-research": "account throttled",
          "boreas-1": undefined,
          "boreas-2": undefined,
          "cetus-1": undefined
        }
      )

      assert.strictEqual(empty!.answered, 12)
      assert.strictEqual(
        sum(empty!, (key) => key.refused),
        1
      )
      assert.strictEqual(column(empty!, (key) => key.answers)["cetus-1"], 12)

      // A key that could serve is not asked to pay for the client of another.
      assert.strictEqual(own!.answered, 0)
      assert.strictEqual(
        sum(own!, (key) => key.answers + key.refused),
        0
      )
      assert.include(own!.refusal, "boreas-1 exhausted (account)")
      assert.include(own!.refusal, "cetus-1 of another owner")

      assert.strictEqual(revoked!.answered, 0)
      assert.strictEqual(
        sum(revoked!, (key) => key.refused),
        1
      )
      assert.match(revoked!.refusal!, /cetus-1 rejected until .*; the earliest at /)

      assert.strictEqual(paid!.answered, 12)
      assert.strictEqual(
        sum(paid!, (key) => key.refused),
        0
      )
      assert.strictEqual(column(paid!, (key) => key.bench)["boreas-1"], undefined)
    }).pipe(Effect.provide(live))
  )
})
