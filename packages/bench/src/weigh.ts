/**
 * `pnpm sizes`: what programs and packages weigh, beside what they may. `--write` allows what was measured, and 5 % more:
 * for who has made one smaller, or has a reason why it must be larger, and says it.
 */
import { writeFileSync } from "node:fs"
import { budgets, file } from "./budgets.ts"
import { packageSizes, sizes } from "./sizes.ts"

const measured = [...(await sizes()), ...(await packageSizes())]
for (const { gzipped, name } of measured) {
  process.stdout.write(
    `${name.padEnd(28)}${String(gzipped).padStart(8)} of ${budgets[name] ?? "nothing yet"}\n`
  )
}
if (process.argv.includes("--write")) {
  const allowed = measured.map(({ gzipped, name }) => [name, Math.ceil((gzipped * 1.05) / 50) * 50])
  writeFileSync(file, `${JSON.stringify(Object.fromEntries(allowed), undefined, 2)}\n`)
}
