import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/** A name that nothing else has: 128 random bits. */
export const processName = Effect.map(
  Effect.all(Array.from({ length: 4 }, () => Random.nextIntBetween(0, 2 ** 32))),
  (words) => words.map((word) => word.toString(16).padStart(8, "0")).join("")
)
