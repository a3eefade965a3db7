/**
 * `evenkeel batch`: many requests from a file, in order, resumable, within a budget.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Files from "../internal/batch/files.ts"
import * as Input from "../internal/batch/input.ts"
import * as Plan from "../internal/batch/plan.ts"
import * as Progress from "../internal/batch/progress.ts"
import * as Run from "../internal/batch/run.ts"
import { Summary } from "../internal/batch/summary.ts"
import { codes, Ended } from "../internal/exit.ts"
import * as Flags from "../internal/flags.ts"
import { usd } from "../internal/format.ts"
import * as Live from "../internal/openrouter.ts"
import { codeOf, Signals } from "../internal/signals.ts"

const flags = {
  input: Argument.String("INPUT").pipe(
    Argument.withDescription("JSONL, a request a line; - for standard input")
  ),
  out: Flag.String("out").pipe(
    Flag.withAlias("o"),
    Flag.withMetavar("FILE"),
    Flag.withDescription("Where results go, in the order of the input; standard output by default"),
    Flag.withDefault("-")
  ),
  journal: Flag.String("journal").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "What makes the batch resumable; FILE.journal beside the output by default, none for standard output"
    ),
    Flag.optional
  ),
  restart: Flag.Boolean("restart").pipe(
    Flag.withDescription("Forget what earlier runs have done, and pay for all of it again"),
    Flag.withDefault(false)
  ),
  model: Flag.String("model").pipe(
    Flag.withAlias("m"),
    Flag.withDescription("The model of requests that name none"),
    Flag.optional
  ),
  maxTokens: Flags.whole("max-tokens", 1, 10_000_000).pipe(
    Flag.withDescription("The longest answer of requests that do not say; makes a budget go further"),
    Flag.optional
  ),
  budget: Flags.usd("budget").pipe(
    Flag.withDescription("Stop before the batch has cost more, all its runs together"),
    Flag.optional
  ),
  estimate: Flags.usd("estimate").pipe(
    Flag.withDescription("What a request may cost at most, where the budget cannot know it from prices"),
    Flag.optional
  ),
  concurrency: Flags.whole("concurrency", 1, 10_000).pipe(
    Flag.withAlias("c"),
    Flag.withDescription("Requests at a time, 1 to 10000; 16 by default"),
    Flag.withDefault(16)
  ),
  selector: Flags.selector,
  retries: Flags.retries,
  timeout: Flags.timeout,
  maxWait: Flags.duration("max-wait").pipe(
    Flag.withDescription("The longest that one request waits for a key that cannot serve yet; 5m by default"),
    Flag.withDefault(Duration.minutes(5))
  ),
  ...Flags.keys,
  quiet: Flag.Boolean("quiet").pipe(
    Flag.withAlias("q"),
    Flag.withDescription("No progress and no summary"),
    Flag.withDefault(false)
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription(
      "The summary as JSON: on standard output, or on standard error if that has the results"
    ),
    Flag.withDefault(false)
  )
}

type Config = Command.Command.Config.Infer<typeof flags>

const run = Effect.fnUntraced(function* (config: Config) {
  const startedAt = yield* Clock.currentTimeMillis
  const files = yield* Files.open({ ...config, journal: Option.getOrUndefined(config.journal) })
  const plan = yield* Plan.make(
    {
      ...config,
      defaults: {
        model: Option.getOrUndefined(config.model),
        maxTokens: Option.getOrUndefined(config.maxTokens)
      }
    },
    files.journal
  )
  const output = yield* files.output
  const batch = yield* Run.make(plan, files.journal, output, config.concurrency)
  const { tally } = plan
  yield* drainOnSignal(batch.stop, tally)
  const budget = Option.getOrUndefined(config.budget)
  const display = yield* Effect.forkScoped(config.quiet ? Effect.void : Progress.show(tally, budget))
  const summary = new Summary()
  const stop = yield* batch.run((settled) => summary.through(settled))
  yield* Fiber.interrupt(display)

  const code = codeFor(stop, tally)
  const elapsed = (yield* Clock.currentTimeMillis) - startedAt
  if (config.json) {
    const text = JSON.stringify(summary.json(tally, stop, elapsed, code))
    yield* config.out === "-" ? Console.error(text) : Console.log(text)
  } else if (!config.quiet) yield* Console.error(summary.text(tally, elapsed))
  const why = reasonOf(stop, tally, budget)
  if (why !== undefined && !(stop === undefined && config.quiet)) yield* Console.error(why)
  if (code !== codes.ok) return yield* new Ended({ code })
})

const drainOnSignal = Effect.fnUntraced(function* (
  stop: (why: Run.Stop) => Effect.Effect<unknown>,
  tally: Progress.Tally
) {
  const first = yield* Effect.flatMap(Signals, (signals) => signals.first)
  yield* Effect.forkScoped(
    Effect.gen(function* () {
      const signal = yield* first
      yield* stop({ _tag: "Signal", signal })
      yield* Console.error(
        `\nStopping: ${tally.inFlight} requests in flight are waited for. Once more (Ctrl-C), and they are dropped, and may be billed.`
      )
    })
  )
})

const codeFor = (stop: Run.Stop | undefined, { failed }: Progress.Tally): number => {
  if (stop === undefined) return failed === 0 ? codes.ok : codes.failed
  switch (stop._tag) {
    case "Budget":
      return codes.budget
    case "NoKey":
      return codes.noKey
    case "Signal":
      return codeOf(stop.signal)
    case "Input":
      return stop.error._tag === "InvalidInput" ? codes.usage : codes.file
    case "File":
      return codes.file
  }
}

/** What is the matter, and what to do about it. */
const reasonOf = (
  stop: Run.Stop | undefined,
  { failed }: Progress.Tally,
  budget: number | undefined
): string | undefined => {
  if (stop === undefined) {
    return failed === 0 ? undefined : "Run the same command again to try those that failed once more."
  }
  switch (stop._tag) {
    case "Budget":
      return `evenkeel: the budget of ${usd(budget ?? 0)} does not allow another request. Run the same command with a higher --budget to go on.`
    case "Signal":
      return "Run the same command again to go on."
    default:
      return `evenkeel: ${stop.error.message}`
  }
}

export const batch = Command.make("batch", flags, (config) =>
  Effect.gen(function* () {
    yield* Input.check(config.input)
    return yield* run(config).pipe(Effect.scoped, Effect.provide(live(config)))
  })
).pipe(
  Command.withDescription(
    'Sends the requests of a JSONL file over all keys, and writes a line for each, in the order of the input. A line is a request of OpenAI\'s batch format, the body of a chat completion, or {"prompt": "…"}. Run again after a crash, a full budget or Ctrl-C, it goes on where it was. Exit codes: 0 all answered, 1 some failed, 2 usage or input, 3 budget, 4 no key, 5 file, 130 interrupted.'
  ),
  Command.withShortDescription("Many requests from JSONL: in order, resumable, within a budget"),
  Command.withExamples([
    {
      command: "evenkeel batch requests.jsonl --out answers.jsonl --simulate",
      description: "Try it without a key"
    },
    {
      command: "evenkeel batch requests.jsonl --out answers.jsonl --budget 5 --max-tokens 500",
      description: "For five dollars at most"
    },
    {
      command: "cat requests.jsonl | evenkeel batch - --model openai/gpt-4o-mini | jq .response.body",
      description: "In a pipe"
    }
  ])
)

const live = (config: Config) =>
  Live.layer({
    ...config,
    openrouter: { timeout: config.timeout },
    retry: {
      times: config.retries,
      patience: config.maxWait,
      // What may have been billed already is not sent again: the bound of a request must hold for all of its attempts.
      ...(Option.isSome(config.budget) ? { billed: 0 } : {})
    }
  })
