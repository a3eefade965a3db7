/**
 * `evenkeel explain`: why each key could, or could not, serve a request now, and which one each strategy prefers.
 */
import { Balancer, type Explanation, KeyPool } from "@evenkeel/core"
import { OpenRouter } from "@evenkeel/openrouter"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Estimate from "../internal/batch/estimate.ts"
import { codes, Ended } from "../internal/exit.ts"
import * as Flags from "../internal/flags.ts"
import { instant, until, usd } from "../internal/format.ts"
import * as Live from "../internal/openrouter.ts"
import * as Selectors from "../internal/selectors.ts"
import { style, table, type Style } from "../internal/table.ts"

const flags = {
  ...Flags.keys,
  model: Flag.String("model").pipe(
    Flag.withAlias("m"),
    Flag.withDescription("The model that the request would ask for; openai/gpt-4o-mini by default"),
    Flag.withDefault("openai/gpt-4o-mini")
  ),
  tokens: Flags.whole("tokens", 1, 100_000_000).pipe(
    Flag.withDescription("Tokens that it may take, prompt and answer together"),
    Flag.optional
  ),
  affinity: Flag.String("affinity").pipe(
    Flag.withDescription("What binds it to a key, such as a session"),
    Flag.optional
  ),
  estimate: Flags.usd("estimate").pipe(
    Flag.withDescription("What it may cost, instead of what its tokens would"),
    Flag.optional
  ),
  selector: Flag.Literals("selector", Selectors.names).pipe(
    Flag.withDescription("Only this strategy; all by default"),
    Flag.optional
  ),
  json: Flags.json
}

/** Under one strategy. */
type Told = readonly [name: Selectors.Name, explanation: Explanation.Explanation]

/** A fresh process knows nothing yet: the first readings tell which keys are refused, spent or poor. */
const readings = Effect.gen(function* () {
  const pool = yield* KeyPool.KeyPool
  const pending = Effect.map(pool.snapshot, ({ keys }) =>
    keys.filter((key) => key.creditReadAt === undefined && key.ineligible === undefined).map(({ id }) => id)
  )
  return yield* pending.pipe(
    Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (ids) => ids.length === 0 }),
    Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => pending })
  )
})

/** As the service holds it: the price of the tokens, each at the dearer rate. */
const priced = Effect.fnUntraced(function* ({ tokens, upstream }: Balancer.LeaseOptions) {
  if (tokens === undefined || upstream === undefined) return undefined
  const { models } = yield* OpenRouter.OpenRouter
  // Without prices there is no estimate, and everything else can still be told.
  const prices = Estimate.pricesOf(yield* Effect.orElseSucceed(models, () => []))
  const price = Estimate.priceOf(prices, upstream)
  return price && tokens * Math.max(price.prompt, price.completion) + price.request
})

const explanations = (names: ReadonlyArray<Selectors.Name>, request: Balancer.LeaseOptions) =>
  Effect.forEach(
    names,
    Effect.fnUntraced(function* (name) {
      const balancer = yield* Effect.provide(Balancer.make(), Selectors.layers[name])
      return [name, yield* balancer.explain(request)] as Told
    })
  ).pipe(Effect.scoped)

const reason = (key: Explanation.IneligibleKey, now: number): string => {
  const scope = key.scope === "key" || key.scope === "request" ? "" : ` (${key.scope})`
  return `${key.reason}${scope}${key.until === undefined ? "" : `, back ${until(key.until, now)}`}`
}

/** The strategies' own facts differ (`threshold` has a floor), so a key could serve if any of them would offer it. */
const verdict = (
  reports: ReadonlyArray<Explanation.KeyReport>,
  now: number,
  { bad, good }: Style
): string => {
  const first = reports.find((report) => report.eligible) ?? reports[0]!
  if (!first.eligible) return bad(reason(first, now))
  return first.overlooked === undefined
    ? good("could serve")
    : good(`could serve, ${first.overlooked.reason} overlooked`)
}

const shown = (told: ReadonlyArray<Told>, marks: Style): string => {
  const [, { at, keys }] = told[0]!
  const columns = [
    { title: "key" },
    { title: "account" },
    { title: "credit", align: "right" as const },
    { title: "verdict" },
    ...told.map(([name]) => ({ title: name, align: "right" as const }))
  ]
  const rows = keys.map((key, i) => [
    key.keyId,
    key.account ?? "–",
    key.credit === undefined ? "–" : usd(key.credit),
    verdict(
      told.map(([, { keys }]) => keys[i]!),
      at,
      marks
    ),
    ...told.map(([, { keys }]) => {
      const report = keys[i]!
      if (!report.eligible) return report.reason
      return report.rank === undefined ? "any" : report.rank === 1 ? marks.bold("1") : String(report.rank)
    })
  ])
  return table(columns, rows, marks)
}

const run = Effect.fnUntraced(function* (
  names: ReadonlyArray<Selectors.Name>,
  request: Balancer.LeaseOptions,
  json: boolean
) {
  const unread = yield* readings
  const told = yield* explanations(names, {
    ...request,
    estimate: request.estimate ?? (yield* priced(request))
  })
  const { at, keys } = told[0]![1]
  const able = keys.filter((_, i) => told.some(([, { keys }]) => keys[i]!.eligible)).length
  if (json) {
    const selectors = Object.fromEntries(told.map(([name, { keys, retryAt }]) => [name, { keys, retryAt }]))
    yield* Console.log(JSON.stringify({ at: instant(at), request, able, unread, selectors }, undefined, 2))
  } else {
    const marks = yield* style
    yield* Console.log(shown(told, marks))
    const back = told.flatMap(([, { retryAt }]) => (retryAt === undefined ? [] : [retryAt]))
    const when =
      able > 0 || back.length === 0 ? "" : `; the first may be back ${until(Math.min(...back), at)}`
    yield* Console.log(`\n${able} of ${keys.length} keys could serve ${request.upstream}${when}`)
    if (unread.length > 0)
      yield* Console.log(`Not read in time, so their credit is not known: ${unread.join(", ")}`)
  }
  if (able === 0) return yield* new Ended({ code: codes.noKey })
})

export const explain = Command.make("explain", flags, (config) => {
  const request: Balancer.LeaseOptions = {
    upstream: config.model,
    tokens: Option.getOrUndefined(config.tokens),
    affinity: Option.getOrUndefined(config.affinity),
    estimate: Option.getOrUndefined(config.estimate)
  }
  const names = Option.match(config.selector, { onNone: () => Selectors.names, onSome: (name) => [name] })
  return run(names, request, config.json).pipe(Effect.provide(Live.layer({ ...config, selector: names[0]! })))
}).pipe(
  Command.withDescription(
    "Reads every key, and says why it could or could not serve a request now, until when, and in which order each strategy would prefer those that could. It sends no request. Exits with 4 when none could serve."
  ),
  Command.withShortDescription("Why each key could, or could not, serve a request now"),
  Command.withExamples([
    { command: "evenkeel explain --simulate=bad-day", description: "Try it without a key" },
    {
      command: "evenkeel explain --model anthropic/claude-sonnet-4.5 --tokens 20000",
      description: "A dear request"
    }
  ])
)
