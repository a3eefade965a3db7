// The page of results that the documentation shows: what it compares, in which order, and what it says about it.
import { Lab } from "@evenkeel/testkit"

export const command = "node --conditions=@evenkeel/source examples/lab/main.ts --docs docs/strategies"

/** The name of the one scenario that runs without policies: there a strategy shows what it does when nothing guards it. */
export const unguarded = "black-hole-unguarded"

/**
 * That scenario. The bad key comes first, where it is the one that a strategy for one key at a time starts with: the scenario
 * with policies has it last.
 */
export const withoutGuard = (blackHole: Lab.Scenario): Lab.Scenario => ({
  ...blackHole,
  name: unguarded,
  about:
    "The first of four keys answers 500 in 50 ms for three minutes, and neither retries nor a breaker guard the traffic.",
  keys: blackHole.keys.toReversed(),
  shows: ["badShare", "failedShare"]
})

interface Column {
  readonly scenario: string
  readonly title: string
  readonly value: (report: Lab.StrategyReport) => number
  readonly format: (value: number) => string
}

const percent = (value: number) => `${(value * 100).toFixed(1)} %`
const usd = (value: number) => `$${value.toFixed(2)}`

/** Where strategies differ by more than luck; less is better in all of them. */
const columns: ReadonlyArray<Column> = [
  {
    scenario: unguarded,
    title: "drawn by a key that fails at once, unguarded",
    value: ({ faults }) => faults[0]?.share ?? 0,
    format: percent
  },
  {
    scenario: "black-hole",
    title: "the same, with a breaker",
    value: ({ faults }) => faults[0]?.share ?? 0,
    format: percent
  },
  {
    scenario: "stale-credit-4",
    title: "402s, four processes that share caps",
    value: ({ met }) => met["402"] ?? 0,
    format: String
  },
  {
    scenario: "reset-at-midnight",
    title: "failed, where caps expire at midnight",
    value: ({ failed, requests }) => failed / requests,
    format: percent
  },
  {
    scenario: "zipf-sessions",
    title: "cost of 1,000 requests in sessions",
    value: ({ cost, succeeded }) => (1000 * cost) / succeeded,
    format: usd
  },
  {
    scenario: "zipf-sessions",
    title: "most at once on one of eight keys there",
    value: ({ keys }) => Math.max(...keys.map(({ mostInFlight }) => mostInFlight)),
    format: String
  }
]

const overview = (reports: ReadonlyArray<Lab.Report>): string => {
  const reportOf = (name: string) => reports.find(({ scenario }) => scenario === name)
  const told = columns.flatMap(({ format, scenario, title, value }) => {
    const report = reportOf(scenario)
    if (report === undefined) return []
    return [
      {
        title: `[${title}](#${scenario})`,
        cells: report.strategies.map((strategy) => format(value(strategy)))
      }
    ]
  })
  const names = reports[0]?.strategies.map(({ strategy }) => strategy) ?? []
  return [
    `| strategy | ${told.map(({ title }) => title).join(" | ")} |`,
    `|---|${"---:|".repeat(told.length)}`,
    ...names.map((name, row) => `| ${name} | ${told.map(({ cells }) => cells[row]).join(" | ")} |`),
    ""
  ].join("\n")
}

/** A scenario with its table, and its chart if there is one. */
export const section = (report: Lab.Report, chart: boolean): string =>
  [
    `## ${report.scenario}\n`,
    `${report.about}\n`,
    Lab.table(report),
    ...(chart ? [`![${report.scenario}: ${report.shows.join(", ")}](${report.scenario}.svg)\n`] : [])
  ].join("\n")

export const page = (reports: ReadonlyArray<Lab.Report>): string =>
  [
    `# Results of the lab

<!-- Written by \`${command}\`; a test compares. Do not edit. -->

What each [strategy](../strategies.md) makes of the same traffic. The pool, the balancer, the strategies, retries and circuit
breakers are the real ones with their defaults; requests, accounts and time are simulated. The
[scenarios](../../packages/testkit/src/scenarios) are data, and so can [your own traffic be](../testing.md#the-lab). In the root of the
repository, this writes the page and its charts again:

\`\`\`sh
${command}
\`\`\`

## Who wins where, and what it costs
`,
    overview(reports),
    `Less is better in all columns; each name leads to the whole table of its scenario, where the best is bold. The others are not
in it, since there it makes no difference: benches and retries decide them ([a dead account](#one-account-of-three-dead), [a
recovery](#herd-after-recovery)), or the limits of the accounts ([a storm of 429s](#storm-429)).

## What these numbers do not mean

- **They are one run of each.** A seed fixes all requests, so strategies are compared on the same ones; other seeds give other
  numbers. In the storm of 429s one and the same strategy meets a dozen of them with one seed, and hundreds with another. Run the
  lab with \`--seed 2\` before you believe in a difference.
- **"Back after" is the breaker's.** A circuit that was opened again and again waits for minutes, with jitter, until it tries the
  key once more. When that is decides the time, and the strategy hardly does: with other seeds the order is another.
- **\`threshold\` stays on one key.** If that is not the bad one, it meets nothing of the fault ([black-hole](#black-hole)); if it
  is, it meets all of it ([unguarded](#${unguarded})). Neither is a merit or a fault of the strategy. Its floor here is 1 USD.
- **\`headroom\` has no limiter here,** and so nothing to see: it draws keys at random. So does \`credit-aware\` where keys have no
  caps. Their equal rows are the same choices, not the same merit.
- **\`affinity\` without sessions** is what is inside of it, here \`least-in-flight\`.
- **Keys are equally fast** in all scenarios, which leaves \`peak-ewma\` nothing to find out. That its failures count as slow keeps it
  from the worst where a key fails at once; it still is no breaker. [With a limiter and a slow
  account](../strategies.md#which-one-wins-where) \`headroom\` and \`peak-ewma\` are at home.
- **That equal shares fail nothing at midnight** is luck: here they happen to empty the caps that reset. \`"expiring"\` does it on
  purpose.
- **Evenness is no aim in itself.** A strategy that keeps sessions together, or uses up one cap first, is uneven on purpose.
- **Times are virtual.** What a pick itself takes is [far below](../strategies.md#what-a-pick-costs), and not in them.
- **A simulation has what was put into it.** No network, no provider that is slow for one model alone, no caches but those of prompts.
`,
    ...reports.map((report) => section(report, true))
  ].join("\n")
