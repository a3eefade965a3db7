/**
 * A report as a table: a row for each strategy, a column for each metric that tells them apart.
 */
import { metricNames, type MetricName } from "./metricNames.ts"
import { bestOf, differ, metrics } from "./metrics.ts"
import type { StrategyReport } from "./recorder.ts"

/** Told only where the scenario is about them: others say nearly the same. */
const rare: ReadonlySet<MetricName> = new Set([
  "amplification",
  "waitP50",
  "waitP99",
  "answerP50",
  "answerP95",
  "answerP99"
])

/** One column: how each strategy did, in the order of the report. */
export interface Column {
  readonly title: string
  readonly cells: ReadonlyArray<{
    /** "–" where the metric makes no sense. */
    readonly text: string
    /** No other did better. */
    readonly best: boolean
  }>
}

export const columns = (
  strategies: ReadonlyArray<StrategyReport>,
  shows: ReadonlyArray<MetricName>
): ReadonlyArray<Column> =>
  metricNames.flatMap((name) => {
    if (rare.has(name) && !shows.includes(name)) return []
    const metric = metrics[name]
    const values = strategies.map(metric.value)
    // What is alike for all tells nothing about strategies, unless the scenario is about it.
    if (!differ(values) && !shows.includes(name)) return []
    const best = bestOf(metric, values)
    const cells = values.map((value, index) =>
      value === undefined
        ? { text: "–", best: false }
        : { text: metric.format(value), best: best[index] === true }
    )
    return [{ title: metric.title, cells }]
  })

/** In Markdown, the best of each column in bold. */
export const table = (
  strategies: ReadonlyArray<StrategyReport>,
  shows: ReadonlyArray<MetricName>
): string => {
  const told = columns(strategies, shows)
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  return [
    line(["strategy", ...told.map(({ title }) => title)]),
    `|---|${"---:|".repeat(told.length)}`,
    ...strategies.map(({ strategy }, row) =>
      line([
        strategy.replaceAll("|", "\\|"),
        ...told.map(({ cells }) => {
          const { best, text } = cells[row]!
          return best ? `**${text}**` : text
        })
      ])
    ),
    ""
  ].join("\n")
}
