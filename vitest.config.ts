import { availableParallelism } from "node:os"
import { join } from "node:path"
import { defineConfig } from "vitest/config"
import type { Reporter } from "vitest/node"

// Packages resolve to their sources through this export condition, so no build comes before a test.
const conditions = ["@evenkeel/source", "node", "import", "module", "default"]

/** What is skipped for want of a server is told by name; what a filter left out is not. */
let filtered = false
const skipped: Reporter = {
  onInit({ config }) {
    filtered = config.testNamePattern !== undefined
  },
  onTestRunEnd(modules) {
    for (const { children, relativeModuleId } of modules)
      for (const { fullName, options } of children.allTests("skipped"))
        if (!filtered && options.mode === "skip")
          process.stdout.write(`skipped: ${relativeModuleId} > ${fullName}\n`)
  }
}

export default defineConfig({
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["packages/*/test/**/*.test.ts", "examples/**/*.test.ts", "docs/test/**/*.test.ts"],
    reporters: ["default", skipped],
    // Many tests wait, for servers and processes of their own: one worker more than cores leaves none of these idle.
    maxWorkers: availableParallelism() + 1,
    // Those processes begin with the code that the ones before them have compiled.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules/.cache/node") },
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})
