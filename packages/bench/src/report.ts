/**
 * The results as a page of Markdown.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { clients, names, type Name } from "./clients/index.ts"
import type { Kind } from "./cell.ts"
import { goals } from "./goals.ts"
import { ratio, summary, type Results, type Summary } from "./results.ts"

type Row = ReadonlyArray<string>

const table = (head: Row, rows: ReadonlyArray<Row>): string =>
  [head, head.map((_, i) => (i === 0 ? "---" : "---:")), ...rows]
    .map((row) => `| ${row.join(" | ")} |`)
    .join("\n")

const number = (value: number | undefined): string => {
  if (value === undefined || Number.isNaN(value)) return "–"
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
const withSpread = (value: Summary | undefined): string =>
  value === undefined ? "–" : `${number(value.median)} ±${Math.round((value.spread / 2) * 100)} %`

/** The clients that a part has measured. */
const measured = (results: Results, kind: Kind): ReadonlyArray<Name> =>
  names.filter((name) => results.cells.some((cell) => cell.kind === kind && cell.client === name))

const bars = (results: Results, kind: Kind): string => {
  const rows = measured(results, kind).map(
    (name) =>
      [clients[name].title.replaceAll(/[*`]/g, ""), summary(results, kind, name, "cpu")!.median] as const
  )
  const most = Math.max(...rows.map(([, value]) => value))
  const width = Math.max(...rows.map(([title]) => title.length))
  return rows
    .map(([title, value]) => {
      const bar = "█".repeat(Math.max(1, Math.round((value / most) * 48)))
      return `${title.padEnd(width)}  ${bar} ${number(value)}`
    })
    .join("\n")
}

const calls = (results: Results): string =>
  table(
    [
      "client",
      "CPU µs",
      "to undici",
      "to `openai`",
      "requests/s",
      "p50 ms",
      "p99 ms",
      "allocated KB",
      "in flight KB",
      "loaded in ms"
    ],
    measured(results, "calls").map((name) => {
      const figure = (figure: string) => summary(results, "calls", name, figure)
      const kilo = (kind: Kind) => summary(results, kind, name, "bytes")
      return [
        clients[name].title,
        withSpread(figure("cpu")),
        number(ratio(results, "calls", name, "undici", "cpu")),
        number(ratio(results, "calls", name, "openai", "cpu")),
        Math.round(figure("rate")?.median ?? 0).toLocaleString("en-US"),
        number((figure("p50")?.median ?? 0) / 1000),
        number((figure("p99")?.median ?? 0) / 1000),
        number((kilo("allocation")?.median ?? Number.NaN) / 1000),
        number((kilo("memory")?.median ?? Number.NaN) / 1000),
        Math.round(figure("loaded")?.median ?? 0).toString()
      ]
    })
  )

const streams = (results: Results): string =>
  table(
    [
      "client",
      "CPU µs a stream",
      "µs an event",
      "to Effect",
      "to `openai`",
      "allocated KB",
      "first chunk ms"
    ],
    measured(results, "streams").map((name) => {
      const cpu = summary(results, "streams", name, "cpu")
      const plain = summary(results, "calls", name, "cpu")
      const bytes = summary(results, "streamAllocation", name, "bytes")
      return [
        clients[name].title,
        withSpread(cpu),
        number(cpu === undefined || plain === undefined ? undefined : (cpu.median - plain.median) / 20),
        number(ratio(results, "streams", name, "effect", "cpu")),
        number(ratio(results, "streams", name, "openai", "cpu")),
        number(bytes === undefined ? undefined : bytes.median / 1000),
        number((summary(results, "streams", name, "first")?.median ?? Number.NaN) / 1000)
      ]
    })
  )

const reached = (results: Results): string =>
  table(
    ["goal", "at most", "measured", "reached"],
    goals(results).map(({ most, name, unit, value }) => [
      name,
      `${number(most)} ${unit}`,
      value === undefined ? "not in this run" : `${number(value)} ${unit}`,
      value === undefined ? "" : value <= most ? "yes" : "**no**"
    ])
  )

const picks = ({ picks }: Results): string =>
  table(
    ["strategy", "keys", "pick ns", "pick B", "use ns", "use B"],
    picks.map(({ keys, pick, strategy, use }) => [
      strategy,
      keys.toLocaleString("en-US"),
      number(pick.nanos),
      Math.round(pick.bytes).toString(),
      Math.round(use.nanos).toLocaleString("en-US"),
      Math.round(use.bytes).toLocaleString("en-US")
    ])
  )

const layers = ({ layers }: Results): string =>
  table(
    ["what", "ns", "B"],
    layers.map(({ cost, name }) => [
      name,
      Math.round(cost.nanos).toLocaleString("en-US"),
      Math.round(cost.bytes).toLocaleString("en-US")
    ])
  )

const sizes = ({ sizes }: Results): string =>
  table(
    ["program", "minified KB", "gzipped KB"],
    sizes.map(({ gzipped, minified, name }) => [name, number(minified / 1000), number(gzipped / 1000)])
  )

const endurance = (results: Results): string => {
  const crowd = summary(results, "crowd", "chat", "bytes")
  const most = summary(results, "soak", "chat", "most")
  const lines = [
    crowd === undefined
      ? ""
      : `10,000 requests were in flight at once on one core, without an error, and held ${number(crowd.median / 1000)} KB each.`,
    most === undefined
      ? ""
      : `Over 1,000,000 requests the heap, collected after each 100,000, was at most ${number(most.median / 1e6)} MB.`
  ].filter((line) => line !== "")
  return lines.length === 0 ? "" : `${lines.join(" ")}\n\n`
}

/** Writes the page. */
export const report = (results: Results): string => {
  const versions = Object.entries(results.versions).map(([name, version]) => `${name} ${version}`)
  return `${`
# Benchmarks

What Evenkeel costs, beside the clients that one would use without it. This page is written by \`pnpm bench --write\`, and
holds the ${results.mode} run of ${results.date}.

**The machine:** ${results.machine}. ${versions.join(", ")}.

An answer of a model takes seconds, so to one request a few dozen microseconds are nothing. They bound how many requests
and streams a core can carry, and that is what is measured here.

## How it is measured

- The upstream is a process of its own on a core of its own, written over \`node:net\` so that the client is what is
  measured. Each figure comes from a fresh client process on another core: it warms up, and then sends from 64 lanes, each
  with one request at a time, over 16 keys. Every answer's text is checked.
- CPU is that of all threads of the client, system and user, per request; collecting garbage is part of it.
- Each round visits every client once, in a new random order. A figure is the median over the rounds; ± is half of what lies
  between the least and the most. A ratio is the median of the ratios within each round, so that what disturbs a round
  disturbs both sides. Compare within a run, never between two.
- Allocation is what the heap gains while the young generation is so large that nothing is collected; memory in flight is what
  the heap holds per request while 512 wait for their answer.
- \`OpenRouter\` has on what production has: least-in-flight, retry, circuit breakers by scope, credit read every minute, and
  a deadline. Spans are off unless the row says so.

To repeat it: \`pnpm bench\` takes about two minutes and prints this page; \`pnpm bench --full\` measures more clients, more
often, and takes about half an hour. \`--write\` writes the page, and every figure to \`packages/bench/results.json\`.

## Goals

${reached(results)}

## Whole answers

CPU per request, in microseconds:

\`\`\`text
${bars(results, "calls")}
\`\`\`

${calls(results)}

## Streams of 20 events

${streams(results)}

${endurance(results)}## Picks

The pick alone, and a whole use of a key that does nothing: filters, pick, lease, outcome, settlement. All keys can serve and
are idle.

${picks(results)}

## Layers

At 16 keys, one after the other, without a network:

${layers(results)}

## Sizes

Bundled and minified, without \`effect\`; a package also without the packages that it imports:

${sizes(results)}

${readFileSync(join(import.meta.dirname, "../learnt.markdown"), "utf8")}
`.trim()}\n`
}
