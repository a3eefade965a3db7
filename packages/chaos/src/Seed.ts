/**
 * The seed of a run: the same seed draws the same faults, the same requests and the same churn. What the sockets make of
 * them is the machine's, so a run is replayed as far as chance goes, and no further.
 */

/** The seed of this process: `EVENKEEL_SEED`, or else always the same. */
export const seed = Number(process.env["EVENKEEL_SEED"] ?? 20_261_121)

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
export const rngOf = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A whole number from `least` to `most`. */
export const wholeOf = (random: () => number, least: number, most: number): number =>
  least + Math.floor(random() * (most - least + 1))

/** One of them. */
export const oneOf = <A>(random: () => number, all: readonly [A, ...ReadonlyArray<A>]): A =>
  all[Math.floor(random() * all.length)] ?? all[0]
