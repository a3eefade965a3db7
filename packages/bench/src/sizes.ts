/**
 * What programs and packages weigh: bundled, minified, gzipped, with `effect` itself left out.
 */
import { existsSync, globSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"
import { gzipSync } from "node:zlib"
import { rolldown } from "rolldown"

export interface Size {
  readonly name: string
  readonly minified: number
  readonly gzipped: number
}

/** What a bundler makes of a program. */
export interface Bundle {
  readonly code: string
  /** The modules of which something is in it, as `packages/core/src/Selector.ts`. */
  readonly modules: ReadonlyArray<string>
}

const root = join(import.meta.dirname, "../../..")

const programs: Readonly<Record<string, string>> = {
  "core and one selector": `
    export { Balancer, KeyPool } from "@evenkeel/core"
    export { layer } from "@evenkeel/round-robin/RoundRobin"`,
  "… with retry and breakers": `
    export { Balancer, KeyPool } from "@evenkeel/core"
    export { layer } from "@evenkeel/round-robin/RoundRobin"
    export { layer as retry } from "@evenkeel/retry/Retry"
    export { layer as breakers } from "@evenkeel/circuit-breaker/CircuitBreaker"`,
  "the OpenRouter service": `export { layer } from "@evenkeel/openrouter/OpenRouter"`,
  OpenRouterFetch: `export { make } from "@evenkeel/openrouter/OpenRouterFetch"`,
  UndiciHttpClient: `export { layer } from "@evenkeel/undici/UndiciHttpClient"`
}

const entry = "\0program"
const others = /^(?:effect|@effect|node:)/
const rest = /^(?:effect|@effect|@evenkeel|node:)/

/**
 * Bundles a program, which may import by name or by path; what `external` matches is left out. A command is its side effects:
 * its modules stay, whether or not something is imported from them.
 */
export const bundle = async (source: string, external = others, command = false): Promise<Bundle> => {
  const build = await rolldown({
    input: entry,
    treeshake: !command,
    platform: "node",
    external: (id) => external.test(id),
    resolve: { conditionNames: ["@evenkeel/source", "import", "default"] },
    plugins: [
      {
        name: "program",
        resolveId: (id) => (id === entry ? entry : undefined),
        load: (id) => (id === entry ? source : undefined)
      }
    ],
    cwd: import.meta.dirname
  })
  const { output } = await build.generate({ minify: true, format: "esm" })
  await build.close()
  const chunks = output.filter((part) => part.type === "chunk")
  const modules = chunks.flatMap((chunk) =>
    Object.entries(chunk.modules)
      .filter(([id, { renderedLength }]) => id !== entry && renderedLength > 0)
      .map(([id]) => relative(root, id))
  )
  return { code: chunks.map(({ code }) => code).join(""), modules }
}

const size = (name: string, { code }: Bundle): Size => ({
  name,
  minified: Buffer.byteLength(code),
  gzipped: gzipSync(code, { level: 9 }).length
})

export const sizes = (): Promise<ReadonlyArray<Size>> =>
  Promise.all(Object.entries(programs).map(async ([name, source]) => size(name, await bundle(source))))

/** The entry modules of every published package, from the root: its library, or its command where it is nothing else. */
export const published = (): ReadonlyMap<string, string> => {
  const found = globSync("packages/*/package.json", { cwd: root })
    .toSorted()
    .flatMap((path): ReadonlyArray<readonly [string, string]> => {
      const manifest = JSON.parse(readFileSync(join(root, path), "utf8"))
      if (manifest.private === true) return []
      const source = (file: string) => join(root, path, "../src", file)
      const command = Object.values<string>(manifest.bin ?? {})[0]?.replace(/.*dist\/(.*)\.js$/, "$1.ts")
      return [[manifest.name, existsSync(source("index.ts")) ? source("index.ts") : source(command!)]]
    })
  return new Map(found)
}

/** Every published package as a whole, without the packages that it imports. */
export const packageSizes = (): Promise<ReadonlyArray<Size>> =>
  Promise.all(
    Array.from(published(), async ([name, path]) =>
      size(name, await bundle(`export * from "${path}"`, rest, !path.endsWith("index.ts")))
    )
  )
