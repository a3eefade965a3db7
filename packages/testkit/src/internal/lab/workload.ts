/**
 * The requests of a scenario, one after the other. They are drawn before any strategy has its say.
 */
import * as Effect from "effect/Effect"
import { exponential, mean, sample, stream, zipf, type Next } from "./random.ts"
import type { Scenario, TraceEntry } from "./scenario.ts"

/** A request, as it is whoever serves it. */
export interface Request {
  /** Milliseconds since the start. */
  readonly at: number
  /** The program it belongs to, from 0. */
  readonly process: number
  readonly session: string | undefined
  readonly prompt: number
  readonly completion: number
  /** Milliseconds that the answer takes, and those to its first token. */
  readonly millis: number
  readonly firstMillis: number | undefined
}

/** Hands out one request after the other, in the order of their coming. */
export type Workload = () => Request | undefined

export const make = Effect.fnUntraced(function* (scenario: Scenario, seed: string | number) {
  const next = yield* stream(seed, "requests")
  const arrivals = timesOf(scenario, yield* stream(seed, "arrivals"))
  const { requests, processes } = scenario
  const { completion, firstToken, prompt, seconds, sessions } = requests
  const popular = sessions === undefined ? undefined : zipf(sessions.count, sessions.zipf)
  const serviceOf = (tokens: number, first: number) =>
    typeof seconds === "object" && seconds.kind === "tokens"
      ? first + tokens / seconds.perSecond
      : sample(seconds, next)
  return (): Request | undefined => {
    const arrival = arrivals()
    if (arrival === undefined) return undefined
    const { at, replayed } = arrival
    const process = processes === 1 ? 0 : Math.floor(next() * processes)
    const session = popular === undefined ? undefined : `s${popular(next)}`
    const promptTokens = Math.round(sample(prompt, next))
    const tokens = replayed?.completion ?? Math.round(sample(completion, next))
    const first = firstToken === undefined ? undefined : sample(firstToken, next)
    const service = replayed?.seconds ?? serviceOf(tokens, first ?? 0)
    return {
      at: at * 1000,
      process,
      session: replayed?.session ?? session,
      prompt: replayed?.prompt ?? promptTokens,
      completion: tokens,
      millis: service * 1000,
      firstMillis: first === undefined ? undefined : Math.min(first, service) * 1000
    }
  }
})

/** USD of a request; the prompt is cheaper where it was kept. */
export const costOf = (
  { price, sessions }: Scenario["requests"],
  { completion, prompt }: Pick<Request, "prompt" | "completion">,
  cached: boolean
): number => {
  const promptPrice = cached ? price.prompt * (sessions?.cachedPrice ?? 1) : price.prompt
  return price.request + (prompt * promptPrice + completion * price.completion) / 1_000_000
}

/** What a request costs on average, as someone would estimate it who has seen many. */
export const meanCost = (requests: Scenario["requests"]): number =>
  costOf(requests, { prompt: mean(requests.prompt), completion: mean(requests.completion) }, false)

interface Arrival {
  /** Seconds since the start. */
  readonly at: number
  readonly replayed?: TraceEntry
}

const timesOf = ({ arrivals, seconds }: Scenario, next: Next): (() => Arrival | undefined) => {
  const until = (times: () => Arrival | undefined) => () => {
    const arrival = times()
    return arrival === undefined || arrival.at >= seconds ? undefined : arrival
  }
  switch (arrivals.kind) {
    case "constant": {
      let count = 0
      return until(() => ({ at: count++ / arrivals.perSecond }))
    }
    case "poisson":
      return until(poisson(arrivals.perSecond, next))
    case "bursts": {
      const between = arrivals.perSecond === 0 ? () => undefined : poisson(arrivals.perSecond, next)
      let [count, single] = [0, between()]
      return until(() => {
        const at = Math.floor(count / arrivals.size) * arrivals.everySeconds
        if (single === undefined || at <= single.at) {
          count++
          return { at }
        }
        const arrival = single
        single = between()
        return arrival
      })
    }
    case "trace": {
      let index = 0
      return until(() => {
        const replayed = arrivals.requests[index++]
        return replayed === undefined ? undefined : { at: replayed.at, replayed }
      })
    }
  }
}

const poisson = (perSecond: number, next: Next) => {
  let at = 0
  return (): Arrival => {
    at += exponential(1 / perSecond, next)
    return { at }
  }
}
