/**
 * Keys that come and go while requests run.
 */
import * as Effect from "effect/Effect"
import { oneOf, wholeOf } from "./Seed.ts"
import type { World } from "./World.ts"

/** How many keys come besides the first ones at a time. */
const most = 3

/** Adds, drains, resumes and removes keys, until it is interrupted. The first keys stay, so that there is always one. */
export const run = (world: World): Effect.Effect<never> => {
  const { pool, random } = world
  let count = 0
  let guests: ReadonlyArray<string> = []
  const step = Effect.suspend((): Effect.Effect<unknown, unknown> => {
    const guest = guests[Math.floor(random() * guests.length)]
    const what = oneOf(random, ["add", "drain", "resume", "remove", "retire", "change"])
    if (guest === undefined || (what === "add" && guests.length < most)) {
      const name = `${oneOf(random, ["a", "b", "c"])}-guest-${++count}`
      guests = [...guests, name]
      return world.add(name)
    }
    const leave = Effect.sync(() => void (guests = guests.filter((other) => other !== guest)))
    switch (what) {
      case "drain":
        // Who waits for a drain may give up waiting; the key goes on draining.
        return Effect.timeoutOrElse(pool.drain(guest), {
          duration: wholeOf(random, 0, 5),
          orElse: () => Effect.void
        })
      case "retire":
        return pool
          .drain(guest)
          .pipe(Effect.andThen(pool.remove(guest)), Effect.andThen(leave), Effect.timeout("5 seconds"))
      case "remove":
        return Effect.andThen(leave, pool.remove(guest))
      case "change":
        return pool.change(guest, { weight: wholeOf(random, 1, 4), maxInFlight: wholeOf(random, 1, 8) })
      default:
        return pool.resume(guest)
    }
  })
  return Effect.forever(
    Effect.andThen(
      Effect.suspend(() => Effect.sleep(wholeOf(random, 5, 25))),
      Effect.orDie(step)
    )
  )
}
