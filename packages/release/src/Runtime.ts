/**
 * What runs programs: each supported Node, Bun and Deno, as npm packages that hold the binary.
 */
import * as Effect from "effect/Effect"
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Shell from "./Shell.ts"

export interface Runtime {
  readonly name: string
  /** Runs the file that follows. */
  readonly command: ReadonlyArray<string>
  /** Whether undici runs on it. */
  readonly undici: boolean
}

interface Source {
  readonly name: string
  readonly package: string
  readonly version: string
  readonly binary: string
  readonly args?: ReadonlyArray<string>
  readonly undici?: boolean
}

const { arch, platform } = process
const system = `${platform}-${arch}`

const node = (version: string): Source => ({
  name: `Node ${version}`,
  package: `node-${system}`,
  version,
  binary: "bin/node"
})

/**
 * Of Node the least version that `engines` promises, and a late one of each line that is maintained; pinned, so that a red
 * run speaks of a change of ours.
 */
const sources: ReadonlyArray<Source> = [
  node("22.19.0"),
  node("24.21.0"),
  node("26.12.1"),
  {
    name: "Bun 1.4.5",
    // The baseline build runs on processors without AVX2, too.
    package: `@oven/bun-${system}${arch === "x64" ? "-baseline" : ""}`,
    version: "1.4.5",
    binary: "bin/bun",
    args: ["run"],
    // Bun puts an `undici` of its own in the place of the installed one, and it has no dispatcher.
    undici: false
  },
  {
    name: "Deno 2.9.6",
    package: `@deno/${system}${platform === "linux" ? "-glibc" : ""}`,
    version: "2.9.6",
    binary: "deno",
    args: ["run", "--quiet", "--allow-all"]
  }
]

export interface Runtimes {
  readonly found: ReadonlyArray<Runtime>
  /** Names of those that cannot be had here. */
  readonly missing: ReadonlyArray<string>
}

/** Installs them into a folder. What the registry lacks, or has not for this system, is missing. */
export const install = Effect.fnUntraced(function* (folder: string) {
  const alias = (source: Source) => source.name.toLowerCase().replaceAll(/[ .]/g, "-")
  const wanted = sources.map((source) => [alias(source), `npm:${source.package}@${source.version}`])
  const manifest = { private: true, optionalDependencies: Object.fromEntries(wanted) }
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest))
  yield* Shell.pnpm(["install", "--ignore-scripts"], { cwd: folder })
  const found: Array<Runtime> = []
  const missing: Array<string> = []
  for (const source of sources) {
    const { args = [], binary, name, undici = true } = source
    const path = join(folder, "node_modules", alias(source), binary)
    if (existsSync(path)) found.push({ name, command: [path, ...args], undici })
    else missing.push(name)
  }
  const runtimes: Runtimes = { found, missing }
  return runtimes
})
