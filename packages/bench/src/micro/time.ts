/**
 * Nanoseconds and bytes of something that runs synchronously.
 */
import { median, spread } from "../statistics.ts"

export interface Timed {
  /** Nanoseconds each, in the quickest sample. */
  readonly nanos: number
  /** How far the samples lie apart, as a part of their median. */
  readonly spread: number
  readonly bytes: number
}

const samples = 9
const warmUps = 4
const sampleMillis = 25

/**
 * Runs it until the compiler has seen enough, and then in samples of 25 ms each. The quickest sample counts: it is the one
 * that neighbours on the machine have disturbed least, and nothing makes code quicker than it is.
 */
export const time = (run: () => unknown): Timed => {
  const batch = () => {
    let runs = 0
    const begun = performance.now()
    let elapsed = 0
    while (elapsed < sampleMillis) {
      for (let i = 0; i < 16; i++) run()
      runs += 16
      elapsed = performance.now() - begun
    }
    return (elapsed * 1e6) / runs
  }
  for (let i = 0; i < warmUps; i++) batch()
  const nanos = Array.from({ length: samples }, batch)
  return { nanos: Math.min(...nanos), spread: spread(nanos), bytes: bytesOf(run) }
}

/** So few runs that no collection falls in between; the median of several tries. */
const bytesOf = (run: () => unknown): number => {
  const { gc } = globalThis as { readonly gc?: () => void }
  const runs = 200
  const tries = Array.from({ length: 5 }, () => {
    gc?.()
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < runs; i++) run()
    return (process.memoryUsage().heapUsed - before) / runs
  })
  return median(tries)
}
