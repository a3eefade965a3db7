/**
 * `pnpm bench`: the quick run, printed. `--full` measures all, and `--write` keeps the results and writes the page.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { LayerRow } from "./micro/layers.ts"
import type { PickRow } from "./micro/picks.ts"
import { full, quick, type Part } from "./plan.ts"
import { report } from "./report.ts"
import { machine, type Measured, type Results, versions } from "./results.ts"
import { cell, micro, upstream, type Upstream } from "./run.ts"
import { packageSizes, sizes } from "./sizes.ts"

const mode = process.argv.includes("--full") ? "full" : "quick"

const shuffled = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> =>
  all
    .map((each) => [Math.random(), each] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, each]) => each)

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const measure = async (
  { clients, kind, requests, rounds }: Part,
  { url }: Upstream
): Promise<ReadonlyArray<Measured>> => {
  const cells: Array<Measured> = []
  for (let round = 0; round < rounds; round++) {
    say(`${kind}: round ${round + 1} of ${rounds}`)
    for (const client of shuffled(clients)) {
      cells.push({ kind, client, round, figures: await cell(kind, client, url, requests) })
    }
  }
  return cells
}

const server = await upstream()
const cells: Array<Measured> = []
for (const part of mode === "full" ? full : quick) cells.push(...(await measure(part, server)))
server.stop()
say("picks, layers, sizes")
const results: Results = {
  mode,
  date: new Date().toISOString().slice(0, 10),
  machine: machine(),
  versions: versions(),
  cells,
  picks: await micro<ReadonlyArray<PickRow>>("micro/picks.ts", mode),
  layers: await micro<ReadonlyArray<LayerRow>>("micro/layers.ts"),
  sizes: [...(await sizes()), ...(await packageSizes())]
}
const page = report(results)
if (process.argv.includes("--write")) {
  const root = join(import.meta.dirname, "../../..")
  writeFileSync(join(root, "packages/bench/results.json"), `${JSON.stringify(results, undefined, 2)}\n`)
  writeFileSync(join(root, "docs/benchmarks.md"), page)
} else {
  process.stdout.write(page)
}
