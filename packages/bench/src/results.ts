/**
 * The results of a run, as they are kept and reported.
 */
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import type { Figures, Kind } from "./cell.ts"
import type { Name } from "./clients/index.ts"
import type { LayerRow } from "./micro/layers.ts"
import type { PickRow } from "./micro/picks.ts"
import { pins } from "./run.ts"
import type { Size } from "./sizes.ts"
import { median, spread } from "./statistics.ts"

/** One cell of one round. */
export interface Measured {
  readonly kind: Kind
  readonly client: Name
  readonly round: number
  readonly figures: Figures
}

export interface Results {
  readonly mode: "quick" | "full"
  readonly date: string
  readonly machine: string
  readonly versions: Readonly<Record<string, string>>
  readonly cells: ReadonlyArray<Measured>
  readonly picks: ReadonlyArray<PickRow>
  readonly layers: ReadonlyArray<LayerRow>
  readonly sizes: ReadonlyArray<Size>
}

/** What the figures were measured on. */
export const machine = (): string =>
  `${availableParallelism()} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform} ${/^\d+\.\d+/.exec(release())?.[0]}, Node ${process.version.slice(1)}, ${pins ? "client and upstream on a core each" : "processes not pinned"}, loopback; load average ${loadavg()[1]!.toFixed(1)} while it ran`

/** Versions of what is compared. */
export const versions = (): Readonly<Record<string, string>> => {
  const require = createRequire(import.meta.url)
  const node = createRequire(require.resolve("@effect/platform-node"))
  const version = (name: string, from = require): string => {
    for (const folder of from.resolve.paths(name) ?? []) {
      try {
        const { version } = JSON.parse(readFileSync(join(folder, name, "package.json"), "utf8")) as {
          readonly version: string
        }
        return version
      } catch {
        continue
      }
    }
    return `of ${dirname(name)}`
  }
  return {
    effect: version("effect"),
    undici: version("undici", node),
    openai: version("openai"),
    "@openrouter/sdk": version("@openrouter/sdk"),
    ai: version("ai")
  }
}

/** All rounds of a figure, in their order. */
export const valuesOf = (
  { cells }: Results,
  kind: Kind,
  client: Name,
  figure: string
): ReadonlyArray<number> =>
  cells
    .filter((cell) => cell.kind === kind && cell.client === client)
    .toSorted((a, b) => a.round - b.round)
    .map(({ figures }) => figures[figure] ?? Number.NaN)

export interface Summary {
  readonly median: number
  readonly spread: number
}

export const summary = (results: Results, kind: Kind, client: Name, figure: string): Summary | undefined => {
  const values = valuesOf(results, kind, client, figure)
  return values.length === 0 ? undefined : { median: median(values), spread: spread(values) }
}

/** The median of the ratios within each round: what disturbs a round disturbs both sides of it. */
export const ratio = (
  results: Results,
  kind: Kind,
  client: Name,
  to: Name,
  figure: string
): number | undefined => {
  const under = valuesOf(results, kind, to, figure)
  const over = valuesOf(results, kind, client, figure)
  const ratios = over.flatMap((value, i) => (under[i] === undefined ? [] : [value / under[i]]))
  return ratios.length === 0 ? undefined : median(ratios)
}

/** The same of differences. */
export const difference = (
  results: Results,
  kind: Kind,
  client: Name,
  to: Name,
  figure: string
): number | undefined => {
  const under = valuesOf(results, kind, to, figure)
  const over = valuesOf(results, kind, client, figure)
  const differences = over.flatMap((value, i) => (under[i] === undefined ? [] : [value - under[i]]))
  return differences.length === 0 ? undefined : median(differences)
}
