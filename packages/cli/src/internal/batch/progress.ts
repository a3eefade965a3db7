/**
 * How a batch is doing, on standard error: a bar that redraws itself on a terminal, a line now and then elsewhere.
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stdio from "effect/Stdio"
import { duration, usd } from "../format.ts"
import { bar } from "../table.ts"

/** The counts of a batch. The batch changes them as it goes. */
export interface Tally {
  /** `undefined` while the input has not ended. */
  total: number | undefined
  /** Answered, in this run and before. */
  succeeded: number
  failed: number
  inFlight: number
  /** USD as far as answers told it, in this run and before. */
  cost: number
}

export const doneOf = ({ failed, succeeded }: Tally): number => succeeded + failed

/** Requests a second of late: over the last half minute, so that the time left follows what happens. */
export class Rate {
  private readonly samples: Array<readonly [at: number, done: number]> = []

  constructor(now: number, done: number) {
    this.samples.push([now, done])
  }

  /** `undefined` before there is anything to tell. */
  at(now: number, done: number): number | undefined {
    this.samples.push([now, done])
    while (this.samples.length > 2 && this.samples[1]![0] < now - 30_000) this.samples.shift()
    const [since, before] = this.samples[0]!
    return now > since && done > before ? (1000 * (done - before)) / (now - since) : undefined
  }
}

/** What is told in either form: counts, rate, cost, time left. */
export const textOf = (tally: Tally, rate: number | undefined, budget: number | undefined): string => {
  const done = doneOf(tally)
  const left =
    tally.total === undefined || rate === undefined ? undefined : (1000 * (tally.total - done)) / rate
  return [
    `${done}${tally.total === undefined ? "" : `/${tally.total}`}`,
    ...(tally.failed === 0 ? [] : [`${tally.failed} failed`]),
    ...(rate === undefined ? [] : [`${rate.toFixed(1)}/s`]),
    `${usd(tally.cost)}${budget === undefined ? "" : ` of ${usd(budget)}`}`,
    ...(left === undefined ? [] : [`${duration(left)} left`])
  ].join("  ")
}

const write = (text: string) => Effect.sync(() => void process.stderr.write(text))

/** Shows the batch for as long as it is not interrupted. */
export const show = Effect.fnUntraced(function* (tally: Tally, budget: number | undefined) {
  const stdio = yield* Stdio.Stdio
  const dumb = (yield* Config.String("TERM").pipe(Config.withDefault(""), Effect.orDie)) === "dumb"
  const animated = (yield* stdio.stderrIsTerminal) && !dumb
  const rate = new Rate(yield* Clock.currentTimeMillis, doneOf(tally))
  return yield* animated ? bars(tally, rate, budget) : lines(tally, rate, budget)
})

const bars = (tally: Tally, rate: Rate, budget: number | undefined) => {
  const draw = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const text = textOf(tally, rate.at(now, doneOf(tally)), budget)
    const width = Math.min(30, (process.stderr.columns ?? 80) - text.length - 4)
    const part =
      tally.total === undefined || width < 5
        ? ""
        : `${bar(doneOf(tally) / Math.max(1, tally.total), width)}  `
    return write(`\r\x1b[K${(part + text).slice(0, (process.stderr.columns ?? 80) - 1)}`)
  })
  return Effect.repeat(draw, Schedule.spaced("100 millis")).pipe(Effect.ensuring(write("\r\x1b[K")))
}

/** In a log: for every tenth of the batch, and every ten seconds. */
const lines = (tally: Tally, rate: Rate, budget: number | undefined) => {
  let told = 0
  let toldAt: number | undefined
  const look = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const done = doneOf(tally)
    const tenth = Math.floor((10 * done) / (tally.total ?? Infinity))
    toldAt ??= now
    if (tenth <= told && now - toldAt < 10_000) return Effect.void
    told = tenth
    toldAt = now
    return write(`${textOf(tally, rate.at(now, done), budget)}\n`)
  })
  return Effect.repeat(look, Schedule.spaced("100 millis"))
}
