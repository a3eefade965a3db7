/**
 * The input against the journal: which requests are still to be sent, what they may cost, and whether it is the same input at
 * all.
 */
import { OpenRouter } from "@evenkeel/openrouter"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { InvalidInput } from "../exit.ts"
import { Budget } from "./budget.ts"
import * as Estimate from "./estimate.ts"
import * as Input from "./input.ts"
import type { Journal } from "./journal.ts"
import type { Tally } from "./progress.ts"
import type { Defaults, Request } from "./request.ts"

export interface Options {
  readonly input: string
  readonly defaults: Defaults
  /** USD. */
  readonly budget: Option.Option<number>
  /** USD for each request, instead of what its tokens can cost. */
  readonly estimate: Option.Option<number>
}

export interface Plan {
  /** All requests of the input, in its order. */
  readonly requests: ReturnType<typeof Input.requests>
  readonly isDone: (request: Request) => boolean
  readonly budget: Budget | undefined
  /** The most that a request can cost; 0 without a budget, where nobody asks. */
  readonly boundOf: (request: Request) => number
  readonly tally: Tally
}

/** Reads a file through before anything is sent: a mistake in its last line must not cost the price of the others. */
export const make = Effect.fnUntraced(function* (options: Options, journal: Journal) {
  const source = Input.nameOf(options.input)
  const limit = Option.getOrUndefined(options.budget)
  const budget = limit === undefined ? undefined : new Budget(limit, journal.cost)
  const boundOf = yield* bounds(options)
  const tally: Tally = { total: undefined, succeeded: 0, failed: 0, inFlight: 0, cost: journal.cost }
  const isDone = ({ line }: Request) => journal.entries.get(line)?.ok === true
  let last = 0

  const meet = (request: Request): Effect.Effect<void, InvalidInput> => {
    const { hash, line } = request
    const entry = journal.entries.get(line)
    const refuse = (problem: string) => new InvalidInput({ source, line, problem })
    last = line
    if (entry !== undefined && entry.hash !== hash) {
      return refuse(
        "not the request that the journal has an answer to: the input, --model or --max-tokens has changed. Take them back, or start anew with --restart or another --out"
      )
    }
    if (isDone(request)) tally.succeeded++
    if (budget === undefined) return Effect.void
    const most = boundOf(request)
    if (Result.isFailure(most)) {
      return refuse(
        `${most.failure}, so --budget cannot be kept; say what a request may cost with --estimate`
      )
    }
    // An earlier run may have been billed for it without hearing of it.
    budget.add((journal.unknown.get(line) ?? 0) * most.success)
    return Effect.void
  }

  const requests = Input.requests(options.input, options.defaults)
  const plan = {
    isDone,
    budget,
    boundOf: (request: Request) => Result.getOrElse(boundOf(request), () => 0),
    tally
  }
  if (options.input === "-") return { ...plan, requests: Stream.tap(requests, meet) } satisfies Plan

  let total = 0
  yield* Stream.runForEach(requests, (request) => {
    total++
    return meet(request)
  })
  tally.total = total
  for (const line of journal.entries.keys()) {
    if (line <= last) continue
    const problem = `the journal has an answer to line ${line}, and the input ends before: it is not the input of that run`
    return yield* new InvalidInput({ source, line: undefined, problem })
  }
  return { ...plan, requests } satisfies Plan
})

const bounds = Effect.fnUntraced(function* ({ budget, estimate }: Options) {
  if (Option.isNone(budget)) return () => Result.succeed(0)
  if (Option.isSome(estimate)) return () => Result.succeed(estimate.value)
  const { models } = yield* OpenRouter.OpenRouter
  const prices = Estimate.pricesOf(yield* models)
  return (request: Request) => Estimate.bound(request, prices)
})
