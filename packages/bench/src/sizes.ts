/**
 * What programs weigh beyond `effect`: bundled, minified, gzipped, with `effect` itself left out.
 */
import { gzipSync } from "node:zlib"
import { rolldown } from "rolldown"

export interface Size {
  readonly name: string
  readonly minified: number
  readonly gzipped: number
}

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

const size = async (name: string, source: string): Promise<Size> => {
  const bundle = await rolldown({
    input: entry,
    platform: "node",
    external: (id) => /^(?:effect|@effect|node:)/.test(id),
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
  const { output } = await bundle.generate({ minify: true, format: "esm" })
  await bundle.close()
  const code = output.map((part) => (part.type === "chunk" ? part.code : "")).join("")
  return { name, minified: Buffer.byteLength(code), gzipped: gzipSync(code, { level: 9 }).length }
}

export const sizes = (): Promise<ReadonlyArray<Size>> =>
  Promise.all(Object.entries(programs).map(([name, source]) => size(name, source)))
