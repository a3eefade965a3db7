// What a bundler leaves in a program: what it uses, and nothing of what is only installed beside it.
import { assert, describe, it } from "@effect/vitest"
import { bundle, published } from "../src/sizes.ts"

const packagesOf = (modules: ReadonlyArray<string>) =>
  new Set(modules.flatMap((path) => /^packages\/([^/]+)\//.exec(path)?.[1] ?? []))

const alias = (name: string) => `_${name.replaceAll(/\W/g, "_")}`

/** Imports every published package, each under a name of its own. */
const everything = () =>
  Array.from(published(), ([name, path]) => `import * as ${alias(name)} from "${path}"`).join("\n")

/** What gives the code of a package away, even if its modules were merged into others. */
const marks = /redis|valkey|evalsha|openrouter\.ai|chat\/completions|text\/event-stream/i

describe("tree shaking", () => {
  it("core and one selector carry neither Redis nor OpenRouter", async () => {
    const { code, modules } = await bundle(`
      export { Balancer, KeyPool } from "@evenkeel/core"
      export { RoundRobin } from "@evenkeel/round-robin"`)
    assert.deepStrictEqual(packagesOf(modules), new Set(["core", "round-robin"]))
    assert.notMatch(code, marks)
  })

  it("the marks are there where Redis and OpenRouter are", async () => {
    for (const name of ["redis", "openrouter"]) {
      assert.match(
        (await bundle(`export * from "${published().get(`@evenkeel/${name}`)}"`)).code,
        marks,
        name
      )
    }
  })

  it("out of everything, a program takes what it uses", async () => {
    const uses = (core: string, roundRobin: string) =>
      `export const program = [${core}.KeyPool.layerConfig, ${core}.Balancer.layer, ${roundRobin}.RoundRobin.layer]`
    const direct = await bundle(`
      import * as core from "@evenkeel/core"
      import * as roundRobin from "@evenkeel/round-robin"
      ${uses("core", "roundRobin")}`)
    const all = await bundle(`
      ${everything()}
      ${uses(alias("@evenkeel/core"), alias("@evenkeel/round-robin"))}`)
    assert.deepStrictEqual(all.modules, direct.modules)
    assert.strictEqual(all.code.length, direct.code.length)
  })

  it("one selector of core's brings none of its combinators", async () => {
    const { modules } = await bundle(`
      import { Selector } from "@evenkeel/core"
      export const selector = Selector.random`)
    assert.deepStrictEqual(modules, ["packages/core/src/Selector.ts"])
  })

  it("one module of a package does not bring the others", async () => {
    const { modules } = await bundle(`
      import { ChatRequest } from "@evenkeel/openrouter"
      export const { ask } = ChatRequest`)
    for (const other of ["OpenRouter", "OpenRouterFetch", "Batch", "Classifier"]) {
      assert.notInclude(modules, `packages/openrouter/src/${other}.ts`)
    }
  })
})
