/**
 * A report as bars: a panel for each metric, a bar for each strategy. Plain SVG, readable in light and dark, the same for
 * the same report.
 */
import type { MetricName } from "./metricNames.ts"
import { bestOf, metrics } from "./metrics.ts"
import type { StrategyReport } from "./recorder.ts"

const width = 720
const margin = 16
/** Where bars begin and end; the rest is for the names and the values. */
const [left, right] = [200, width - 96]
const row = 24
const heading = 64

const style = `
  svg { font-family: system-ui, sans-serif; font-size: 13px }
  .ground { fill: #ffffff } text { fill: #1f2328 } .soft { fill: #59636e } .line { stroke: #d1d9e0 }
  .bar { fill: #8fb3de } .best { fill: #1f6feb }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } text { fill: #f0f6fc } .soft { fill: #9198a1 } .line { stroke: #3d444d }
    .bar { fill: #3b5f8f } .best { fill: #58a6ff }
  }`

export interface ChartInput {
  readonly title: string
  readonly description: string
  readonly names: ReadonlyArray<MetricName>
  readonly strategies: ReadonlyArray<StrategyReport>
}

export const chart = ({ description, names, strategies, title }: ChartInput): string => {
  const parts: Array<string> = []
  const lines = wrapped(description)
  let y = heading + 16 * (lines.length - 1)
  for (const name of names) {
    const drawn = panel(name, strategies, y)
    parts.push(drawn.svg)
    y += drawn.height
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img" aria-labelledby="title about">`,
    `<title id="title">${escape(title)}</title>`,
    `<desc id="about">${escape(description)}</desc>`,
    `<style>${style}\n</style>`,
    `<rect class="ground" width="${width}" height="${y}" rx="6"/>`,
    text(margin, 28, title, `font-size="17" font-weight="600"`),
    ...lines.map((line, index) => text(margin, 48 + 16 * index, line, `class="soft" font-size="12"`)),
    ...parts,
    "</svg>",
    ""
  ].join("\n")
}

const panel = (name: MetricName, strategies: ReadonlyArray<StrategyReport>, top: number) => {
  const metric = metrics[name]
  const values = strategies.map(metric.value)
  const best = bestOf(metric, values)
  const most = Math.max(0, ...values.filter((value) => value !== undefined && value !== Infinity).map(Number))
  const scale = most === 0 ? 1 : most
  const lengthOf = (value: number) => Math.round((Math.min(value, scale) / scale) * (right - left) * 10) / 10
  const bottom = top + 32 + row * strategies.length
  const ticks = [0, 0.5, 1].map((part) => {
    const x = left + (right - left) * part
    const label = most === 0 && part > 0 ? "" : metric.format(most * part)
    return [
      `<line class="line" x1="${x}" y1="${top + 28}" x2="${x}" y2="${bottom}"/>`,
      text(x, bottom + 16, label, `class="soft" font-size="11" text-anchor="middle"`)
    ].join("\n")
  })
  const bars = strategies.map(({ strategy }, index) => {
    const value = values[index]
    const y = top + 32 + row * index
    const length = value === undefined ? 0 : lengthOf(value)
    const written = value === undefined ? "–" : metric.format(value)
    return [
      text(left - 8, y + 16, strategy, `text-anchor="end"`),
      `<rect class="${best[index] ? "best" : "bar"}" x="${left}" y="${y + 4}" width="${length}" height="${row - 8}" rx="2"/>`,
      text(left + length + 6, y + 16, written, `font-size="12"`)
    ].join("\n")
  })
  const unit = `${metric.unit}, ${metric.better} is better`
  return {
    height: bottom + 48 - top,
    svg: [
      text(margin, top + 16, metric.title, `font-weight="600"`),
      ...ticks,
      ...bars,
      text((left + right) / 2, bottom + 32, unit, `class="soft" font-size="11" text-anchor="middle"`)
    ].join("\n")
  }
}

/** In lines that fit; SVG does not break them by itself. */
const wrapped = (content: string): ReadonlyArray<string> =>
  content.split(" ").reduce<Array<string>>((lines, word) => {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < 105) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
    return lines
  }, [])

const text = (x: number, y: number, content: string, attributes: string) =>
  `<text x="${x}" y="${y}" ${attributes}>${escape(content)}</text>`

const escape = (content: string): string =>
  content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")
