// The lint rules that keep the direction of dependencies: each forbidden import must be refused, and allowed ones must not.
import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { root } from "./snippets.ts"

/** Lints a tree that holds these files alone, under the project's own rules. */
const lint = (files: Readonly<Record<string, string>>): string => {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-lint-"))
  try {
    copyFileSync(join(root, ".oxlintrc.json"), join(folder, ".oxlintrc.json"))
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    return execFileSync(join(root, "node_modules/.bin/oxlint"), ["--deny-warnings"], {
      cwd: folder,
      encoding: "utf8"
    })
  } catch (error) {
    return `refused\n${(error as { readonly stdout?: string }).stdout}`
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const using = (specifier: string) => `import { x } from "${specifier}"\nexport const y = x\n`

const forbidden = [
  ["core", "@evenkeel/round-robin"],
  ["core", "@evenkeel/openrouter"],
  ["core", "@effect/platform-node"],
  ["core", "effect/http"],
  ["round-robin", "@evenkeel/openrouter"],
  ["least-in-flight", "@evenkeel/round-robin"],
  ["credit-aware", "../../../packages/openrouter/src/index.ts"],
  ["threshold", "effect/http"],
  ["retry", "@evenkeel/openrouter"],
  ["circuit-breaker", "@evenkeel/retry"],
  ["pacing", "@evenkeel/circuit-breaker"],
  ["peak-ewma", "@evenkeel/least-in-flight"],
  ["headroom", "@evenkeel/pacing"],
  ["redis", "@evenkeel/openrouter"],
  ["telemetry", "@evenkeel/openrouter"],
  ["ai", "@evenkeel/retry"],
  ["openrouter", "@evenkeel/least-in-flight"],
  ["testkit", "@evenkeel/openrouter"],
  ["gateway", "@evenkeel/retry"],
  ["openrouter", "@evenkeel/cli"]
] as const

const allowed = [
  ["core", "effect"],
  ["round-robin", "@evenkeel/core"],
  ["retry", "effect"],
  ["openrouter", "@evenkeel/core"],
  ["openrouter", "effect/http"],
  ["ai", "@evenkeel/openrouter"],
  ["testkit", "@evenkeel/core"],
  ["gateway", "@evenkeel/openrouter"],
  ["cli", "@evenkeel/testkit"]
] as const

describe("the direction of dependencies", () => {
  for (const [name, specifier] of forbidden) {
    it(`${name} may not import ${specifier}`, () => {
      const printed = lint({ [`packages/${name}/src/Bad.ts`]: using(specifier) })
      assert.match(printed, /^refused/)
      assert.include(printed, "no-restricted-imports")
    })
  }

  for (const [name, specifier] of allowed) {
    it(`${name} may import ${specifier}`, () => {
      assert.notMatch(lint({ [`packages/${name}/src/Good.ts`]: using(specifier) }), /^refused/)
    })
  }

  it("OpenRouterFetch alone may import the policies that it has built in", () => {
    const policies = using("@evenkeel/retry")
    assert.notMatch(lint({ "packages/openrouter/src/OpenRouterFetch.ts": policies }), /^refused/)
    assert.match(lint({ "packages/openrouter/src/OpenRouter.ts": policies }), /^refused/)
    assert.match(
      lint({ "packages/openrouter/src/OpenRouterFetch.ts": using("@evenkeel/testkit") }),
      /^refused/
    )
  })

  it("cycles are refused", () => {
    const printed = lint({
      "packages/core/src/A.ts": `import { b } from "./B.ts"\nexport const a = (): unknown => b\n`,
      "packages/core/src/B.ts": `import { a } from "./A.ts"\nexport const b = (): unknown => a\n`
    })
    assert.match(printed, /^refused/)
    assert.include(printed, "no-cycle")
  })
})
