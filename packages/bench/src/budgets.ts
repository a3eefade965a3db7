/**
 * What programs and packages may weigh, in bytes, gzipped, by their names.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"

export const file = join(import.meta.dirname, "../budgets.json")

export const budgets: Readonly<Record<string, number>> = JSON.parse(readFileSync(file, "utf8"))
