/**
 * A report as a table in Markdown: a row for each strategy, and the best of each column in bold.
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

export const table = (
  strategies: ReadonlyArray<StrategyReport>,
  shows: ReadonlyArray<MetricName>
): string => {
  const told = metricNames.flatMap((name) => {
    if (rare.has(name) && !shows.includes(name)) return []
    const metric = metrics[name]
    const values = strategies.map(metric.value)
    // What is alike for all tells nothing about strategies, unless the scenario is about it.
    if (!differ(values) && !shows.includes(name)) return []
    const best = bestOf(metric, values)
    const cells = values.map((value, index) => {
      if (value === undefined) return "–"
      return best[index] ? `**${metric.format(value)}**` : metric.format(value)
    })
    return [{ title: metric.title, cells }]
  })
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  return [
    line(["strategy", ...told.map(({ title }) => title)]),
    `|---|${"---:|".repeat(told.length)}`,
    ...strategies.map(({ strategy }, row) =>
      line([strategy.replaceAll("|", "\\|"), ...told.map(({ cells }) => cells[row]!)])
    ),
    ""
  ].join("\n")
}
