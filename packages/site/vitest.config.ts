import { defineConfig } from "vitest/config"

// Looks at the site as it was built; a command of its own, because building takes longer than all other tests of it.
export default defineConfig({
  root: import.meta.dirname,
  test: { include: ["browser/**/*.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 }
})
