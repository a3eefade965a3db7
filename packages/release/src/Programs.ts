/**
 * Programs of somebody who has installed the packages.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { entryPoints, type Tarball } from "./Tarball.ts"
import { root } from "./Workspace.ts"

export interface Program {
  readonly file: string
  readonly code: string
  /** What it prints, among other things. */
  readonly prints: RegExp
  /** Whether it is for runtimes with undici, or for those without; for all of them if it says neither. */
  readonly undici?: boolean
}

const fence = /^```ts\n([\s\S]*?)^```/gm

/** The programs of README. The simulator answers with the question that they ask. */
const ofReadme = (): ReadonlyArray<Program> =>
  Array.from(readFileSync(join(root, "README.md"), "utf8").matchAll(fence), ([, code = ""], index) => ({
    file: `readme-${index + 1}.ts`,
    code,
    ...(code.includes("layerUndici") ? { undici: true } : {}),
    prints: code.includes("openai/gpt-4o-mini") ? /What keeps a ship upright|chat\.completion/ : /^/
  }))

const core = `import { Balancer, KeyPool } from "@evenkeel/core"
import { RoundRobin } from "@evenkeel/round-robin"
import { Effect, Layer } from "effect"

const keys = ["a", "b", "c"].map((id) => ({ id, secret: \`secret-of-\${id}\`, account: "acme" }))
const live = Balancer.layer.pipe(Layer.provide([RoundRobin.layer(), KeyPool.layer({ keys })]))
const program = Effect.gen(function* () {
  const balancer = yield* Balancer.Balancer
  return yield* Effect.forEach([1, 2, 3, 4], () => balancer.use((lease) => Effect.succeed(lease.key.id)))
})
console.log((await Effect.runPromise(Effect.provide(program, live))).join(" "))
`

/** README's, over the `fetch` of the runtime. */
const portable = `import { KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { ChatChunk, ChatRequest, OpenRouter } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"
import { Effect, Layer, Stream } from "effect"
import { FetchHttpClient } from "effect/http"

const live = OpenRouter.layer.pipe(
  Layer.provide([LeastInFlight.layer(), Retry.layer(), KeyPool.layerConfig, FetchHttpClient.layer])
)
const program = Effect.gen(function* () {
  const { chatStream } = yield* OpenRouter.OpenRouter
  return yield* chatStream(ChatRequest.ask("openai/gpt-4o-mini", "What keeps a ship upright?")).pipe(
    Stream.map(ChatChunk.text),
    Stream.mkString
  )
})
console.log(await Effect.runPromise(Effect.provide(program, live)))
`

const specifiers = (tarball: Tarball): ReadonlyArray<string> =>
  entryPoints(tarball).map((path) => tarball.manifest.name + path.slice(1))

/** Imports all that can be imported, tries what cannot, and requires as CommonJS does. */
export const imports = (tarballs: ReadonlyArray<Tarball>): Program => {
  const open = tarballs.flatMap(specifiers)
  const closed = tarballs.flatMap(({ files, manifest }) =>
    Array.from(files.keys())
      .filter((path) => path.startsWith("dist/internal/") && path.endsWith(".js"))
      .map((path) => `${manifest.name}/${path.slice("dist/".length, -".js".length)}`)
  )
  return {
    file: "imports.mjs",
    code: `import { createRequire } from "node:module"
const open = ${JSON.stringify(open)}
const closed = ${JSON.stringify(closed)}
for (const specifier of open) await import(specifier)
for (const specifier of closed) {
  const refused = await import(specifier).then(() => false, () => true)
  if (!refused) throw new Error(specifier + " can be imported")
}
if (!("layer" in createRequire(import.meta.url)("@evenkeel/core").Balancer)) throw new Error("require fails")
console.log(open.length + " entry points")
`,
    prints: new RegExp(`^${open.length} entry points`)
  }
}

/** The same for the type checker alone. */
export const types = (tarballs: ReadonlyArray<Tarball>): string =>
  tarballs
    .flatMap(specifiers)
    .map((specifier, index) => `export * as m${index} from "${specifier}"\n`)
    .join("")

/** All of them. */
export const programs = (tarballs: ReadonlyArray<Tarball>): ReadonlyArray<Program> => [
  imports(tarballs),
  { file: "core.ts", code: core, prints: /^a b c a$/m },
  { file: "portable.ts", code: portable, prints: /What keeps a ship upright/, undici: false },
  ...ofReadme()
]
