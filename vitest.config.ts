import { defineConfig } from "vitest/config"

// Packages resolve to their sources through this export condition, so no build comes before a test.
const conditions = ["@evenkeel/source", "node", "import", "module", "default"]

export default defineConfig({
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["packages/*/test/**/*.test.ts", "examples/**/*.test.ts", "docs/test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})
